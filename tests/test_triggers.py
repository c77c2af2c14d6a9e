"""Triggers beyond a rule on a metric: any metric, input types, projections, incidents, and a split that is broken."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document import load_text
from llmmigrate.gates import event_increase, event_share, sample_ratio_log_e
from llmmigrate.gates.late import advance
from llmmigrate.gates.questions import ALPHA, LATE_CHANGE_SHARE, RESTARTS_S, alpha_of_split, questions, worse_of
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.lifecycle import Transition, next_step
from llmmigrate.metrics.cells import Cell, unpack
from llmmigrate.metrics.counting import MAX_INPUT_TYPES, SPLIT, UNIT_BUCKETS, Tally
from llmmigrate.stages import plan_of
from llmmigrate.store.folding import by_arm, read_cells
from llmmigrate.support import unsupported
from tests.conftest import ROUTE, START
from tests.test_document import EXAMPLE
from tests.test_gates import cell, errors
from tests.test_late import Rig
from tests.test_lifecycle import good, running
from tests.test_quantiles import lognormal, timed
from tests.test_rules import migration

WORSE = migration('{metric: "*", worse: true}', section="pause")


def verdicts(document, stage="shadow", types=None, kept=None, **cells):
    plan = plan_of(document)
    keyed = {tuple(name.split("_", 1)): value for name, value in cells.items()}
    return evaluate(document, plan, plan.stage(stage), keyed, types=types, kept=kept)


def of_rule(found, rule):
    return [verdict for verdict in found if verdict.rule.partition(":")[0] == rule]


def test_any_metric_that_is_credibly_worse_pauses_by_its_name():
    """Tokens +10% are inside their limit of 20%, and more than a quarter of it worse."""
    base = np.random.default_rng(3).normal(400, 80, 8000)
    cells = {
        "control_error_rate": errors(8000, 40),
        "candidate_error_rate": errors(8000, 44),
        "control_tokens_per_request": cell(base),
        "candidate_tokens_per_request": cell(base[::-1] * 1.1),
    }
    failed, summary = of_rule(verdicts(WORSE, **cells), "pause[0]")
    assert (failed.metric, failed.verdict, failed.action) == ("tokens_per_request", "fail", "pause")
    assert failed.limit == pytest.approx(0.05)
    assert (summary.metric, summary.verdict, summary.need) == ("*", "hold", "watch")
    cells["candidate_tokens_per_request"] = cell(base[::-1] * 1.02)
    [alone] = of_rule(verdicts(WORSE, **cells), "pause[0]")
    assert alone.verdict == "pass"
    assert "none of 2 metrics" in alone.reason


def test_any_metric_of_too_few_requests_holds():
    [found] = of_rule(
        verdicts(WORSE, control_error_rate=errors(5000, 5), candidate_error_rate=errors(299, 0)), "pause[0]"
    )
    assert (found.verdict, found.n_candidate) == ("hold", 0)
    assert "300 requests of both arms" in found.reason


def test_times_and_scores_are_worse_in_their_own_direction():
    random = np.random.default_rng(4)
    cells = {
        "control_latency": timed(lognormal(random, 20_000)),
        "candidate_latency": timed(lognormal(random, 20_000) * 0.5),
        "control_schema_validity": errors(20_000, 19_000),
        "candidate_schema_validity": errors(20_000, 19_900),
    }
    [summary] = of_rule(verdicts(WORSE, **cells), "pause[0]")
    assert summary.verdict == "pass"
    cells["candidate_latency"], cells["control_latency"] = cells["control_latency"], cells["candidate_latency"]
    slower = {verdict.metric for verdict in of_rule(verdicts(WORSE, **cells), "pause[0]")}
    assert slower == {"latency_p50", "latency_p95", "latency_p99", "*"}
    cells["candidate_schema_validity"], cells["control_schema_validity"] = (
        cells["control_schema_validity"],
        cells["candidate_schema_validity"],
    )
    assert "schema_validity" in {verdict.metric for verdict in of_rule(verdicts(WORSE, **cells), "pause[0]")}


def test_what_is_worse_late_is_seen_after_a_restart_too():
    plan = plan_of(WORSE)
    [question] = [one for one in questions(WORSE, plan, plan.stage("shadow")) if one.rule.worse]
    assert {one.metric.name for one in worse_of(question, WORSE)} >= {"error_rate", "latency_p95", "tokens_per_request"}
    first = advance(WORSE, plan, plan.stage("shadow"), {("candidate", "latency"): timed([1.0])}, {}, now=START)
    again = advance(
        WORSE,
        plan,
        plan.stage("shadow"),
        {("candidate", "latency"): timed([1.0])},
        {name: (START.replace(year=2020), text) for name, text in first.items()},
        now=START,
    )
    assert set(unpack(again["restart:6h"])) == {("candidate", "latency")}


BY_TYPE = migration("{metric: refusal_rate, change: 5pp, by: input_type}", section="pause")


def test_each_input_type_is_looked_at_by_itself():
    types = {
        name: {("control", "refusal_rate"): errors(n, n // 50), ("candidate", "refusal_rate"): errors(n, bad)}
        for name, n, bad in (("billing", 3000, 900), ("travel", 3000, 60), ("rare", 200, 150))
    }
    pooled = {
        "control_refusal_rate": errors(60_000, 1200),
        "candidate_refusal_rate": errors(60_000, 2000),
    }
    found = of_rule(verdicts(BY_TYPE, types=types, **pooled), "pause[0]")
    assert [(one.title, one.verdict, one.need) for one in found] == [
        ("refusals", "pass", "prove"),
        ("refusals, billing", "fail", "watch"),
        ("refusals, travel", "pass", "watch"),
    ]
    assert found[1].n_candidate == 3000


def test_input_types_without_end_share_what_was_kept_for_them():
    some = {("control", "refusal_rate"): errors(400, 8), ("candidate", "refusal_rate"): errors(400, 8)}
    found = of_rule(verdicts(BY_TYPE, types={f"t{number}": some for number in range(80)}), "pause[0]")
    assert len(found) == 1 + MAX_INPUT_TYPES


def projecting(figure):
    text = EXAMPLE.replace("increase: 20%}\npause:", "increase: 20%, baseline: projection}\npause:")
    assert text != EXAMPLE
    if figure:
        text = text.replace(
            "rollback_procedure:", f"monitoring: {{projection: {{cost_per_request: {figure}}}}}\nrollback_procedure:"
        )
    return load_text(text, "d.yaml").migration


@pytest.mark.parametrize(("factor", "answer"), [(1.0, "pass"), (1.2, "hold"), (1.5, "fail")])
def test_a_projection_needs_no_control(factor, answer):
    costs = np.random.default_rng(5).gamma(4, 0.0025, 6000) * factor
    document = projecting("$0.01")
    [found] = of_rule(verdicts(document, candidate_cost_per_request=cell(costs)), "rollback[4]")
    assert (found.verdict, found.n_control) == (answer, 0)
    assert list(unsupported(document)) == []


def test_a_projection_that_was_never_made_holds():
    costs = cell([0.01] * 5000)
    [found] = of_rule(
        verdicts(projecting(None), candidate_cost_per_request=costs, control_cost_per_request=costs), "rollback[4]"
    )
    assert found.verdict == "hold"
    assert "projects no cost" in found.reason


def test_skewed_costs_need_more_requests():
    """One request in fifty costs a hundred times as much: CV^2 is about 30."""
    costs = np.where(np.arange(5000) % 50 == 0, 1.0, 0.01)
    cells = {"control_cost_per_request": cell(costs, 63), "candidate_cost_per_request": cell(costs, 63)}
    document = load_text(EXAMPLE, "d.yaml").migration
    [found] = of_rule(verdicts(document, **cells), "rollback[4]")
    assert found.verdict == "hold"
    assert found.reason.startswith("5,000 of ")
    even = {name: cell(np.full(5000, 0.01) + np.arange(5000) % 7 * 1e-3) for name in cells}
    assert of_rule(verdicts(document, **even), "rollback[4]")[0].verdict == "pass"


@pytest.mark.parametrize(
    ("control", "candidate", "action"),
    [
        (errors(8000, 960), errors(2000, 240), "pause"),
        (errors(8000, 40), errors(2000, 240), "rollback"),
        (errors(8000, 960), errors(2000, 900), "rollback"),
        (None, errors(2000, 240), "rollback"),
    ],
)
def test_what_control_suffers_too_is_an_incident(control, candidate, action):
    cells = {"candidate_error_rate": candidate} | ({"control_error_rate": control} if control else {})
    [found] = of_rule(verdicts(load_text(EXAMPLE, "d.yaml").migration, "canary:25", **cells), "rollback[0]")
    assert (found.verdict, found.action) == ("fail", action)
    assert ("incident" in found.note) == (action == "pause")


@pytest.mark.parametrize(("slow", "action"), [(2.5, "pause"), (1.0, "rollback")])
def test_a_slow_control_makes_a_slow_candidate_an_incident(slow, action):
    random = np.random.default_rng(6)
    document = migration("{metric: latency_p95, above: 4s}")
    cells = {
        "control_latency": timed(lognormal(random, 4000) * slow),
        "candidate_latency": timed(lognormal(random, 4000) * 2.5),
    }
    [found] = of_rule(verdicts(document, "canary:25", **cells), "rollback[0]")
    assert (found.verdict, found.action) == ("fail", action)


@pytest.mark.parametrize("shared", [True, False])
def test_an_incident_that_comes_late_is_one_too(shared):
    rig = Rig()
    rig.minute(600, error_rate=0.01)
    control = rig.tallies["control", "error_rate"] = Tally()
    for _ in range(9000):
        control.add(int(rig.random.integers(64)), float(rig.random.random() < 0.01))
    rig.take()
    for _ in range(60):
        for _ in range(150):
            control.add(int(rig.random.integers(64)), float(rig.random.random() < (0.2 if shared else 0.01)))
        rig.minute(error_rate=0.2)
    found = rig.verdict("rollback[2]")
    assert (found.verdict, found.action) == ("fail", "pause" if shared else "rollback")


def test_an_incident_pauses_and_says_so():
    plan = plan_of(load_text(EXAMPLE, "d.yaml").migration)
    cells = {"control_error_rate": errors(8000, 960), "candidate_error_rate": errors(2000, 240)}
    found = verdicts(load_text(EXAMPLE, "d.yaml").migration, "canary:25", **cells)
    facts = good("canary:25")
    moved = next_step(plan, running("canary:25"), type(facts)(now=facts.now, verdicts=tuple(found)))
    assert isinstance(moved, Transition)
    assert moved.event == "paused"
    assert "an incident, not the migration" in moved.reason


def split_cells(n, candidate, share, buckets=UNIT_BUCKETS):
    """Count n decisions of which some went to the candidate, all at one expected share."""
    tallies = {"control": Tally(), "candidate": Tally()}
    for number in range(n):
        arm = "candidate" if number % n < candidate else "control"
        tallies[arm].add(number % buckets, share)
    return {f"{arm}_{SPLIT}": Cell.of(found) for arm, found in tallies.items()}


@pytest.mark.parametrize(
    ("n", "candidate", "share", "answer"),
    [
        (20_000, 1000, 0.05, "pass"),
        (20_000, 1040, 0.05, "pass"),
        (20_000, 1500, 0.05, "fail"),
        (20_000, 600, 0.05, "fail"),
        (20_000, 19_000, 0.95, "pass"),
        (20_000, 17_000, 0.95, "fail"),
        (0, 0, 0.05, "hold"),
        (1000, 0, 0.0, "pass"),
        (1000, 200, 0.0, "fail"),
    ],
)
def test_a_split_that_is_not_what_was_assigned_pauses(n, candidate, share, answer):
    document = load_text(EXAMPLE, "d.yaml").migration
    [found] = of_rule(verdicts(document, "canary:5", **split_cells(n, candidate, share)), SPLIT)
    assert (found.verdict, found.action, found.need) == (answer, "pause", "watch")
    if answer == "fail":
        assert "the data are broken" in found.reason


def test_conversations_that_last_do_not_break_the_split():
    """Ten long conversations on the candidate are ten units of chance, not a thousand requests."""
    document = load_text(EXAMPLE, "d.yaml").migration
    cells = split_cells(4000, 200, 0.05)
    longer = Tally()
    for bucket in range(3):
        for _ in range(100):
            longer.add(bucket, 0.05)
    cells[f"candidate_{SPLIT}"] = cells[f"candidate_{SPLIT}"].plus(Cell.of(longer))
    assert of_rule(verdicts(document, "canary:5", **cells), SPLIT)[0].verdict != "fail"


def test_no_split_is_looked_for_where_both_arms_answer_everything():
    assert of_rule(verdicts(load_text(EXAMPLE, "d.yaml").migration), SPLIT) == []


def test_routers_count_the_split_by_the_share_at_the_start_of_a_conversation(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.reach(router, "canary:5")
        router.poll()
        before = START.isoformat()
        for number in range(4000):
            router.assign(ROUTE, unit=f"new-{number}")
            router.assign(ROUTE, unit=f"old-{number}", started_at=before)
        router.flush()
    world.upgrade()
    generation = world.store.route(ROUTE).generation
    with world.store.telemetry.reading() as connection:
        cells = by_arm(read_cells(connection, ROUTE, generation))
    control, candidate = cells["control", SPLIT], cells["candidate", SPLIT]
    assert control.n + candidate.n == 8000
    assert control.total + candidate.total == pytest.approx(4000 * 0.05)
    assert candidate.n == pytest.approx(200, abs=70)


def test_published_shares_and_ranges_of_events():
    assert event_share(0.5, 0.15) == pytest.approx(1.15 / 2.15)
    assert event_share(0.05, 0.0) == pytest.approx(0.05)
    low, high = event_increase(600, 9500, 0.05, alpha=0.05)
    assert low <= 600 / 9500 * 19 - 1 <= high
    assert list(event_increase(0, 0, 0.05, alpha=0.05)) == [-1.0, math.inf]


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.01, 0.99))
def test_a_share_is_tested_from_both_sides_alike(ours, theirs, share):
    there = sample_ratio_log_e(ours, theirs, share, alpha=0.05)
    back = sample_ratio_log_e(theirs, ours, 1 - share, alpha=0.05)
    assert float(there) == pytest.approx(float(back), abs=1e-6)


@pytest.mark.parametrize("document", [WORSE, BY_TYPE, load_text(EXAMPLE, "d.yaml").migration])
@pytest.mark.parametrize("action", ["rollback", "pause"])
def test_all_that_may_raise_an_alarm_shares_five_percent(document, action):
    """Over all stages, rules, metrics, input types and restarts of a migration."""
    plan = plan_of(document)
    serving = [stage for stage in plan.stages if stage.serves_candidate]
    spent = 0.0
    for stage in serving:
        for question in questions(document, plan, stage):
            if question.action != action:
                continue
            parts = worse_of(question, document) if question.rule.worse else [question.whole()]
            spent += sum(part.alpha_fail for part in parts)
            if question.rule.by is not None:
                spent += MAX_INPUT_TYPES * question.of_type().alpha_fail
        spent += alpha_of_split(document, plan) if action == "pause" else 0.0
    for question in questions(document, plan, serving[0]):
        if question.action == action:
            parts = worse_of(question, document) if question.rule.worse else [question]
            restarts = {period_s: math.ceil(question.planned_s / period_s) for period_s in RESTARTS_S}
            restarted = sum(parts[0].of_restart(one).alpha_fail * number for one, number in restarts.items())
            assert restarted == pytest.approx(parts[0].alpha_late)
            spent += sum(part.alpha_late for part in parts)
    assert spent <= ALPHA * (1 + 1e-9)
    assert spent >= ALPHA * (1 - LATE_CHANGE_SHARE)
