"""What looks for a change after a good spell: a detector per rule on a fixed rate, and for all others a fresh start.

Everything here is a pure function of what was kept and what the cells hold now. The state lies beside the cells, one
row per detector, and moves with them in one transaction. A range over a whole stage learns slowly of what changes late
in it; so the figures since the last restart are tested too, each restart with its part of the late share of the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import orjson

from llmmigrate.gates.detectors import ShiryaevRoberts
from llmmigrate.gates.finding import INCIDENT, Finding
from llmmigrate.gates.intervals import FloatArray, proportion_interval
from llmmigrate.gates.questions import ALPHA, RESTARTS_S, UPDATE_S, Question, questions, worse_of
from llmmigrate.gates.rates import MIN_UNITS_TO_FAIL
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.cells import Cell, pack, unpack
from llmmigrate.metrics.counting import ARMS, UNIT_BUCKETS, Arm
from llmmigrate.stages import Plan, Stage

if TYPE_CHECKING:
    from llmmigrate.document import Migration

Cells = Mapping[tuple[Arm, str], Cell]

Kept = tuple[datetime, bytes]
"""A row of state: when it was last moved, and what it holds."""

_FIRST = b"first"
"""The state of a restart that has only begun to be timed: it has no earlier figures yet."""

_LOG_RISING = math.log(100)
"""While log R is below this nothing points to a change: what came before is no part of it."""


@dataclass(frozen=True, slots=True)
class RateWatch:
    """A detector with what it has counted already, and what came since its evidence began to rise.

    `seen` are n and events by unit bucket as of the last update, of shape (2, 64); `n` and `events` are effective
    counts since the rise, `units` the buckets that had an event in it.
    """

    detector: ShiryaevRoberts
    seen: FloatArray
    n: float = 0.0
    events: float = 0.0
    units: frozenset[int] = frozenset()

    def update(self, sample: Sample) -> RateWatch:
        """Return the watch after all that a sample of a rate holds beyond what was counted."""
        seen = np.array(sample.by_bucket)
        since = seen - self.seen
        n, events = since
        if since.min() < 0 or (events > n).any():  # not the cells that were counted: begin anew
            return replace(self.new(self.detector.limit), seen=seen)
        batch_events, batch = _effective(n, events, sample.design_effect_to_fail)
        detector = self.detector.update(batch_events, batch)
        if detector.log_mean < _LOG_RISING:
            return RateWatch(detector, seen)
        units = self.units | frozenset(map(int, np.flatnonzero(events)))
        return RateWatch(detector, seen, self.n + batch, self.events + batch_events, units)

    @classmethod
    def new(cls, limit: float) -> RateWatch:
        """Return the watch of a rate that has seen nothing yet."""
        return cls(ShiryaevRoberts(limit), np.zeros((2, UNIT_BUCKETS)))

    def to_bytes(self) -> bytes:
        """Write the state, as JSON."""
        return orjson.dumps(
            {
                "detector": self.detector.to_json(),
                "seen": self.seen.tolist(),
                "n": self.n,
                "events": self.events,
                "units": sorted(self.units),
            }
        )

    @classmethod
    def from_bytes(cls, state: bytes, limit: float) -> RateWatch:
        """Read what `to_bytes` wrote; what cannot be read, or is about another limit, begins anew."""
        try:
            data = orjson.loads(state)
            detector = ShiryaevRoberts.from_json(data["detector"])
            if detector.limit != limit:
                return cls.new(limit)
            seen = np.array(data["seen"], dtype=np.float64).reshape(2, UNIT_BUCKETS)
            return cls(detector, seen, float(data["n"]), float(data["events"]), frozenset(map(int, data["units"])))
        except (ValueError, KeyError, TypeError):
            return cls.new(limit)


def _effective(n: FloatArray, events: FloatArray, design_effect: float) -> tuple[float, float]:
    """Return the events and trials that a batch counts for.

    A bucket counts for at most twice the median of the others: one conversation that retries is one witness.
    """
    used = n > 0
    counts = n[used]
    if not len(counts):
        return 0.0, 0.0
    others = sorted(counts.tolist())[:-1]
    most = 2 * max(1.0, median(others)) if others else 1.0
    weight = np.minimum(counts, most) / design_effect
    trials = float(weight.sum())
    return min(float(weight @ (events[used] / counts)), trials), trials


def advance(
    migration: Migration, plan: Plan, stage: Stage, cells: Cells, kept: Mapping[str, Kept], *, now: datetime
) -> dict[str, bytes]:
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
            watch = RateWatch.from_bytes(kept[name][1], limit) if name in kept else RateWatch.new(limit)
            moved[name] = watch.update(_events(question, cells, arm)).to_bytes()
    metrics = restarted(asked, migration)
    for period_s in RESTARTS_S:
        name = _restart_name(period_s)
        if metrics and _due(kept.get(name), now, period_s):
            moved[name] = pack(_of(cells, metrics)) if name in kept else _FIRST
    return moved


def restarted(asked: Iterable[Question], migration: Migration) -> frozenset[str]:
    """Return the cells of what is asked of figures that begin anew: all but what a detector watches."""
    found = set()
    for question in asked:
        if question.rule.worse:
            found |= {one.metric.cell for one in worse_of(question, migration)}
        elif question.rate_limit is None:
            found.add(question.metric.cell)
    return frozenset(found)


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


def _of(cells: Cells, metrics: frozenset[str]) -> Cells:
    return {key: cell for key, cell in cells.items() if key[1] in metrics}


def windows(
    asked: Iterable[Question], migration: Migration, cells: Cells, kept: Mapping[str, Kept]
) -> dict[float, Cells]:
    """Return what the cells of metrics without a detector hold since the last restart of each period in seconds.

    There is none of a restart that was never made or cannot be read.
    """
    own = _of(cells, restarted(asked, migration))
    found: dict[float, Cells] = {}
    for period_s in RESTARTS_S:
        row = kept.get(_restart_name(period_s))
        earlier = _earlier(row[1]) if row is not None else None
        if earlier is not None:
            found[period_s] = {key: cell.minus(earlier[key]) if key in earlier else cell for key, cell in own.items()}
    return found


def _earlier(state: bytes) -> Cells | None:
    try:
        return unpack(state) if state != _FIRST else None
    except (ValueError, TypeError):
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
    watch = RateWatch.from_bytes(row[1], limit)
    fired = watch.detector.alarms(horizon=question.planned_s / UPDATE_S, alpha=alpha)
    return watch if fired and len(watch.units) >= MIN_UNITS_TO_FAIL else None
