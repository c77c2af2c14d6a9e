"""Counts of two arms against the share that each should have: the split of traffic, and events such as tickets.

Source: Lindon, Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35: given their sum, counts
of two Poisson arms are binomial, and the beta-binomial mixture of `intervals` is an e-process against a share.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from llmmigrate.gates.finding import Finding
from llmmigrate.gates.intervals import FloatArray, beta_binomial_log_e, proportion_interval
from llmmigrate.gates.questions import ALPHA
from llmmigrate.gates.samples import Sample

TOLERATED = 0.1
"""How far the odds of the split may be off before the data count as broken."""

_EDGE = 1e-9


def sample_ratio_log_e(
    candidate: npt.ArrayLike, control: npt.ArrayLike, share: npt.ArrayLike, *, alpha: float, n_opt: float = 500
) -> FloatArray:
    """Return the log e-value against the candidate having the share of all counts that it should have.

    Shapes broadcast; counts may be fractional. The split is broken at the level alpha where it is at least ln(1/alpha).
    """
    counts = np.asarray(candidate, dtype=np.float64)
    return beta_binomial_log_e(counts, counts + np.asarray(control), share, alpha=alpha, n_opt=n_opt)


def event_share(exposure: float, increase: float) -> float:
    """Return the candidate's share of all events where it has `increase` more per exposure (0.15 is +15%).

    `exposure` is its share of what events can come from: (1+c) s / ((1+c) s + 1 - s).
    """
    more = (1 + increase) * exposure
    return more / (more + 1 - exposure)


def event_increase(candidate: float, control: float, exposure: float, *, alpha: float) -> FloatArray:
    """Return the confidence sequence of how many more events an exposure to the candidate brings, as (low, high).

    `candidate` and `control` count events, `exposure` is the candidate's share of what they can come from. A relative
    change: -1 is none at all, inf what the counts do not bound.
    """
    shares = np.array(proportion_interval(candidate, candidate + control, alpha=alpha))
    with np.errstate(divide="ignore"):
        return np.asarray(shares / (1 - shares) * (1 - exposure) / exposure - 1, dtype=np.float64)


def split(control: Sample, candidate: Sample, *, alpha: float) -> Finding:
    """Test whether requests went to the arms in the shares that they should have, to a tenth of their odds.

    Values are the candidate's share at the start of each request's unit, whichever arm served it; their mean is what
    the candidate's part of all should be. A tenth is allowed, since a model that answers better or worse has shorter or
    longer conversations; requests of one unit go the same way, so that counts are divided by the effect of units.
    """
    n = control.n + candidate.n
    if n == 0:
        return Finding(0.0, 0.0)
    expected = min(max((control.total + candidate.total) / n, _EDGE), 1 - _EDGE)
    effect = candidate.among(control).design_effect_to_fail
    ours, theirs = candidate.n / effect, control.n / effect
    estimate = candidate.n / n
    least, most = event_share(expected, 1 / (1 + TOLERATED) - 1), event_share(expected, TOLERATED)
    nearest = most if estimate > expected else least
    low, high = proportion_interval(ours, ours + theirs, alpha=ALPHA)
    off = not least <= estimate <= most
    failed = off and float(sample_ratio_log_e(ours, theirs, nearest, alpha=alpha)) >= math.log(1 / alpha)
    return Finding(expected, expected, estimate, (low, high), failed=failed, passed=low <= most and high >= least)
