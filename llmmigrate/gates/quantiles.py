"""Quantiles of times and their differences between two arms, valid at every look, from counts in fixed bins.

Source: Howard, Ramdas (2022), "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification", Bernoulli 28(3). Where x is the q-quantile of an arm, the number of values up to x is binomial with
rate q, and the beta-binomial mixture of `intervals` is an e-process against it. The product of both arms' e-processes
at (x, y) tests that the quantiles are x and y; a difference is left out of the range where all pairs that have it are
rejected. Values of one bin cannot be told apart, so that each bin counts with the smallest e-value that any split of
its values allows: no bin width and no tie weakens the guarantee.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import digamma

from llmmigrate.gates.intervals import FloatArray, Side, beta_binomial_log_e, beta_mass
from llmmigrate.metrics.histogram import BINS, FIRST_S, GROWTH, LAST

_BOTH, _ALONE = 0.7, 0.15
"""Weights of the product of both arms' e-values and of each arm's own, in a one-sided test."""

_LARGEST = 600.0
"""Log evidence beyond which more makes no difference, and e to its power is still a number."""

N_OPT = 5000
"""Requests near which a quantile's test is tightest: a p99 is decided by one value in a hundred."""

UPPER_S: FloatArray = np.append(FIRST_S * GROWTH ** np.arange(LAST), np.inf)
"""Where bins end, in seconds; the last one takes what is longer."""

LOWER_S: FloatArray = np.append(0.0, UPPER_S[:-1])
"""Where bins begin, in seconds."""


@dataclass(frozen=True, slots=True)
class _Segments:
    """The line of times in pieces of which each has one least log e-value: a bin with values, or a gap between two."""

    low_s: FloatArray
    high_s: FloatArray
    log_e: FloatArray


def quantile_interval(
    histogram: npt.ArrayLike, *, q: float, alpha: float, design_effect: float = 1.0, n_opt: float = N_OPT
) -> FloatArray:
    """Return the confidence sequence of one arm's q-quantile in seconds, as an array (low, high).

    `histogram` holds counts in the bins of `metrics.histogram`, shape (6048,); every count is divided by the
    `design_effect` of its units. (0, inf) without values; the high end is inf while too few values lie beyond q.
    """
    found = _segments(histogram, q, alpha, design_effect, n_opt)
    inside = found.log_e < math.log(1 / alpha)
    return np.array([found.low_s[inside][0], found.high_s[inside][-1]])


def quantile_floor(
    histogram: npt.ArrayLike, *, q: float, alpha: float, design_effect: float = 1.0, n_opt: float = N_OPT
) -> float:
    """Return what one arm's q-quantile is at least, in seconds: the one-sided bound that goes with `quantile_interval`.

    0 without values.
    """
    found = _segments(histogram, q, alpha, design_effect, n_opt, "below")
    return float(found.low_s[found.log_e < math.log(1 / alpha)][0])


def quantile_difference(
    control_hist: npt.ArrayLike,
    candidate_hist: npt.ArrayLike,
    *,
    q: float,
    alpha: float,
    relative: bool = False,
    design_effects: tuple[float, float] = (1.0, 1.0),
    n_opt: float = N_OPT,
) -> FloatArray:
    """Return the confidence sequence of the candidate's q-quantile minus control's, as an array (low, high).

    Histograms hold counts in the bins of `metrics.histogram`, shape (6048,); counts are divided by the design effects
    of (control, candidate). In seconds, or with `relative` as a change of control's quantile (0.4 is +40%). All of the
    range is above a limit D at the level alpha exactly where min_x[log E_C(x) + min_{y <= x + D} log E_T(y)] is at
    least ln(1/alpha) (Howard, Ramdas 2022); for the relative form y <= (1 + D) x. An end that the counts do not bound
    is infinite (a relative low end: -1).
    """
    control = _segments(control_hist, q, alpha, design_effects[0], n_opt)
    candidate = _segments(candidate_hist, q, alpha, design_effects[1], n_opt)
    least = int(np.argmin(candidate.log_e))
    left = math.log(1 / alpha) - control.log_e
    open_ = left > candidate.log_e[least]
    left, low_s, high_s = left[open_], control.low_s[open_], control.high_s[open_]
    furthest = least + np.searchsorted(candidate.log_e[least:], left) - 1
    nearest = least - (np.searchsorted(candidate.log_e[least::-1], left) - 1)
    lows, highs = candidate.low_s[nearest], candidate.high_s[furthest]
    if relative:
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(low_s > 0, highs / low_s, np.inf)
            return np.array([np.min(lows / high_s), np.max(far)]) - 1
    return np.array([np.min(lows - high_s), np.max(highs - low_s)])


