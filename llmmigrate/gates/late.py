"""What looks for a change after a good spell: a detector per rule on a fixed rate, and for all others a fresh start.

Everything here is a pure function of what was kept and what the cells hold now. The state lies beside the cells, one
row per detector, and moves with them in one transaction. A range over a whole stage learns slowly of what changes late
in it; so the figures since the last restart are tested too, each restart with its part of the late share of the error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llmmigrate.gates.detectors import ShiryaevRoberts
from llmmigrate.gates.finding import INCIDENT, Finding
from llmmigrate.gates.intervals import FloatArray, proportion_interval
from llmmigrate.gates.questions import ALPHA, RESTARTS_S, UPDATE_S, Question, questions, worse_of
from llmmigrate.gates.rates import MIN_UNITS_TO_FAIL
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.cells import ARMS, Arm, Cell
from llmmigrate.stages import Plan, Stage

if TYPE_CHECKING:
    from llmmigrate.document import Migration

Cells = Mapping[tuple[Arm, str], Cell]

Kept = tuple[datetime, str]
"""A row of state: when it was last moved, and its text."""

_RISING = 100.0
"""While R is below this nothing points to a change: what came before is no part of it."""


@dataclass(frozen=True, slots=True)
class RateWatch:
    """A detector with what it has counted already, and what came since its evidence began to rise.

    `seen` maps unit buckets to (n, events) as of the last update; `n` and `events` are effective counts since the rise,
    `units` the buckets that had an event in it.
    """

    detector: ShiryaevRoberts
    seen: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    n: float = 0.0
    events: float = 0.0
    units: frozenset[int] = frozenset()

    def update(self, sample: Sample) -> RateWatch:
        """Return the watch after all that a sample of a rate holds beyond what was counted."""
        n, events = (array.copy() for array in sample.by_bucket)
        seen = {int(bucket): (float(n[bucket]), float(events[bucket])) for bucket in np.flatnonzero(n)}
        for bucket, (counted, had) in self.seen.items():
            n[bucket] -= counted
            events[bucket] -= had
        if n.min() < 0 or events.min() < 0 or (events > n).any():  # not the cells that were counted: begin anew
            return RateWatch(ShiryaevRoberts(self.detector.limit), seen)
        batch_events, batch = _effective(n, events, sample.design_effect_to_fail)
        moved = replace(self, detector=self.detector.update(batch_events, batch), seen=seen)
        if moved.detector.log_mean < np.log(_RISING):
            return replace(moved, n=0.0, events=0.0, units=frozenset())
        units = self.units | frozenset(map(int, np.flatnonzero(events)))
        return replace(moved, n=self.n + batch, events=self.events + batch_events, units=units)

    def to_text(self) -> str:
        """Write the state as text."""
        return json.dumps(
            {
                "detector": self.detector.to_json(),
                "seen": {str(bucket): list(counts) for bucket, counts in self.seen.items()},
                "n": self.n,
                "events": self.events,
                "units": sorted(self.units),
            }
        )

    @classmethod
    def from_text(cls, text: str, limit: float) -> RateWatch:
        """Read what `to_text` wrote; what cannot be read, or is about another limit, begins anew."""
        try:
            data = json.loads(text)
            detector = ShiryaevRoberts.from_json(data["detector"])
            if detector.limit != limit:
                return cls(ShiryaevRoberts(limit))
            seen = {int(bucket): (float(n), float(events)) for bucket, (n, events) in data["seen"].items()}
            return cls(detector, seen, float(data["n"]), float(data["events"]), frozenset(map(int, data["units"])))
        except (ValueError, KeyError, TypeError):
            return cls(ShiryaevRoberts(limit))


def _effective(n: FloatArray, events: FloatArray, design_effect: float) -> tuple[float, float]:
    """Return the events and trials that a batch counts for.

    A bucket counts for at most twice the median of the others: one conversation that retries is one witness.
    """
    used = n > 0
    if not used.any():
        return 0.0, 0.0
    others = np.sort(n[used])[:-1]
    most = 2 * max(1.0, float(np.median(others))) if len(others) else 1.0
    weight = np.minimum(n[used], most) / design_effect
    trials = float(weight.sum())
    return min(float(weight @ (events[used] / n[used])), trials), trials


def advance(
    migration: Migration, plan: Plan, stage: Stage, cells: Cells, kept: Mapping[str, Kept], *, now: datetime
) -> dict[str, str]:
    """Return the rows of state that are due, by name: detectors each minute, restarts when their time has come.

    A clock that was set, either way, makes them due: no detector waits for it to catch up.
    """
    asked = questions(migration, plan, stage)
    moved = {}
    for question in asked:
        limit = question.rate_limit
        if limit is None or not _due(kept.get(question.name), now, UPDATE_S):
            continue
        for arm in ARMS:
            name = _row_name(question, arm)
            watch = RateWatch.from_text(kept[name][1] if name in kept else "", limit)
            moved[name] = watch.update(_events(question, cells, arm)).to_text()
    metrics = {one.metric.cell for question in asked for one in _restarted(question, migration)}
    for period_s in RESTARTS_S:
        name = _restart_name(period_s)
        if metrics and _due(kept.get(name), now, period_s):
            moved[name] = json.dumps({"cells": _snapshot(cells, metrics) if name in kept else None})
    return moved


def _restarted(question: Question, migration: Migration) -> list[Question]:
    """Return what is asked of figures that begin anew: all but what a detector watches."""
    if question.rule.worse:
        return worse_of(question, migration)
    return [question] if question.rate_limit is None else []


def _row_name(question: Question, arm: Arm) -> str:
    return question.name if arm == "candidate" else f"{question.name}:control"


def _events(question: Question, cells: Cells, arm: Arm) -> Sample:
    """Return an arm's events of a rate, or the failures of a score."""
    sample = Sample(cells.get((arm, question.metric.cell)))
    return sample.complement() if question.below else sample


