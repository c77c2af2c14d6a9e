"""Targets outside follow the routing by generation, and a rollback is not done before they have."""

from __future__ import annotations

import json

import pytest

from llmmigrate.exceptions import ExitCode
from llmmigrate.routing.assignment import bucket_of
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import downgrade, upgrade
from llmmigrate.targets import FlagdFile
from tests.conftest import ROUTE


def flag(file):
    return json.loads(file.read_text())["flags"][ROUTE]


def advance(world, target):
    world.store.telemetry.heartbeat(at=world.store.real_now())
    graph = world.graph()
    return upgrade(world.store, graph, ROUTE, graph.resolve(ROUTE).revision, actor="t", confirm_s=0, targets=[target])


def test_the_flag_file_carries_every_generation(world):
    world.write()
    file = world.folder / "flags.json"
    target = FlagdFile(file)
    advance(world, target)
    assert (flag(file)["metadata"]["generation"], "targeting" in flag(file)) == (2, False)
    with world.router() as router:
        for _ in range(60):
            if world.store.route(ROUTE).phase == "canary:25":
                break
            world.serve(router, 2000, over_s=6 * 3600)
            advance(world, target)
        state = world.store.route(ROUTE)
        assert flag(file)["metadata"]["generation"] == state.generation
        key, (name, share), _ = flag(file)["targeting"]["fractional"]
        assert (key["cat"], name, share) == ([state.revision, {"var": "targetingKey"}], "candidate", 25_000)
        router.poll()
        for unit in map(str, range(500)):
            theirs = "candidate" if bucket_of(f"{state.revision}{unit}") < share else "control"
            assert router.assign(ROUTE, unit=unit).arm == theirs


def test_a_rollback_is_not_done_before_the_target_has_followed(world):
    world.write()
    file = world.folder / "flags.json"
    target = FlagdFile(file)
    advance(world, target)
    file.unlink()
    file.mkdir()
    stuck = downgrade(world.store, ROUTE, actor="t", reason="x", confirm_s=0, targets=[target])
    assert stuck.state.status == "rolling_back"
    assert advance(world, target).exit_code is ExitCode.ROLLED_BACK
    assert world.store.route(ROUTE).status == "rolling_back"
    file.rmdir()
    assert advance(world, target).last.state.status == "rolled_back"
    assert flag(file)["metadata"]["generation"] == world.store.route(ROUTE).generation


def test_a_target_that_does_not_follow_keeps_an_attempt_where_it_is(world):
    world.write()
    file = world.folder / "flags.json"
    file.write_text("[]")
    result = advance(world, FlagdFile(file))
    assert result.last.state.phase == "regression"
    assert "not a flag file" in result.last.wait.reasons[0].detail


def test_somebody_who_edits_the_file_is_set_right_at_the_next_tick(world):
    world.write()
    file = world.folder / "flags.json"
    advance(world, FlagdFile(file))
    body = json.loads(file.read_text())
    body["flags"][ROUTE]["metadata"]["generation"] = 1
    body["flags"]["other"] = {"state": "ENABLED"}
    file.write_text(json.dumps(body))
    advance(world, FlagdFile(file))
    assert flag(file)["metadata"]["generation"] == 2
    assert json.loads(file.read_text())["flags"]["other"] == {"state": "ENABLED"}


def test_an_older_generation_never_replaces_a_newer_one(world):
    world.write()
    file = world.folder / "flags.json"
    target = FlagdFile(file)
    advance(world, target)
    state = world.store.route(ROUTE)
    old = Snapshot.from_text(state.snapshot)
    downgrade(world.store, ROUTE, actor="t", reason="x", targets=[target])
    target.apply(old)
    assert flag(file)["metadata"]["generation"] == state.generation + 1


@pytest.mark.parametrize("text", ["", "[]", '{"flags": 3}', '{"flags": {"a": 1}}', "\x00"])
def test_a_file_that_is_no_flag_file_is_never_overwritten(world, text):
    world.write()
    file = world.folder / "flags.json"
    file.write_text(text)
    advance(world, FlagdFile(file))
    assert file.read_text() == text


def test_the_configuration_names_the_file(world):
    from llmmigrate import settings

    config = world.folder / "llmmigrate.toml"
    config.write_text('flagd = "flags.json"\n' + config.read_text())
    assert settings.load(config, environ={}).flagd == world.folder / "flags.json"
