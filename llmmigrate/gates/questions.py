"""What a migration asks of the evidence in a stage: its rules, each with its share of the error that is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmmigrate.stages import Plan, Stage
from llmmigrate.verdict import Action, Need

if TYPE_CHECKING:
    from llmmigrate.document import Migration, Rule

ALPHA = 0.05
"""False alarms allowed per migration and kind of trigger, and false passes per metric."""

LATE_CHANGE_SHARE = 0.5
"""The part of the trigger budget kept for detectors of a change after a good spell; never spent on step ranges."""


@dataclass(frozen=True, slots=True)
class Question:
    """One rule as it is asked in one stage.

    `alpha_fail` is the chance of a false alarm that it may spend here; `tolerance` multiplies the limit that has to be
    proved; `minimum` is the requests that each arm needs, `share` the part of units that the candidate serves.
    """

    rule: Rule
    name: str
    action: Action
    need: Need
    alpha_fail: float
    tolerance: float
    minimum: int
    share: float


def questions(migration: Migration, plan: Plan, stage: Stage) -> list[Question]:
    """List the rules that are not waived, in the order of the document, rollback rules first."""
    restarts = sum(1 for other in plan.stages if other.serves_candidate)
    asked = []
    groups: tuple[tuple[Action, list[Rule]], ...] = (("rollback", migration.rollback), ("pause", migration.pause))
    for action, rules in groups:
        active = [(index, rule) for index, rule in enumerate(rules) if rule.waived is None]
        proves = stage.proves_all or (stage.proves_rollback and action == "rollback")
        asked += [
            Question(
                rule=rule,
                name=f"{action}[{index}]",
                action=action,
                need="prove" if proves else "watch",
                alpha_fail=ALPHA * (1 - LATE_CHANGE_SHARE) / (len(active) * restarts),
                tolerance=stage.tolerance,
                minimum=plan.min_samples,
                share=stage.share,
            )
            for index, rule in active
        ]
    return asked