def _restart_name(period_s: float) -> str:
    return f"restart:{period_s / 3600:.6g}h"


def _due(row: Kept | None, now: datetime, period_s: float) -> bool:
    return row is None or abs((now - row[0]).total_seconds()) >= period_s


def _snapshot(cells: Cells, metrics: Iterable[str]) -> list[list[object]]:
    wanted = frozenset(metrics)
    return [[arm, metric, *cell.to_json()] for (arm, metric), cell in cells.items() if metric in wanted]


def windows(cells: Cells, kept: Mapping[str, Kept]) -> list[Cells]:
    """Return what the cells hold since each last restart; none that was never made or cannot be read."""
    found: list[Cells] = []
    for period_s in RESTARTS_S:
        row = kept.get(_restart_name(period_s))
        earlier = _earlier(row[1]) if row is not None else None
        if earlier is not None:
            found.append({key: cell.minus(earlier.get(key, Cell())) for key, cell in cells.items()})
    return found


@lru_cache(maxsize=64)
def _earlier(text: str) -> Cells | None:
    try:
        saved = json.loads(text)["cells"]
        if saved is None:
            return None
        return {(arm, metric): Cell.from_json(buckets, times) for arm, metric, buckets, times in saved}
    except (ValueError, KeyError, TypeError):
        return None


def rate_change(question: Question, kept: Mapping[str, Kept], bound: float) -> Finding | None:
    """Return what the detector of a rule on a fixed rate found, None where it has found nothing.

    It is an incident where control's detector fires as well, and the rates since then do not differ credibly.
    """
    if question.rate_limit is None:
        return None
    candidate = _fired(question, kept, "candidate", question.alpha_late)
    if candidate is None:
        return None
    control = _fired(question, kept, "control", ALPHA)
    low, high = proportion_interval(candidate.events, candidate.n, alpha=ALPHA)
    shared = control is not None and proportion_interval(control.events, control.n, alpha=ALPHA)[1] >= low
    limit, rate = question.rate_limit, candidate.events / candidate.n
    note = INCIDENT if shared else f"a late change, seen over about {candidate.n:,.0f} requests"
    if question.below:
        limit, rate, low, high = 1 - limit, 1 - rate, 1 - high, 1 - low
    return Finding(limit, bound, rate, (low, high), failed=True, note=note, incident=shared)


def _fired(question: Question, kept: Mapping[str, Kept], arm: Arm, alpha: float) -> RateWatch | None:
    """Return the watch of an arm whose detector has fired on the events of enough units."""
    row, limit = kept.get(_row_name(question, arm)), question.rate_limit
    if row is None or limit is None:
        return None
    watch = RateWatch.from_text(row[1], limit)
    fired = watch.detector.alarms(horizon=question.planned_s / UPDATE_S, alpha=alpha)
    return watch if fired and len(watch.units) >= MIN_UNITS_TO_FAIL else None
