"""The scenarios: what happens to a migration, and when each rule would roll it back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.gates import naive, ours, streams
from benchmarks.gates.streams import DAY, WEEK, Array, Random
from llmmigrate.document import load_text
from llmmigrate.gates.quantiles import BINS
from llmmigrate.gates.questions import RESTARTS_S, UPDATE_S, Question, questions
from llmmigrate.stages import plan_of

OURS = "llmmigrate"
CONTROL, CANDIDATE = 114.0, 6.0
"""Requests a minute: two a second, of which the candidate has 5%."""

LONG = 4 * WEEK
LIMIT, BASE = 0.05, 0.01
P99_LIMIT_S = 0.2

Times = dict[str, float]
"""When each rule fires, in minutes or, for delays, in requests of the candidate; infinity where it never does."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The error that one of the five rollback rules of a standard document may spend."""

    fail: float
    late: float
    restart: dict[float, float]
    updates: float


def with_rules(**rules: str) -> str:
    """Return the example document with rules in the place of waivers, by metric."""
    text = next((Path(__file__).parents[2] / "migrations" / "versions").glob("*.yaml")).read_text("utf-8")
    for metric, rule in rules.items():
        line = next(line for line in text.splitlines() if f"metric: {metric}, waived" in line)
        text = text.replace(line, f"  - {{metric: {metric}, {rule}}}")
    return text


@lru_cache(maxsize=1)
def spent() -> Spent:
    """Read off the product what one rule of five may spend."""
    text = with_rules(latency_p99="increase: 200ms", quality="drop: 5pp", tool_call_accuracy="drop: 10pp")
    migration = load_text(text, "standard.yaml").migration
    plan = plan_of(migration)
    first: Question = questions(migration, plan, plan.stage("canary:5"))[0]
    restarts = {period_s: first.of_restart(period_s).alpha_fail for period_s in RESTARTS_S}
    return Spent(first.alpha_fail, first.alpha_late, restarts, first.planned_s / UPDATE_S)


def _rate(candidate: streams.Stream, control: streams.Stream | None, begins: int = 0) -> Times:
    """Return when rules on an error rate above 5% fire, in minutes after `begins`."""
    alpha = spent()
    effect = ours.effect_to_fail(candidate)
    stage = ours.first(ours.rate_fails(candidate, effect, LIMIT, alpha.fail))
    late = ours.first(ours.detector_alarms(candidate, effect, LIMIT, alpha.late, alpha.updates))
    found = naive.rate_above(candidate, LIMIT) | {OURS: min(stage, late) + 1}
    if control is not None:
        found["fixed test"] = naive.fixed_test(control, candidate)
    return {rule: minute - begins if minute >= begins else -math.inf for rule, minute in found.items()}


def no_change(random: Random, *, diurnal: bool = False, minutes: int = LONG) -> Times:
    """Keep errors at 1% in both arms."""
    control = streams.events(random, streams.load(minutes, CONTROL, diurnal=diurnal), BASE, buckets=1)
    candidate = streams.events(random, streams.load(minutes, CANDIDATE, diurnal=diurnal), BASE)
    return _rate(candidate, control)


def by_day_and_night(random: Random, *, minutes: int = LONG) -> Times:
    """Let traffic swing by four fifths by day and night, and all else be the same."""
    return no_change(random, diurnal=True, minutes=minutes)


def at_the_limit(random: Random, *, minutes: int = LONG) -> Times:
    """Keep errors at the limit exactly, which is not past it."""
    return _rate(streams.events(random, streams.load(minutes, CANDIDATE), LIMIT), None)


def sticky_at_the_limit(random: Random, *, minutes: int = LONG) -> Times:
    """Draw the same in conversations of ten requests, whose errors are correlated by 0.1."""
    return _rate(streams.conversations(random, streams.load(minutes, CANDIDATE), LIMIT, length=10, icc=0.1), None)


def refusals_alike(random: Random, *, minutes: int = LONG) -> Times:
    """Keep refusals at 5% in both arms; they may rise by five points."""
    control, candidate = (streams.events(random, streams.load(minutes, rate), 0.05) for rate in (CONTROL, CANDIDATE))
    found = naive.rate_above(candidate, 0.10)
    failed = ours.first(ours.difference_fails(control, candidate, 0.05, spent().fail))
    return found | {"fixed test": naive.fixed_test(control, candidate), OURS: failed + 1}


def tokens_at_the_limit(random: Random, *, minutes: int = LONG) -> Times:
    """Keep tokens per request 20% above control's exactly, which is what they may be."""
    control = streams.values(random, streams.load(minutes, CONTROL), 400.0, 200.0)
    candidate = streams.values(random, streams.load(minutes, CANDIDATE), 480.0, 200.0)
    failed = ours.first(ours.mean_fails(control, candidate, 0.2, spent().fail))
    return naive.mean_above(control, candidate, 1.2) | {OURS: failed + 1}


