"""What each arm looks like in plain figures, beside the verdicts: for people, and decided on by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmmigrate.metrics.cells import Cell, quantile
from llmmigrate.metrics.counting import ARMS, BREAKER_OPENED, DROPPED, OVER_BUDGET, Arm

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def figures(cells: Mapping[tuple[Arm, str], Cell]) -> dict[str, dict[str, Any]]:
    """Return per arm: requests, errors by class, quantiles of times in seconds, means and rates; None without data."""
    return {arm: _of_arm({metric: cell for (own, metric), cell in cells.items() if own == arm}) for arm in ARMS}


def _of_arm(cells: Mapping[str, Cell]) -> dict[str, Any]:
    requests = cells["error_rate"].n if "error_rate" in cells else 0
    found: dict[str, Any] = {
        "requests": requests,
        "errors": {name.partition(":")[2]: cell.n for name, cell in sorted(cells.items()) if name.startswith("error:")},
    }
    for counter in (BREAKER_OPENED, DROPPED, OVER_BUDGET):
        found[counter] = cells[counter].n if counter in cells else 0
    for name in ("latency", "first_token"):
        times = cells[name].times if name in cells else None
        found[f"{name}_s"] = (
            {title: quantile(times, q) for title, q in _QUANTILES.items()} if times is not None else None
        )
    means = ("tokens_per_request", "cached_tokens", "cost_per_request")
    rates = (
        "error_rate",
        "malformed_rate",
        "truncated_rate",
        "refusal_rate",
        "tool_call_accuracy",
        "schema_validity",
        "tool_agreement",
        "text_agreement",
    )
    for name in (*means, *rates):
        cell = cells.get(name)
        found[name] = cell.total / cell.n if cell is not None and cell.n else None
    return found
