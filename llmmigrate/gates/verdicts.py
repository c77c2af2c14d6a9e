"""From cells to verdicts: one answer per rule, with its evidence, that never passes on no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from scipy.optimize import brentq

from llmmigrate.gates.intervals import beta_binomial_log_e, normal_mixture_half_width, proportion_interval
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.catalogue import CATALOGUE, metric_of
from llmmigrate.metrics.cells import Arm, Cell
from llmmigrate.stages import Plan, Stage
from llmmigrate.support import undecided
from llmmigrate.verdict import Action, Answer, MetricVerdict, Need

if TYPE_CHECKING:
    from llmmigrate.document import Migration, Rule

ALPHA = 0.05
"""False alarms allowed per migration and kind of trigger, and false passes per metric."""

LATE_CHANGE_SHARE = 0.5
"""The part of the trigger budget kept for detectors of a change after a good spell; never spent on step ranges."""


MIN_UNITS_TO_FAIL = 5
"""Distinct units that had an error before a rate can fail: one conversation that retries is no failing model."""


@dataclass(frozen=True, slots=True)
class _Question:
    rule: Rule
    name: str
    action: Action
    need: Need
    alpha_fail: float
    tolerance: float
    minimum: int


def evaluate(
    migration: Migration, plan: Plan, stage: Stage, cells: Mapping[tuple[Arm, str], Cell]
) -> list[MetricVerdict]:
    """Answer every rule of a migration that is not waived, on the cells of the current generation.

    `cells` maps (arm, metric) to its sums. The order is that of the document, rollback rules first. Empty only where
    every rule is waived, which a document may not be.
    """
    verdicts = []
    for question in _questions(migration, plan, stage):
        metric = question.rule.metric
        control, candidate = Sample(cells.get(("control", metric))), Sample(cells.get(("candidate", metric)))
        limit = question.rule.limit
        lacking = undecided(question.rule)
        if limit is None or lacking is not None:
            verdicts.append(_undecided(question, control, candidate, lacking or "the rule sets no limit"))
        elif limit.form == "above":
            verdicts.append(_rate_above(question, control, candidate, limit.amount.value))
        else:
            verdicts.append(_ratio(question, control, candidate, limit.amount.value))
    return verdicts


def _undecided(question: _Question, control: Sample, candidate: Sample, why: str) -> MetricVerdict:
    """Hold where this release cannot come to a verdict: a rule is never passed by being ignored."""
    rule = question.rule
    metric, limit = metric_of(rule.metric), rule.limit
    return MetricVerdict(
        metric=metric.name,
        title=metric.title,
        rule=question.name,
        action=question.action,
        need="prove",
        verdict="hold",
        estimate=None,
        interval=None,
        limit=limit.amount.value if limit is not None else 0.0,
        unit="relative" if limit is not None and limit.amount.unit == "%" and limit.form != "above" else metric.unit,
        n_candidate=candidate.n,
        n_control=control.n,
        reason=f"{why}: waive the rule, or accept the risk",
    )


def _questions(migration: Migration, plan: Plan, stage: Stage) -> list[_Question]:
    restarts = sum(1 for other in plan.stages if other.serves_candidate)
    questions = []
    groups: tuple[tuple[Action, list[Rule]], ...] = (("rollback", migration.rollback), ("pause", migration.pause))
    for action, rules in groups:
        active = [(index, rule) for index, rule in enumerate(rules) if rule.waived is None]
        for index, rule in active:
            proves = stage.proves_all or (stage.proves_rollback and action == "rollback")
            questions.append(
                _Question(
                    rule=rule,
                    name=f"{action}[{index}]",
                    action=action,
                    need="prove" if proves else "watch",
                    alpha_fail=ALPHA * (1 - LATE_CHANGE_SHARE) / (len(active) * restarts),
                    tolerance=stage.tolerance,
                    minimum=plan.min_samples,
                )
            )
    return questions


def _rate_above(question: _Question, control: Sample, candidate: Sample, limit: float) -> MetricVerdict:
    """Test a rate against a fixed limit: fail by e-value, pass by the upper end of the range."""
    effective = candidate.n / candidate.design_effect
    events = candidate.total / candidate.design_effect
    estimate = candidate.mean if candidate.n else None
    interval = proportion_interval(events, effective, alpha=ALPHA) if candidate.n else None
    failed = bool(
        candidate.buckets_with_events >= MIN_UNITS_TO_FAIL
        and candidate.mean > limit
        and float(beta_binomial_log_e(events, effective, limit, alpha=question.alpha_fail))
        >= math.log(1 / question.alpha_fail)
    )
    bound = min(limit * question.tolerance, 1.0)
    passed = interval is not None and interval[1] <= bound
    return _answer(question, control, candidate, estimate, interval, limit, bound, failed=failed, passed=passed)


def _ratio(question: _Question, control: Sample, candidate: Sample, increase: float) -> MetricVerdict:
    """Test mean(candidate) <= (1 + increase) mean(control) without dividing; figures are relative changes."""
    bound = increase * question.tolerance
    known = math.isfinite(control.variance_of_mean + candidate.variance_of_mean)
    if not known or control.mean <= 0 or candidate.mean < 0:
        return _answer(question, control, candidate, None, None, increase, bound, failed=False, passed=False)
    interval = _ratio_range(control, candidate, increase, ALPHA)
    stricter = _ratio_range(control, candidate, increase, question.alpha_fail)
    failed = min(control.n, candidate.n) >= question.minimum and stricter[0] > increase
    passed = interval[1] <= bound
    estimate = candidate.mean / control.mean - 1
    return _answer(question, control, candidate, estimate, interval, increase, bound, failed=failed, passed=passed)


def _ratio_range(control: Sample, candidate: Sample, increase: float, alpha: float) -> tuple[float, float]:
    """Return {c : |mean_T - (1+c) mean_C| within the half-width}; infinite where nothing is excluded."""
    tau = increase * control.mean

    def gap(change: float, sign: float) -> float:
        factor = 1 + change
        se = math.sqrt(candidate.variance_of_mean + factor**2 * control.variance_of_mean)
        width = float(normal_mixture_half_width(se, tau=tau, alpha=alpha))
        return candidate.mean - factor * control.mean + sign * width

    center = candidate.mean / control.mean - 1
    if gap(center, -1) >= 0 or gap(center, 1) <= 0:
        return center, center  # no variance at all, up to rounding
    low = -1.0 if gap(-1.0, -1) <= 0 else float(brentq(gap, -1.0, center, args=(-1,)))
    far = center + 1.0
    while gap(far, 1) > 0 and far < 1e3:
        far = 2 * far + 1
    high = math.inf if gap(far, 1) > 0 else float(brentq(gap, center, far, args=(1,)))
    return low, high


def _answer(
    question: _Question,
    control: Sample,
    candidate: Sample,
    estimate: float | None,
    interval: tuple[float, float] | None,
    limit: float,
    bound: float,
    *,
    failed: bool,
    passed: bool,
) -> MetricVerdict:
    metric = CATALOGUE[question.rule.metric]
    if interval is not None and not all(map(math.isfinite, chain(interval, (estimate or 0.0,)))):
        interval, passed, failed = None, False, False
    missing = _missing(question, control, candidate)
    answer: Answer
    if failed:
        answer, reason = "fail", f"all of the range is past {limit:.6g}, by a test that allows for constant looking"
    elif missing is not None:
        answer, reason = "hold", missing
    elif interval is None:
        answer, reason = "hold", "the figures allow no range yet"
    elif passed:
        answer, reason = "pass", f"all of the range is inside {bound:.6g}"
    else:
        answer, reason = "hold", f"the range still reaches past {bound:.6g}: more requests narrow it"
    return MetricVerdict(
        metric=metric.name,
        title=metric.title,
        rule=question.name,
        action=question.action,
        need=question.need,
        verdict=answer,
        estimate=estimate,
        interval=interval,
        limit=limit,
        unit="relative" if question.rule.limit is not None and question.rule.limit.form != "above" else metric.unit,
        n_candidate=candidate.n,
        n_control=control.n,
        reason=reason,
    )


def _missing(question: _Question, control: Sample, candidate: Sample) -> str | None:
    for name, sample in (("candidate", candidate), ("control", control)):
        if sample.n == 0:
            return f"no data from the {name} yet"
        if sample.n < question.minimum:
            return f"{sample.n:,} of {question.minimum:,} requests from the {name}"
    return None