def _slow_windows(random: Random, minutes: int, shift_s: float) -> Times:
    """Return when thresholds on the p99 of windows fire."""

    def bad(size: int) -> Array:
        sizes = [(round(rate * size), shift) for rate, shift in ((CONTROL, 0.0), (CANDIDATE, shift_s))]
        quantiles = [
            np.concatenate(
                [
                    np.quantile(
                        np.exp(streams.SIGMA * random.standard_normal((min(500, minutes // size - done), n))) + shift,
                        0.99,
                        axis=1,
                    )
                    for done in range(0, minutes // size, 500)
                ]
            )
            for n, shift in sizes
        ]
        return np.asarray(quantiles[1] > quantiles[0] + P99_LIMIT_S)

    return naive.windowed(minutes, bad)


def _quantile(random: Random, minutes: int, every: int, chance: Callable[[int], tuple[Array, Array]]) -> float:
    """Return the minute at which a p99 fails, looked at each so many minutes, by the stage or by a restart."""
    alpha = spent()
    whole = [np.zeros(BINS), np.zeros(BINS)]
    since = {period: [np.zeros(BINS), np.zeros(BINS)] for period in RESTARTS_S}
    for minute in range(every, minutes + 1, every):
        old, new = chance(minute)
        drawn = (
            streams.times(random, CONTROL * every, old),
            streams.times(random, CANDIDATE * every, new),
        )
        for arm in (0, 1):
            whole[arm] += drawn[arm]
            for kept in since.values():
                kept[arm] += drawn[arm]
        if ours.quantile_fails(*whole, 0.99, P99_LIMIT_S, alpha.fail):
            return float(minute)
        for period, kept in since.items():
            if minute * 60 > period and ours.quantile_fails(*kept, 0.99, P99_LIMIT_S, alpha.restart[period]):
                return float(minute)
            if minute * 60 % period == 0:
                since[period] = [np.zeros(BINS), np.zeros(BINS)]
    return math.inf


def times_alike(random: Random, *, minutes: int = LONG) -> Times:
    """Keep latency as it is in both arms; its p99 may rise by 200 ms, and the product looks each half hour."""
    same = streams.chances()
    failed = _quantile(random, minutes, 30, lambda _: (same, same))
    return _slow_windows(random, minutes, 0.0) | {OURS: failed}


def times_at_the_limit(random: Random, *, minutes: int = LONG) -> Times:
    """Put the p99 of the candidate 200 ms above control's exactly."""
    both = streams.chances(), streams.chances(P99_LIMIT_S)
    return {OURS: _quantile(random, minutes, 30, lambda _: both)}


def times_by_day_and_night(random: Random, *, minutes: int = LONG) -> Times:
    """Let latency swing by a third by day and night, alike in both arms."""
    hours = [streams.chances(scale=1 + math.sin(2 * math.pi * hour / 24) / 3) for hour in range(24)]
    return {OURS: _quantile(random, minutes, 30, lambda minute: (hours[minute // 60 % 24],) * 2)}


def _requests(found: Times, arrived: Array | None = None) -> Times:
    """Turn minutes into requests of the candidate: those that `arrived` by the minute, else those to expect."""
    if arrived is None:
        return {rule: minutes * CANDIDATE for rule, minutes in found.items()}
    until = np.append(0.0, arrived.cumsum())
    return {
        rule: float(until[min(int(minutes), len(arrived))]) if math.isfinite(minutes) else minutes
        for rule, minutes in found.items()
    }


def errors_rise(random: Random, rate: float, *, late: bool, length: int = 1) -> Times:
    """Let errors of the candidate rise from 1%, from the start or after a week."""
    begins, minutes = (WEEK, WEEK + 3 * DAY) if late else (0, 3 * DAY)
    rates = np.full(minutes, BASE)
    rates[begins:] = rate
    expected = streams.load(minutes, CANDIDATE)
    if length > 1:
        candidate = streams.conversations(random, expected, rates, length=length, icc=0.0)
    else:
        candidate = streams.events(random, expected, rates)
    control = None if late else streams.events(random, streams.load(minutes, CONTROL), BASE, buckets=1)
    return _requests(_rate(candidate, control, begins), candidate.n[begins:].sum(axis=1))


def quality_drops(random: Random, drop: float) -> Times:
    """Let acceptable answers fall from 90%, judged in equal numbers; five points are allowed."""
    minutes = 3 * DAY
    control, candidate = (streams.events(random, streams.load(minutes, CANDIDATE), bad) for bad in (0.10, 0.10 + drop))
    failed = ours.first(ours.difference_fails(control, candidate, 0.05, spent().fail)) + 1
    return _requests({OURS: failed, "fixed test": naive.fixed_test(control, candidate)})


def times_rise(random: Random, shift_s: float, *, late: bool) -> Times:
    """Let all times of the candidate rise by so many seconds, from the start or after four days and a part of one."""
    old, slow = streams.chances(), streams.chances(shift_s)
    begins = 4 * DAY + int(random.integers(0, DAY)) // 5 * 5 if late else 0

    def chance(minute: int) -> tuple[Array, Array]:
        return old, slow if minute > begins else old

    failed = _quantile(random, begins + 8 * DAY, 10 if late else 5, chance)
    return _requests({OURS: failed - begins if failed > begins else -math.inf})
