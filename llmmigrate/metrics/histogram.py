"""Distributions of times as counts in fixed bins, so that quantiles of any sum of cells are exact to a bin.

Merging is addition. Bins grow by 0.25% from one millisecond on: at two seconds one is 5 ms wide, a fortieth of a limit
of 200 ms. Bin 0 ends at 1 ms, bin i at 1.0025^i ms; the last one ends at about an hour and takes what is longer, too.
"""

from __future__ import annotations

import math

FIRST_S = 0.001
GROWTH = 1.0025
LAST = 6047
"""The bin that ends at 3600 s."""

BINS = LAST + 1

_LOG_GROWTH = math.log(GROWTH)


def bin_of(seconds: float) -> int:
    """Return the bin of a time in seconds."""
    if seconds <= FIRST_S:
        return 0
    return min(math.ceil(math.log(seconds / FIRST_S) / _LOG_GROWTH - 1e-9), LAST)


def upper_edge(index: int) -> float:
    """Return where a bin ends, in seconds."""
    return FIRST_S * math.exp(index * _LOG_GROWTH)
