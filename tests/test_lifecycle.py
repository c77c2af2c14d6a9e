"""The decision of a tick: rollback before pause before anything else, and never forward without evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document import load_text
from llmmigrate.lifecycle import Facts, RouteState, Transition, Wait, finish_rollback, next_step
from llmmigrate.lifecycle.requests import roll_back, start
from llmmigrate.stages import plan_of
from llmmigrate.verdict import MetricVerdict
from tests.test_document import EXAMPLE

PLAN = plan_of(load_text(EXAMPLE, "d.yaml").migration)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
STAGES = [stage.name for stage in PLAN.stages]
SERVING = STAGES[1:]


def verdict(answer="pass", action="rollback", need="prove", n=5000):
    return MetricVerdict(
        "error_rate",
        "error rate",
        "rollback[0]",
        action,
        need,
        answer,
        0.01,
        (0.0, 0.02),
        0.05,
        "share",
        n,
        5000,
        "why",
    )


def running(stage, status="running"):
    return RouteState("r", 3, status=status, revision="abcd", attempt=1, phase=stage, since=NOW)


def good(stage):
    """Return facts on which a stage may be left."""
    return Facts(
        now=NOW + timedelta(days=1),
        verdicts=(verdict(),),
        dwell_s=PLAN.stage(stage).min_s,
        candidate_age_s=5,
        control_age_s=5,
        observed=(5000, 5000),
        assigned=(5000, 5000),
        watched=True,
    )


def test_the_stages_are_those_of_the_document():
    assert STAGES == ["regression", "shadow", "canary:5", "canary:25", "canary:50", "canary:100", "observation"]
    assert [stage.share for stage in PLAN.stages] == [0, 0, 0.05, 0.25, 0.5, 0.95, 0.95]


@pytest.mark.parametrize("stage", SERVING)
def test_a_stage_is_left_when_everything_holds(stage):
    found = next_step(PLAN, running(stage), good(stage))
    assert isinstance(found, Transition)
    following = PLAN.after(stage)
    assert (found.event, found.phase) == (("advanced", following.name) if following else ("completed", "observation"))


@pytest.mark.parametrize("stage", SERVING)
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"dwell_s": 0.0}, "time"),
        ({"candidate_age_s": None}, "data"),
        ({"candidate_age_s": 3600.0}, "data"),
        ({"control_age_s": None}, "data"),
        ({"control_age_s": 3600.0}, "data"),
        ({"verdicts": ()}, "evidence"),
        ({"verdicts": (verdict("hold"),)}, "evidence"),
        ({"verdicts": (verdict("hold", need="watch", n=0),)}, "evidence"),
        ({"blocked": "edited"}, "approval"),
    ],
)
def test_one_thing_missing_keeps_the_gate_shut(stage, change, kind):
    found = next_step(PLAN, running(stage), replace(good(stage), **change))
    assert isinstance(found, Wait)
    assert found.verdict == "hold"
    assert kind in {reason.kind for reason in found.reasons}


@pytest.mark.parametrize("arm", [(1000, 5000), (5000, 1000)])
@pytest.mark.parametrize("stage", SERVING)
def test_decisions_that_are_never_observed_keep_every_gate_shut(stage, arm):
    found = next_step(PLAN, running(stage), replace(good(stage), observed=arm))
    assert isinstance(found, Wait)
    assert "data" in {reason.kind for reason in found.reasons}


@pytest.mark.parametrize("change", [{"observed": (5000, 1999)}, {"observed": (1999, 5000)}, {"assigned": (5000, 6000)}])
def test_shadow_needs_its_pairs_and_a_living_mirror(change):
    assert isinstance(next_step(PLAN, running("shadow"), replace(good("shadow"), **change)), Wait)


def test_a_waived_stage_says_so():
    found = next_step(PLAN, running("regression"), Facts(now=NOW))
    assert isinstance(found, Transition)
    assert found.reason.startswith("waived: ")


@pytest.mark.parametrize("stage", SERVING)
@pytest.mark.parametrize("status", ["running", "paused"])
def test_a_failing_rollback_rule_rolls_back_whatever_else_is(stage, status):
    facts = replace(
        good(stage), verdicts=(verdict("fail", action="pause"), verdict("fail")), blocked="edited", candidate_age_s=None
    )
    found = next_step(PLAN, running(stage, status), facts)
    assert isinstance(found, Transition)
    assert (found.status, found.reroute) == ("rolling_back", True)


def test_a_failing_pause_rule_pauses_and_goes_on_serving():
    found = next_step(PLAN, running("canary:25"), replace(good("canary:25"), verdicts=(verdict("fail", "pause"),)))
    assert isinstance(found, Transition)
    assert (found.status, found.phase, found.reroute) == ("paused", "canary:25", False)


def test_a_watched_metric_that_holds_keeps_nobody_waiting():
    facts = replace(good("canary:5"), verdicts=(verdict(), verdict("hold", "pause", need="watch")))
    assert isinstance(next_step(PLAN, running("canary:5"), facts), Transition)


def test_a_paused_attempt_waits_for_a_person():
    found = next_step(PLAN, running("canary:5", "paused"), good("canary:5"))
    assert isinstance(found, Wait)


def test_a_gate_that_stays_shut_although_data_arrive_asks_a_person():
    facts = replace(good("canary:5"), now=NOW + timedelta(hours=49), verdicts=(verdict("hold"),))
    found = next_step(PLAN, running("canary:5"), facts)
    assert isinstance(found, Transition)
    assert found.status == "paused"
    assert "has held for 2 d" in found.reason


def test_without_data_the_hold_simply_goes_on():
    found = next_step(PLAN, running("canary:5"), Facts(now=NOW + timedelta(days=400)))
    assert isinstance(found, Wait)


def test_a_rollback_is_done_when_no_replica_is_left_behind():
    state = running("canary:5", "rolling_back")
    assert isinstance(finish_rollback(state, ["router a"]), Wait)
    done = finish_rollback(state, [])
    assert isinstance(done, Transition)
    assert done.status == "rolled_back"


def test_only_an_attempt_under_way_can_be_rolled_back():
    assert roll_back(running("shadow"), "x") is not None
    assert roll_back(running("shadow", "paused"), "x") is not None
    for status in ("pending", "rolling_back", "rolled_back", "completed"):
        assert roll_back(running("shadow", status), "x") is None


def test_there_is_nothing_to_decide_where_nothing_is_under_way():
    for status in ("pending", "rolled_back", "completed"):
        with pytest.raises(ValueError, match="nothing to decide"):
            next_step(PLAN, running("shadow", status), good("shadow"))
    assert start(PLAN, "x").phase == "regression"


facts = st.builds(
    Facts,
    now=st.datetimes(datetime(2026, 11, 23), datetime(2027, 11, 23), timezones=st.just(UTC)),  # noqa: DTZ001
    verdicts=st.lists(
        st.builds(
            verdict,
            st.sampled_from(["pass", "hold", "fail"]),
            st.sampled_from(["rollback", "pause"]),
            st.sampled_from(["prove", "watch"]),
            st.integers(0, 10_000),
        ),
        max_size=4,
    ).map(tuple),
    dwell_s=st.floats(0, 4e6),
    candidate_age_s=st.none() | st.floats(0, 1e5),
    control_age_s=st.none() | st.floats(0, 1e5),
    observed=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    assigned=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    blocked=st.none() | st.just("edited"),
    watched=st.booleans(),
)


@given(st.sampled_from(SERVING), st.sampled_from(["running", "paused"]), facts)
def test_whatever_the_facts_nothing_advances_unproved(stage, status, facts):
    found = next_step(PLAN, running(stage, status), facts)
    failing = [v for v in facts.verdicts if v.verdict == "fail"]
    if any(v.action == "rollback" for v in failing):
        assert isinstance(found, Transition)
        assert found.status == "rolling_back"
    elif isinstance(found, Transition) and found.event in ("advanced", "completed"):
        assert status == "running"
        assert not failing
        assert facts.blocked is None
        assert facts.verdicts
        assert all(v.verdict == "pass" for v in facts.verdicts if v.need == "prove")
        assert all(v.n_candidate >= PLAN.min_samples for v in facts.verdicts)
        assert facts.dwell_s >= PLAN.stage(stage).min_s
        assert facts.candidate_age_s is not None
        assert facts.control_age_s is not None
        assert max(facts.candidate_age_s, facts.control_age_s) <= 900
        assert facts.watched or stage == "observation" or PLAN.after(stage).share == 0
    elif isinstance(found, Wait):
        assert found.reasons
