"""Arrivals to drive simulations with: the times of a log, stretched and repeated, or drawn; and sticky units."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmmigrate.metrics.counting import UNIT_BUCKETS
from llmmigrate.routing.assignment import BUCKETS

if TYPE_CHECKING:
    from llmmigrate.foresight.scenario import Demand

LATENT = 4
"""Normal variables that each unit has of its own, for what it has in common in its requests."""

_DAY_S = 86400.0

_REQUEST = np.dtype(
    [
        ("at", np.float64),
        ("start", np.float64),
        ("bucket", np.int32),
        ("again", np.int32),
        ("place", np.int8),
        ("first", np.bool_),
        ("own", np.float64, (LATENT,)),
    ]
)

Requests = npt.NDArray[Any]
"""Requests, a record each: `at` and the `start` of its unit in seconds, the `bucket` of its unit in the assignment and
that of being called `again` (of 100,000), its `place` among 64 variance buckets, whether it is the `first` of its unit,
and the unit's own normal variables. Parts of them are taken with `compress`, which copies records whole: a mask as an
index copies them field by field."""


def read_arrivals(file: Path) -> list[float]:
    """Read arrival times, in seconds since the first one, from a log in the form of the Azure LLM inference trace.

    The form is CSV with a column TIMESTAMP such as `2023-11-16 18:15:46.6805900` (github.com/Azure/AzurePublicDataset).
    Raises ValueError where a line is not in that form or fewer than two are.
    """
    with file.open(encoding="utf-8", newline="") as lines:
        try:
            times = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in csv.DictReader(lines)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not an arrival log: {error}") from error
    if len(times) < 2:
        raise ValueError(f"{file} has fewer than two arrivals")
    return sorted((at - times[0]).total_seconds() for at in times)


def stretched(arrivals: list[float], per_hour: float) -> Iterator[float]:
    """Yield arrival times in seconds for ever, at a mean rate, with the log's own bursts."""
    span = arrivals[-1] - arrivals[0] + (arrivals[-1] - arrivals[0]) / (len(arrivals) - 1)
    factor = len(arrivals) * 3600 / (per_hour * span)
    start = 0.0
    while True:
        for at in arrivals:
            yield start + at * factor
        start += span * factor


class Traffic:
    """Requests of sticky units, as a scenario describes them.

    Where a unit is hashed to is uniform, as the hash of its name is; `arrivals` are the times of a log by which units
    begin, else they are a Poisson process.
    """

    def __init__(self, demand: Demand, random: np.random.Generator, *, arrivals: list[float] | None = None) -> None:
        self._demand = demand
        self._random = random
        self._units_per_s = demand.rps / demand.requests_per_unit
        self._log = stretched(arrivals, self._units_per_s * 3600) if arrivals is not None else None
        self._next = next(self._log) if self._log is not None else math.inf
        self._now = 0.0
        self._waiting: Requests = np.empty(0, _REQUEST)

    def until(self, end_s: float) -> Requests:
        """Return the requests from where it was left to a time in seconds since the start."""
        begun = self._begin(end_s)
        self._now = end_s
        drawn = np.concatenate([self._waiting, begun]) if len(begun) else self._waiting
        due = drawn["at"] < end_s
        self._waiting = drawn.compress(~due)
        return drawn.compress(due)

    def _begin(self, end_s: float) -> Requests:
        """Draw the units that begin until a time, with all of their requests."""
        starts = self._starts(end_s)
        count, random = len(starts), self._random
        lengths = random.geometric(1 / self._demand.requests_per_unit, count)
        units = np.empty(count, _REQUEST)
        units["start"] = starts
        units["bucket"] = random.integers(0, BUCKETS, count)
        units["again"] = random.integers(0, BUCKETS, count)
        units["place"] = random.integers(0, UNIT_BUCKETS, count)
        units["own"] = random.standard_normal((count, LATENT))
        requests = np.repeat(units, lengths)
        firsts = np.cumsum(lengths) - lengths
        gaps = random.exponential(self._demand.gap, len(requests))
        gaps[firsts] = 0.0
        since = np.cumsum(gaps)
        requests["at"] = requests["start"] + (since - np.repeat(since[firsts], lengths))
        requests["first"] = False
        requests["first"][firsts] = True
        return requests

    def _starts(self, end_s: float) -> npt.NDArray[np.float64]:
        if self._log is not None:
            found = []
            while self._next < end_s:
                found.append(self._next)
                self._next = next(self._log)
            return np.array(found)
        length = end_s - self._now
        middle = self._now + length / 2
        rate = self._units_per_s * (1 + self._demand.swing * math.sin(2 * math.pi * middle / _DAY_S))
        return self._now + length * np.sort(self._random.random(self._random.poisson(rate * length)))
