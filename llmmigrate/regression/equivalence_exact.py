"""The exact test that no case got worse: on each case, the target's run might as well have been one of control's.

The excess of a case is how much more often the target fails it than the worse of control's runs, never less than
nothing; the statistic is its sum over cases. A case that gained adds nothing and pays for none: where both runs of
control fail and the target's passes, no exchange of runs adds anything either. Where the target does no worse on a
case than control, its run (all repetitions of it) is at most as likely as either of control's to be the worst of them.
The distribution of the sum over all ways to exchange the runs of each case is a convolution, and exact: a permutation
test (Fisher 1935; Pitman 1937) stratified by case.

Runs are exchanged whole, so that repetitions may be as alike as they like: cached, or all of one bad minute. To
exchange single answers instead finds more, but failed 12% of healthy models at a level of 0.5% where three cases of ten
gave the same answer all three times. It is exact while answers are lost to errors as often in all runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_STEPS = 60
"""The excess of a case is counted in sixtieths; any statistic keeps the level, a finer one gains nothing."""


_SMALLEST = 1e-12


class Run(NamedTuple):
    """One model's decided answers to a case: how many failed, of how many."""

    fails: int
    answers: int

    @property
    def rate(self) -> float:
        """The share that failed."""
        return self.fails / self.answers


class Counted(NamedTuple):
    """The runs of one case: the target's, and control's, of which there are none, one or two; none is empty."""

    case: str
    target: Run | None
    control: tuple[Run, ...]

    @property
    def baseline(self) -> Run | None:
        """Control's runs as one."""
        return _together(self.control) if self.control else None

    @property
    def flipped(self) -> bool:
        """Whether control passes in most of its answers, and the target fails in at least half of its own."""
        baseline = self.baseline
        return baseline is not None and self.target is not None and baseline.rate < 0.5 <= self.target.rate

    @property
    def gained(self) -> bool:
        """Whether control fails in at least half of its answers, and the target passes in most of its own."""
        baseline = self.baseline
        return baseline is not None and self.target is not None and self.target.rate < 0.5 <= baseline.rate

    def control_against_itself(self, *, swapped: bool = False) -> Counted | None:
        """Return control's second run in the target's place, or its first; None where it has only one."""
        if len(self.control) < 2:
            return None
        first, second = self.control[::-1] if swapped else self.control
        return Counted(self.case, second, (first,))


def excess(case: Counted) -> float:
    """Return how much more often the target fails than the worse of control's runs; never below 0.

    That is what it loses against control on average, less what control's runs lose against each other on average.
    """
    return _excess(case.target, case.control) if case.target is not None and case.control else 0.0


def p_worse(cases: Sequence[Counted]) -> float:
    """Return the chance of at least so much excess in all where no case got worse; 1 where there is none.

    Never below 1e-12, where rounding begins.
    """
    kinds = Counter((case.target, case.control) for case in cases if case.target is not None and case.control)
    observed, shapes = 0, Counter[tuple[Run, ...]]()
    for (target, control), times in kinds.items():
        if target is not None:
            observed += times * _steps(target, control)
            shapes[tuple(sorted((target, *control)))] += times
    if observed == 0:
        return 1.0
    telling = {shape: times for shape, times in shapes.items() if len(_null(shape)) > 1}
    longest = sum((len(_null(shape)) - 1) * times for shape, times in telling.items()) + 1
    size = 1 << longest.bit_length()
    product = np.ones(size // 2 + 1, dtype=np.complex128)
    for shape, times in telling.items():
        product *= np.fft.rfft(_null(shape), size) ** times
    distribution = np.fft.irfft(product, size)
    return float(min(1.0, max(_SMALLEST, distribution[observed:].sum())))


@lru_cache(maxsize=4096)
def _together(runs: tuple[Run, ...]) -> Run:
    return Run(sum(run.fails for run in runs), sum(run.answers for run in runs))


def _excess(target: Run, control: tuple[Run, ...]) -> float:
    return max(0.0, target.rate - max(run.rate for run in control))


def _steps(target: Run, control: tuple[Run, ...]) -> int:
    return round(_STEPS * _excess(target, control))


@lru_cache(maxsize=4096)
def _null(runs: tuple[Run, ...]) -> npt.NDArray[np.float64]:
    """Return the distribution of the excess of a case, in steps, where each of its runs might be the target's."""
    steps = [_steps(run, runs[:number] + runs[number + 1 :]) for number, run in enumerate(runs)]
    chances = np.zeros(max(steps) + 1)
    for step in steps:
        chances[step] += 1 / len(steps)
    return chances
