"""Simulated traffic: counts per minute and unit bucket of one arm, without a request of its own for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llmmigrate.gates.quantiles import UPPER_S
from llmmigrate.metrics.counting import UNIT_BUCKETS

Array = npt.NDArray[np.float64]
Random = np.random.Generator

DAY = 24 * 60
WEEK = 7 * DAY


@dataclass(frozen=True)
class Stream:
    """Counts, sums and sums of squares per minute and unit bucket, of shape (minutes, 64)."""

    n: Array
    total: Array
    squares: Array

    @cached_property
    def up_to(self) -> tuple[Array, Array]:
        """Counts and sums until each minute, by bucket."""
        return self.n.cumsum(axis=0), self.total.cumsum(axis=0)

    @cached_property
    def whole(self) -> tuple[Array, Array, Array]:
        """Counts, sums and sums of squares until each minute."""
        n, total, squares = (part.sum(axis=1).cumsum() for part in (self.n, self.total, self.squares))
        return n, total, squares


def load(minutes: int, per_minute: float, *, diurnal: bool = False) -> Array:
    """Return the requests to expect in each minute; by day and night they swing by four fifths."""
    swing = 0.8 * np.sin(2 * np.pi * np.arange(minutes) / DAY) if diurnal else np.zeros(minutes)
    return per_minute * (1 + swing)


def events(random: Random, expected: Array, rate: float | Array, *, buckets: int = UNIT_BUCKETS) -> Stream:
    """Draw independent requests that are events at a rate, which may change by the minute."""
    n = random.poisson(np.repeat(expected[:, None] / buckets, buckets, axis=1))
    rates = np.broadcast_to(np.asarray(rate, float), expected.shape)[:, None]
    total = random.binomial(n, rates).astype(float)
    return Stream(n.astype(float), total, total)


def conversations(random: Random, expected: Array, rate: float | Array, *, length: int, icc: float) -> Stream:
    """Draw requests of conversations: `length` of them a minute apart, events correlated by `icc` within each."""
    minutes = len(expected)
    starts = np.repeat(np.arange(minutes), random.poisson(expected / length))
    count = len(starts)
    rates = np.broadcast_to(np.asarray(rate, float), expected.shape)[starts]
    if icc > 0:
        spread = (1 - icc) / icc
        rates = random.beta(rates * spread, (1 - rates) * spread)
    bucket = random.integers(0, UNIT_BUCKETS, count)
    n, total = np.zeros(minutes * UNIT_BUCKETS), np.zeros(minutes * UNIT_BUCKETS)
    for number in range(length):
        at = starts + number
        inside = at < minutes
        place = at[inside] * UNIT_BUCKETS + bucket[inside]
        n += np.bincount(place, minlength=len(n))
        happened = random.random(int(inside.sum())) < rates[inside]
        total += np.bincount(place, weights=happened, minlength=len(n))
    shape = (minutes, UNIT_BUCKETS)
    return Stream(n.reshape(shape), total.reshape(shape), total.reshape(shape))


def values(random: Random, expected: Array, mean: float, spread: float) -> Stream:
    """Draw independent normal values: their sums are normal, and what is left of their squares is chi-squared."""
    n = random.poisson(np.repeat(expected[:, None] / UNIT_BUCKETS, UNIT_BUCKETS, axis=1)).astype(float)
    total = n * mean + spread * np.sqrt(n) * random.standard_normal(n.shape)
    rest = spread**2 * np.where(n > 1, random.chisquare(np.maximum(n - 1, 1)), 0.0)
    squares = np.where(n > 0, total**2 / np.maximum(n, 1) + rest, 0.0)
    return Stream(n, total, squares)


SIGMA = math.log(3.2) / 2.3263
"""Of lognormal times with a median of 1 s and a p99 of 3.2 s."""


def chances(shift_s: float = 0.0, scale: float = 1.0) -> Array:
    """Return the chance of each bin for lognormal times that are scaled, and shifted by a number of seconds."""
    from scipy.stats import norm

    upper = np.maximum(UPPER_S - shift_s, 1e-12) / scale
    below = np.where(shift_s < UPPER_S, norm.cdf(np.log(upper) / SIGMA), 0.0)
    return np.diff(below, prepend=0.0)


def times(random: Random, expected: float, chance: Array) -> Array:
    """Draw a histogram of about as many times."""
    return random.poisson(expected * chance).astype(float)