def quantile_bound(
    control_hist: npt.ArrayLike,
    candidate_hist: npt.ArrayLike,
    *,
    q: float,
    alpha: float,
    upper: bool = False,
    relative: bool = False,
    design_effects: tuple[float, float] = (1.0, 1.0),
    n_opt: float = N_OPT,
) -> float:
    """Return the one-sided bound of what `quantile_difference` gives a range of: the difference is at least that.

    With `upper` it is at most that. It is the sharper test of a limit on one side: each arm's e-value is for rates on
    the side that speaks for it. Those are monotone in the count, so that the least value in a bin is at one end of it.
    A pair (x, y) is rejected where 0.7 E_C E_T + 0.15 E_C + 0.15 E_T is at least 1/alpha: an average of e-values is
    one, and the evidence of one arm alone must do where the other's speaks for the other side. Infinite (a relative
    lower bound: -1) where the counts bound nothing.
    """
    sides: tuple[Side, Side] = ("below", "above") if upper else ("above", "below")
    control = _segments(control_hist, q, alpha, design_effects[0], n_opt, sides[0])
    candidate = _segments(candidate_hist, q, alpha, design_effects[1], n_opt, sides[1])
    left = _left(control.log_e, alpha)
    rising = candidate.log_e if upper else candidate.log_e[::-1]
    allowed = np.searchsorted(rising, left)
    open_ = allowed > 0
    last = allowed[open_] - 1
    if upper:
        other, own, worst = candidate.high_s[last], control.low_s[open_], np.max
    else:
        other, own, worst = candidate.low_s[::-1][last], control.high_s[open_], np.min
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(own > 0, other / own, np.inf) - 1 if relative else other - own
    return float(worst(found))


def _left(log_e: FloatArray, alpha: float) -> FloatArray:
    """Return how much log evidence the other arm may have before a pair is rejected; -inf where none is needed."""
    own = np.exp(np.minimum(log_e, _LARGEST))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.maximum(1 / alpha - _ALONE * own, 0.0)) - np.log(_BOTH * own + _ALONE))


def _segments(
    histogram: npt.ArrayLike, q: float, alpha: float, design_effect: float, n_opt: float, side: Side = "both"
) -> _Segments:
    counts = np.asarray(histogram, dtype=np.float64) / design_effect
    if counts.shape != (BINS,):
        raise ValueError(f"a histogram has the shape ({BINS},), not {counts.shape}")
    used = np.flatnonzero(counts)
    up_to = np.append(0.0, np.cumsum(counts[used]))
    total = float(up_to[-1])
    low_s, high_s = np.empty(2 * len(used) + 1), np.empty(2 * len(used) + 1)
    low_s[1::2], high_s[1::2] = LOWER_S[used], UPPER_S[used]
    low_s[0::2], high_s[0::2] = np.append(0.0, UPPER_S[used]), np.append(LOWER_S[used], np.inf)
    nearest = _least_count(total, q, alpha, n_opt) if side == "both" else 0.0 if side == "above" else total
    count = np.empty(2 * len(used) + 1)
    count[0::2] = up_to
    count[1::2] = np.clip(nearest, up_to[:-1], up_to[1:])
    return _Segments(low_s, high_s, beta_binomial_log_e(count, total, q, alpha=alpha, n_opt=n_opt, side=side))


def _least_count(total: float, q: float, alpha: float, n_opt: float) -> float:
    """Return the count s of `total` with the least e-value against q; log E is convex in s."""
    mass = beta_mass(alpha, n_opt)
    odds = math.log(q / (1 - q))

    def slope(s: float) -> float:
        return float(digamma(mass * q + s) - digamma(mass * (1 - q) + total - s)) - odds

    if slope(0.0) >= 0:
        return 0.0
    return float(brentq(slope, 0.0, total)) if slope(total) > 0 else total
