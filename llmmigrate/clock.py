"""Time, as an argument: the store's clock decides what time a tick has."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the data plane needs of time: wall time to compare conversation starts, monotonic time for leases."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, from an arbitrary origin."""
        ...


class SystemClock:
    """Read this machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class VirtualClock:
    """Stand still until told to advance, so that weeks run in seconds through the real code."""

    def __init__(self, start: datetime) -> None:
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move time forward; a negative amount is a ValueError."""
        if seconds < 0:
            raise ValueError("a virtual clock only goes forward")
        self._elapsed += seconds


def to_text(at: datetime) -> str:
    """Write a time as the store keeps it: UTC, milliseconds, `Z`; such texts sort as the times do."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Read a time that `to_text` wrote, or any ISO 8601 time with an offset; ValueError otherwise."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it with a Z or an offset")
    return at.astimezone(UTC)
