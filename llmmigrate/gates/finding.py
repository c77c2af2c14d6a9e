"""What one method found out about one rule, before it is worded as a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal[-1, 0, 1]
"""Which way a change has to go to be past its limit: down, either way, up."""

INCIDENT = "control is past it as well, and the candidate is not credibly worse: an incident, not the migration"


@dataclass(frozen=True, slots=True)
class Finding:
    """Figures of one rule: `interval` is the 95% range, `limit` and `bound` (the limit with its tolerance) are signed.

    `failed` says that all of a stricter range is past the limit, `passed` that all of `interval` is inside the bound;
    `note` is what else a person should know of it, `incident` that control fares no better.
    """

    limit: float
    bound: float
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    failed: bool = False
    passed: bool = False
    note: str = ""
    incident: bool = False

    @property
    def finite(self) -> bool:
        """Whether there are figures at all, and none of them is impossible; an open upper end is no fault."""
        if self.estimate is None or self.interval is None:
            return False
        return math.isfinite(self.estimate) and not any(map(math.isnan, self.interval))


def past(interval: tuple[float, float], limit: float, direction: Direction) -> bool:
    """Tell whether all of a range of changes is past a limit (a magnitude)."""
    low, high = interval
    return (direction >= 0 and low > limit) or (direction <= 0 and high < -limit)


def inside(interval: tuple[float, float], bound: float, direction: Direction) -> bool:
    """Tell whether all of a range of changes is inside a bound (a magnitude)."""
    low, high = interval
    return (direction < 0 or high <= bound) and (direction > 0 or low >= -bound)
