"""Which arm a unit belongs to: a pure function of its hash, the ramp and when it started.

The hash is that of flagd's fractional operator, version 2 (open-feature/flagd-testbed, `fractional.feature`):
murmur3_x86_32 with seed 0, scaled to the total weight by multiplication and a shift of 32 bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import mmh3

from llmmigrate.metrics.cells import Arm

BUCKETS = 100_000


def bucket_of(key: str, total: int = BUCKETS) -> int:
    """Return the bucket of a key, from 0 to total-1."""
    return (mmh3.hash(key, 0, signed=False) * total) >> 32


@dataclass(frozen=True, slots=True)
class Ramp:
    """The shares of a canary over time: from `since[i]` on, buckets below `limits[i]` are the candidate's."""

    since: tuple[datetime, ...]
    limits: tuple[int, ...]

    @classmethod
    def of(cls, steps: Sequence[tuple[datetime, float]]) -> Ramp:
        """Build a ramp from (since, share) in the order of time."""
        return cls(tuple(since for since, _ in steps), tuple(round(share * BUCKETS) for _, share in steps))

    def arm(self, bucket: int, started_at: datetime | None) -> Arm:
        """Return the arm of a bucket for a unit that began at `started_at` (None: by the share in force now)."""
        if not self.limits:
            return "control"
        index = len(self.limits) if started_at is None else bisect_right(self.since, started_at)
        return "candidate" if index > 0 and bucket < self.limits[index - 1] else "control"
