"""Ranges and tests for fixed samples: a suite is asked once and looked at once, so nothing here is anytime-valid.

`llmmigrate.gates` is for what is looked at for weeks; its ranges would be half as wide again on the same answers.

Sources: Wilson (1927) for one proportion; Newcombe (1998), "Improved confidence intervals for the difference between
binomial proportions based on paired data", Statistics in Medicine 17, method 10; McNemar (1947) in its exact form;
Clopper and Pearson (1934); Holm (1979); Efron and Tibshirani (1993), chapter 13, for the percentile bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, betaincinv, gammaln, ndtr, ndtri

FloatArray = npt.NDArray[np.float64]


class Pairs(NamedTuple):
    """How often something held in both answers of a pair, only in the first, only in the second, in neither."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def n(self) -> int:
        """The number of pairs."""
        return sum(self)

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> Pairs:
        """Count pairs; raises ValueError where the lists differ in length."""
        one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
        if one.shape != two.shape:
            raise ValueError(f"{len(one)} answers cannot be paired with {len(two)}")
        counts = (one & two, one & ~two, ~one & two, ~one & ~two)
        return cls(*(int(part.sum()) for part in counts))


def wilson(successes: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return Wilson's two-sided range of a proportion; (0, 1) without any trial."""
    if n <= 0:
        return 0.0, 1.0
    z = float(ndtri(1 - alpha / 2))
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    width = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return min(max(center - width, 0.0), share), max(min(center + width, 1.0), share)


def highest_mean(total: float, n: float, *, alpha: float = 0.05) -> float:
    """Return a one-sided upper bound of the mean of `n` independent values in [0, 1] that sum to `total`.

    It is Clopper and Pearson's for `total` successes: of all values in [0, 1] with the same mean, those that are 0 or
    1 vary most, so that others are bounded with room to spare. 1 without any value.
    """
    if n <= 0 or total >= n:
        return 1.0
    return float(betaincinv(total + 1, n - total, 1 - alpha))


def paired_difference(pairs: Pairs, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the range of the second share minus the first (Newcombe 1998, method 10); (-1, 1) without pairs."""
    n = pairs.n
    if n == 0:
        return -1.0, 1.0
    one, two = pairs.both + pairs.first, pairs.both + pairs.second
    (low1, high1), (low2, high2) = wilson(one, n, alpha=alpha), wilson(two, n, alpha=alpha)
    share1, share2 = one / n, two / n
    phi = _correlation(pairs)
    below, above = (share2 - low2, high1 - share1), (high2 - share2, share1 - low1)
    difference = share2 - share1
    return difference - _joined(*below, phi), difference + _joined(*above, phi)


def _correlation(pairs: Pairs) -> float:
    """Return phi with Newcombe's continuity correction, 0 where a margin is empty."""
    margins = (
        (pairs.both + pairs.first)
        * (pairs.second + pairs.neither)
        * (pairs.both + pairs.second)
        * (pairs.first + pairs.neither)
    )
    if margins == 0:
        return 0.0
    cross = pairs.both * pairs.neither - pairs.first * pairs.second
    corrected = max(cross - pairs.n / 2, 0.0) if cross >= 0 else float(cross)
    return corrected / math.sqrt(margins)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))


def mcnemar(pairs: Pairs) -> float:
    """Return the exact two-sided p-value that a pair changes as often one way as the other; 1 where none changes."""
    changed = pairs.first + pairs.second
    if changed == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(pairs.first, pairs.second), changed, 0.5)))


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return Fisher's exact two-sided p-value of two shares, each (times, of); 1 where one of them is of none.

    It is the chance of all tables as unlikely as this one, given its margins (Fisher 1935).
    """
    (times1, n1), (times2, n2) = first, second
    if n1 == 0 or n2 == 0:
        return 1.0
    total = times1 + times2
    possible = np.arange(max(0, total - n2), min(total, n1) + 1)
    logs = _log_choose(n1, possible) + _log_choose(n2, total - possible) - _log_choose(n1 + n2, np.array(total))
    here = logs[times1 - possible[0]]
    return min(1.0, float(np.exp(logs[logs <= here + 1e-7]).sum()))


def _log_choose(n: int, k: npt.NDArray[np.int_]) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), dtype=np.float64)


_MOST_VALUES = 1_000_000
"""Values that a bootstrap holds at once."""


class Change(NamedTuple):
    """A change of a mean: its estimate, its 95% range and a two-sided p-value."""

    estimate: float
    interval: tuple[float, float]
    p: float


def paired_bootstrap(
    first: npt.ArrayLike, second: npt.ArrayLike, *, median: bool = False, draws: int = 2000, seed: int = 1
) -> Change:
    """Return the change of a mean, or a median, between paired values, relative to the first one; 95% range.

    Pairs are drawn with replacement; the range is the percentile one, p is the normal one of the estimate over the
    bootstrap's standard error. The seed is fixed: the same answers give the same figures. The range is infinite where
    there are fewer than two pairs, or nothing to be relative to.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(f"{one.size} answers cannot be paired with {two.size}")
    middle = np.median if median else np.mean
    if one.size < 2 or middle(one) <= 0:
        return Change(math.nan, (-math.inf, math.inf), 1.0)
    random = np.random.default_rng(seed)
    at_once = max(1, _MOST_VALUES // one.size)
    parts = (random.integers(0, one.size, (min(at_once, draws - done), one.size)) for done in range(0, draws, at_once))
    middles = np.concatenate([np.stack([middle(some[part], axis=1) for some in (one, two)], axis=1) for part in parts])
    some = middles[:, 0] > 0
    changes = middles[some, 1] / middles[some, 0] - 1
    estimate = float(middle(two) / middle(one) - 1)
    low, high = np.quantile(changes, [0.025, 0.975])
    spread = float(changes.std())
    p = 2 * float(ndtr(-abs(estimate) / spread)) if spread > 0 else float(estimate == 0)
    return Change(estimate, (float(low), float(high)), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the order given: reject where one is at most alpha."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return adjusted
