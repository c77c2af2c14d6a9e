"""The metrics by name: what kind of quantity each is, in which unit, and which rules make sense on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from llmmigrate.units import AmountUnit

Kind = Literal["rate", "mean", "quantile", "score", "business", "any"]
Form = Literal["above", "below", "increase", "decrease", "drop", "change"]
FORMS: tuple[Form, ...] = ("above", "below", "increase", "decrease", "drop", "change")

_BY_KIND: dict[Kind, dict[Form, tuple[AmountUnit, ...]]] = {
    "rate": {"above": ("%",), "increase": ("pp",), "decrease": ("pp",), "drop": ("pp",), "change": ("pp",)},
    "score": {"below": ("%",), "increase": ("pp",), "decrease": ("pp",), "drop": ("pp",), "change": ("pp",)},
    "mean": {"increase": ("%",), "decrease": ("%",), "change": ("%",)},
    "quantile": {"above": ("s",), "increase": ("s", "%"), "decrease": ("s", "%")},
    "business": {
        "above": ("%",),
        "below": ("%",),
        "increase": ("%", "pp"),
        "decrease": ("%", "pp"),
        "drop": ("%", "pp"),
        "change": ("%", "pp"),
    },
    "any": {},
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `forms` are the keywords of rules that fit it, with the units that each takes.

    `cell` names the cells that hold its figures, and `q` which quantile of them it is, where it is one. `decided` are
    the forms on which this release comes to a verdict; a rule of another form holds its gates.
    """

    name: str
    title: str
    kind: Kind
    unit: str
    forms: Mapping[Form, tuple[AmountUnit, ...]]
    decided: frozenset[Form] = frozenset()
    q: float | None = None

    @property
    def cell(self) -> str:
        return self.name if self.q is None else self.name.rpartition("_p")[0]


def _metric(name: str, title: str, kind: Kind, unit: str, *decided: Form) -> Metric:
    forms = dict(_BY_KIND[kind])
    if unit == "USD":
        forms["above"] = ("$",)
    q = float(name.rpartition("_p")[2]) / 100 if kind == "quantile" else None
    return Metric(name, title, kind, unit, forms, frozenset(decided), q)


_METRICS = (
    _metric("error_rate", "error rate", "rate", "share", *_BY_KIND["rate"]),
    _metric("tokens_per_request", "tokens / request", "mean", "tokens", *_BY_KIND["mean"]),
    _metric("cost_per_request", "cost / request", "mean", "USD", *_BY_KIND["mean"], "above"),
    _metric("latency_p50", "latency p50", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("latency_p95", "latency p95", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("latency_p99", "latency p99", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("first_token_p50", "first token p50", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("first_token_p95", "first token p95", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("first_token_p99", "first token p99", "quantile", "s", *_BY_KIND["quantile"]),
    _metric("quality", "quality", "score", "points"),
    _metric("tool_call_accuracy", "tool-call accuracy", "score", "share", *_BY_KIND["score"]),
    _metric("schema_validity", "schema validity", "score", "share", *_BY_KIND["score"]),
    _metric("tool_agreement", "same tool calls as control", "score", "share", "drop"),
    _metric("text_agreement", "same text as control", "score", "share", "drop"),
    _metric("refusal_rate", "refusals", "rate", "share", *_BY_KIND["rate"]),
    _metric("malformed_rate", "malformed answers", "rate", "share", *_BY_KIND["rate"]),
    _metric("truncated_rate", "cut-off answers", "rate", "share", *_BY_KIND["rate"]),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}

SHADOW_ONLY = frozenset({"tool_agreement", "text_agreement"})
"""What can be measured only while both arms answer the same requests."""

ANY = Metric("*", "any metric", "any", "", {})
"""The metric of the rule that pauses on whatever is credibly worse."""

REQUIRED_IN_ROLLBACK = ("error_rate", "latency_p99", "quality", "tool_call_accuracy", "cost_per_request")
"""A document names each of these under `rollback`, with a rule or with a waiver and its reason."""


def business(name: str) -> Metric:
    """Return the metric that a document's own source measures under a name."""
    return Metric(name, name.replace("_", " "), "business", "share", _BY_KIND["business"])


def metric_of(name: str) -> Metric:
    """Return the metric that a rule names: of the catalogue, the wildcard, or one of a document's own sources."""
    return ANY if name == "*" else CATALOGUE.get(name) or business(name)
