"""Deadlines: how long a migration takes at least, and whether both models live that long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from llmmigrate.document import Document, Endpoint
from llmmigrate.models.costmap import retirement
from llmmigrate.stages import Plan, plan_of


@dataclass(frozen=True, slots=True)
class Timetable:
    """The shortest way of a migration: (stage, seconds) for each stage that takes time, and when it would end."""

    starts_at: datetime
    stages: tuple[tuple[str, float], ...]

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + timedelta(seconds=sum(seconds for _, seconds in self.stages))


def timetable(
    plan: Plan, *, starts_at: datetime, per_second: float | None = None, stage: str | None = None
) -> Timetable:
    """Lay out the shortest way from a stage (None: the first) to the end, the window for a way back included.

    `per_second` is the route's traffic in requests/s: a stage lasts at least until its minimum counts can be there.
    """
    names = [one.name for one in plan.stages]
    rest = plan.stages[names.index(stage) :] if stage is not None else plan.stages
    stages = []
    for one in rest:
        if one.waived is not None or not one.serves_candidate:
            continue
        seconds = one.min_s
        if per_second:
            share = 1.0 if one.mirror else one.share
            seconds = max(seconds, one.min_pairs / per_second, plan.min_samples / (per_second * share))
        stages.append((one.name, seconds))
    return Timetable(starts_at, tuple(stages))


def retires(endpoint: Endpoint) -> date | None:
    """Return the day a model ends: as its document says, else as the cost map knows."""
    return endpoint.retires or retirement(endpoint.model)


def line_timetables(
    line: Sequence[Document],
    *,
    now: datetime,
    completed: str | None = None,
    active: tuple[str, str] | None = None,
    per_second: float | None = None,
) -> list[tuple[Document, Timetable]]:
    """Lay out one after the other the migrations of a route that are still to come.

    `completed` is what the route stands on, `active` the (revision, stage) under way.
    """
    revisions = [document.migration.revision for document in line]
    coming = line[revisions.index(completed) + 1 :] if completed in revisions else line
    found, starts_at = [], now
    for document in coming:
        stage = active[1] if active is not None and active[0] == document.migration.revision else None
        table = timetable(plan_of(document.migration), starts_at=starts_at, per_second=per_second, stage=stage)
        found.append((document, table))
        starts_at = table.ends_at
    return found
