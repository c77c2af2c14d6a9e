"""Intervals agree with published values; verdicts never pass on no data and say what is missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom

from llmmigrate.document import load_text
from llmmigrate.gates import beta_binomial_log_e, normal_mixture_half_width, proportion_interval
from llmmigrate.gates.intervals import beta_mass
from llmmigrate.gates.samples import Sample
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import UNIT_BUCKETS, Tally
from llmmigrate.stages import plan_of
from tests.test_document import EXAMPLE

MIGRATION = load_text(EXAMPLE, "d.yaml").migration
PLAN = plan_of(MIGRATION)


def cell(values, buckets=UNIT_BUCKETS):
    found = Tally()
    for number, value in enumerate(values):
        found.add(number % buckets, float(value))
    return Cell.of(found)


def errors(n, bad):
    return cell([1.0] * bad + [0.0] * (n - bad))


def answers(stage, **cells):
    """Evaluate with cells named as arm_metric; return verdicts by metric."""
    keyed = {tuple(name.split("_", 1)): value for name, value in cells.items()}
    return {v.metric: v for v in evaluate(MIGRATION, PLAN, PLAN.stage(stage), keyed)}


def test_log_e_agrees_with_confseq(data):
    rows = json.loads((data / "oracle" / "confseq.json").read_text())["beta_binomial_two_sided_log_e"]
    assert len(rows) == 40
    for row in rows:
        found = beta_binomial_log_e(row["successes"], row["n"], row["p0"], alpha=row["alpha"], n_opt=row["n_opt"])
        assert float(found) == pytest.approx(row["log_e"], rel=1e-6)


def test_half_width_agrees_with_confseq(data):
    rows = json.loads((data / "oracle" / "confseq.json").read_text())["normal_mixture_two_sided_half_width"]
    assert len(rows) == 30
    for row in rows:
        found = normal_mixture_half_width(row["se"], tau=row["tau"], alpha=row["alpha"])
        assert float(found) == pytest.approx(row["half_width"], rel=1e-6)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_a_range_holds_its_estimate_and_only_what_is_not_excluded(n, part):
    successes = round(n * part)
    low, high = proportion_interval(successes, n, alpha=0.05)
    assert 0 <= low <= successes / n <= high <= 1
    for p in (low * 0.99, high + (1 - high) * 0.01):
        if 0 < p < 1 and not low <= p <= high:
            assert float(beta_binomial_log_e(successes, n, p, alpha=0.05)) >= math.log(20) - 1e-6


def test_no_trials_exclude_nothing():
    assert proportion_interval(0, 0, alpha=0.05) == (0.0, 1.0)
    assert proportion_interval(1, 1, alpha=0.05) == (0.0, 1.0)


def test_ranges_hold_at_every_look_at_once():
    """Of 400 series watched after every one of 1,000 trials, at most 5% may ever leave the truth out."""
    random = np.random.default_rng(5)
    sums = (random.random((400, 1000)) < 0.05).cumsum(axis=1)
    trials = np.arange(1, 1001)
    ever = (beta_binomial_log_e(sums, trials, 0.05, alpha=0.05) >= math.log(20)).any(axis=1)
    assert ever.mean() <= 0.05


@pytest.mark.parametrize("side", ["above", "below"])
@pytest.mark.parametrize(("s", "n", "p0"), [(0, 0, 0.3), (3, 10, 0.3), (9, 10, 0.5), (40, 300, 0.05), (299, 300, 0.99)])
def test_one_sided_evidence_is_the_likelihood_ratio_averaged_over_that_side(side, s, n, p0):
    mass = beta_mass(0.05, 500)
    ends = (p0, 1) if side == "above" else (0, p0)
    prior = beta(mass * p0, mass * (1 - p0))
    share = prior.sf(p0) if side == "above" else prior.cdf(p0)

    def ratio(p):
        return math.exp(s * math.log(p / p0) + (n - s) * math.log((1 - p) / (1 - p0))) * prior.pdf(p) / share

    expected, _ = quad(ratio, *ends, limit=400)
    assert math.exp(beta_binomial_log_e(s, n, p0, alpha=0.05, side=side)) == pytest.approx(expected, rel=1e-4)


@given(st.floats(0.01, 0.99), st.integers(1, 400), st.sampled_from(["above", "below"]))
def test_one_sided_evidence_averages_to_one_where_the_rate_is_what_it_is_held_against(p0, n, side):
    """Which is what makes it evidence; it rises with what speaks for its side, and with nothing else."""
    events = np.arange(n + 1)
    log_e = beta_binomial_log_e(events, n, p0, alpha=0.05, side=side)
    assert np.exp(log_e + binom.logpmf(events, n, p0)).sum() == pytest.approx(1, abs=1e-6)
    assert (np.diff(log_e[np.isfinite(log_e)]) * (1 if side == "above" else -1) > -1e-9).all()


def test_sticky_units_widen_the_range_of_a_mean():
    """The same values count for less where they come from few units."""
    random = np.random.default_rng(7)
    per_unit = random.normal(100, 30, 50)
    sticky, loose = Tally(), Tally()
    for unit, level in enumerate(per_unit):
        for number in range(20):
            sticky.add(unit % UNIT_BUCKETS, level)
            loose.add((unit * 20 + number) % UNIT_BUCKETS, level)
    assert Sample(Cell.of(sticky)).variance_of_mean > 5 * Sample(Cell.of(loose)).variance_of_mean


@pytest.mark.parametrize("stage", ["shadow", "canary:5", "canary:50", "canary:100", "observation"])
@pytest.mark.parametrize(
    "cells",
    [
        {},
        {"candidate_error_rate": errors(5000, 0)},
        {"control_error_rate": errors(5000, 0)},
        {"candidate_error_rate": errors(1, 0), "control_error_rate": errors(5000, 0)},
        {"candidate_error_rate": errors(299, 0), "control_error_rate": errors(5000, 0)},
        {"candidate_error_rate": errors(5000, 0), "control_error_rate": errors(299, 0)},
    ],
)
def test_too_little_data_hold(stage, cells):
    for verdict in answers(stage, **cells).values():
        assert verdict.verdict == "hold"
        assert "no data" in verdict.reason or " of 300 requests" in verdict.reason


def test_no_rule_is_ever_left_out():
    assert set(answers("shadow")) == {"error_rate", "tokens_per_request", "cost_per_request"}


def test_a_rate_passes_inside_and_fails_past_its_limit():
    control = errors(5000, 25)
    assert (
        answers("shadow", control_error_rate=control, candidate_error_rate=errors(5000, 25))["error_rate"].verdict
        == "pass"
    )
    near = answers("shadow", control_error_rate=control, candidate_error_rate=errors(1000, 50))["error_rate"]
    assert near.verdict == "hold"
    assert "narrow" in near.reason
    assert (
        answers("shadow", control_error_rate=control, candidate_error_rate=errors(1000, 120))["error_rate"].verdict
        == "fail"
    )


def test_an_early_step_only_rules_out_a_disaster():
    cells = {"control_error_rate": errors(5000, 25), "candidate_error_rate": errors(400, 12)}
    assert answers("canary:5", **cells)["error_rate"].verdict == "pass"
    assert answers("canary:50", **cells)["error_rate"].verdict == "hold"


def test_an_increase_is_judged_against_control():
    random = np.random.default_rng(3)
    base = random.normal(400, 80, 4000)
    for factor, expected in [(1.0, "pass"), (1.1, "pass"), (1.2, "hold"), (1.3, "fail")]:
        found = answers(
            "shadow",
            control_tokens_per_request=cell(base),
            candidate_tokens_per_request=cell(base[::-1] * factor),
        )["tokens_per_request"]
        assert found.verdict == expected, (factor, found)
        assert found.interval[0] <= factor - 1 + 0.02
        assert found.interval[1] >= factor - 1 - 0.02


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -5.0, 0.0])
def test_impossible_figures_hold(bad):
    found = answers(
        "shadow", control_tokens_per_request=cell([bad] * 500), candidate_tokens_per_request=cell([100.0] * 500)
    )["tokens_per_request"]
    assert found.verdict == "hold"
    assert found.interval is None


@given(st.lists(st.floats(0, 1e6), max_size=40), st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 64))
def test_any_figures_get_an_answer(control, candidate, buckets):
    cells = {
        "control_tokens_per_request": cell(control, buckets),
        "candidate_tokens_per_request": cell(candidate, buckets),
    }
    found = answers("shadow", **cells)["tokens_per_request"]
    assert found.verdict == "hold"


def test_what_pauses_must_not_be_proved_in_the_canary():
    needs = {stage: {m: v.need for m, v in answers(stage).items()} for stage in ("shadow", "canary:5", "observation")}
    assert needs == {
        "shadow": {"error_rate": "prove", "cost_per_request": "prove", "tokens_per_request": "prove"},
        "canary:5": {
            "error_rate": "prove",
            "cost_per_request": "prove",
            "tokens_per_request": "watch",
            "split": "watch",
        },
        "observation": {
            "error_rate": "watch",
            "cost_per_request": "watch",
            "tokens_per_request": "watch",
            "split": "watch",
        },
    }


def units(*groups):
    """Build error cells from (bucket, requests, errors) of single units."""
    found = Tally()
    for bucket, requests, bad in groups:
        for number in range(requests):
            found.add(bucket, 1.0 if number < bad else 0.0)
    return Cell.of(found)


@pytest.mark.parametrize(
    "candidate",
    [
        units((3, 7, 7)),
        units((3, 60, 60)),
        units((3, 60, 60), (4, 1, 0), (5, 1, 0)),
        units((3, 60, 60), *((bucket, 1, 0) for bucket in range(10, 30))),
        units((3, 300, 300), (4, 300, 300)),
    ],
)
def test_one_conversation_that_retries_is_no_failing_model(candidate):
    found = answers("canary:5", control_error_rate=errors(5000, 25), candidate_error_rate=candidate)["error_rate"]
    assert found.verdict == "hold"


def test_many_good_requests_of_one_unit_prove_nothing():
    found = answers("shadow", control_error_rate=errors(5000, 5), candidate_error_rate=units((3, 5000, 0)))
    assert found["error_rate"].verdict == "hold"


def test_failing_units_fail_quickly():
    candidate = units(*((bucket, 2, 1) for bucket in range(20)))
    found = answers("canary:5", control_error_rate=errors(5000, 25), candidate_error_rate=candidate)["error_rate"]
    assert found.verdict == "fail"


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(2, 500), st.integers(2, 500))
def test_constant_figures_get_an_answer(old, new, n_old, n_new):
    cells = {
        "control_tokens_per_request": cell([old] * n_old),
        "candidate_tokens_per_request": cell([new] * n_new),
    }
    found = answers("shadow", **cells)["tokens_per_request"]
    assert found.verdict in ("pass", "hold", "fail")
