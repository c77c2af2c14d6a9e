"""What the benchmarks of the gates measure is the product, and a small part of them holds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gates import naive, ours, scenarios, soundness, streams
from benchmarks.gates.__main__ import DELAYS, FALSE, runs_of, seed_of
from llmmigrate.document import load_text
from llmmigrate.gates.late import RateWatch
from llmmigrate.gates.means import Baseline, relative_change
from llmmigrate.gates.questions import questions
from llmmigrate.gates.rates import against_control, against_limit
from llmmigrate.gates.samples import Sample
from llmmigrate.stages import plan_of

MINUTES = 300


def question(alpha):
    migration = load_text(scenarios.with_rules(), "d.yaml").migration
    plan = plan_of(migration)
    return replace(questions(migration, plan, plan.stage("canary:5"))[0], alpha_fail=alpha)


@pytest.mark.parametrize("rate", [0.05, 0.09, 0.2, 1.0])
@pytest.mark.parametrize("length", [1, 4])
def test_the_series_test_of_a_rate_is_the_products(rate, length):
    random = np.random.default_rng(1)
    stream = streams.conversations(random, streams.load(MINUTES, 6), rate, length=length, icc=0.1 if rate < 1 else 0)
    effects = ours.effect_to_fail(stream)
    hits = ours.rate_fails(stream, effects, 0.05, 0.001)
    for minute in range(0, MINUTES, 7):
        sample = Sample(soundness.cell(stream, minute + 1))
        assert effects[minute] == pytest.approx(sample.design_effect_to_fail)
        assert hits[minute] == against_limit(question(0.001), sample, 0.05, below=False).failed


def test_the_series_test_of_a_detector_is_the_products():
    random = np.random.default_rng(2)
    rates = np.where(np.arange(MINUTES) < 200, 0.01, 0.3)
    stream = streams.events(random, streams.load(MINUTES, 12), rates)
    hits = ours.detector_alarms(stream, ours.effect_to_fail(stream), 0.05, 0.01, 5000)
    watch = RateWatch.new(0.05)
    for minute in range(MINUTES):
        watch = watch.update(Sample(soundness.cell(stream, minute + 1)))
        assert hits[minute] == watch.detector.alarms(horizon=5000, alpha=0.01)
    assert hits.any()


def test_the_series_tests_of_differences_are_the_products():
    random = np.random.default_rng(3)
    old, new = (streams.events(random, streams.load(MINUTES, 30), rate) for rate in (0.05, 0.14))
    slow, fast = (streams.values(random, streams.load(MINUTES, 30), mean, 200.0) for mean in (400.0, 520.0))
    rates, means = ours.difference_fails(old, new, 0.05, 0.001), ours.mean_fails(slow, fast, 0.2, 0.001)
    for minute in range(10, MINUTES, 11):
        control, candidate = (Sample(soundness.cell(stream, minute + 1)) for stream in (old, new))
        assert rates[minute] == against_control(question(0.001), control, candidate, 0.05, 1).failed
        control, candidate = (Sample(soundness.cell(stream, minute + 1)) for stream in (slow, fast))
        assert means[minute] == relative_change(question(0.001), Baseline.of(control), candidate, 0.2, 1).failed
    assert rates.any()
    assert means.any()


def test_conversations_have_the_rate_and_the_correlation_that_they_are_drawn_with():
    random = np.random.default_rng(4)
    stream = streams.conversations(random, streams.load(20_000, 6), 0.05, length=10, icc=0.1)
    assert stream.total.sum() / stream.n.sum() == pytest.approx(0.05, abs=0.005)
    assert 1.5 < ours.effect_to_fail(stream)[-1] < 3.0


def test_naive_rules_roll_back_what_is_healthy_and_the_product_does_not():
    """Two days at 1% errors: three seeds of the scenario that the benchmark runs for four weeks."""
    for number in range(3):
        found = scenarios.no_change(np.random.default_rng([7, number]), minutes=2 * streams.DAY)
        assert min(found[rule] for rule in naive.RULES[:2]) < 2 * streams.DAY
        assert found[scenarios.OURS] == math.inf


@pytest.mark.parametrize(
    "name", ["errors 15%, from the start", "errors 15%, conversations of 3", "quality -20pp, judged items"]
)
def test_a_bad_candidate_is_seen_about_as_soon_as_aimed_at(name):
    scenario, aim = DELAYS[name]
    found = [one[scenarios.OURS] for one in runs_of(name, scenario, 9)]
    assert np.median(found) <= 1.5 * aim


def test_scenarios_have_seeds_of_their_own():
    names = [*FALSE, *DELAYS]
    assert len({seed_of(name) for name in names}) == len(names)
