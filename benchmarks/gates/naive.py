"""What teams do without anytime-valid statistics: thresholds on windows, and a fixed test that is repeated.

Argo-like: a measurement each five minutes over the last five, rolled back at the fourth failed one (`interval: 5m,
failureLimit: 3`). Flagger-like: a check each minute over the last minute, rolled back at the tenth failed one
(`interval: 1m, threshold: 10`, its documentation's example). Window: three hourly windows in a row. Fixed test: a
two-sample z test at the 5% level over all that came, repeated each minute.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.gates.ours import first, plain
from benchmarks.gates.streams import Array, Stream

RULES = ("Argo-like", "Flagger-like", "hourly window", "fixed test")


def windowed(minutes: int, bad: Callable[[int], Array]) -> dict[str, float]:
    """Return when each threshold rule fires, in minutes; `bad` tells which windows of so many minutes are past it."""
    found = {}
    for name, size, allowed in (("Argo-like", 5, 3), ("Flagger-like", 1, 9)):
        found[name] = (first(bad(size).cumsum() > allowed) + 1) * size
    hourly = bad(60) if minutes >= 180 else np.zeros(0, bool)
    three = hourly[2:] & hourly[1:-1] & hourly[:-2] if len(hourly) >= 3 else hourly
    found["hourly window"] = (first(three) + 3) * 60
    return found


def over(values: Array, size: int) -> Array:
    """Add up windows of so many minutes."""
    whole = len(values) // size * size
    return np.asarray(values[:whole].reshape(-1, size).sum(axis=1))


def rate_above(candidate: Stream, limit: float) -> dict[str, float]:
    """Return when rules on a fixed limit fire."""
    n, total = candidate.n.sum(axis=1), candidate.total.sum(axis=1)

    def bad(size: int) -> Array:
        count = over(n, size)
        return np.asarray((count > 0) & (over(total, size) > limit * count))

    return windowed(len(n), bad)


def mean_above(control: Stream, candidate: Stream, factor: float) -> dict[str, float]:
    """Return when rules on control's mean times a factor fire."""
    series = [(stream.n.sum(axis=1), stream.total.sum(axis=1)) for stream in (control, candidate)]

    def bad(size: int) -> Array:
        (n_old, old), (n_new, new) = [(over(n, size), over(total, size)) for n, total in series]
        return np.asarray((n_old > 0) & (n_new > 0) & (new * n_old > factor * old * n_new))

    return windowed(len(series[0][0]), bad)


def fixed_test(control: Stream, candidate: Stream) -> float:
    """Return when a z test for any increase over control, repeated each minute, first is significant at 5%."""
    (n_old, old, _), (n_new, new, _) = control.whole, candidate.whole
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (new / n_new - old / n_old) / np.sqrt(plain(control) + plain(candidate))
    return first((np.minimum(n_old, n_new) >= 30) & (z > 1.96)) + 1
