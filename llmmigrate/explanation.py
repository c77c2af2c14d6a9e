"""Why a route's last verdict is what it is: the figures that were decided on, in sentences. Evaluates nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmmigrate.clock import from_text, to_text
from llmmigrate.document import load_applied
from llmmigrate.lifecycle import RouteState
from llmmigrate.metrics.counting import SPLIT
from llmmigrate.stages import P99_FROM, Stage, plan_of
from llmmigrate.store import Store
from llmmigrate.units import format_duration
from llmmigrate.verdict import worded

if TYPE_CHECKING:
    from llmmigrate.document import Rule

_LONGEST = timedelta(days=180)
_COMPARED = ("relative", "pp", "s_change")


@dataclass(frozen=True, slots=True)
class MetricExplanation:
    """One rule's verdict with its words: `meaning` of the range, `why`, and `until`, about when it is decided.

    `until` is None where that is decided, or cannot be told.
    """

    verdict: dict[str, Any]
    meaning: str | None
    why: str
    until: datetime | None

    def to_json(self) -> dict[str, Any]:
        about = to_text(self.until) if self.until is not None else None
        return {**self.verdict, "meaning": self.meaning, "why": self.why, "decided_about": about}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was seen of a route at its last look, or when an attempt ended or was stopped.

    `event` is that of the history row which the figures are from, None where they are the last look's; `verdict` is
    that of the gate as a whole, None for a row of history. `at` is None where nobody has looked yet.
    """

    state: RouteState
    phase: str | None
    at: datetime | None
    event: str | None
    verdict: str | None
    reason: str | None
    waiting_for: tuple[dict[str, Any], ...]
    metrics: tuple[MetricExplanation, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "route": self.state.route,
            "revision": self.state.revision,
            "attempt": self.state.attempt,
            "status": self.state.status,
            "phase": self.phase,
            "at": to_text(self.at) if self.at is not None else None,
            "event": self.event,
            "verdict": self.verdict,
            "reason": self.reason,
            "waiting_for": list(self.waiting_for),
            "metrics": [metric.to_json() for metric in self.metrics],
        }


def explain(store: Store, route: str) -> Explanation:
    """Explain the last verdict on a route, or the evidence on which its last attempt was stopped or completed.

    A paused attempt is explained by what paused it. Reads only; raises StoreError.
    """
    state = store.route(route)
    if state.status == "running":
        seen = store.telemetry.verdict(route, state.generation)
        at = from_text(seen["at"]) if seen is not None else None
        return Explanation(
            state=state,
            phase=state.phase,
            at=at,
            event=None,
            verdict=seen["answer"] if seen is not None else None,
            reason=None,
            waiting_for=tuple(seen["waiting_for"]) if seen is not None else (),
            metrics=_metrics(seen["metrics"] if seen is not None else [], state, state.phase, state.since, at),
        )
    rows = [row for row in store.history(route) if row["attempt"] == state.attempt]
    rows = [row for row in rows if row["revision"] == state.revision]
    frozen = [row for row in rows if row["evidence"]]
    stopped = [row for row in rows if row["event"] in ("rolling_back", "paused", "completed")]
    row = frozen[-1] if frozen else None
    if row is None or (stopped and stopped[-1]["seq"] > row["seq"]):  # a person stopped it: no figures did
        evidence, last = None, stopped[-1] if stopped else None
    else:
        evidence, last = json.loads(row["evidence"]), row
    phase = evidence["phase"] if evidence is not None else state.phase
    return Explanation(
        state=state,
        phase=phase,
        at=from_text(last["at"]) if last is not None else None,
        event=last["event"] if last is not None else None,
        verdict=None,
        reason=str(last["reason"]) if last is not None else None,
        waiting_for=(),
        metrics=_metrics(evidence["metrics"] if evidence is not None else [], state, phase, None, None),
    )


