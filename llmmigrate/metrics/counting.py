"""Counting in a replica: what is counted, by which names, and tallies that add up single values.

A tally holds per unit bucket the count, the sum and the sum of squares. Replicas build tallies in memory, flushes carry
them, and the store adds them up to `cells`: the cost of a decision never grows with requests. This module is what a
router loads, and needs no arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import mmh3

from llmmigrate.metrics.histogram import bin_of

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
"""The form of a flush: `{"v", "cells": [[*key, *tally]], "covered": [[route, generation, arm, s]]}`, with what
`Tally.to_json` gives."""

_UNIT_SEED = 64


def as_bytes(key: str) -> bytes:
    """Return a key as it is hashed: UTF-8, also of half a surrogate pair, on which mmh3 5.3.1 ends the process."""
    return key.encode("utf-8", "surrogatepass")


def unit_bucket(unit: str) -> int:
    """Return the variance bucket (0 to 63) of a unit; seeded apart from the assignment hash."""
    return mmh3.hash(as_bytes(unit), _UNIT_SEED, signed=False) % UNIT_BUCKETS


@dataclass(slots=True)
class Tally:
    """Sums per unit bucket, `{bucket: [n, sum, sum of squares]}`, and for times the counts by their bins."""

    buckets: dict[int, list[float]] = field(default_factory=dict)
    histogram: dict[int, int] = field(default_factory=dict)

    def add(self, bucket: int, value: float) -> None:
        """Count one value of a unit in `bucket`."""
        sums = self.buckets.get(bucket)
        if sums is None:
            self.buckets[bucket] = [1, value, value * value]
        else:
            sums[0] += 1
            sums[1] += value
            sums[2] += value * value

    def add_time(self, bucket: int, seconds: float) -> None:
        """Count one time of a unit in `bucket`, and its place in the distribution."""
        self.add(bucket, seconds)
        place = bin_of(seconds)
        self.histogram[place] = self.histogram.get(place, 0) + 1

    def merge(self, other: Tally) -> None:
        """Add another tally's sums to this one."""
        for bucket, (n, total, squares) in other.buckets.items():
            ours = self.buckets.get(bucket)
            if ours is None:
                self.buckets[bucket] = [n, total, squares]
            else:
                ours[0] += n
                ours[1] += total
                ours[2] += squares
        for place, count in other.histogram.items():
            self.histogram[place] = self.histogram.get(place, 0) + count

    def to_json(self) -> tuple[list[int], list[list[float]], list[int], list[int]]:
        """Return plain data: the buckets, their sums (n, sum, sum of squares), the bins of times, and their counts."""
        return list(self.buckets), list(self.buckets.values()), list(self.histogram), list(self.histogram.values())
