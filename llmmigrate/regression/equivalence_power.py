"""How many cases a suite needs: which changes it finds, and whether it lets a healthy model pass.

Suites are simulated through the very test and bound that verdicts are made of; no formula of theirs stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmmigrate.regression.equivalence import RULES, Rules
from llmmigrate.regression.equivalence_exact import Counted, Run, excess, p_worse
from llmmigrate.regression.equivalence_intervals import highest_mean

DEFAULT_CASES = 150
DEFAULT_REPETITIONS = 3
DEFAULT_INVARIANTS = 10
SIZES = (10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500)
"""The sizes of suites that are tried, in cases."""

_RUNS = 200


@dataclass(frozen=True, slots=True)
class Noise:
    """How control fails an invariant by itself at temperature 0.7: each case with its own chance, of a beta.

    `mean` is how often an answer fails, `mass` the sum of the beta's parameters: the smaller, the more of it is in few
    cases. 10% in few cases (Beta(0.2, 1.8)) is a noisy invariant; a parseable answer, or a key, fails far less often.
    """

    mean: float = 0.10
    mass: float = 2.0

    def draw(self, random: np.random.Generator, cases: int) -> npt.NDArray[np.float64]:
        """Draw each case's chance to fail."""
        return np.asarray(random.beta(self.mean * self.mass, (1 - self.mean) * self.mass, cases), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Damage:
    """What a target does to a share of cases: their answers fail with a chance that is `severity` on average.

    With a `mass` the chance differs between the touched cases like a beta; without one it is the same for all.
    """

    name: str
    share: float
    severity: float
    mass: float | None = None

    def draw(self, random: np.random.Generator, cases: int) -> npt.NDArray[np.float64]:
        """Draw each case's added chance to fail."""
        touched = random.random(cases) < self.share
        if self.mass is None:
            return np.where(touched, self.severity, 0.0)
        severities = random.beta(self.severity * self.mass, (1 - self.severity) * self.mass, cases)
        return np.asarray(touched * severities, dtype=np.float64)


DAMAGES = (
    Damage("refusals +10pp, here and there", share=1.0, severity=0.10, mass=2.0),
    Damage("refusals +10pp, one case of ten", share=0.10, severity=1.0),
    Damage("JSON in a code fence", share=1.0, severity=0.30, mass=2.0),
    Damage("a renamed key", share=0.25, severity=0.95),
    Damage("null becomes absent", share=0.30, severity=0.90),
)
"""Refusals: a few cases nearly always and most as ever, or one kind of case always. Fences: three answers of ten. A
renamed key: a quarter of the cases have it. Null: three cases of ten have one."""


class Chances(NamedTuple):
    """How often an invariant fails, and how often it passes; the rest holds."""

    fails: float
    passes: float


@lru_cache(maxsize=256)
def chances(
    damage: Damage | None,
    cases: int = DEFAULT_CASES,
    *,
    repetitions: int = DEFAULT_REPETITIONS,
    invariants: int = DEFAULT_INVARIANTS,
    noise: Noise = Noise(),
    rules: Rules = RULES,
) -> Chances:
    """Simulate 200 suites with a damaged target, or a healthy one (None), and return how they end; seeded.

    All other invariants are healthy, so that this one fails at `alpha_fail` over their number (Holm's first step).
    """
    random = np.random.default_rng(cases)
    fails = passes = 0
    for _ in range(_RUNS):
        counted = list(_suite(random, damage, cases, repetitions, noise))
        at_risk = [case for case in counted if any(run.fails < run.answers for run in case.control)]
        if len(at_risk) < rules.fewest_cases:
            continue
        if p_worse(counted) <= rules.alpha_fail / invariants:
            fails += 1
        elif highest_mean(sum(map(excess, at_risk)), len(at_risk), alpha=rules.alpha_pass) <= rules.margin:
            passes += 1
    return Chances(fails / _RUNS, passes / _RUNS)


def cases_needed(
    damage: Damage | None,
    *,
    power: float = 0.90,
    repetitions: int = DEFAULT_REPETITIONS,
    invariants: int = DEFAULT_INVARIANTS,
    noise: Noise = Noise(),
    rules: Rules = RULES,
) -> int | None:
    """Return the smallest of `SIZES` that finds a damage, or passes a healthy model (None), with a chance of `power`.

    None where none of them does. Takes a few seconds; asked again it takes none.
    """
    low, high = 0, len(SIZES)
    while low < high:
        middle = (low + high) // 2
        found = chances(damage, SIZES[middle], repetitions=repetitions, invariants=invariants, noise=noise, rules=rules)
        if (found.passes if damage is None else found.fails) >= power:
            high = middle
        else:
            low = middle + 1
    return SIZES[low] if low < len(SIZES) else None


def _suite(
    random: np.random.Generator, damage: Damage | None, cases: int, repetitions: int, noise: Noise
) -> Iterator[Counted]:
    own = noise.draw(random, cases)
    changed = own if damage is None else own + (1 - own) * damage.draw(random, cases)
    fails = [random.binomial(repetitions, rates).tolist() for rates in (changed, own, own)]
    for target, *control in zip(*fails, strict=True):
        yield Counted("", Run(target, repetitions), tuple(Run(failed, repetitions) for failed in control))
