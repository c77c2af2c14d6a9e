"""An application of this release beside a controller of a later one: no request fails, and no candidate is guessed."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql

from llmmigrate.exceptions import TargetNotFound
from llmmigrate.routing import core
from llmmigrate.routing.snapshot import Snapshot, safe_part
from tests.conftest import ROUTE
from tests.project import straight_to_canary


def written_by_a_later_release(world, edit):
    """Put another routing of the next generation into the store, as a release to come would."""
    state = world.store.route(ROUTE)
    data = json.loads(state.snapshot)
    data["generation"] += 1
    edit(data)
    engine = create_engine(world.config.database_url)
    with engine.begin() as connection:
        connection.execute(
            sql("update llmmigrate_route set generation = :g, snapshot = :s where route = :r"),
            {"g": data["generation"], "s": json.dumps(data), "r": ROUTE},
        )
    engine.dispose()
    return data["generation"]


def arms(router):
    return {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)}


@pytest.mark.parametrize("edit", [lambda d: d.update(weather="sunny"), lambda d: d["candidate"].update(region="eu")])
def test_of_a_routing_with_unknown_rules_control_serves_everybody_and_says_which(world, edit, caplog):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        assert arms(router) == {"control", "candidate"}
        generation = written_by_a_later_release(world, edit)
        router.poll()
        assert arms(router) == {"control"}
        assert "was written by a later release, control serves everybody" in caplog.text
        (replica,) = world.store.telemetry.replicas()
        assert replica.generations == {ROUTE: generation}  # a rollback can be confirmed by it
        assert router.completion(route=ROUTE, messages=[], unit="u").text == "by fake/old"


def test_a_control_that_cannot_be_read_is_not_guessed_and_the_lease_ends(world, caplog):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        lease = router.following.lease_until
        generation = written_by_a_later_release(world, lambda data: data["control"].update(region="eu"))
        router.poll()
        router.poll()
        assert router.following.lease_until == lease
        assert caplog.text.count("cannot be read") == 1
        assert world.store.telemetry.replicas()[0].generations == {ROUTE: generation - 1}
        with world.router() as another:  # it starts, and says why it does not know the route
            with pytest.raises(TargetNotFound) as refused:
                another.assign(ROUTE, unit="u")
            assert "later release" in str(refused.value.hint)


@pytest.mark.parametrize("text", ["{}", "[]", "null", "7", '{"control": {}}', "{", '{"control": 1, "route": "r"}'])
def test_what_is_no_routing_is_one_error(text):
    for read in (Snapshot.from_text, safe_part):
        with pytest.raises(ValueError, match="another release"):
            read(text)


def test_a_router_that_cannot_close_at_exit_keeps_no_other_from_it(world, monkeypatch, caplog):
    world.write()
    world.upgrade()
    first, second = world.router(), world.router()
    closed = []
    for router in (first, second):

        def close(router=router):
            closed.append(router)
            raise RuntimeError("broken")

        monkeypatch.setattr(router, "close", close)
    monkeypatch.setattr(core, "routers", {first, second})
    core._at_exit()
    assert len(closed) == 2
    assert caplog.text.count("a router could not be closed") == 2
    monkeypatch.undo()
    first.close()
    second.close()
