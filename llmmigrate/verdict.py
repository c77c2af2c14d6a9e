"""Verdict: what the evidence says of one rule, and the figures that it says it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Answer = Literal["pass", "hold", "fail"]
Need = Literal["prove", "watch"]
Action = Literal["rollback", "pause"]

_LONGEST_S = 3500.0
"""From here on a time stands for one that nothing bounds."""


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """The answer for one rule.

    `interval` is the 95% anytime-valid range in `unit`; `estimate` and `interval` are None where there is nothing to
    estimate from. A rule that must be proved holds its gate until it passes; a watched one only until it fails.
    `reason` says in one sentence why, and what is missing; `note` what else there is to a failure.
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
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the keys are those of `status --format json`."""
        return {name: getattr(self, name) for name in self.__slots__}


def worded(value: float, unit: str) -> str:
    """Write a figure of a verdict for people: `1.2%`, `+3.4%` (relative), `-0.8pp`, `340 ms`, `$0.0123`."""
    if unit in ("s", "s_change"):
        sign = "+" if unit == "s_change" else ""
        if abs(value) >= _LONGEST_S:
            return "-∞" if value < 0 else "∞"
        return f"{value * 1000:{sign},.0f} ms" if abs(value) < 10 else f"{value:{sign},.1f} s"
    if unit == "USD":
        return f"${value:,.4g}"
    sign = "" if unit == "share" else "+"
    return f"{value * 100:{sign}.1f}{'pp' if unit == 'pp' else '%'}" if abs(value) < 100 else "∞"
