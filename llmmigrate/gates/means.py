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
