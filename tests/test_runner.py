"""Upgrade and downgrade as a whole: on no data nothing moves, and two at once act once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llmmigrate.exceptions import DocumentEdited, ExitCode
from llmmigrate.runner import downgrade
from tests.conftest import ROUTE

CLI = [sys.executable, "-m", "llmmigrate"]


def kinds(result):
    return {reason.kind for reason in result.last.wait.reasons}


def test_an_empty_route_holds_for_ever_with_its_reason(world):
    world.write()
    world.upgrade()
    before = world.store.history(ROUTE)
    for _ in range(90):
        world.clock.advance(86_400)
        result = world.upgrade()
        assert result.exit_code is ExitCode.HOLD
        assert "no data from the candidate yet: nothing passes on no data" in {
            reason.detail for reason in result.last.wait.reasons
        }
    assert world.store.history(ROUTE) == before
    assert world.store.route(ROUTE).phase == "shadow"


@pytest.mark.parametrize("phase", ["canary:5", "canary:100", "observation"])
def test_a_route_that_falls_silent_holds_where_it_is(world, phase):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, phase)
        for _ in range(40):
            world.clock.advance(86_400)
            assert world.upgrade().exit_code is ExitCode.HOLD
    assert world.store.route(ROUTE).phase == phase


def test_time_does_not_pass_while_data_are_away(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.serve(router, 3000, over_s=86_400)
        world.clock.advance(10 * 86_400)
        world.serve(router, 100)
        result = world.upgrade()
    assert "time" in kinds(result)
    assert world.store.route(ROUTE).phase == "shadow"


def test_a_good_migration_completes_and_its_target_is_the_new_control(world):
    revision = world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "observation")
        for _ in range(80):
            if world.upgrade().reached:
                break
            world.serve(router, 500, over_s=6 * 3600)
        state = world.store.route(ROUTE)
        assert (state.status, state.completed_revision) == ("completed", revision)
        router.poll()
        assert set(world.serve(router, 50)) == {"fake/new"}
        assert world.upgrade().exit_code is ExitCode.DONE


def test_a_bad_candidate_is_rolled_back_by_upgrade_itself(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:5")
        world.new.error = "overloaded"
        assert set(world.serve(router, 2000)) == {"fake/old"}
        result = world.upgrade()
        assert result.exit_code is ExitCode.ROLLED_BACK
        assert result.last.state.status == "rolling_back"
        router.poll()
        assert world.upgrade().last.state.status == "rolled_back"
        assert set(world.serve(router, 100)) == {"fake/old"}
    row = next(row for row in world.store.history(ROUTE) if row["event"] == "rolling_back")
    assert row["reason"].startswith("rollback[0]: error rate 100.0%")
    evidence = json.loads(row["evidence"])
    assert evidence["metrics"][0]["verdict"] == "fail"
    assert evidence["phase"] == "canary:5"


def test_a_rolled_back_attempt_is_final_and_a_retry_is_a_new_one(world):
    world.write()
    world.upgrade()
    downgrade(world.store, ROUTE, actor="t", reason="no")
    assert world.upgrade().exit_code is ExitCode.ROLLED_BACK
    result = world.upgrade(retry="the host is fixed")
    assert result.exit_code is ExitCode.HOLD
    state = world.store.route(ROUTE)
    assert (state.attempt, state.phase, state.status) == (2, "shadow", "running")
    assert world.store.history(ROUTE)[-2]["reason"] == "retry: the host is fixed"


def test_a_rolled_back_document_may_be_replaced_by_another(world):
    world.write()
    world.upgrade()
    downgrade(world.store, ROUTE, actor="t", reason="no")
    next(world.config.versions.glob("*.yaml")).unlink()
    second = world.write(target="fake/other")
    assert world.upgrade().exit_code is ExitCode.HOLD
    state = world.store.route(ROUTE)
    assert (state.revision, state.attempt, state.phase) == (second, 1, "shadow")


def test_an_edited_document_advances_no_further_but_still_rolls_back(world):
    world.write()
    world.upgrade()
    file = next(world.config.versions.glob("*.yaml"))
    with world.router() as router:
        world.reach(router, "canary:5")
        file.write_text(file.read_text().replace("above: 5%", "above: 50%"))
        world.serve(router, 2000, over_s=12 * 3600)
        result = world.upgrade()
        assert result.exit_code is ExitCode.UNFIT
        assert isinstance(result.unfit, DocumentEdited)
        assert result.last.state.phase == "canary:5"
        world.new.error = "overloaded"
        world.serve(router, 4000)
        assert world.upgrade().last.state.status == "rolling_back"


def test_downgrade_needs_no_document(world):
    world.write()
    world.upgrade()
    next(world.config.versions.glob("*.yaml")).write_text("broken: [")
    result = downgrade(world.store, ROUTE, actor="t", reason="no")
    assert (result.state.status, result.acted) == ("rolled_back", True)


@pytest.mark.parametrize("repetition", range(3))
def test_two_upgrades_at_once_act_once(world, repetition):
    """Four processes start together; the route moves once, and history has each step once."""
    world.write()
    processes = [
        subprocess.Popen(
            [*CLI, "-c", str(world.folder / "llmmigrate.toml"), "--format", "json", "upgrade"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [3] * 4, outputs
    moves = [move["event"] for out, _ in outputs for move in json.loads(out)["transitions"]]
    assert sorted(moves) == ["advanced", "started"]
    assert [(row["seq"], row["event"]) for row in world.store.history(ROUTE)] == [(1, "started"), (2, "advanced")]


def test_upgrade_and_downgrade_at_once_leave_one_linear_history(world):
    world.write()
    world.upgrade()
    commands = [["downgrade", "--reason", "x"], ["upgrade"]] * 3
    config = ["-c", str(world.folder / "llmmigrate.toml")]
    processes = [
        subprocess.Popen([*CLI, *config, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process, command in zip(processes, commands, strict=True):
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert process.returncode == 0 if command[0] == "downgrade" else process.returncode in (3, 5), (out, err)
    rows = world.store.history(ROUTE)
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert [row["event"] for row in rows][2:] == ["rolling_back", "rolled_back"]
