"""What cells are expected to hold after so many requests: for planning, through the gates' own functions.

Requests are taken as independent, spread evenly over the buckets of units, with every figure at its expectation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import norm

from llmmigrate.foresight.scenario import USUAL
from llmmigrate.gates.quantiles import UPPER_S
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import UNIT_BUCKETS

Array = npt.NDArray[np.float64]

_ENOUGH = 1000
"""Requests from which on an arm's own figures are better than the usual ones."""

_P99 = float(ndtri(0.99))


@dataclass(frozen=True, slots=True)
class Mean:
    """A metric's mean and coefficient of variation."""

    mean: float
    cv: float


@dataclass(frozen=True, slots=True)
class Figures:
    """How requests of an arm turn out: shares by metric, means by metric, and the chance of each bin of times.

    What is in none of them is not measured. `known` names the metrics that were, for this route; the others are usual.
    """

    shares: dict[str, float] = field(default_factory=dict)
    means: dict[str, Mean] = field(default_factory=dict)
    times: dict[str, Array] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    def cell(self, metric: str, n: float) -> Cell | None:
        """Return what the cell of a metric holds after `n` requests; None for what is not measured."""
        if metric in self.shares:
            return _cell(n, self.shares[metric], self.shares[metric])
        if metric in self.means:
            mean, cv = self.means[metric].mean, self.means[metric].cv
            return _cell(n, mean, mean**2 * (1 + cv**2))
        if metric in self.times:
            chance = self.times[metric]
            mean = float(chance @ np.minimum(UPPER_S, UPPER_S[-2]))
            square = float(chance @ np.minimum(UPPER_S, UPPER_S[-2]) ** 2)
            return _cell(n, mean, square, n * chance)
        return None

    def changed(self, metric: str, amount: float, *, relative: bool = False) -> Figures:
        """Return these figures with one metric moved by an amount: of a share, of a mean's own size, or of time.

        Times move by seconds, all of them alike, or are `relative` to what they were.
        """
        if metric in self.shares:
            share = min(max(self.shares[metric] + amount, 0.0), 1.0)
            return replace(self, shares={**self.shares, metric: share})
        if metric in self.means:
            old = self.means[metric]
            return replace(self, means={**self.means, metric: Mean(old.mean * (1 + amount), old.cv)})
        moved = np.zeros_like(self.times[metric])
        ends = UPPER_S * (1 + amount) if relative else np.maximum(UPPER_S + amount, 0.0)
        np.add.at(moved, np.searchsorted(UPPER_S, ends), self.times[metric])
        return replace(self, times={**self.times, metric: moved})


def _cell(n: float, mean: float, square: float, times: Array | None = None) -> Cell:
    return Cell(np.full((UNIT_BUCKETS, 3), n / UNIT_BUCKETS) * [1, mean, square], times)


def lognormal(p50_s: float, p99_s: float) -> Array:
    """Return the chance of each bin for lognormal times by their median and 99th percentile, in seconds."""
    with np.errstate(divide="ignore"):
        below = norm.cdf(np.log(UPPER_S / p50_s) / (math.log(p99_s / p50_s) / _P99))
    chance = np.diff(below, prepend=0.0)
    return np.asarray(np.where(chance > 1e-12, chance, 0.0))


def usual() -> Figures:
    """Return the figures of an arm that nothing is known of: those of a scenario that says nothing."""
    assert USUAL.errors is not None
    shares = {
        "error_rate": USUAL.errors,
        "malformed_rate": 0.001,
        "truncated_rate": USUAL.cut_off,
        "refusal_rate": USUAL.refusals,
        "tool_call_accuracy": USUAL.tools_valid,
        "schema_validity": USUAL.schema_valid,
        "tool_agreement": USUAL.same_tools,
        "text_agreement": USUAL.same_text,
    }
    assert USUAL.tokens is not None
    assert USUAL.tokens_cv is not None
    assert USUAL.cost is not None
    assert USUAL.latency_p50 is not None
    assert USUAL.latency_p99 is not None
    return Figures(
        shares={name: share for name, share in shares.items() if share is not None},
        means={
            "tokens_per_request": Mean(USUAL.tokens, USUAL.tokens_cv),
            "cost_per_request": Mean(USUAL.cost, USUAL.tokens_cv),
        },
        times={
            "latency": lognormal(USUAL.latency_p50, USUAL.latency_p99),
            "first_token": lognormal(USUAL.latency_p50 / 3, USUAL.latency_p99 / 3),
        },
    )


def measured(cells: Mapping[str, Cell]) -> Figures:
    """Return an arm's figures by its cells of at least a thousand requests; the usual ones for all else."""
    found = usual()
    enough = {metric: cell for metric, cell in cells.items() if cell.n >= _ENOUGH}
    for metric, cell in enough.items():
        mean = cell.total / cell.n
        if metric in found.shares:
            found.shares[metric] = mean
        elif metric in found.means and mean > 0:
            found.means[metric] = Mean(mean, math.sqrt(max(cell.total_sq / cell.n / mean**2 - 1, 0.0)))
        elif metric in found.times and cell.times is not None:
            found.times[metric] = cell.times / cell.times.sum()
    return replace(found, known=frozenset(enough) & {*found.shares, *found.means, *found.times})
