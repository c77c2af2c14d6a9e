"""The controller: one leads, others stand by, and nobody watching fails closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from threading import Event, Thread

import pytest

from llmmigrate import scaffold
from llmmigrate.exceptions import DocumentInvalid, ExitCode, MultipleHeads, StoreUnavailable
from llmmigrate.graph import Graph
from llmmigrate.runner import Controller, ask, upgrade
from llmmigrate.runner.controller import LEASE
from tests.conftest import ROUTE, both_backends


def controller(world, **options):
    return Controller(world.store, world.graph, actor="t", interval_s=0.4, **options)


def run_in_background(one):
    stop = Event()
    thread = Thread(target=one.run, args=(stop,))
    thread.start()
    return stop, thread


def holder(world):
    found = world.store.telemetry.lease(LEASE)
    return found.holder if found else None


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@both_backends
def test_a_round_moves_every_route_and_gives_a_sign_of_life(world):
    world.write()
    [looked] = controller(world).once()
    assert (looked.tick.state.phase, looked.error) == ("shadow", None)
    assert world.store.telemetry.last_heartbeat().beat == 1


@both_backends
def test_a_second_instance_stands_by_and_takes_over_within_two_intervals(world):
    world.write()
    first, second = controller(world), controller(world)
    stop_first, one = run_in_background(first)
    assert until(lambda: holder(world) == first.holder)
    stop_second, two = run_in_background(second)
    time.sleep(1.0)
    assert holder(world) == first.holder
    # the first dies without a word: it only stops beating
    first._lead = lambda: False
    died = time.monotonic()
    assert until(lambda: holder(world) == second.holder)
    assert time.monotonic() - died < 2 * 0.4 + 1.0
    for stop, thread in ((stop_first, one), (stop_second, two)):
        stop.set()
        thread.join(10)


@both_backends
def test_a_controller_that_ends_in_order_gives_its_lease_back(world):
    world.write()
    stop, thread = run_in_background(controller(world))
    assert until(lambda: holder(world) is not None)
    stop.set()
    thread.join(10)
    assert holder(world) is None


@both_backends
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_steals_no_lease(world, monkeypatch, hours):
    first, second = controller(world), controller(world)
    assert first._lead()
    assert not second._lead()
    real = world.store.real_now
    monkeypatch.setattr(world.store, "real_now", lambda: real() + timedelta(hours=hours))
    assert not second._lead()
    assert first._lead()
    assert not second._lead()
    assert holder(world) == first.holder


@both_backends
def test_of_two_that_see_a_dead_lease_one_takes_it(world):
    first, second, third = controller(world), controller(world), controller(world)
    assert first._lead()
    assert not second._lead()
    assert not third._lead()
    time.sleep(0.5)
    assert [second._lead(), third._lead()] == [True, False]


def test_a_canary_is_not_entered_while_nobody_watches(world):
    world.write()
    world.watched = False
    world.upgrade()
    with world.router() as router:
        world.serve(router, 20_000, over_s=3 * 86_400)
        result = world.upgrade()
        assert result.exit_code is ExitCode.HOLD
        assert [reason.kind for reason in result.last.wait.reasons] == ["trigger"]
        assert "nobody is watching" in result.last.wait.reasons[0].detail
        ask.unattend(world.store, ROUTE, actor="t", reason="a small route")
        assert world.upgrade().last.state.phase == "canary:5"
    assert [row["event"] for row in world.store.history(ROUTE)][-2:] == ["unattended", "advanced"]


def test_routers_serve_control_when_the_controller_falls_silent(world, monkeypatch):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:50")
        router.poll()
        assert "candidate" in {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)}
        later = time.monotonic() + 901
        with monkeypatch.context() as patched:
            patched.setattr("llmmigrate.routing.core.time.monotonic", lambda: later)
            router.poll()
            assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)} == {"control"}
            world.store.telemetry.heartbeat(at=world.store.real_now())
            router.poll()
            assert "candidate" in {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)}


def test_a_router_that_starts_later_believes_no_old_sign_of_life(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:50")
    world.store.telemetry.heartbeat(at=world.store.real_now() - timedelta(minutes=20))
    with world.router() as router:
        assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)} == {"control"}


def test_documents_that_are_not_fit_stop_nothing_but_progress(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:5")
        next(world.config.versions.glob("*.yaml")).write_text("broken: [")
        [looked] = controller(world).once()
        assert isinstance(looked.error, DocumentInvalid)
        assert looked.tick.state.status == "running"
        world.new.error = "overloaded"
        world.serve(router, 3000)
        [looked] = controller(world).once()
        assert looked.tick.state.status == "rolling_back"
        router.poll()
        assert controller(world).once()[0].tick.state.status == "rolled_back"


def test_the_controller_begins_nothing_after_a_rollback(world):
    world.write()
    world.upgrade()
    from llmmigrate.runner import downgrade

    downgrade(world.store, ROUTE, actor="t", reason="x")
    next(world.config.versions.glob("*.yaml")).unlink()
    world.write(target="fake/other")
    [looked] = controller(world).once()
    assert looked.tick.state.status == "rolled_back"
    assert world.upgrade().last.state.phase == "shadow"


def test_a_store_that_is_away_for_a_moment_is_asked_again(world, monkeypatch):
    world.write()
    real, failures = world.store.route, [StoreUnavailable("away"), StoreUnavailable("away")]

    def flaky(name):
        if failures:
            raise failures.pop()
        return real(name)

    monkeypatch.setattr(world.store, "route", flaky)
    graph, pauses = world.graph(), []
    head = graph.resolve(ROUTE).revision
    result = upgrade(world.store, graph, ROUTE, head, actor="t", sleep=pauses.append)
    assert (result.last.state.phase, pauses) == ("shadow", [0.5, 1.0])


def test_a_store_that_stays_away_is_an_error(world, monkeypatch):
    world.write()

    def away(name):
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.store, "route", away)
    graph = world.graph()
    head = graph.resolve(ROUTE).revision
    with pytest.raises(StoreUnavailable):
        upgrade(world.store, graph, ROUTE, head, actor="t", sleep=lambda _: None)


def test_run_as_a_process_ends_in_order_on_sigterm(world):
    world.write()
    command = [sys.executable, "-m", "llmmigrate", "-c", str(world.folder / "llmmigrate.toml"), "run"]
    process = subprocess.Popen(
        [*command, "--interval", "1s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert until(lambda: world.store.route(ROUTE).phase == "shadow", 60)
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "regression → shadow" in out
    assert "Ended in order" in out
    assert holder(world) is None


def test_a_killed_process_is_replaced(world):
    world.write()
    command = [sys.executable, "-m", "llmmigrate", "-c", str(world.folder / "llmmigrate.toml"), "run"]
    process = subprocess.Popen([*command, "--interval", "1s"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert until(lambda: holder(world) is not None, 60)
    finally:
        process.kill()
        process.communicate()
    second = controller(world)
    stop, thread = run_in_background(second)
    assert until(lambda: holder(world) == second.holder, 10)
    stop.set()
    thread.join(10)


@pytest.mark.parametrize(("interval", "code"), [("0s", 2), ("6m", 2), ("60", 2)])
def test_an_interval_that_would_lose_the_routers_is_refused(world, interval, code):
    command = [sys.executable, "-m", "llmmigrate", "-c", str(world.folder / "llmmigrate.toml"), "run", "--once"]
    done = subprocess.run([*command, "--interval", interval], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "--interval" in done.stderr


def test_an_empty_graph_is_no_error(world):
    assert Controller(world.store, lambda: Graph([]), actor="t").once() == []


def test_a_fault_of_one_route_lets_others_advance_and_its_own_triggers_fire(world):
    world.write()
    world.upgrade()
    scaffold.new(
        world.config,
        world.graph(),
        message="Other",
        route="other",
        current="a/b",
        target="c/d",
        driver="t",
        now=world.clock.now(),
        template="demo",
    )
    [file] = world.config.versions.glob("*move_support*.yaml")
    own = world.graph().head(ROUTE).migration.revision
    (file.parent / "twin.yaml").write_text(file.read_text().replace(own, "twin1"))
    other, faulty = controller(world).once()
    assert (other.tick.state.phase, other.error) == ("shadow", None)
    assert (faulty.route, faulty.tick.state.status, faulty.error.heads) == (ROUTE, "running", (own, "twin1"))
    world.new.error = "timeout"
    with world.router() as router:
        world.serve(router, 300, over_s=600)
    looked = controller(world)
    looked.once()
    _, faulty = looked.once()
    assert faulty.tick.state.status == "rolled_back"
    assert isinstance(faulty.error, MultipleHeads)