def _metrics(
    verdicts: list[dict[str, Any]], state: RouteState, phase: str | None, since: datetime | None, at: datetime | None
) -> tuple[MetricExplanation, ...]:
    if not verdicts or state.document is None or phase is None:
        return ()
    migration = load_applied(state.document, f"{state.revision} as applied").migration
    plan = plan_of(migration)
    stage = plan.stage(phase)
    rules = {f"rollback[{index}]": rule for index, rule in enumerate(migration.rollback)}
    rules |= {f"pause[{index}]": rule for index, rule in enumerate(migration.pause)}
    seconds = (at - since).total_seconds() if at is not None and since is not None else 0.0
    found = []
    for verdict in verdicts:
        left = _seconds_left(verdict, rules.get(verdict["rule"]), stage, plan.min_samples, seconds)
        until = at + timedelta(seconds=left) if at is not None and left is not None else None
        found.append(MetricExplanation(verdict, _meaning(verdict), _why(verdict, state), until))
    return tuple(found)


def _meaning(verdict: dict[str, Any]) -> str | None:
    """Say in one sentence what a range means."""
    if verdict["interval"] is None:
        return None
    unit = verdict["unit"]
    low, high = (worded(end, unit) for end in verdict["interval"])
    whose = "the candidate's share of requests" if verdict["metric"] == SPLIT else f"the candidate's {verdict['title']}"
    what = f"differs from control's by {low} to {high}" if unit in _COMPARED else f"is between {low} and {high}"
    if unit in _COMPARED and verdict["n_control"] == 0:
        what = f"differs from its projection by {low} to {high}"
    return f"{whose} {what}; 95 of 100 such ranges hold the true figure at every look."


def _why(verdict: dict[str, Any], state: RouteState) -> str:
    """Say what a verdict does, and on what ground."""
    reason = str(verdict["reason"])
    if verdict["verdict"] == "fail":
        does = "rolls back" if verdict["action"] == "rollback" else "pauses"
        accepted = " (accepted by a person)" if verdict["action"] == "pause" and _accepted(verdict, state) else ""
        return f"This {does}{accepted}: {reason}."
    if verdict["verdict"] == "pass":
        return f"This keeps nothing shut: {reason}."
    if _accepted(verdict, state):
        return f"This would keep the gate shut, and is accepted by a person: {reason}."
    if verdict["need"] == "watch":
        return f"This is watched and can only fail: {reason}."
    return f"This keeps the gate shut: {reason}."


def _accepted(verdict: dict[str, Any], state: RouteState) -> bool:
    return verdict["metric"] in state.accepted


def _seconds_left(
    verdict: dict[str, Any], rule: Rule | None, stage: Stage, minimum: int, seconds: float
) -> float | None:
    """Return about how long a rule still needs, None where it is decided or that cannot be told.

    A range narrows about with the square root of its requests, which come as they came in the stage so far; the
    estimate is taken as it is. What is meant is an order of magnitude, and no gate rests on it.
    """
    n, limit = verdict["n_candidate"], rule.limit if rule is not None else None
    by_p95 = verdict["metric"].endswith("_p99") and 0 < stage.share < P99_FROM
    if verdict["verdict"] != "hold" or verdict["need"] != "prove" or limit is None or by_p95 or n == 0 or seconds <= 0:
        return None
    arms = [n] if verdict["n_control"] == 0 else [n, verdict["n_control"]]
    more = max(minimum / min(arms) - 1, 0.0)
    estimate, interval = verdict["estimate"], verdict["interval"]
    if estimate is not None and interval is not None:
        for end, bound in _ends(limit.form, verdict["limit"], stage.tolerance, interval):
            width, room = abs(end - estimate), (bound - estimate) * (1 if end > estimate else -1)
            if room <= 0:
                return None
            more = max(more, (width / room) ** 2 - 1)
    left = seconds * more
    return left if 0 < left <= _LONGEST.total_seconds() else None


def _ends(form: str, limit: float, tolerance: float, interval: list[float]) -> list[tuple[float, float]]:
    """Return the ends of a range that have to be inside a bound, each with its bound."""
    low, high = interval
    if form == "below":
        return [(low, 1 - (1 - limit) * tolerance)]
    bound = limit * tolerance
    if form == "change":
        return [(low, -abs(bound)), (high, abs(bound))]
    return [(high, bound)] if form in ("above", "increase") else [(low, bound)]


def about(explained: MetricExplanation, now: datetime) -> str | None:
    """Say about when a rule is decided, None where that is not to be told."""
    if explained.until is None:
        return None
    left = (explained.until - now).total_seconds()
    return f"about {format_duration(left)} from now" if left > 0 else "any time now"
