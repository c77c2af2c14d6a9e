"""Cells: the figures of one metric for one arm, small, exact and mergeable by addition.

A cell holds per unit bucket the count, the sum and the sum of squares; its totals are their sums. Replicas build
cells in memory, flushes carry them, the store adds them up: the cost of a decision never grows with requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import mmh3

from llmmigrate.metrics.histogram import LAST, Histogram, bin_of

Arm = Literal["control", "candidate"]
ARMS: tuple[Arm, Arm] = ("control", "candidate")
UNIT_BUCKETS = 64

ASSIGNED = "assigned"
"""The counter of decisions per arm, beside the metrics: what was decided and never observed is missing evidence."""

SPLIT = "split"
"""The counter of decisions that chance made between both arms; its values are the candidate's share of such units."""

MAX_INPUT_TYPES = 50
"""Input types that are kept apart; the rest are counted together."""

BREAKER_OPENED = "breaker_opened"
"""The counter of replicas that stopped calling a failing candidate by themselves."""

DROPPED = "dropped"
"""The counter of mirrored calls that were not made, because too many were under way."""

OVER_BUDGET = "over_budget"
"""The counter of mirrored calls that were not made, because their budget is spent."""

AA_COST = "aa_cost"
"""What calling control a second time cost, in US dollars: it is no request of a user, but part of the budget."""

COUNTERS = frozenset({ASSIGNED, SPLIT, BREAKER_OPENED, DROPPED, OVER_BUDGET, AA_COST})
"""What is counted beside the metrics: no data of an arm, and no time on fresh data."""

PAYLOAD_VERSION = 1
"""The form of a flush: `{"v", "cells": [[*key, buckets, histogram]], "covered": [[route, generation, arm, s]]}`."""

_UNIT_SEED = 64


class CellKey(NamedTuple):
    """What a cell counts: one metric of one arm under one routing generation."""

    route: str
    generation: int
    arm: Arm
    input_type: str
    metric: str


def as_bytes(key: str) -> bytes:
    """Return a key as it is hashed: UTF-8, also of half a surrogate pair, on which mmh3 5.3.1 ends the process."""
    return key.encode("utf-8", "surrogatepass")


def unit_bucket(unit: str) -> int:
    """Return the variance bucket (0 to 63) of a unit; seeded apart from the assignment hash."""
    return mmh3.hash(as_bytes(unit), _UNIT_SEED, signed=False) % UNIT_BUCKETS


@dataclass(slots=True)
class Cell:
    """Sums per unit bucket, `{bucket: [n, sum, sum of squares]}`, and for times the histogram of all values."""

    buckets: dict[int, list[float]] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=dict)

    def add(self, bucket: int, value: float) -> None:
        """Count one value of a unit in `bucket`."""
        sums = self.buckets.get(bucket)
        if sums is None:
            self.buckets[bucket] = [1, value, value * value]
        else:
            sums[0] += 1
            sums[1] += value
            sums[2] += value * value

    def merge(self, other: Cell) -> None:
        """Add another cell's sums to this one."""
        for bucket, (n, total, squares) in other.buckets.items():
            ours = self.buckets.get(bucket)
            if ours is None:
                self.buckets[bucket] = [n, total, squares]
            else:
                ours[0] += n
                ours[1] += total
                ours[2] += squares
        histogram = self.histogram
        for place, count in other.histogram.items():
            histogram[place] = histogram.get(place, 0) + count

    def minus(self, earlier: Cell) -> Cell:
        """Return what was counted since an earlier state of this cell."""
        since = Cell()
        for bucket, sums in self.buckets.items():
            before = earlier.buckets.get(bucket, (0, 0.0, 0.0))
            if sums[0] > before[0]:
                since.buckets[bucket] = [amount - less for amount, less in zip(sums, before, strict=True)]
        for place, count in self.histogram.items():
            if count > earlier.histogram.get(place, 0):
                since.histogram[place] = count - earlier.histogram.get(place, 0)
        return since

    def add_time(self, bucket: int, seconds: float) -> None:
        """Count one time of a unit in `bucket`, and its place in the distribution."""
        self.add(bucket, seconds)
        place = bin_of(seconds)
        self.histogram[place] = self.histogram.get(place, 0) + 1

    @property
    def n(self) -> int:
        return int(sum(sums[0] for sums in self.buckets.values()))

    @property
    def total(self) -> float:
        return float(sum(sums[1] for sums in self.buckets.values()))

    @property
    def total_sq(self) -> float:
        return float(sum(sums[2] for sums in self.buckets.values()))

    def to_json(self) -> tuple[dict[str, list[float]], dict[str, int]]:
        """Return the buckets and the histogram as plain data."""
        buckets = {str(bucket): list(sums) for bucket, sums in self.buckets.items()}
        return buckets, {str(place): count for place, count in self.histogram.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], times: Mapping[str, Any]) -> Cell:
        """Read what `to_json` wrote; ValueError where a figure is none."""
        buckets = {int(bucket): [float(amount) for amount in sums] for bucket, sums in data.items()}
        histogram = {int(place): int(count) for place, count in times.items()}
        if histogram and (min(histogram) < 0 or max(histogram) > LAST or min(histogram.values()) <= 0):
            raise ValueError("a histogram holds a count that is none")
        for bucket, sums in buckets.items():
            if not 0 <= bucket < UNIT_BUCKETS or len(sums) != 3 or not math.isfinite(sum(sums)):
                raise ValueError(f"bucket {bucket} of a cell holds no figures")
        return cls(buckets, histogram)
