"""Per-request facts become cells, distributions are exact to a bin, and impossible figures count for nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate import Usage
from llmmigrate.metrics.cells import Cell, Counted, quantile
from llmmigrate.metrics.counting import Tally
from llmmigrate.metrics.figures import figures
from llmmigrate.metrics.histogram import BINS, FIRST_S, GROWTH, LAST, bin_of, upper_edge
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.models.costmap import ModelFacts
from llmmigrate.models.pricing import cost
from tests.conftest import ROUTE

TIMES = st.floats(1e-6, 10_000)


@given(TIMES)
def test_a_time_lies_in_its_bin(seconds):
    place = bin_of(seconds)
    assert 0 <= place <= LAST
    if place < LAST:
        assert seconds <= upper_edge(place) * (1 + 1e-9)
    if place > 0:
        assert seconds > upper_edge(place - 1) * (1 - 1e-9)


def test_a_bin_is_a_fortieth_of_the_usual_limit_at_two_seconds():
    place = bin_of(2.0)
    assert upper_edge(place) - upper_edge(place - 1) <= 0.200 / 40 * 1.01
    assert bin_of(FIRST_S) == bin_of(0.0) == 0
    assert upper_edge(LAST) == pytest.approx(3600, rel=GROWTH - 1)


@given(st.lists(TIMES, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_exact_to_its_bin(times, q):
    tally = Tally()
    for seconds in times:
        tally.add_time(3, seconds)
    true = sorted(times)[max(1, math.ceil(q * len(times))) - 1]
    assert bin_of(true) == bin_of(quantile(Cell.of(tally).times, q))


@given(st.lists(TIMES, max_size=60), st.integers(0, 60))
def test_distributions_add_up_in_any_partition(times, cut):
    whole, parts = Tally(), [Tally(), Tally()]
    for number, seconds in enumerate(times):
        whole.add_time(number % 64, seconds)
        parts[number >= cut].add_time(number % 64, seconds)
    expected, sums = Cell.of(whole), Cell.of(parts[0])
    sums.add(Counted.from_json(*json.loads(json.dumps(parts[1].to_json()))))
    parts[0].merge(parts[1])
    assert parts[0].histogram == whole.histogram
    for found in (sums, Cell.from_bytes(*sums.to_bytes()), Cell.of(parts[0]).plus(Cell())):
        assert (found.times is None) == (expected.times is None) == (not times)
        assert not times or (found.times == expected.times).all()
    assert sum(whole.histogram.values()) == len(times)


def test_no_times_have_no_quantile():
    assert quantile(np.zeros(BINS), 0.5) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, "7", None, True, [], 1e30])
def test_impossible_figures_count_for_nothing(bad):
    found = dict(Outcome(tokens=bad, cost=bad, latency_s=bad, first_token_s=bad, cached_tokens=bad).values())
    assert found == {"error_rate": 0.0, "malformed_rate": 0.0}


def test_a_failed_request_has_time_and_class_but_no_tokens():
    found = dict(Outcome(error_class="timeout", tokens=5, cost=1.0, latency_s=30.0).values())
    assert found == {"error_rate": 1.0, "error:timeout": 1.0, "latency": 30.0}
    assert "error:unknown" in dict(Outcome(error_class="<script>" * 99).values())


def test_answers_become_rates():
    found = dict(Outcome(finish_reason="length", refused=True, tools_valid=False, schema_valid=True).values())
    assert found == {
        "error_rate": 0.0,
        "malformed_rate": 0.0,
        "truncated_rate": 1.0,
        "refusal_rate": 1.0,
        "tool_call_accuracy": 0.0,
        "schema_validity": 1.0,
    }


def test_cached_tokens_cost_less_where_they_have_a_price():
    facts = ModelFacts(input_cost=2.0, output_cost=10.0, cached_input_cost=0.5)
    assert cost(facts, Usage(10, 3)) == 50.0
    assert cost(facts, Usage(10, 3, cached_tokens=4)) == 6 * 2.0 + 4 * 0.5 + 30.0
    assert cost(ModelFacts(input_cost=2.0, output_cost=10.0), Usage(10, 3, cached_tokens=4)) is None
    assert cost(ModelFacts(input_cost=2.0), Usage(10, 3)) is None


def test_what_is_observed_is_what_is_shown(world):
    world.write(current="openai/gpt-4o", target="openai/gpt-5.1", template="generic")
    world.upgrade()
    with world.router() as router:
        for number in range(100):
            decision = router.assign(ROUTE, unit=f"u{number}")
            router.observe(decision, usage=Usage(100, 50), latency_s=0.5 + number / 100, first_token_s=0.1)
            error = "timeout" if number % 10 == 0 else None
            router.observe(decision.mirror, usage=Usage(100, 50), error_class=error, latency_s=2.0)
    world.upgrade()
    seen = world.store.telemetry.verdict(ROUTE, world.store.route(ROUTE).generation)["figures"]
    assert seen["control"]["requests"] == seen["candidate"]["requests"] == 100
    assert seen["control"]["latency_s"]["p50"] == pytest.approx(0.99, rel=0.005)
    assert seen["control"]["latency_s"]["p99"] == pytest.approx(1.48, rel=0.005)
    assert seen["candidate"]["errors"] == {"timeout": 10}
    assert seen["control"]["cost_per_request"] == pytest.approx(100 * 2.5e-6 + 50 * 1e-5)
    assert seen["control"]["first_token_s"]["p50"] == pytest.approx(0.1, rel=0.005)
    metrics = {verdict.metric: verdict for verdict in world.upgrade().last.verdicts}
    assert metrics["cost_per_request"].n_control == 100


def test_an_empty_route_has_figures_of_nothing():
    empty = figures({})
    assert empty["control"]["requests"] == 0
    assert empty["candidate"]["latency_s"] is None
