"""Differences of quantiles hold at every look, whatever the bins; rules on times say what they can decide."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.gates import (
    beta_binomial_log_e,
    quantile_bound,
    quantile_difference,
    quantile_floor,
    quantile_interval,
)
from llmmigrate.gates.quantiles import BINS, LOWER_S, UPPER_S
from llmmigrate.metrics.cells import Cell, quantile
from llmmigrate.metrics.counting import UNIT_BUCKETS, Tally
from llmmigrate.metrics.histogram import bin_of
from tests.test_rules import decide

SIGMA = math.log(3.2) / 2.3263
"""Of lognormal times with a median of 1 s and a p99 of 3.2 s."""


def histogram(times):
    return np.bincount([bin_of(seconds) for seconds in times], minlength=BINS).astype(float)


def lognormal(random, n):
    return np.exp(SIGMA * random.standard_normal(n))


def counts(times):
    """Count many times by bin at once."""
    return np.bincount(np.searchsorted(UPPER_S, times), minlength=BINS).astype(float)


def timed(times, buckets=UNIT_BUCKETS):
    found = Tally()
    for number, seconds in enumerate(times):
        found.add_time(number % buckets, float(seconds))
    return Cell.of(found)


def brute(control, candidate, q, alpha, limit, n_opt):
    """Evaluate the published test by trying all pairs of bins."""
    sums = [np.append(0.0, np.cumsum(hist)) for hist in (control, candidate)]
    tables = []
    for up_to in sums:
        split = [np.linspace(low, high, 50) for low, high in pairwise(up_to)]
        tables.append(beta_binomial_log_e(np.array(split), up_to[-1], q, alpha=alpha, n_opt=n_opt).min(axis=1))
    best = np.inf
    for j in range(BINS):
        near = tables[1][UPPER_S[j] + limit > LOWER_S]
        best = min(best, tables[0][j] + near.min())
    return best


TIMES = st.lists(st.floats(0.002, 50), min_size=1, max_size=60)


@given(TIMES, TIMES, st.sampled_from([0.5, 0.95, 0.99]), st.booleans())
def test_a_range_holds_its_estimate_and_is_ordered(old, new, q, relative):
    low, high = quantile_difference(histogram(old), histogram(new), q=q, alpha=0.05, relative=relative)
    first, second = (quantile(histogram(times), q) for times in (old, new))
    assert low <= (second / first - 1 if relative else second - first) <= high
    wider = quantile_difference(histogram(old), histogram(new), q=q, alpha=0.001, relative=relative)
    assert wider[0] <= low + 1e-12
    assert wider[1] >= high - 1e-12


@pytest.mark.parametrize(("shift", "limit"), [(0.0, 0.05), (0.3, 0.05), (0.3, 0.2), (0.6, 0.05), (1.5, 0.2)])
def test_the_range_is_past_a_limit_exactly_where_the_published_test_rejects(shift, limit):
    random = np.random.default_rng(1)
    old, new = counts(lognormal(random, 3000)), counts(lognormal(random, 600) + shift)
    low, _ = quantile_difference(old, new, q=0.9, alpha=0.05, n_opt=500)
    assert (low >= limit) == (brute(old, new, 0.9, 0.05, limit, 500) >= math.log(20) - 1e-9)


def brute_bound(control, candidate, q, alpha, limit, n_opt):
    """Evaluate the one-sided test of a difference above a limit by trying all pairs of bins."""
    evidence = []
    for hist, side in ((control, "above"), (candidate, "below")):
        sums = np.append(0.0, np.cumsum(hist))
        split = [np.linspace(low, high, 50) for low, high in pairwise(sums)]
        log_e = beta_binomial_log_e(np.array(split), sums[-1], q, alpha=alpha, n_opt=n_opt, side=side)
        evidence.append(np.exp(np.minimum(log_e.min(axis=1), 300)))
    least = math.inf
    for place, own in enumerate(evidence[0]):
        other = evidence[1][UPPER_S[place] + limit > LOWER_S].min()
        least = min(least, 0.7 * own * other + 0.15 * own + 0.15 * other)
    return least


@pytest.mark.parametrize(("shift", "limit"), [(0.0, 0.05), (0.3, 0.05), (0.3, 0.2), (0.6, 0.05), (1.5, 0.2)])
def test_a_bound_is_past_a_limit_exactly_where_its_test_rejects(shift, limit):
    random = np.random.default_rng(1)
    old, new = counts(lognormal(random, 3000)), counts(lognormal(random, 600) + shift)
    bound = quantile_bound(old, new, q=0.9, alpha=0.05, n_opt=500)
    assert (bound >= limit) == (brute_bound(old, new, 0.9, 0.05, limit, 500) >= 20 * (1 - 1e-9))


@given(TIMES, TIMES, st.sampled_from([0.5, 0.95]), st.booleans())
def test_bounds_lie_on_both_sides_of_the_estimate(old, new, q, relative):
    both = histogram(old), histogram(new)
    first, second = (quantile(hist, q) for hist in both)
    estimate = second / first - 1 if relative else second - first
    assert quantile_bound(*both, q=q, alpha=0.05, relative=relative) <= estimate
    assert quantile_bound(*both, q=q, alpha=0.05, relative=relative, upper=True) >= estimate
    assert quantile_floor(both[0], q=q, alpha=0.05) <= first


def test_a_bound_needs_fewer_requests_than_the_range():
    random = np.random.default_rng(3)
    old, new = counts(lognormal(random, 19_000)), counts(lognormal(random, 1000) + 0.5)
    both = {"q": 0.99, "alpha": 0.001}
    assert quantile_bound(old, new, **both) > quantile_difference(old, new, **both)[0]
    assert quantile_floor(new, **both) > quantile_interval(new, **both)[0]


def test_bounds_of_nothing_bound_nothing():
    none, some = np.zeros(BINS), histogram([1.0] * 500)
    assert quantile_floor(none, q=0.5, alpha=0.05) == 0.0
    assert quantile_bound(some, none, q=0.5, alpha=0.05, upper=True) == math.inf
    assert quantile_bound(none, some, q=0.5, alpha=0.05) == -math.inf
    assert quantile_bound(none, some, q=0.5, alpha=0.05, relative=True) == -1.0


@pytest.mark.parametrize("q", [0.5, 0.99])
@pytest.mark.parametrize("sizes", [(400, 200), (1900, 100)])
def test_bounds_hold_at_every_look_at_once(q, sizes):
    """At the limit exactly: of 100 migrations at most 5% may ever be past it, on either side."""
    random = np.random.default_rng(6)
    above = below = 0
    for _ in range(100):
        hists, over, under = [np.zeros(BINS), np.zeros(BINS)], False, False
        for _ in range(15):
            hists = [hist + counts(lognormal(random, size)) for hist, size in zip(hists, sizes, strict=True)]
            over |= quantile_bound(*hists, q=q, alpha=0.05) > 0
            under |= quantile_bound(*hists, q=q, alpha=0.05, upper=True) < 0
        above += over
        below += under
    assert max(above, below) <= 5


def test_no_values_exclude_nothing():
    none, some = np.zeros(BINS), histogram([1.0] * 500)
    assert list(quantile_interval(none, q=0.5, alpha=0.05)) == [0.0, math.inf]
    low, high = quantile_difference(none, some, q=0.5, alpha=0.05)
    assert (low, high) == (-math.inf, pytest.approx(1.0, rel=0.0025))  # control's is at least zero
    assert list(quantile_difference(some, none, q=0.5, alpha=0.05, relative=True)) == [-1.0, math.inf]


def test_a_histogram_of_another_form_is_refused():
    with pytest.raises(ValueError, match="6048"):
        quantile_interval(np.ones(7), q=0.5, alpha=0.05)


def test_few_values_leave_a_p99_open_above():
    low, high = quantile_interval(counts(np.full(100, 1.0)), q=0.99, alpha=0.05)
    assert low <= 1.0
    assert high == math.inf


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_ranges_hold_at_every_look_at_once(q):
    """Of 100 migrations looked at 20 times, at most 5% may ever leave out that nothing changed."""
    random = np.random.default_rng(5)
    missed = 0
    for _ in range(100):
        old, new, ever = np.zeros(BINS), np.zeros(BINS), False
        for _ in range(20):
            old += counts(lognormal(random, 400))
            new += counts(lognormal(random, 200))
            low, high = quantile_difference(old, new, q=q, alpha=0.05)
            ever |= not low <= 0 <= high
        missed += ever
    assert missed <= 5


def test_atoms_such_as_timeouts_do_not_break_the_guarantee():
    """Where 2% of calls end at exactly 30 s in both arms, the p99 of both is 30 s."""
    random = np.random.default_rng(6)
    missed = 0
    for _ in range(200):
        times = [np.where(random.random(6000) < 0.02, 30.0, 1.0) for _ in range(2)]
        low, high = quantile_difference(*map(counts, times), q=0.99, alpha=0.05)
        missed += not low <= 0 <= high
    assert missed <= 10


def test_units_count_and_not_their_requests():
    random = np.random.default_rng(7)
    old, new = counts(lognormal(random, 20_000)), counts(lognormal(random, 20_000) + 0.4)
    assert quantile_difference(old, new, q=0.95, alpha=0.05)[0] > 0.2
    assert quantile_difference(old, new, q=0.95, alpha=0.05, design_effects=(10, 10))[0] < 0.2


@pytest.mark.parametrize(
    ("rule", "factor", "answer"),
    [
        ("metric: latency_p95, increase: 200ms", 1.0, "pass"),
        ("metric: latency_p95, increase: 200ms", 2.0, "fail"),
        ("metric: latency_p95, increase: 20%", 1.0, "pass"),
        ("metric: latency_p95, increase: 20%", 1.5, "fail"),
        ("metric: latency_p95, decrease: 20%", 1.5, "pass"),
        ("metric: latency_p95, decrease: 20%", 0.6, "fail"),
        ("metric: latency_p50, increase: 100ms", 1.0, "pass"),
        ("metric: latency_p50, decrease: 300ms", 0.5, "fail"),
        ("metric: latency_p99, above: 5s", 1.0, "pass"),
        ("metric: latency_p99, above: 5s", 1.5, "hold"),
        ("metric: latency_p99, above: 5s", 2.0, "fail"),
        ("metric: latency_p99, increase: 200ms", 1.0, "hold"),
        ("metric: latency_p99, increase: 200ms", 2.0, "fail"),
    ],
)
def test_a_rule_on_times(rule, factor, answer):
    random = np.random.default_rng(8)
    times = lognormal(random, 24_000)
    cells = {"control_latency": timed(times[:12_000]), "candidate_latency": timed(times[12_000:] * factor)}
    found = decide(f"{{{rule}}}", **cells)
    assert found.verdict == answer, found
    assert found.interval[0] <= found.estimate <= found.interval[1]
    assert found.unit == ("s" if "above" in rule else "relative" if "%" in rule else "s_change")


def test_the_first_token_has_cells_of_its_own():
    cells = {"control_first_token": timed([0.2] * 3000), "candidate_first_token": timed([0.9] * 3000)}
    assert decide("{metric: first_token_p50, increase: 200ms}", **cells).verdict == "fail"
    assert decide("{metric: latency_p50, increase: 200ms}", **cells).reason == "no data from the candidate yet"


@pytest.mark.parametrize(("stage", "answer"), [("canary:5", "pass"), ("canary:25", "hold"), ("shadow", "hold")])
def test_at_a_small_share_a_p95_proves_what_a_p99_cannot(stage, answer):
    random = np.random.default_rng(9)
    cells = {"control_latency": timed(lognormal(random, 40_000)), "candidate_latency": timed(lognormal(random, 4000))}
    assert decide("{metric: latency_p99, increase: 200ms}", stage, **cells).verdict == answer


def test_a_p99_fails_at_any_share():
    random = np.random.default_rng(10)
    slow = timed(lognormal(random, 3000) + np.where(random.random(3000) < 0.05, 5.0, 0.0))
    cells = {"control_latency": timed(lognormal(random, 40_000)), "candidate_latency": slow}
    for stage in ("shadow", "canary:5", "canary:100", "observation"):
        assert decide("{metric: latency_p99, increase: 200ms}", stage, **cells).verdict == "fail"
