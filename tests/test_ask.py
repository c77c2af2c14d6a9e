"""What a person may ask of an attempt, what it changes, and what is refused."""

from __future__ import annotations

import json
import sqlite3

import pytest

from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import ask, downgrade, undo
from tests.conftest import ROUTE, both_backends
from tests.invariants import broken


def events(world):
    return [row["event"] for row in world.store.history(ROUTE)]


def steps(world):
    return [share for _, share in Snapshot.from_text(world.store.route(ROUTE).snapshot).steps]


def with_approvers(text):
    return text.replace("rollback: [on-call]", "approvers: {canary: [ml-leads], 'canary:100': [ml-leads, product]}")


@both_backends
def test_pause_and_resume_begin_the_evidence_anew(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:25")
        ask.pause(world.store, ROUTE, actor="t", reason="launch day")
        with pytest.raises(RefusedError, match="paused already"):
            ask.pause(world.store, ROUTE, actor="t", reason="x")
        world.serve(router, 4000, over_s=12 * 3600)
        assert world.upgrade().exit_code is ExitCode.PAUSED
        before = world.store.route(ROUTE)
        after = ask.resume(world.store, ROUTE, actor="t", reason="over")
        assert (after.status, after.phase, after.generation) == ("running", "canary:25", before.generation + 1)
        result = world.upgrade()
        assert result.exit_code is ExitCode.HOLD
        assert "no data from the candidate yet" in result.last.wait.reasons[0].detail
    with pytest.raises(RefusedError, match="not paused"):
        ask.resume(world.store, ROUTE, actor="t", reason="x")
    assert broken(world.store) == []


def test_a_paused_attempt_is_still_rolled_back_by_its_trigger(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:25")
        ask.pause(world.store, ROUTE, actor="t", reason="x")
        router.poll()
        world.new.error = "overloaded"
        world.serve(router, 2000)
        assert world.upgrade().last.state.status == "rolling_back"


def test_an_accepted_risk_pauses_no_more_but_its_rollback_rule_stays(world):
    world.write()
    world.upgrade()
    world.new.tokens = 200
    with world.router() as router:
        world.serve(router, 4000, over_s=3 * 86_400)
        assert world.upgrade().exit_code is ExitCode.PAUSED
        with pytest.raises(RefusedError, match="no rule of"):
            ask.accept_risk(world.store, ROUTE, "latency_p99", actor="t", reason="x")
        ask.accept_risk(world.store, ROUTE, "tokens_per_request", actor="maria", reason="worth it")
        ask.resume(world.store, ROUTE, actor="maria", reason="accepted")
        world.reach(router, "canary:5")
        assert world.store.history(ROUTE)[-1]["reason"].endswith("accepted by a person: tokens_per_request")
        router.poll()
        world.new.error = "overloaded"
        world.serve(router, 4000)
        assert world.upgrade().last.state.status == "rolling_back"
        router.poll()
        world.upgrade()
        assert world.upgrade(retry="again").last.state.accepted == ()


def test_going_a_step_back_never_serves_more(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:50")
        router.poll()
        for stage in ("canary:100", "canary:50", "canary:7", "observation"):
            with pytest.raises(RefusedError):
                ask.step_back(world.store, ROUTE, stage, actor="t", reason="x")
        state = ask.step_back(world.store, ROUTE, "canary:5", actor="t", reason="complaints")
        assert (state.phase, state.status, set(steps(world))) == ("canary:5", "running", {0.05})
        router.poll()
        arms = [router.assign(ROUTE, unit=f"u{n}").arm for n in range(2000)]
        assert arms.count("candidate") / 2000 == pytest.approx(0.05, abs=0.02)
        ask.step_back(world.store, ROUTE, "shadow", actor="t", reason="complaints")
        assert steps(world) == []
        world.reach(router, "canary:25")
        assert steps(world) == [0.05, 0.25]
    assert broken(world.store) == []


@both_backends
def test_a_stage_with_approvers_waits_for_one_of_each_group(world):
    world.write(with_approvers)
    world.upgrade()
    with world.router() as router:
        with pytest.raises(RefusedError, match="comes next, not canary:25"):
            ask.approve(world.store, ROUTE, "canary:25", ["ml-leads"], actor="maria")
        world.serve(router, 20_000, over_s=3 * 86_400)
        result = world.upgrade()
        assert result.exit_code is ExitCode.HOLD
        assert [(r.kind, r.detail.split(":")[0]) for r in result.last.wait.reasons] == [
            ("approval", "ml-leads must approve canary")
        ]
        with pytest.raises(RefusedError, match="needs ml-leads, not product"):
            ask.approve(world.store, ROUTE, "canary:5", ["product"], actor="paul")
        ask.approve(world.store, ROUTE, "canary:5", ["ml-leads"], actor="maria", comment="read 50 answers")
        row = world.store.history(ROUTE)[-1]
        assert (row["event"], row["actor"]) == ("approved", "maria")
        assert json.loads(row["evidence"])["metrics"][0]["verdict"] == "pass"
        assert world.upgrade().last.state.phase == "canary:5"
        world.reach(router, "canary:50")
        world.serve(router, 4000, over_s=12 * 3600)
        for group in ("ml-leads", "product"):
            assert world.upgrade().last.state.phase == "canary:50"
            ask.approve(world.store, ROUTE, "canary:100", [group], actor=group)
        assert world.upgrade().last.state.phase == "canary:100"
    assert broken(world.store) == []


def test_an_approval_is_bound_to_document_and_generation(world):
    world.write(with_approvers)
    world.upgrade()
    with world.router() as router:
        world.serve(router, 20_000, over_s=3 * 86_400)
        ask.approve(world.store, ROUTE, "canary:5", ["ml-leads"], actor="maria")
        state = world.store.route(ROUTE)
        assert world.store.approved(state, "canary:5") == {"ml-leads"}
        assert world.store.approved(state, "canary:25") == frozenset()
        ask.pause(world.store, ROUTE, actor="t", reason="x")
        ask.resume(world.store, ROUTE, actor="t", reason="x")
        assert world.store.approved(world.store.route(ROUTE), "canary:5") == frozenset()
        ask.approve(world.store, ROUTE, "canary:5", ["ml-leads"], actor="maria")
        file = next(world.config.versions.glob("*.yaml"))
        file.write_text(file.read_text().replace("above: 5%", "above: 6%"))
        document = world.graph().head(ROUTE)
        ask.repair(world.store, ROUTE, document, actor="t", reason="typing error")
        assert world.store.approved(world.store.route(ROUTE), "canary:5") == frozenset()


def test_a_missing_approval_is_waited_for_and_never_pauses(world):
    world.write(with_approvers)
    world.upgrade()
    with world.router() as router:
        for _ in range(15):
            world.serve(router, 3000, over_s=86_400)
            assert world.upgrade().exit_code is ExitCode.HOLD


@both_backends
def test_repair_puts_an_edited_document_in_force_on_record(world):
    world.write()
    world.upgrade()
    document = world.graph().head(ROUTE)
    with pytest.raises(RefusedError, match="nothing to repair"):
        ask.repair(world.store, ROUTE, document, actor="t", reason="x")
    file = next(world.config.versions.glob("*.yaml"))
    file.write_text(file.read_text().replace("above: 5%", "above: 8%"))
    assert world.upgrade().exit_code is ExitCode.UNFIT
    ask.repair(world.store, ROUTE, world.graph().head(ROUTE), actor="maria", reason="the limit was a typing error")
    assert world.upgrade().exit_code is ExitCode.HOLD
    row = world.store.history(ROUTE)[-1]
    assert (row["event"], row["actor"], "above: 8%" in row["document"]) == ("repaired", "maria", True)
    assert broken(world.store) == []


def test_the_next_document_knows_the_limits_of_what_serves_then(world):
    world.write(lambda text: text.replace("\ntarget:", "\ntarget:\n  limits: {rpm: 900}"))
    world.write(target="fake/third")
    migration = world.graph().head(ROUTE).migration
    assert migration.current.limits.rpm == 900
    assert migration.target.limits is None


def test_a_raised_quota_is_repaired_while_the_model_is_served(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:25")
    file = next(world.config.versions.glob("*.yaml"))
    file.write_text(file.read_text().replace("\ntarget:", "\ntarget:\n  limits: {rpm: 900}"))
    before = world.store.route(ROUTE)
    after = ask.repair(world.store, ROUTE, world.graph().head(ROUTE), actor="t", reason="the quota was raised")
    assert (after.status, after.phase) == (before.status, before.phase)
    assert broken(world.store) == []


def test_repair_refuses_a_document_without_the_present_stage(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:25")
    file = next(world.config.versions.glob("*.yaml"))
    file.write_text(file.read_text().replace("    - {traffic: 25%, hold: 6h..48h}\n", ""))
    with pytest.raises(RefusedError, match="no stage canary:25"):
        ask.repair(world.store, ROUTE, world.graph().head(ROUTE), actor="t", reason="x")


@both_backends
def test_stamp_says_where_a_route_stands(world):
    first = world.write()
    second = world.write(target="fake/third")
    state = ask.stamp(world.store, world.graph(), ROUTE, first, actor="t", reason="by hand")
    assert (state.status, state.completed_revision) == ("completed", first)
    assert Snapshot.from_text(state.snapshot).control.model == "fake/new"
    assert world.upgrade().last.state.revision == second
    with pytest.raises(RefusedError, match="under way"):
        ask.stamp(world.store, world.graph(), ROUTE, first, actor="t", reason="x")
    downgrade(world.store, ROUTE, actor="t", reason="x")
    state = ask.stamp(world.store, world.graph(), ROUTE, None, actor="t", reason="from the start")
    assert (state.status, state.completed_revision) == ("pending", None)
    assert Snapshot.from_text(state.snapshot).control.model == "fake/old"
    with pytest.raises(RefusedError, match="has no revision"):
        ask.stamp(world.store, world.graph(), ROUTE, "nothing", actor="t", reason="x")
    assert broken(world.store) == []


@both_backends
def test_undo_goes_below_what_is_completed_and_never_one_too_many(world):
    first = world.write()
    second = world.write(target="fake/third")
    ask.stamp(world.store, world.graph(), ROUTE, first, actor="t", reason="x")
    ask.stamp(world.store, world.graph(), ROUTE, second, actor="t", reason="x")
    done = undo(world.store, ROUTE, first, expect=second, actor="t", reason="complaints")
    assert (done.state.status, done.state.completed_revision) == ("rolled_back", first)
    assert Snapshot.from_text(done.state.snapshot).control.model == "fake/new"
    with pytest.raises(RefusedError, match=f"stands on {first}, not {second}"):
        undo(world.store, ROUTE, first, expect=second, actor="t", reason="complaints")
    done = undo(world.store, ROUTE, None, expect=first, actor="t", reason="all of it")
    assert done.state.completed_revision is None
    assert Snapshot.from_text(done.state.snapshot).control.model == "fake/old"
    assert broken(world.store) == []


def test_extend_lengthens_only_the_present_hold(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:5")
        ask.extend(world.store, ROUTE, 3600, actor="t", reason="x")
        ask.extend(world.store, ROUTE, 3600, actor="t", reason="x")
        assert world.store.route(ROUTE).extended_s == 7200
        world.reach(router, "canary:25")
        assert world.store.route(ROUTE).extended_s == 0


def test_nothing_can_be_asked_where_nothing_is_under_way(world):
    world.write()
    for request in (
        lambda: ask.pause(world.store, ROUTE, actor="t", reason="x"),
        lambda: ask.resume(world.store, ROUTE, actor="t", reason="x"),
        lambda: ask.extend(world.store, ROUTE, 5, actor="t", reason="x"),
        lambda: ask.accept_risk(world.store, ROUTE, "error_rate", actor="t", reason="x"),
        lambda: ask.approve(world.store, ROUTE, "shadow", ["ml-leads"], actor="t"),
        lambda: ask.unattend(world.store, ROUTE, actor="t", reason="x"),
    ):
        with pytest.raises(RefusedError):
            request()
    assert world.store.history(ROUTE) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE llmmigrate_history SET reason = 'never' WHERE seq = 2", "row 2 was altered"),
        ("UPDATE llmmigrate_history SET evidence = '{}' WHERE seq = 3", "row 3 was altered"),
        ("DELETE FROM llmmigrate_history WHERE seq = 2", "row 2 is missing"),
        ("DELETE FROM llmmigrate_history WHERE seq = 4", "row 4 is missing"),
        ("UPDATE llmmigrate_history SET seq = 9 WHERE seq = 3", "row 3 is missing"),
        ("UPDATE llmmigrate_route SET status = 'completed'", "not that of row 4"),
        ("UPDATE llmmigrate_route SET generation = 99", "not that of row 4"),
        ("DELETE FROM llmmigrate_route", "state is gone"),
    ],
)
def test_verify_names_the_first_altered_or_missing_row(world, statement, words):
    world.write()
    world.upgrade()
    downgrade(world.store, ROUTE, actor="t", reason="x")
    assert world.store.verify() == []
    connection = sqlite3.connect(world.folder / "llmmigrate.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    [fault] = world.store.verify()
    assert words in fault
