"""Anytime-valid tests and ranges: they hold at every moment of looking at once, not just at one planned one.

Sources: Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 49(2), for the beta-binomial mixture; Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024),
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), for the normal
mixture.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainc, betaincc, betaln, xlog1py, xlogy

FloatArray = npt.NDArray[np.float64]

Side = Literal["both", "above", "below"]
"""Which rates an e-value is evidence for, as seen from the one that it is against."""

_EDGE = 1e-12
_FAR = 12.0


def beta_mass(alpha: float, n_opt: float) -> float:
    """Return the prior's mass, in trials, with which a beta-binomial mixture is tightest near `n_opt` trials.

    m = n_opt / (L + ln(1+L)) - 1, L = 2 ln(1/alpha) (Howard et al. 2021, section 3.5).
    """
    ell = 2 * math.log(1 / alpha)
    return n_opt / (ell + math.log1p(ell)) - 1


def beta_binomial_log_e(
    successes: npt.ArrayLike,
    n: npt.ArrayLike,
    p0: npt.ArrayLike,
    *,
    alpha: float,
    n_opt: float = 500,
    side: Side = "both",
) -> FloatArray:
    """Return the log of the beta-binomial mixture e-value against a rate of p0.

    Shapes broadcast; counts may be fractional (a design effect divides them). `alpha` and `n_opt` only tune the prior:
    the test is tightest near `n_opt` trials. Reject at level alpha where the result is at least ln(1/alpha).

    log E = betaln(a+s, b+n-s) - betaln(a, b) - s ln p0 - (n-s) ln(1-p0), with a = m p0, b = m (1-p0) and m of
    `beta_mass` (Howard et al. 2021, proposition 7). With the `side` "above" or "below" the mixture is over rates on
    that side of p0 alone (the same paper, proposition 8), which is up to twice the evidence for them: log E gains the
    logarithm of that side's share under the posterior, Beta(a+s, b+n-s), minus that under the prior, Beta(a, b).
    """
    s, trials, p = (np.asarray(value, dtype=np.float64) for value in (successes, n, p0))
    mass = beta_mass(alpha, n_opt)
    result = _log_mixture(s, trials, p, mass) - xlogy(s, p) - xlog1py(trials - s, -p)
    if side != "both":
        a, b = mass * p, mass * (1 - p)
        result += _log_share(a + s, b + trials - s, p, side) - _log_share(a, b, p, side)
    return np.asarray(result, dtype=np.float64)


def _log_share(a: FloatArray, b: FloatArray, p: FloatArray, side: Side) -> FloatArray:
    """Return the log of how much of a beta distribution lies on a side of p.

    It is worked out only within a dozen standard errors of p: beyond them it is all (the rest is below 1e-13) or none,
    which is the safe side for what is evidence.
    """
    a, b, p = np.broadcast_arrays(a, b, p)
    total = a + b
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (a - total * p) / np.sqrt(total * p * (1 - p)) * (1 if side == "above" else -1)
        found = np.where(z > 0, 0.0, -np.inf)
        near = np.abs(z) <= _FAR
        found[near] = np.log((betaincc if side == "above" else betainc)(a[near], b[near], p[near]))
    return found


def _log_mixture(s: Any, n: Any, p: Any, mass: float) -> Any:
    """Return the log likelihood under the prior of the given mass around p; floats or arrays."""
    a, b = mass * p, mass * (1 - p)
    return betaln(a + s, b + n - s) - betaln(a, b)


def proportion_interval(successes: float, n: float, *, alpha: float, n_opt: float = 500) -> tuple[float, float]:
    """Return the confidence sequence {p : E(p) < 1/alpha} of a rate after `n` trials; (0, 1) without any.

    Inverts `beta_binomial_log_e`; `successes` and `n` may be fractional.
    """
    if n <= 0:
        return 0.0, 1.0
    threshold, mass = math.log(1 / alpha), beta_mass(alpha, n_opt)

    def excess(p: float) -> float:  # beta_binomial_log_e for floats inside (0, 1), without its arrays
        likelihood = successes * math.log(p) + (n - successes) * math.log1p(-p)
        return float(_log_mixture(successes, n, p, mass)) - likelihood - threshold

    center = min(max(successes / n, _EDGE), 1 - _EDGE)
    low = 0.0 if successes <= 0 or excess(_EDGE) <= 0 else float(brentq(excess, _EDGE, center, xtol=1e-12))
    high = 1.0 if successes >= n or excess(1 - _EDGE) <= 0 else float(brentq(excess, center, 1 - _EDGE, xtol=1e-12))
    return low, high


def normal_mixture_half_width(
    se: npt.ArrayLike, *, tau: npt.ArrayLike, alpha: float, sides: Literal[1, 2] = 2
) -> FloatArray:
    """Return the half-width of the normal-mixture asymptotic confidence sequence around an estimate.

    `se` is the estimate's standard error (any shape), `tau` the difference for which the range is to be tightest, in
    the same unit. With r = (tau/se)^2: two-sided se sqrt((1+1/r)(ln(1+r) + 2 ln(1/alpha))), one-sided
    se sqrt(2 (1+1/r) ln(1 + sqrt(1+r) / (2 alpha))) (Waudby-Smith et al. 2024).
    """
    error = np.asarray(se, dtype=np.float64)
    some = error != 0
    with np.errstate(divide="ignore"):
        width = _mixture_width(np, np.where(some, error, 1.0), tau, alpha, sides)
    return np.asarray(np.where(some, width, 0.0), dtype=np.float64)


def half_width(se: float, *, tau: float, alpha: float, sides: Literal[1, 2] = 2) -> float:
    """Return `normal_mixture_half_width` of a single standard error, without its arrays."""
    if se == 0:
        return 0.0
    try:
        return float(_mixture_width(math, se, tau, alpha, sides))
    except ZeroDivisionError:  # a range that is to be tightest for no difference at all
        return math.inf


def _mixture_width(library: Any, error: Any, tau: Any, alpha: float, sides: Literal[1, 2]) -> Any:
    """Return the width by the functions of `math` or `numpy`."""
    ratio = tau / error
    r = ratio * ratio
    if sides == 2:
        square = (1 + 1 / r) * (library.log1p(r) + 2 * math.log(1 / alpha))
    else:
        square = 2 * (1 + 1 / r) * library.log1p(library.sqrt(1 + r) / (2 * alpha))
    return error * library.sqrt(square)
