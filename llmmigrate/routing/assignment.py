"""Which arm a unit belongs to: a pure function of its hash, the ramp and when it started.

The hash is that of flagd's fractional operator, version 2 (open-feature/flagd-testbed, `fractional.feature`):
murmur3_x86_32 with seed 0, scaled to the total weight by multiplication and a shift of 32 bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import mmh3

from llmmigrate.metrics.counting import Arm, as_bytes

BUCKETS = 100_000


def bucket_of(key: str, total: int = BUCKETS) -> int:
    """Return the bucket of a key, from 0 to total-1."""
    return (mmh3.hash(as_bytes(key), 0, signed=False) * total) >> 32


def start_of(unit: str) -> datetime | None:
    """Return when a conversation began, from an id that is a UUID of version 7; None for every other id.

    Its first 48 bits are the milliseconds since 1970 (RFC 9562, section 5.7).
    """
    if len(unit) != 36 or unit[14] != "7" or unit[19] not in "89abAB" or unit[8] != "-":
        return None
    try:
        return datetime.fromtimestamp(int(unit[:8] + unit[9:13], 16) / 1000, UTC)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Ramp:
    """The shares of a canary over time: from `since[i]` on, buckets below `limits[i]` are the candidate's.

    From `closed` on, where the way back lets conversations end, none begins on the candidate.
    """

    since: tuple[datetime, ...]
    limits: tuple[int, ...]
    closed: datetime | None = None

    @classmethod
    def of(cls, steps: Sequence[tuple[datetime, float]], *, closed: datetime | None = None) -> Ramp:
        """Build a ramp from (since, share) in the order of time."""
        return cls(tuple(since for since, _ in steps), tuple(round(share * BUCKETS) for _, share in steps), closed)

    def arm(self, bucket: int, started_at: datetime | None) -> Arm:
        """Return the arm of a bucket for a unit that began at `started_at` (None: by the share in force now)."""
        return "candidate" if bucket < self._limit(started_at) else "control"

    def share(self, started_at: datetime | None) -> float:
        """Return the share of buckets that are the candidate's for units that began at `started_at`."""
        return self._limit(started_at) / BUCKETS

    def _limit(self, started_at: datetime | None) -> int:
        if self.closed is not None and (started_at is None or started_at >= self.closed):
            return 0
        index = len(self.limits) if started_at is None else bisect_right(self.since, started_at)
        return self.limits[index - 1] if index > 0 else 0
