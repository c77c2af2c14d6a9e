"""Rules on quantiles of times: against a fixed limit, and against control's quantile in seconds or in percent."""

from __future__ import annotations

from llmmigrate.gates.finding import Direction, Finding, inside
from llmmigrate.gates.intervals import FloatArray
from llmmigrate.gates.quantiles import quantile_bound, quantile_difference, quantile_floor, quantile_interval
from llmmigrate.gates.questions import ALPHA, Question
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.histogram import LAST, upper_edge
from llmmigrate.stages import P99_FROM

LONGEST_S = upper_edge(LAST)
"""What stands for the open end of a range of times: figures are kept as JSON, which has no infinity."""

MOST = 1000.0
"""The same for relative changes."""

Range = tuple[float, float]


def against_limit(question: Question, candidate: Sample, q: float, limit: float) -> Finding:
    """Test an arm's quantile against a limit in seconds."""
    bound = limit * question.tolerance
    estimate = candidate.quantile(q)
    if estimate is None:
        return Finding(limit, bound)

    effect = candidate.design_effect_of_mean

    def at(quantile: float) -> Range:
        ends = quantile_interval(candidate.histogram, q=quantile, alpha=ALPHA, design_effect=effect)
        return _closed(ends, LONGEST_S)

    floor = quantile_floor(candidate.histogram, q=q, alpha=question.alpha_fail, design_effect=effect)
    failed = estimate > limit and floor > limit
    if question.only_failure and not failed:
        return Finding(limit, bound)
    proved, interval = _proved(question, q), at(q)
    passed = (interval if proved == q else at(proved))[1] <= bound
    return Finding(limit, bound, estimate, interval, failed=failed, passed=passed, note=_note(q, proved))


def against_control(
    question: Question,
    control: Sample,
    candidate: Sample,
    q: float,
    margin: float,
    direction: Direction,
    *,
    relative: bool,
) -> Finding:
    """Test the difference of two quantiles against a margin in seconds, or as a relative change."""
    signed = margin if direction >= 0 else -margin
    bound = signed * question.tolerance
    old, new = control.quantile(q), candidate.quantile(q)
    if old is None or new is None:
        return Finding(signed, bound)

    both = (control.histogram, candidate.histogram)
    effects = (control.design_effect_of_mean, candidate.design_effect_of_mean)
    estimate = new / old - 1 if relative else new - old

    def at(quantile: float) -> Range:
        ends = quantile_difference(*both, q=quantile, alpha=ALPHA, relative=relative, design_effects=effects)
        return _closed(ends, MOST if relative else LONGEST_S)

    failed = False
    for sign in (1, -1):
        if direction in (sign, 0) and sign * estimate > margin:
            alpha = question.alpha_fail / (1 if direction else 2)
            least = quantile_bound(*both, q=q, alpha=alpha, upper=sign < 0, relative=relative, design_effects=effects)
            failed = sign * least > margin
    if question.only_failure and not failed:
        return Finding(signed, bound)
    proved, interval = _proved(question, q), at(q)
    passed = inside(interval if proved == q else at(proved), abs(bound), direction)
    return Finding(signed, bound, estimate, interval, failed=failed, passed=passed, note=_note(q, proved))


def slower(control: Sample, candidate: Sample, q: float) -> bool:
    """Tell whether the candidate's quantile is credibly above control's, at the 95% level."""
    effects = (control.design_effect_of_mean, candidate.design_effect_of_mean)
    return quantile_bound(control.histogram, candidate.histogram, q=q, alpha=ALPHA, design_effects=effects) > 0


def _proved(question: Question, q: float) -> float:
    """Return the quantile that has to be proved in place of one that a small share of traffic cannot prove."""
    return 0.95 if q > 0.95 and 0 < question.share < P99_FROM else q


def _note(q: float, proved: float) -> str:
    return "" if proved == q else f" (proved by the p{proved * 100:.0f}: the candidate's share is small)"


def _closed(ends: FloatArray, most: float) -> Range:
    return max(float(ends[0]), -most), min(float(ends[1]), most)
