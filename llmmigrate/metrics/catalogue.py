"""The metrics by name: what kind of quantity each is, in which unit, and which rules make sense on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rate", "mean", "quantile", "score"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `forms` are the rule keywords that fit it, `measured` says that this version can decide it."""

    name: str
    title: str
    kind: Kind
    unit: str
    forms: frozenset[str]
    measured: bool


_METRICS = (
    Metric("error_rate", "error rate", "rate", "share", frozenset({"above"}), measured=True),
    Metric("tokens_per_request", "tokens / request", "mean", "tokens", frozenset({"increase"}), measured=True),
    Metric("latency_p99", "latency p99", "quantile", "s", frozenset(), measured=False),
    Metric("quality", "quality", "score", "points", frozenset(), measured=False),
    Metric("tool_call_accuracy", "tool-call accuracy", "rate", "share", frozenset(), measured=False),
    Metric("cost_per_request", "cost / request", "mean", "USD", frozenset(), measured=False),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}

REQUIRED_IN_ROLLBACK = ("error_rate", "latency_p99", "quality", "tool_call_accuracy", "cost_per_request")
"""A document names each of these under `rollback`, with a rule or with a waiver and its reason."""
