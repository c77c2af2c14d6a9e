"""What a migration asks of the evidence in a stage: its rules, each with its share of the error that is allowed.

Rollback rules share 5% a migration, pause rules another 5% (the split of traffic counts as one of them); half of it
goes to ranges over stages, half to what looks for late changes. Each rule has an equal part of either half. The first
is divided by the stages that call the candidate (statistics begin anew with each), the second holds for the migration
as a whole: a detector spends it over all of its updates, restarts over all of their windows. A rule that asks about
input types gives half of its first part to them, one that asks about any metric divides both by metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmmigrate.document.model import Limit, Rule
from llmmigrate.metrics.catalogue import CATALOGUE, SHADOW_ONLY, Kind, Metric, metric_of
from llmmigrate.metrics.counting import MAX_INPUT_TYPES
from llmmigrate.stages import Plan, Stage
from llmmigrate.support import undecided
from llmmigrate.units import Amount
from llmmigrate.verdict import Action, Need

if TYPE_CHECKING:
    from llmmigrate.document import Migration

ALPHA = 0.05
"""False alarms allowed per migration and kind of trigger, and false passes per metric."""

LATE_CHANGE_SHARE = 0.5
"""The part of the trigger budget kept for detectors of a change after a good spell; never spent on step ranges."""

UPDATE_S = 60.0
"""How often a detector takes in what has come: its horizon counts these."""

RESTARTS_S = (6 * 3600.0, 24 * 3600.0, 96 * 3600.0)
"""How often figures without a detector begin anew beside those of the whole stage: much traffic tells a change within
hours, little traffic needs days."""


@dataclass(frozen=True, slots=True)
class Question:
    """One rule as it is asked in one stage.

    `alpha_fail` is the chance of a false alarm that it may spend here, `alpha_late` that of its detector or restarts in
    the whole migration, of which `planned_s` is the longest time without an extension. `tolerance` multiplies the limit
    that has to be proved; `minimum` is the requests that each arm needs, `share` the part of units that the candidate
    serves, `projection` the document's own figure where the rule compares with it. With `only_failure` figures are
    wanted where the rule fails, and nowhere else: it spares most of the work.
    """

    rule: Rule
    name: str
    action: Action
    need: Need
    alpha_fail: float
    alpha_late: float
    planned_s: float
    tolerance: float
    minimum: int
    share: float
    projection: float | None = None
    only_failure: bool = False

    @property
    def metric(self) -> Metric:
        """The metric that the rule is about."""
        return metric_of(self.rule.metric)

    @property
    def below(self) -> bool:
        """Whether the rule sets a floor."""
        return self.rule.below is not None

    @property
    def rate_limit(self) -> float | None:
        """The rate of events, or of failures of a score, that a rule on a fixed rate allows; None for other rules."""
        limit = self.rule.limit
        if limit is None or limit.form not in ("above", "below") or self.metric.kind not in ("rate", "score"):
            return None
        if undecided(self.rule) is not None:
            return None
        return 1 - limit.amount.value if self.below else limit.amount.value

    def of_restart(self, period_s: float) -> Question:
        """Return the question about figures since a restart that is made each so many seconds.

        Each period has an equal part of the late share of the error, and each of its restarts an equal part of that:
        the few long windows, which see small changes, are not charged for the many short ones.
        """
        restarts = math.ceil(self.planned_s / period_s)
        return replace(self, alpha_fail=self.alpha_late / (len(RESTARTS_S) * restarts), only_failure=True)

    def of_type(self) -> Question:
        """Return the question about one of the input types that a rule asks about, which is never proved."""
        return replace(self, need="watch", alpha_fail=self.alpha_fail / (2 * MAX_INPUT_TYPES))

    def whole(self) -> Question:
        """Return the question about all input types together."""
        if self.rule.by is None:
            return self
        return replace(self, alpha_fail=self.alpha_fail / 2)


def questions(migration: Migration, plan: Plan, stage: Stage) -> list[Question]:
    """List the rules that are not waived, in the order of the document, rollback rules first.

    Rules on what is measured in shadow only are asked there; where a document has no others, they hold every stage.
    """
    serving = [other for other in plan.stages if other.serves_candidate]
    planned_s = sum(other.max_s if other.max_s is not None else other.min_s for other in serving)
    asked = []
    groups: tuple[tuple[Action, list[Rule], int], ...] = (
        ("rollback", migration.rollback, 0),
        ("pause", migration.pause, 1),
    )
    for action, rules, more in groups:
        active = [(index, rule) for index, rule in enumerate(rules) if rule.waived is None]
        proves = stage.proves_all or (stage.proves_rollback and action == "rollback")
        asked += [
            Question(
                rule=rule,
                name=f"{action}[{index}]",
                action=action,
                need="prove" if proves and rule.worse is None else "watch",
                alpha_fail=ALPHA * (1 - LATE_CHANGE_SHARE) / ((len(active) + more) * len(serving)),
                alpha_late=ALPHA * LATE_CHANGE_SHARE / (len(active) + more),
                planned_s=planned_s,
                tolerance=stage.tolerance,
                minimum=plan.min_samples,
                share=stage.share,
                projection=migration.monitoring.projection.get(rule.metric),
            )
            for index, rule in active
        ]
    here = [question for question in asked if stage.mirror or question.rule.metric not in SHADOW_ONLY]
    return here or asked


def alpha_of_split(migration: Migration, plan: Plan) -> float:
    """Return the chance of a false alarm that the check of the split may spend in a stage."""
    rules = sum(1 for rule in migration.pause if rule.waived is None) + 1
    return ALPHA / (rules * sum(1 for stage in plan.stages if stage.serves_candidate))


_USUAL: dict[Kind, Amount] = {
    "rate": Amount(0.05, "pp"),
    "score": Amount(0.05, "pp"),
    "mean": Amount(0.20, "%"),
    "quantile": Amount(0.20, "%"),
}
"""The limits that are thought of where a document sets none for a metric: a quarter of them is credibly worse."""

_WORSE = 0.25


def worse_of(question: Question, migration: Migration) -> list[Question]:
    """Return the questions of a rule `worse: true`, one per metric: worse by a quarter of what a rule allows it."""
    names = list(CATALOGUE) if question.rule.metric == "*" else [question.rule.metric]
    names = [name for name in names if CATALOGUE[name].decided]
    limits = {
        rule.metric: rule.limit
        for rule in (*migration.pause, *migration.rollback)
        if rule.limit is not None and rule.waived is None
    }
    return [
        replace(
            question,
            rule=_worse(CATALOGUE[name], limits.get(name)),
            alpha_fail=question.alpha_fail / len(names),
            alpha_late=question.alpha_late / len(names),
        )
        for name in names
    ]


def _worse(metric: Metric, limit: Limit | None) -> Rule:
    amount = _USUAL[metric.kind]
    if limit is not None and limit.amount.unit in ("s", amount.unit):
        amount = limit.amount
    elif limit is not None and limit.form in ("above", "below") and limit.amount.unit == "%":
        allowed = 1 - limit.amount.value if limit.form == "below" else limit.amount.value
        amount = Amount(allowed, "pp")
    quarter = Amount(amount.value * _WORSE, amount.unit)
    if metric.kind == "score":
        return Rule.model_construct(metric=metric.name, drop=quarter)
    return Rule.model_construct(metric=metric.name, increase=quarter)
