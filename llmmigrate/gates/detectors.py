"""Detectors of a change after a good spell: sums of evidence over all times at which it might have come.

Source: Shin, Ramdas, Rinaldo (2024), "E-detectors: a nonparametric framework for sequential change detection", New
England Journal of Statistics in Data Science 2(2); the Shiryaev-Roberts form for a bounded rate. R minus the number of
updates is a supermartingale where nothing has changed, so that the chance that R ever reaches H/alpha within H updates
is at most alpha (Doob).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_TIMES_LIMIT = (1.4, 2.0, 4.0, 10.0)
"""The rates that are looked for, as multiples of the limit: one of them is near whatever the rate changes to."""


@dataclass(frozen=True, slots=True)
class ShiryaevRoberts:
    """The detector of a rate that has come to be above a limit.

    `log_r` holds per alternative rate the logarithm of R, minus infinity at the start; `updates` how many there were.
    """

    limit: float
    log_r: tuple[float, ...] = ()
    updates: int = 0

    @property
    def alternatives(self) -> tuple[float, ...]:
        """The rates looked for: 1.4, 2, 4 and 10 times the limit where that is below 1, else halfway to 1."""
        return _alternatives(self.limit)

    def update(self, events: float, n: float) -> ShiryaevRoberts:
        """Return the detector after `n` more trials of which `events` were events; both may be fractional.

        R <- (R + 1) (p1/p0)^events ((1-p1)/(1-p0))^(n-events) for each alternative p1, with p0 the limit. ValueError
        where the counts are none.
        """
        if not 0 <= events <= n < math.inf:
            raise ValueError(f"{events} events of {n} trials")
        gains = _gains(self.limit)
        before = self.log_r or (-math.inf,) * len(gains)
        after = tuple(
            _log_one_more(log_r) + events * event + (n - events) * other
            for log_r, (event, other) in zip(before, gains, strict=True)
        )
        return ShiryaevRoberts(self.limit, after, self.updates + 1)

    @property
    def log_mean(self) -> float:
        """The logarithm of the mean of R over the alternatives."""
        most = max(self.log_r, default=-math.inf)
        if math.isinf(most):
            return most
        return most + math.log(sum(math.exp(log_r - most) for log_r in self.log_r) / len(self.log_r))

    def alarms(self, *, horizon: float, alpha: float) -> bool:
        """Tell whether the rate has changed: a false alarm within `horizon` updates has a chance of at most alpha."""
        return self.log_mean >= math.log(max(horizon, self.updates) / alpha)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"limit": self.limit, "log_r": list(self.log_r), "updates": self.updates}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ShiryaevRoberts:
        """Read what `to_json` wrote; ValueError where it is no state."""
        found = cls(float(data["limit"]), tuple(map(float, data["log_r"])), int(data["updates"]))
        if len(found.log_r) not in (0, len(found.alternatives)) or any(map(math.isnan, found.log_r)):
            raise ValueError("a detector's state has not one figure per alternative")
        return found


def _log_one_more(log_r: float) -> float:
    """Return log(R + 1), without overflow."""
    return max(log_r, 0.0) + math.log1p(math.exp(-abs(log_r)))


@lru_cache(maxsize=64)
def _alternatives(limit: float) -> tuple[float, ...]:
    return tuple(t * limit for t in _TIMES_LIMIT if t * limit < 1) or ((1 + limit) / 2,)


@lru_cache(maxsize=64)
def _gains(limit: float) -> tuple[tuple[float, float], ...]:
    """Return per alternative what log R gains by an event and by another trial."""
    return tuple((math.log(p1 / limit), math.log((1 - p1) / (1 - limit))) for p1 in _alternatives(limit))
