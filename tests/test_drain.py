"""A planned way back: open conversations may end where they began, new ones are on control, then it is rolled back."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import pytest

from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.overview import overview
from llmmigrate.routing.assignment import start_of
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import ask, downgrade
from llmmigrate.targets import FlagdFile
from tests.conftest import ROUTE
from tests.invariants import broken

HALF_HOUR = 1800.0


@pytest.fixture
def router(world):
    world.write()
    with world.router() as router:
        world.reach(router, "canary:100")
        router.poll()
        world.clock.advance(60)
        yield router


def arms(router, world, started_at, number=200):
    decisions = [router.assign(ROUTE, unit=f"c{n}", started_at=started_at) for n in range(number)]
    return [decision.arm for decision in decisions]


def drain(world, seconds=HALF_HOUR):
    return ask.drain(world.store, ROUTE, seconds, actor="tests", reason="planned")


def test_open_conversations_stay_new_ones_and_those_without_a_start_are_on_control(world, router):
    before = world.clock.now()
    opened = arms(router, world, before)
    world.clock.advance(60)
    state = drain(world)
    router.poll()
    assert state.status == "paused"
    assert opened.count("candidate") > 150
    assert arms(router, world, before) == opened
    assert set(arms(router, world, world.clock.now())) == {"control"}
    assert set(arms(router, world, None)) == {"control"}
    assert not broken(world.store)


def test_it_is_rolled_back_at_its_time_with_the_persons_reason(world, router):
    before = world.clock.now()
    drain(world)
    result = world.upgrade()
    assert result.draining
    assert result.exit_code is ExitCode.HOLD
    assert "draining" in result.last.wait.reasons[0].detail
    world.clock.advance(HALF_HOUR)
    router.poll()
    world.upgrade()
    router.poll()
    assert set(arms(router, world, before)) == {"control"}
    result = world.upgrade()
    assert result.last.state.status == "rolled_back"
    rows = [(row["event"], row["reason"]) for row in world.store.history(ROUTE)][-3:]
    assert [event for event, _ in rows] == ["draining", "rolling_back", "rolled_back"]
    assert rows[0][1] == rows[1][1] == "planned (drained for 30 m)"
    assert not broken(world.store)


def test_a_router_ends_it_by_itself_where_no_controller_does(world, router):
    before = world.clock.now()
    world.clock.advance(60)
    drain(world)
    router.poll()
    assert "candidate" in arms(router, world, before)
    world.clock.advance(HALF_HOUR)
    assert set(arms(router, world, before)) == {"control"}


def test_a_downgrade_does_not_wait_for_it(world, router):
    before = world.clock.now()
    world.clock.advance(60)
    drain(world)
    router.poll()
    result = downgrade(world.store, ROUTE, actor="tests", reason="now", confirm_s=0)
    assert result.state.status == "rolling_back"
    router.poll()
    assert set(arms(router, world, before)) == {"control"}


def test_a_trigger_does_not_wait_for_it(world, router):
    drain(world, 20 * 86400.0)
    world.new.error = "overloaded"
    router.poll()
    before = world.clock.now() - timedelta(hours=1)
    for part in range(30):
        for number in range(20):
            decision = router.assign(ROUTE, unit=f"c{part}-{number}", started_at=before)
            router.observe(decision, error_class="overloaded" if decision.arm == "candidate" else None)
        world.clock.advance(60)
        router.flush()
    state = world.upgrade().last.state
    assert state.status == "rolling_back"
    assert "error rate" in overview(world.graph(), world.store)[0].last_reason


def test_who_began_while_it_drained_stays_on_control_after_a_resume(world, router):
    before = world.clock.now()
    opened = arms(router, world, before)
    world.clock.advance(60)
    drain(world)
    world.clock.advance(60)
    during = world.clock.now()
    world.clock.advance(60)
    ask.resume(world.store, ROUTE, actor="tests", reason="we changed our mind")
    router.poll()
    assert arms(router, world, before) == opened
    assert set(arms(router, world, during)) == {"control"}
    world.clock.advance(60)
    assert "candidate" in arms(router, world, world.clock.now())
    assert Snapshot.from_text(world.store.route(ROUTE).snapshot).drain is None


def test_there_is_nothing_to_drain_in_shadow(world):
    world.write()
    with world.router() as router:
        world.reach(router, "shadow")
    with pytest.raises(RefusedError, match="serves no user"):
        drain(world)


def test_a_flag_file_is_on_control_at_once(world, router, tmp_path):
    drain(world)
    target = FlagdFile(tmp_path / "flags.json")
    target.apply(Snapshot.from_text(world.store.route(ROUTE).snapshot))
    assert "targeting" not in json.loads((tmp_path / "flags.json").read_text("utf-8"))["flags"][ROUTE]


def test_the_start_of_a_conversation_is_read_off_a_uuid_of_version_7(world, router):
    def uuid7(at):
        millis = int(at.timestamp() * 1000)
        text = f"{millis:012x}7{uuid.uuid4().hex[13:16]}a{uuid.uuid4().hex[17:]}"
        return str(uuid.UUID(text))

    now = world.clock.now()
    assert abs((start_of(uuid7(now)) - now).total_seconds()) < 0.002
    for other in (str(uuid.uuid4()), "", "x" * 36, uuid7(now).replace("-", ""), uuid7(now)[:-1] + "é" * 2):
        assert start_of(other) is None
    opened = [uuid7(now - timedelta(hours=1)) for _ in range(100)]
    was = [router.assign(ROUTE, unit=unit).arm for unit in opened]
    drain(world)
    router.poll()
    assert [router.assign(ROUTE, unit=unit).arm for unit in opened] == was
    assert "candidate" in was
    assert {router.assign(ROUTE, unit=uuid7(world.clock.now())).arm for _ in range(100)} == {"control"}
