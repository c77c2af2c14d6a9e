"""The stages that a document asks for, in order, with what each needs before it may be left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmmigrate.support import unsupported

if TYPE_CHECKING:
    from llmmigrate.document import Migration

MAX_HOLD_S = 7 * 86400.0
"""How much longer than planned a stage may hold, while data arrive, before a person is asked."""

MIN_SAMPLES = {"standard": 300, "demo": 60}
"""Requests per arm below which no metric passes. `demo` is for demonstrations: it decides too early for real users."""

P99_FROM = 0.25
"""The candidate's share from which on a p99 is proved by itself; at a smaller one its p95 serves."""

_TOLERANCE_BELOW_25 = 2.0
_TOLERANCE_BELOW_50 = 1.5


@dataclass(frozen=True, slots=True)
class Stage:
    """One phase, or one step of the canary.

    `share` is the part of units served by the candidate; times are seconds; `tolerance` multiplies the limits that
    have to be proved here (an early step only rules out a disaster). `proves_all` also asks watched metrics to pass.
    `budget` is what mirroring may cost, in US dollars. One of each group of `approvers` must have approved before the
    stage is entered. What is `unsupported` keeps it from being left.
    """

    name: str
    share: float = 0.0
    mirror: bool = False
    holdback: float = 0.0
    min_s: float = 0.0
    max_s: float | None = None
    min_pairs: int = 0
    budget: float | None = None
    tolerance: float = 1.0
    proves_rollback: bool = False
    proves_all: bool = False
    waived: str | None = None
    approvers: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()

    @property
    def serves_candidate(self) -> bool:
        """Whether the candidate is called at all, for users or in shadow."""
        return self.mirror or self.share > 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages of a migration, and the minimum counts that its profile sets."""

    revision: str
    stages: tuple[Stage, ...]
    min_samples: int
    profile: str

    def stage(self, name: str) -> Stage:
        """Return a stage by name; KeyError for one that the document does not have."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def before(self, name: str, earlier: str) -> bool:
        """Tell whether a stage comes before another one."""
        names = [stage.name for stage in self.stages]
        return names.index(earlier) < names.index(name)

    def after(self, name: str) -> Stage | None:
        """Return the stage that follows, None after the last."""
        index = [stage.name for stage in self.stages].index(name)
        return self.stages[index + 1] if index + 1 < len(self.stages) else None


def plan_of(migration: Migration) -> Plan:
    """Lay out the stages of a document."""
    canary, shadow = migration.canary, migration.shadow
    approvers = migration.owners.approvers
    stages = [
        Stage("regression", waived=migration.regression.waived),
        Stage(
            "shadow",
            mirror=True,
            min_s=shadow.duration,
            max_s=shadow.duration + MAX_HOLD_S,
            min_pairs=shadow.min_pairs,
            budget=shadow.budget,
            proves_rollback=True,
            proves_all=True,
            waived=shadow.waived,
            approvers=tuple(approvers.get("shadow", ())),
        ),
    ]
    for number, step in enumerate(canary.steps):
        name = step.name
        groups = [*(approvers.get("canary", ()) if number == 0 else ()), *approvers.get(name, ())]
        tolerance = _TOLERANCE_BELOW_25 if step.traffic < 0.25 else _TOLERANCE_BELOW_50 if step.traffic < 0.5 else 1.0
        stages.append(
            Stage(
                name,
                share=min(step.traffic, 1 - canary.holdback),
                holdback=canary.holdback,
                min_s=step.hold.minimum,
                max_s=step.hold.maximum,
                tolerance=tolerance,
                proves_rollback=step.traffic < 1,
                approvers=tuple(dict.fromkeys(groups)),
            )
        )
    stages.append(
        Stage(
            "observation",
            share=1 - canary.holdback,
            holdback=canary.holdback,
            min_s=migration.observation.duration,
            max_s=migration.observation.duration + MAX_HOLD_S,
            approvers=tuple(approvers.get("observation", ())),
        )
    )
    lacking = list(unsupported(migration))
    stages = [
        replace(stage, unsupported=tuple(lack.words for lack in lacking if lack.holds == stage.name))
        for stage in stages
    ]
    return Plan(migration.revision, tuple(stages), MIN_SAMPLES[migration.profile], migration.profile)
