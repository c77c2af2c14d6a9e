"""Cells: the figures of one metric for one arm, small, exact and mergeable by addition.

A cell holds per unit bucket the count, the sum and the sum of squares of all that was tallied (`metrics.counting`), and
for times how many fell into each bin; its totals are their sums. They are arrays, in memory and in the store: an
evaluation reads, subtracts and sums many of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from llmmigrate.metrics.counting import UNIT_BUCKETS, Arm, Tally
from llmmigrate.metrics.histogram import BINS, LAST, upper_edge

FloatArray = npt.NDArray[np.float64]

_SUMS = 3
_NONE = np.empty(0, dtype=np.int64)
_HEADER = 4


class CellKey(NamedTuple):
    """What a cell counts: one metric of one arm under one routing generation."""

    route: str
    generation: int
    arm: Arm
    input_type: str
    metric: str


class Counted(NamedTuple):
    """A tally as arrays: bucket numbers of shape (k,), their sums of shape (k, 3), bins and their counts of (m,)."""

    buckets: npt.NDArray[np.int64]
    sums: FloatArray
    bins: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, tally: Tally) -> Counted:
        """Return a tally as arrays."""
        return cls._made(*tally.to_json())

    @classmethod
    def _made(
        cls, buckets: Sequence[int], sums: Sequence[Sequence[float]], bins: Sequence[int], counts: Sequence[int]
    ) -> Counted:
        return cls(
            np.array(buckets, dtype=np.int64),
            np.array(sums, dtype=np.float64).reshape(len(buckets), _SUMS),
            np.array(bins, dtype=np.int64) if bins else _NONE,
            np.array(counts, dtype=np.int64) if counts else _NONE,
        )

    @classmethod
    def from_json(
        cls, buckets: Sequence[int], sums: Sequence[Sequence[float]], bins: Sequence[int], counts: Sequence[int]
    ) -> Counted:
        """Read what `Tally.to_json` gave; ValueError or TypeError where a figure is none."""
        made = cls._made(buckets, sums, bins, counts)
        if not (_places(buckets, UNIT_BUCKETS) and np.isfinite(made.sums).all()):
            raise ValueError("a bucket of a tally holds no figures")
        if not (_places(bins, BINS) and len(bins) == len(counts) and min(counts, default=1) > 0):
            raise ValueError("a histogram holds a count that is none")
        return made


def _places(numbers: Sequence[int], end: int) -> bool:
    """Tell whether numbers are places below an end, each named once."""
    if not numbers:
        return True
    return min(numbers) >= 0 and max(numbers) < end and len(set(numbers)) == len(numbers)


class Cell:
    """Sums per unit bucket, of shape (64, 3): count, sum, sum of squares; and for times, counts by bin, of (6048,)."""

    __slots__ = ("_totals", "sums", "times")

    def __init__(self, sums: FloatArray | None = None, times: FloatArray | None = None) -> None:
        self.sums: FloatArray = np.zeros((UNIT_BUCKETS, _SUMS)) if sums is None else sums
        self.times: FloatArray | None = times
        self._totals: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, tally: Tally) -> Cell:
        """Return a tally's figures as a cell."""
        cell = cls()
        cell.add(Counted.of(tally))
        return cell

    def add(self, counted: Counted) -> None:
        """Add a tally's sums to this cell."""
        self._totals = None
        self.sums[counted.buckets] += counted.sums
        if len(counted.bins):
            if self.times is None:
                self.times = np.zeros(BINS)
            self.times[counted.bins] += counted.counts

    def plus(self, other: Cell) -> Cell:
        """Return the sum of this cell and another."""
        if self.times is None or other.times is None:
            times = self.times if other.times is None else other.times
        else:
            times = self.times + other.times
        return Cell(self.sums + other.sums, times)

    def minus(self, earlier: Cell) -> Cell:
        """Return what was counted since an earlier state of this cell; a bucket that has lost counts holds nothing."""
        since = self.sums - earlier.sums
        since[since[:, 0] <= 0] = 0.0
        times = self.times
        if times is not None and earlier.times is not None:
            times = np.maximum(times - earlier.times, 0.0)
        return Cell(since, times)

    @property
    def totals(self) -> tuple[float, float, float]:
        """Count, sum and sum of squares over all buckets."""
        if self._totals is None:
            n, total, total_sq = self.sums.sum(axis=0).tolist()
            self._totals = (n, total, total_sq)
        return self._totals

    @property
    def n(self) -> int:
        return int(self.totals[0])

    @property
    def total(self) -> float:
        return self.totals[1]

    @property
    def total_sq(self) -> float:
        return self.totals[2]

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Return the sums and, of the bins that are used, numbers and counts: 64-bit figures, little-endian."""
        if self.times is None:
            return self.sums.astype("<f8", copy=False).tobytes(), b""
        used = np.flatnonzero(self.times)
        return self.sums.astype("<f8").tobytes(), np.stack([used, self.times[used]]).astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, sums: bytes, times: bytes) -> Cell:
        """Read what `to_bytes` wrote; ValueError where it is no cell."""
        found = np.frombuffer(sums, dtype="<f8").reshape(UNIT_BUCKETS, _SUMS).astype(np.float64)
        if not times:
            return cls(found)
        bins, counts = np.frombuffer(times, dtype="<i8").reshape(2, -1)
        if bins.min() < 0 or bins.max() > LAST:
            raise ValueError("a cell counts times in a bin that there is not")
        dense = np.zeros(BINS)
        dense[bins] = counts
        return cls(found, dense)


def quantile(times: FloatArray, q: float) -> float | None:
    """Return the time in seconds below which a share q of the counts lies, as the end of its bin; None without any."""
    up_to = np.cumsum(times)
    total = float(up_to[-1])
    if total <= 0:
        return None
    return upper_edge(int(np.searchsorted(up_to, min(max(1, math.ceil(q * total)), total))))


def pack(cells: Mapping[tuple[Arm, str], Cell]) -> bytes:
    """Write cells by arm and metric as one piece: the length of a header, the header in JSON, the figures."""
    parts = [cell.to_bytes() for cell in cells.values()]
    header = orjson.dumps([[*key, len(times)] for key, (_, times) in zip(cells, parts, strict=True)])
    return b"".join([len(header).to_bytes(_HEADER, "little"), header, *(piece for part in parts for piece in part)])


def unpack(data: bytes) -> dict[tuple[Arm, str], Cell]:
    """Read what `pack` wrote; ValueError where it is none."""
    if len(data) < _HEADER:
        raise ValueError("packed cells have a header")
    start = _HEADER + int.from_bytes(data[:_HEADER], "little")
    length = UNIT_BUCKETS * _SUMS * 8
    cells: dict[tuple[Arm, str], Cell] = {}
    for arm, metric, times in orjson.loads(data[_HEADER:start]):
        cells[arm, metric] = Cell.from_bytes(
            data[start : start + length], data[start + length : start + length + times]
        )
        start += length + times
    return cells
