"""Verdict: what the evidence says of one rule, and the figures that it says it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Answer = Literal["pass", "hold", "fail"]
Need = Literal["prove", "watch"]
Action = Literal["rollback", "pause"]


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """The answer for one rule.

    `interval` is the 95% anytime-valid range in `unit`; `estimate` and `interval` are None where there is nothing to
    estimate from. A rule that must be proved holds its gate until it passes; a watched one only until it fails.
    `reason` says in one sentence why, and what is missing.
    """

    metric: str
    title: str
    rule: str
    action: Action
    need: Need
    verdict: Answer
    estimate: float | None
    interval: tuple[float, float] | None
    limit: float
    unit: str
    n_candidate: int
    n_control: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the keys are those of `status --format json`."""
        return asdict(self)
