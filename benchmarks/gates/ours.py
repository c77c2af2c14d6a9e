"""The product's tests for whole series at once: the formulas of `llmmigrate.gates`, a test holds the two together."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.gates.streams import Array, Stream
from llmmigrate.gates import beta_binomial_log_e, normal_mixture_half_width, quantile_bound
from llmmigrate.gates.detectors import ShiryaevRoberts
from llmmigrate.gates.quantiles import UPPER_S
from llmmigrate.gates.rates import MIN_UNITS_TO_FAIL

MINIMUM = 300


def first(hits: Array) -> float:
    """Return the first place of a series that is true, infinity without any."""
    return float(np.argmax(hits)) if hits.any() else math.inf


def clustered(stream: Stream) -> tuple[Array, Array, Array, Array]:
    """Return per minute: count, mean, its plain and its clustered squared error."""
    n_b, total_b = stream.up_to
    n, total, _ = stream.whole
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        used = (n_b > 0).sum(axis=1)
        apart = np.einsum("mb,mb->m", total_b, total_b) - 2 * mean * np.einsum("mb,mb->m", total_b, n_b)
        apart = np.maximum(apart + mean**2 * np.einsum("mb,mb->m", n_b, n_b), 0.0) * used / (used - 1) / n**2
    return n, mean, plain(stream), apart


def plain(stream: Stream) -> Array:
    """Return per minute the squared error of the mean of independent values."""
    n, total, squares = stream.whole
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.maximum(squares / n - (total / n) ** 2, 0.0) / (n - 1))


def effect_to_fail(stream: Stream) -> Array:
    """Return the design effect by which counts are divided to fail, per minute."""
    n, mean, _, apart = clustered(stream)
    used = (stream.up_to[0] > 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        binomial = mean * (1 - mean) / n
        effect = apart / binomial * (1 + np.sqrt(2 / (used - 1)) / 2)
        units = np.where(used < 64, -64 * np.log1p(-np.minimum(used, 63) / 64), np.inf)
        fallback = np.maximum(1.0, n / units)
    return np.where((used < 2) | (binomial <= 0) | (n < 2), np.where(n < 2, 1.0, fallback), np.maximum(1.0, effect))


def rate_fails(stream: Stream, effect: Array, limit: float, alpha: float) -> Array:
    """Tell per minute whether a rate is past its limit over all that came, divided by its design effect."""
    n, total, _ = stream.whole
    log_e = beta_binomial_log_e(total / effect, n / effect, limit, alpha=alpha, side="above")
    witnesses = (stream.up_to[1] > 0).sum(axis=1) >= MIN_UNITS_TO_FAIL
    with np.errstate(divide="ignore", invalid="ignore"):
        past = total / n > limit
    return witnesses & past & (log_e >= math.log(1 / alpha))


def detector_alarms(stream: Stream, effect: Array, limit: float, alpha: float, horizon: float) -> Array:
    """Tell per minute whether the detector of a rate has fired, without asking how many units had an event since."""
    n = stream.n
    ordered = np.sort(n, axis=1)
    used = (n > 0).sum(axis=1)
    others = np.maximum(used - 1, 0)
    rows = np.arange(len(n))
    start = n.shape[1] - used
    low = ordered[rows, np.minimum(start + np.maximum(others - 1, 0) // 2, 63)]
    high = ordered[rows, np.minimum(start + others // 2, 63)]
    most = np.where(others > 0, 2 * np.maximum(1.0, (low + high) / 2), 1.0)
    weight = np.minimum(n, most[:, None]) / effect[:, None]
    trials = weight.sum(axis=1)
    happened = np.minimum((weight * stream.total / np.maximum(n, 1)).sum(axis=1), trials)
    p1 = np.array(ShiryaevRoberts(limit).alternatives)
    gain = happened[:, None] * np.log(p1 / limit) + (trials - happened)[:, None] * np.log((1 - p1) / (1 - limit))
    log_r, found = np.full(len(p1), -np.inf), np.zeros(len(n), bool)
    threshold = math.log(horizon / alpha) + math.log(len(p1))
    for minute, step in enumerate(gain):
        log_r = np.logaddexp(log_r, 0.0) + step
        found[minute] = log_r.max() >= threshold or np.logaddexp.reduce(log_r) >= threshold
    return found


def difference_fails(control: Stream, candidate: Stream, margin: float, alpha: float) -> Array:
    """Tell per minute whether a rate is past control's by more than a margin."""
    square, means = np.zeros(len(control.n)), []
    for stream in (control, candidate):
        n, mean, alone, apart = clustered(stream)
        total = stream.whole[1]
        rate = (total + 2) / (n + 4)
        n_b, total_b = stream.up_to
        telling = np.minimum((total_b > 0).sum(axis=1), (n_b > total_b).sum(axis=1))
        apart = apart * (1 + np.sqrt(2 / np.maximum(telling - 1, 1)))
        square = square + np.maximum.reduce([alone, apart, rate * (1 - rate) / (n + 4)])
        means.append((n, mean))
    width = normal_mixture_half_width(np.sqrt(square), tau=margin, alpha=alpha, sides=1)
    enough = np.minimum(means[0][0], means[1][0]) >= MINIMUM
    return np.asarray(enough & (means[1][1] - means[0][1] - width > margin))


def mean_fails(control: Stream, candidate: Stream, increase: float, alpha: float) -> Array:
    """Tell per minute whether a mean is past control's by more than a relative increase."""
    (n_old, old, plain_old, apart_old), (n_new, new, plain_new, apart_new) = map(clustered, (control, candidate))
    square = np.maximum(plain_new, apart_new) + (1 + increase) ** 2 * np.maximum(plain_old, apart_old)
    tau = increase * old
    width = normal_mixture_half_width(np.sqrt(square), tau=tau, alpha=alpha, sides=1)
    return np.asarray((np.minimum(n_old, n_new) >= MINIMUM) & (new - (1 + increase) * old > width))


def quantile_fails(control: Array, candidate: Array, q: float, limit_s: float, alpha: float) -> bool:
    """Tell whether a quantile is past control's by more than a number of seconds.

    A range holds its estimate, so that it is worked out only where the estimate is past the limit.
    """
    old, new = (UPPER_S[np.searchsorted(hist.cumsum(), q * hist.sum())] for hist in (control, candidate))
    if new - old <= limit_s:
        return False
    return quantile_bound(control, candidate, q=q, alpha=alpha) > limit_s
