"""Every form of rule on what a router measures: good passes, what is past fails, what is near holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document import load_text
from llmmigrate.gates.questions import questions
from llmmigrate.gates.samples import Sample
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.stages import plan_of
from llmmigrate.support import undecided
from llmmigrate.verdict import worded
from tests.test_document import EXAMPLE
from tests.test_gates import cell, errors, units


def migration(*rules, section="rollback"):
    """Return the example with further rules."""
    lines = "".join(f"  - {rule}\n" for rule in rules)
    text = EXAMPLE.replace(f"\n{section}:", f"\nWHERE{section}:")
    head, _, tail = text.partition(f"\nWHERE{section}:")
    first, _, rest = tail.partition("\n")
    return load_text(f"{head}\n{section}:{first}\n{lines}{rest}", "d.yaml").migration


def decide(rule, stage="shadow", **cells):
    """Return the verdict on one rule added to the example; cells are named arm_metric."""
    document = migration(rule)
    plan = plan_of(document)
    keyed = {tuple(name.split("_", 1)): value for name, value in cells.items()}
    found = evaluate(document, plan, plan.stage(stage), keyed)[0]
    assert found.rule == "rollback[0]"
    return found


RATES = ["error_rate", "malformed_rate", "refusal_rate", "truncated_rate"]
SCORES = ["tool_call_accuracy", "schema_validity"]


@pytest.mark.parametrize("metric", RATES)
@pytest.mark.parametrize(("bad", "answer"), [(20, "pass"), (240, "hold"), (600, "fail")])
def test_a_rate_against_its_limit(metric, bad, answer):
    cells = {f"control_{metric}": errors(5000, 20), f"candidate_{metric}": errors(5000, bad)}
    found = decide(f"{{metric: {metric}, above: 5%}}", **cells)
    assert (found.verdict, found.limit, found.unit) == (answer, 0.05, "share")
    assert found.interval[0] <= bad / 5000 <= found.interval[1]


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize(("bad", "answer"), [(20, "pass"), (240, "hold"), (600, "fail")])
def test_a_score_below_is_a_rate_of_failures_above(metric, bad, answer):
    """A score below 95% fails exactly where failures above 5% would, and its range is that one turned round."""
    score = {f"control_{metric}": errors(5000, 4980), f"candidate_{metric}": errors(5000, 5000 - bad)}
    found = decide(f"{{metric: {metric}, below: 95%}}", **score)
    mirror = decide(
        "{metric: refusal_rate, above: 5%}",
        control_refusal_rate=errors(5000, 20),
        candidate_refusal_rate=errors(5000, bad),
    )
    assert (found.verdict, found.limit) == (answer, 0.95)
    assert found.interval == pytest.approx((1 - mirror.interval[1], 1 - mirror.interval[0]))


@pytest.mark.parametrize(
    ("form", "bad", "answer"),
    [
        ("increase: 5pp", 300, "pass"),
        ("increase: 5pp", 10, "pass"),
        ("increase: 5pp", 620, "hold"),
        ("increase: 5pp", 900, "fail"),
        ("drop: 5pp", 300, "pass"),
        ("drop: 5pp", 900, "pass"),
        ("drop: 5pp", 0, "fail"),
        ("decrease: 5pp", 0, "fail"),
        ("change: 5pp", 300, "pass"),
        ("change: 5pp", 0, "fail"),
        ("change: 5pp", 900, "fail"),
    ],
)
def test_a_rate_against_control(form, bad, answer):
    cells = {"control_refusal_rate": errors(5000, 400), "candidate_refusal_rate": errors(5000, bad)}
    found = decide(f"{{metric: refusal_rate, {form}}}", **cells)
    assert (found.verdict, found.unit) == (answer, "pp")
    assert found.estimate == pytest.approx((bad - 400) / 5000)
    assert found.interval[0] <= found.estimate <= found.interval[1]
    assert (found.limit < 0) == (form.split(":")[0] in ("drop", "decrease"))


@pytest.mark.parametrize(
    ("form", "factor", "answer"),
    [
        ("decrease: 20%", 1.3, "pass"),
        ("decrease: 20%", 0.7, "fail"),
        ("change: 20%", 1.0, "pass"),
        ("change: 20%", 1.3, "fail"),
        ("change: 20%", 0.7, "fail"),
    ],
)
def test_a_mean_against_control(form, factor, answer):
    base = np.random.default_rng(3).normal(400, 80, 4000)
    found = decide(
        f"{{metric: tokens_per_request, {form}}}",
        control_tokens_per_request=cell(base),
        candidate_tokens_per_request=cell(base[::-1] * factor),
    )
    assert (found.verdict, found.unit) == (answer, "relative")


def test_an_early_step_tolerates_twice_the_drop():
    cells = {"control_tool_call_accuracy": errors(4000, 3900), "candidate_tool_call_accuracy": errors(400, 364)}
    answers = {
        stage: decide("{metric: tool_call_accuracy, drop: 10pp}", stage, **cells).verdict
        for stage in ("canary:5", "canary:50")
    }
    assert answers == {"canary:5": "pass", "canary:50": "hold"}


def test_nothing_seen_yet_is_no_rate_of_zero():
    """No refusal in 300 answers leaves more than one percent open."""
    cells = {"control_refusal_rate": errors(300, 0), "candidate_refusal_rate": errors(300, 0)}
    assert decide("{metric: refusal_rate, increase: 1pp}", **cells).verdict == "hold"
    assert decide("{metric: refusal_rate, increase: 5pp}", **cells).verdict == "pass"


def test_few_units_prove_no_difference_and_fail_none():
    control = errors(5000, 400)
    for bad in (0, 2500):
        candidate = units((3, 2500, bad), (4, 2500, bad))
        found = decide(
            "{metric: refusal_rate, change: 5pp}", control_refusal_rate=control, candidate_refusal_rate=candidate
        )
        assert found.verdict == "hold"


COUNTS = st.tuples(st.integers(0, 600), st.floats(0, 1))


@given(COUNTS, COUNTS, st.sampled_from(["drop", "increase"]))
def test_any_rates_get_an_answer_and_never_pass_on_little(control, candidate, form):
    (n_old, old), (n_new, new) = control, candidate
    found = decide(
        f"{{metric: schema_validity, {form}: 5pp}}",
        control_schema_validity=errors(n_old, round(n_old * old)),
        candidate_schema_validity=errors(n_new, round(n_new * new)),
    )
    if min(n_old, n_new) < 300:
        assert found.verdict == "hold"


def test_a_difference_of_rates_holds_at_every_look_at_once():
    """Of 200 pairs of series looked at ten times each, at most 5% may ever leave the truth out."""
    random = np.random.default_rng(11)
    missed = 0
    for _ in range(200):
        old, new = (random.random((2, 5000)) < np.array([[0.02], [0.05]])).cumsum(axis=1)
        ranges = [
            decide(
                "{metric: refusal_rate, increase: 5pp}",
                control_refusal_rate=errors(n, int(old[n - 1])),
                candidate_refusal_rate=errors(n, int(new[n - 1])),
            ).interval
            for n in range(500, 5001, 500)
        ]
        missed += not all(low <= 0.03 <= high for low, high in ranges)
    assert missed <= 10


def test_what_could_not_be_read_is_malformed_and_no_answer_is_not():
    assert dict(Outcome(error_class="malformed").values())["malformed_rate"] == 1.0
    assert dict(Outcome().values())["malformed_rate"] == 0.0
    assert "malformed_rate" not in dict(Outcome(error_class="timeout").values())
    assert "malformed_rate" not in dict(Outcome(abandoned=True).values())


@pytest.mark.parametrize(("limit", "answer"), [("$0.02", "pass"), ("$0.0102", "hold"), ("$0.008", "fail")])
def test_a_mean_cost_against_its_limit(limit, answer):
    costs = np.random.default_rng(6).gamma(4, 0.0025, 6000)
    cells = {"control_cost_per_request": cell(costs * 0.5), "candidate_cost_per_request": cell(costs)}
    found = decide(f"{{metric: cost_per_request, above: {limit}}}", **cells)
    assert (found.verdict, found.action, found.unit) == (answer, "rollback", "USD")
    cells["control_cost_per_request"] = cell(costs)
    assert decide(f"{{metric: cost_per_request, above: {limit}}}", **cells).action == (
        "pause" if answer == "fail" else "rollback"
    )


def test_what_no_router_measures_is_not_decided():
    [rule, *_] = migration("{metric: quality, drop: 5pp}").rollback
    assert undecided(rule) is not None


def test_a_sample_turned_round_counts_what_did_not_happen():
    turned = Sample(units((1, 10, 3), (2, 5, 5))).complement()
    assert (turned.n, turned.total, turned.buckets_with_events) == (15, 7, 1)
    assert turned.variance_of_mean == pytest.approx(Sample(units((1, 10, 3), (2, 5, 5))).variance_of_mean)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0123, "share", "1.2%"),
        (0.0123, "relative", "+1.2%"),
        (-0.05, "pp", "-5.0pp"),
        (0.2, "s_change", "+200 ms"),
        (12.0, "s", "12.0 s"),
        (0.0123, "USD", "$0.0123"),
        (1e9, "relative", "∞"),
    ],
)
def test_figures_are_worded_with_their_unit(value, unit, words):
    assert worded(value, unit) == words


def test_agreement_is_asked_for_in_shadow_only_unless_nothing_else_is_asked():
    rule = "  - {metric: tool_agreement, drop: 5pp}\n"
    document = load_text(EXAMPLE.replace("# stop and ask\n", f"# stop and ask\n{rule}", 1), "d.yaml").migration
    plan = plan_of(document)

    def asked(migration, name):
        return {question.rule.metric for question in questions(migration, plan, plan.stage(name))}

    assert "tool_agreement" in asked(document, "shadow")
    assert "tool_agreement" not in asked(document, "canary:5")
    alone = document.model_copy(
        update={"rollback": [], "pause": [r for r in document.pause if r.metric == "tool_agreement"]}
    )
    assert asked(alone, "canary:5") == {"tool_agreement"}
