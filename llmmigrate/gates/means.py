"""Means against control or a projection, undivided: theta = mean of the candidate - (1 + change) the other mean."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.optimize import brentq

from llmmigrate.gates.finding import Direction, Finding, inside, past
from llmmigrate.gates.intervals import normal_mixture_half_width
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
    interval = _range(baseline, candidate, signed, ALPHA)
    stricter = _range(baseline, candidate, signed, question.alpha_fail)
    enough = min(baseline.n, candidate.n) >= question.minimum
    return Finding(
        signed,
        bound,
        candidate.mean / baseline.mean - 1,
        interval,
        failed=enough and past(stricter, margin, direction),
        passed=inside(interval, abs(bound), direction),
    )


def against_limit(question: Question, candidate: Sample, limit: float) -> Finding:
    """Test a mean against a fixed limit, in the metric's own unit; the range is tightest for a tenth of the limit."""
    bound = limit * question.tolerance
    if not math.isfinite(candidate.variance_of_mean):
        return Finding(limit, bound)
    se = math.sqrt(candidate.variance_of_mean)
    width = float(normal_mixture_half_width(se, tau=limit / 10, alpha=ALPHA))
    stricter = float(normal_mixture_half_width(se, tau=limit / 10, alpha=question.alpha_fail, sides=1))
    interval = (candidate.mean - width, candidate.mean + width)
    failed = candidate.n >= question.minimum and candidate.mean - stricter > limit
    return Finding(limit, bound, candidate.mean, interval, failed=failed, passed=interval[1] <= bound)


def higher(control: Sample, candidate: Sample) -> bool:
    """Tell whether the candidate's mean is credibly above control's, at the 95% level."""
    square = control.variance_of_mean + candidate.variance_of_mean
    if not math.isfinite(square) or control.mean <= 0:
        return True
    width = float(normal_mixture_half_width(math.sqrt(square), tau=control.mean / 10, alpha=ALPHA, sides=1))
    return candidate.mean - control.mean > width


def enough_for_mean(minimum: int, *samples: Sample) -> int:
    """Return how many requests each arm needs before the mean of a skewed metric is near normal: 600 CV^2 of 300.

    CV is the larger coefficient of variation; a fixed minimum other than 300 scales in proportion.
    """
    squares = [sample.cv_squared for sample in samples if sample.cv_squared < math.inf]
    return max(minimum, math.ceil(2 * minimum * max(squares, default=0.0)))


def _range(baseline: Baseline, candidate: Sample, margin: float, alpha: float) -> tuple[float, float]:
    """Return {c : |mean_T - (1+c) mean_C| within the half-width}; infinite where nothing is excluded."""
    tau = abs(margin) * baseline.mean

    def gap(change: float, sign: float) -> float:
        factor = 1 + change
        se = math.sqrt(candidate.variance_of_mean + factor**2 * baseline.variance)
        width = float(normal_mixture_half_width(se, tau=tau, alpha=alpha))
        return candidate.mean - factor * baseline.mean + sign * width

    center = candidate.mean / baseline.mean - 1
    if gap(center, -1) >= 0 or gap(center, 1) <= 0:
        return center, center  # no variance at all, up to rounding
    low = -1.0 if gap(-1.0, -1) <= 0 else float(brentq(gap, -1.0, center, args=(-1,)))
    far = center + 1.0
    while gap(far, 1) > 0 and far < 1e3:
        far = 2 * far + 1
    high = math.inf if gap(far, 1) > 0 else float(brentq(gap, center, far, args=(1,)))
    return low, high
