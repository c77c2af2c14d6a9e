"""Arrivals to drive simulations with: the times of a log, stretched and repeated."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path


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
