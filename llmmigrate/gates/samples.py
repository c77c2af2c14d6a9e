"""Figures of one arm as arrays over unit buckets: means, variances that respect sticky units, design effects."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from llmmigrate.gates.intervals import FloatArray
from llmmigrate.metrics.cells import Cell, quantile
from llmmigrate.metrics.counting import UNIT_BUCKETS
from llmmigrate.metrics.histogram import BINS


class Sample:
    """One metric of one arm: counts, sums and sums of squares per unit bucket (arrays of shape (64,))."""

    def __init__(self, cell: Cell | None) -> None:
        known = cell if cell is not None else Cell()
        self._n: FloatArray = known.sums[:, 0]
        self._total: FloatArray = known.sums[:, 1]
        self.n, self.total, self._total_sq = known.n, known.total, known.total_sq
        self._times = known.times

    @property
    def by_bucket(self) -> tuple[FloatArray, FloatArray]:
        """Counts and sums by unit bucket, each of shape (64,)."""
        return self._n, self._total

    @property
    def histogram(self) -> FloatArray:
        """Counts of times by bin, of shape (6048,)."""
        return self._times if self._times is not None else np.zeros(BINS)

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile of the times in seconds, to a bin; None without any."""
        return quantile(self._times, q) if self._times is not None else None

    def complement(self) -> Sample:
        """Return the sample of what did not happen, for values that are 0 or 1."""
        other = Sample(None)
        other._n, other._total = self._n, self._n - self._total
        other.n, other.total = self.n, self.n - self.total
        other._total_sq = other.total
        return other

    def among(self, others: Sample) -> Sample:
        """Return the sample of which values are of this one, among those of both: 1 for its own, 0 for the others'."""
        both = Sample(None)
        both._n, both._total = self._n + others._n, self._n
        both.n, both.total = self.n + others.n, float(self.n)
        both._total_sq = both.total
        return both

    @property
    def mean(self) -> float:
        """The mean, NaN without values."""
        return self.total / self.n if self.n else float("nan")

    @cached_property
    def variance_of_mean(self) -> float:
        """The squared standard error of the mean, the larger of two estimates.

        One is the ordinary s^2/n; the other takes unit buckets as clusters, K/(K-1) sum((S_b - mean N_b)^2) / N^2, so
        that units with many requests do not count as many independent ones (Rao and Scott 1992). NaN below two values
        or where they are not finite, infinite while all of them are of one bucket.
        """
        if self.n < 2 or not math.isfinite(self._total_sq):
            return float("nan")
        return max(self._plain_variance, self._clustered_variance)

    @property
    def cv_squared(self) -> float:
        """The squared coefficient of variation of single values; infinite where there is none."""
        if self.n < 2 or not math.isfinite(self._total_sq) or self.mean <= 0:
            return math.inf
        return self._plain_variance * self.n / self.mean**2

    @property
    def _plain_variance(self) -> float:
        return max(self._total_sq / self.n - self.mean**2, 0.0) / (self.n - 1)

    @cached_property
    def _clustered_variance(self) -> float:
        used = self._used
        if used < 2:
            return float("inf")
        residual = self._total - self.mean * self._n
        return used / (used - 1) * float(residual @ residual) / self.n**2

    @cached_property
    def _used(self) -> int:
        """How many buckets hold anything."""
        return int(np.count_nonzero(self._n > 0))

    @property
    def design_effect_of_mean(self) -> float:
        """How many values count as one: by the clustered variance of their mean, never more than units there are."""
        if self.n < 2 or not math.isfinite(self._total_sq):
            return 1.0
        plain, clustered = self._plain_variance, self._clustered_variance
        effect = clustered / plain if plain > 0 and math.isfinite(clustered) else 1.0
        return max(1.0, effect, self.n / self.units)

    @property
    def variance_of_rate(self) -> float:
        """The squared standard error of a rate: never below that of one with two more events and two more others.

        Where nothing or everything happened so far the ordinary estimate would be zero, and prove anything. Of few
        buckets that have both, the clustered variance is a rough estimate: its standard error sqrt(2/(K-1)) is added.
        """
        if self.n < 2 or not math.isfinite(self._total_sq):
            return float("nan")
        rate = (self.total + 2) / (self.n + 4)
        telling = min(self.buckets_with_events, int(np.count_nonzero(self._n > self._total)))
        clustered = self._clustered_variance * (1 + math.sqrt(2 / max(telling - 1, 1)))
        return max(self._plain_variance, clustered, rate * (1 - rate) / (self.n + 4))

    @property
    def units(self) -> float:
        """About how many distinct units there are, from the buckets that they fill; infinite where all are filled.

        Linear counting: u = -K ln(1 - used / K) with K = 64 (Whang, Vander-Zanden, Taylor 1990).
        """
        used = self._used
        return -UNIT_BUCKETS * math.log1p(-used / UNIT_BUCKETS) if used < UNIT_BUCKETS else math.inf

    @property
    def buckets_with_events(self) -> int:
        """How many buckets have a sum above zero: at least so many distinct units had an event."""
        return int(np.count_nonzero(self._total > 0))

    @property
    def design_effect(self) -> float:
        """How many requests of a rate count as one: by the clustered variance, and never more than units there are.

        For what has to be proved: where nothing has happened yet, variance does not tell how units differ.
        """
        if self.n < 2:
            return 1.0
        binomial = self.mean * (1 - self.mean) / self.n
        clustered = self.variance_of_mean / binomial if binomial > 0 and math.isfinite(self.variance_of_mean) else 1.0
        return max(1.0, clustered, self.n / self.units)

    @property
    def design_effect_to_fail(self) -> float:
        """How many requests of a rate count as one where it is held against a limit that it is past.

        Events are there, and tell how units differ: the clustered variance over the binomial one, plus half of that
        ratio's own standard error with K buckets, sqrt(2/(K-1)). Of one bucket alone all requests count as one, and
        where every request was an event each unit counts as one.
        """
        if self.n < 2:
            return 1.0
        used = self._used
        binomial = self.mean * (1 - self.mean) / self.n
        if used < 2 or binomial <= 0 or not math.isfinite(self._total_sq):
            return max(1.0, self.n / self.units)
        return max(1.0, self._clustered_variance / binomial * (1 + math.sqrt(2 / (used - 1)) / 2))
