"""Rates and scores: against a fixed limit by an exact e-value, against control by the difference of two means."""

from __future__ import annotations

import math
from typing import Literal

from llmmigrate.gates.finding import Direction, Finding, inside, past
from llmmigrate.gates.intervals import beta_binomial_log_e, half_width, proportion_interval
from llmmigrate.gates.questions import ALPHA, Question
from llmmigrate.gates.samples import Sample

MIN_UNITS_TO_FAIL = 5
"""Distinct units that had an event before a rate can fail: one conversation that retries is no failing model."""


def against_limit(question: Question, candidate: Sample, limit: float, *, below: bool) -> Finding:
    """Test a rate against a fixed limit: fail by e-value, pass by the far end of its range.

    A score `below` p is a rate of failures above 1 - p: it is tested as such, and its figures turned back.
    """
    if below:
        found = _above(question, candidate.complement(), 1 - limit)
        turned = (1 - found.interval[1], 1 - found.interval[0]) if found.interval is not None else None
        estimate = 1 - found.estimate if found.estimate is not None else None
        return Finding(limit, 1 - found.bound, estimate, turned, failed=found.failed, passed=found.passed)
    return _above(question, candidate, limit)


def _above(question: Question, candidate: Sample, limit: float) -> Finding:
    bound = min(limit * question.tolerance, 1.0)
    if candidate.n == 0:
        return Finding(limit, bound)
    enough = candidate.buckets_with_events >= MIN_UNITS_TO_FAIL and candidate.mean > limit
    failed = enough and _credibly_above(candidate, limit, question.alpha_fail)
    effect = candidate.design_effect_to_fail if failed else candidate.design_effect
    interval = proportion_interval(candidate.total / effect, candidate.n / effect, alpha=ALPHA)
    return Finding(limit, bound, candidate.mean, interval, failed=failed, passed=interval[1] <= bound)


def _credibly_above(candidate: Sample, limit: float, alpha: float) -> bool:
    effect = candidate.design_effect_to_fail
    log_e = beta_binomial_log_e(candidate.total / effect, candidate.n / effect, limit, alpha=alpha, side="above")
    return float(log_e) >= math.log(1 / alpha)


def against_control(
    question: Question, control: Sample, candidate: Sample, margin: float, direction: Direction
) -> Finding:
    """Test the difference of two rates, candidate - control, against a margin; figures are fractions.

    The range is the normal mixture around the difference, se^2 the sum of both arms' variances by unit buckets, each
    with two events and two others added (Agresti and Caffo 2000): a rate of zero is no rate without variance.
    """
    signed = margin if direction >= 0 else -margin
    bound = signed * question.tolerance
    square = control.variance_of_rate + candidate.variance_of_rate
    if not math.isfinite(square):
        return Finding(signed, bound)
    estimate, se = candidate.mean - control.mean, math.sqrt(square)
    interval = _around(estimate, se, margin, ALPHA, 2)
    stricter = _around(estimate, se, margin, question.alpha_fail, 1 if direction else 2)
    changed = candidate if estimate > 0 else candidate.complement()
    enough = min(control.n, candidate.n) >= question.minimum and changed.buckets_with_events >= MIN_UNITS_TO_FAIL
    return Finding(
        signed,
        bound,
        estimate,
        interval,
        failed=enough and past(stricter, margin, direction),
        passed=inside(interval, abs(bound), direction),
    )


def worse(control: Sample, candidate: Sample, limit: float, *, below: bool) -> bool:
    """Tell whether the candidate's rate is credibly worse than control's, at the 95% level; `limit` is the rule's."""
    square = control.variance_of_rate + candidate.variance_of_rate
    if not math.isfinite(square):
        return True
    difference = (control.mean - candidate.mean) if below else (candidate.mean - control.mean)
    return _around(difference, math.sqrt(square), 1 - limit if below else limit, ALPHA, 1)[0] > 0


def _around(estimate: float, se: float, tau: float, alpha: float, sides: Literal[1, 2]) -> tuple[float, float]:
    width = half_width(se, tau=tau, alpha=alpha, sides=sides)
    return max(estimate - width, -1.0), min(estimate + width, 1.0)
