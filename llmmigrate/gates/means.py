"""Means against control, without dividing: theta = mean of the candidate - (1 + change) mean of control."""

from __future__ import annotations

import math

from scipy.optimize import brentq

from llmmigrate.gates.finding import Direction, Finding, inside, past
from llmmigrate.gates.intervals import normal_mixture_half_width
from llmmigrate.gates.questions import ALPHA, Question
from llmmigrate.gates.samples import Sample


def relative_change(
    question: Question, control: Sample, candidate: Sample, margin: float, direction: Direction
) -> Finding:
    """Test the relative change of a mean against a margin; figures are relative changes."""
    signed = margin if direction >= 0 else -margin
    bound = signed * question.tolerance
    known = math.isfinite(control.variance_of_mean + candidate.variance_of_mean)
    if not known or control.mean <= 0 or candidate.mean < 0:
        return Finding(signed, bound)
    interval = _range(control, candidate, signed, ALPHA)
    stricter = _range(control, candidate, signed, question.alpha_fail)
    enough = min(control.n, candidate.n) >= question.minimum
    return Finding(
        signed,
        bound,
        candidate.mean / control.mean - 1,
        interval,
        failed=enough and past(stricter, margin, direction),
        passed=inside(interval, abs(bound), direction),
    )


def _range(control: Sample, candidate: Sample, margin: float, alpha: float) -> tuple[float, float]:
    """Return {c : |mean_T - (1+c) mean_C| within the half-width}; infinite where nothing is excluded."""
    tau = abs(margin) * control.mean

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
