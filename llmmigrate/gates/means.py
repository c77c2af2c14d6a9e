"""Means against control or a projection, undivided: theta = mean of the candidate - (1 + change) the other mean."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from scipy.optimize import brentq

from llmmigrate.gates.finding import Direction, Finding, inside
from llmmigrate.gates.intervals import half_width
from llmmigrate.gates.questions import ALPHA, Question
from llmmigrate.gates.samples import Sample


class Baseline(NamedTuple):
    """What a mean is compared with: control's, with its squared standard error, or a projected figure that has none."""

    mean: float
    variance: float
    n: float

    @classmethod
    def of(cls, control: Sample) -> Baseline:
        """Return control's mean as a baseline."""
        return cls(control.mean, control.variance_of_mean, control.n)

    @classmethod
    def projected(cls, figure: float) -> Baseline:
        """Return a figure that a document projects as a baseline."""
        return cls(figure, 0.0, math.inf)


def relative_change(
    question: Question, baseline: Baseline, candidate: Sample, margin: float, direction: Direction
) -> Finding:
    """Test the relative change of a mean against a margin; figures are relative changes."""
    signed = margin if direction >= 0 else -margin
    bound = signed * question.tolerance
    known = math.isfinite(baseline.variance + candidate.variance_of_mean)
    if not known or baseline.mean <= 0 or candidate.mean < 0:
        return Finding(signed, bound)
    difference = _Difference(baseline, candidate, margin)
    enough = min(baseline.n, candidate.n) >= question.minimum
    failed = enough and difference.past(margin, direction, question.alpha_fail)
    if question.only_failure and not failed:
        return Finding(signed, bound)
    interval = difference.interval(ALPHA)
    return Finding(
        signed,
        bound,
        difference.estimate,
        interval,
        failed=failed,
        passed=inside(interval, abs(bound), direction),
    )


def against_limit(question: Question, candidate: Sample, limit: float) -> Finding:
    """Test a mean against a fixed limit, in the metric's own unit; the range is tightest for a tenth of the limit."""
    bound = limit * question.tolerance
    if not math.isfinite(candidate.variance_of_mean):
        return Finding(limit, bound)
    se = math.sqrt(candidate.variance_of_mean)
    width = half_width(se, tau=limit / 10, alpha=ALPHA)
    stricter = half_width(se, tau=limit / 10, alpha=question.alpha_fail, sides=1)
    interval = (candidate.mean - width, candidate.mean + width)
    failed = candidate.n >= question.minimum and candidate.mean - stricter > limit
    return Finding(limit, bound, candidate.mean, interval, failed=failed, passed=interval[1] <= bound)


def higher(control: Sample, candidate: Sample) -> bool:
    """Tell whether the candidate's mean is credibly above control's, at the 95% level."""
    square = control.variance_of_mean + candidate.variance_of_mean
    if not math.isfinite(square) or control.mean <= 0:
        return True
    width = half_width(math.sqrt(square), tau=control.mean / 10, alpha=ALPHA, sides=1)
    return candidate.mean - control.mean > width


def enough_for_mean(minimum: int, *samples: Sample) -> int:
    """Return how many requests each arm needs before the mean of a skewed metric is near normal: 600 CV^2 of 300.

    CV is the larger coefficient of variation; a fixed minimum other than 300 scales in proportion.
    """
    squares = [sample.cv_squared for sample in samples if sample.cv_squared < math.inf]
    return max(minimum, math.ceil(2 * minimum * max(squares, default=0.0)))


class _Difference:
    """How mean_T lies to (1 + change) mean_C; the range is tightest for a change of `margin`."""

    def __init__(self, baseline: Baseline, candidate: Sample, margin: float) -> None:
        self._baseline = baseline
        self._mean = candidate.mean
        self._variance = candidate.variance_of_mean
        self._tau = margin * baseline.mean
        self.estimate = candidate.mean / baseline.mean - 1

    def past(self, margin: float, direction: Direction, alpha: float) -> bool:
        """Tell whether the range at the level alpha lies past the margin.

        It does where theta at the margin itself is credibly not zero: a single look instead of a search for both ends.
        """
        sides: Literal[1, 2] = 1 if direction else 2
        above = direction >= 0 and self._end(margin, -1, alpha, sides) > 0
        return above or (direction <= 0 and self._end(-margin, 1, alpha, sides) < 0)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return {c : |mean_T - (1+c) mean_C| within the half-width}; infinite where nothing is excluded."""
        center = self.estimate
        if self._end(center, -1, alpha) >= 0 or self._end(center, 1, alpha) <= 0:
            return center, center  # no variance at all, up to rounding
        low = -1.0
        if self._end(-1.0, -1, alpha) > 0:
            low = float(brentq(self._end, -1.0, center, args=(-1, alpha)))
        far = center + 1.0
        while self._end(far, 1, alpha) > 0 and far < 1e3:
            far = 2 * far + 1
        unbound = self._end(far, 1, alpha) > 0
        return low, math.inf if unbound else float(brentq(self._end, center, far, args=(1, alpha)))

    def _end(self, change: float, sign: int, alpha: float, sides: Literal[1, 2] = 2) -> float:
        """Return an end of the range of theta at a change."""
        factor = 1 + change
        se = math.sqrt(self._variance + factor**2 * self._baseline.variance)
        width = half_width(se, tau=self._tau, alpha=alpha, sides=sides)
        return self._mean - factor * self._baseline.mean + sign * width
