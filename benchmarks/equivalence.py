"""Print how often a suite fails healthy models, how often it finds four changes, and how many cases that takes.

A suite has ten invariants, each case its own chance to fail, of a beta. "Copied" repeats a run's first answer in half
of the cases, as a cache does. Each run goes through `equivalence.judge`, outcome by outcome.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmmigrate.regression.equivalence import CaseOutcomes, InvariantVerdict, Outcome, judge, verdict_of
from llmmigrate.regression.equivalence_intervals import wilson
from llmmigrate.regression.equivalence_power import (
    DAMAGES,
    DEFAULT_CASES,
    DEFAULT_INVARIANTS,
    DEFAULT_REPETITIONS,
    Damage,
    Noise,
    cases_needed,
)

NOISES = {"10% noise": Noise(0.10), "2% noise": Noise(0.02), "20% noise": Noise(0.20)}


def outcomes(
    random: np.random.Generator, rates: npt.NDArray[np.float64], repetitions: int, copied: float
) -> list[list[Outcome]]:
    """Draw each case's outcomes; in a share of the cases all are the first one."""
    failed = random.random((len(rates), repetitions)) < rates[:, None]
    same = random.random(len(rates)) < copied
    failed[same] = failed[same, :1]
    return [["fail" if one else "pass" for one in row] for row in failed.tolist()]


def suite(
    random: np.random.Generator,
    noise: Noise,
    damages: Sequence[Damage] = (),
    *,
    cases: int = DEFAULT_CASES,
    invariants: int = DEFAULT_INVARIANTS,
    repetitions: int = DEFAULT_REPETITIONS,
    copied: float = 0.0,
) -> dict[str, InvariantVerdict]:
    """Judge a simulated suite, of which the first invariants are damaged; verdicts by invariant."""
    names = [damage.name for damage in damages] + [f"healthy {n}" for n in range(invariants - len(damages))]
    asked: dict[str, list[CaseOutcomes]] = {}
    for number, name in enumerate(names):
        own = noise.draw(random, cases)
        changed = own + (1 - own) * damages[number].draw(random, cases) if number < len(damages) else own
        runs = [outcomes(random, rates, repetitions, copied) for rates in (changed, own, own)]
        asked[name] = [CaseOutcomes(str(case), *run) for case, run in enumerate(zip(*runs, strict=True))]
    return {one.invariant: one for one in judge(asked)}


def ranged(times: int, runs: int) -> str:
    low, high = wilson(times, runs)
    return f"{times / runs:5.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    began = time.perf_counter()
    size = f"{DEFAULT_CASES} cases, {DEFAULT_REPETITIONS} repetitions, {DEFAULT_INVARIANTS} invariants"
    print(f"{size}, {runs} suites a row; 95% ranges by Wilson\n")
    print("the same model on both sides:      a suite fails             an invariant passes, a suite")
    for name, noise in NOISES.items():
        for copied in (0.0, 0.5) if name == "10% noise" else (0.0,):
            random = np.random.default_rng(7)
            found = [suite(random, noise, copied=copied) for _ in range(runs)]
            failed = sum(any(one.verdict == "fail" for one in each.values()) for each in found)
            passed = sum(one.verdict == "pass" for each in found for one in each.values())
            whole = sum(verdict_of(each.values()) == "pass" for each in found) / runs
            label = f"{name}, half copied" if copied else name
            print(f"  {label:32} {ranged(failed, runs):25} {passed / runs / DEFAULT_INVARIANTS:.1%}, {whole:.0%}")
    print("\none change among ten invariants:   found                     passed  cases needed for 90%, noise 10% / 2%")
    for damage in DAMAGES:
        random = np.random.default_rng(8)
        answers = [suite(random, NOISES["10% noise"], [damage])[damage.name].verdict for _ in range(runs)]
        needed = " / ".join(str(cases_needed(damage, noise=NOISES[f"{share} noise"])) for share in ("10%", "2%"))
        found_share, wrongly = ranged(answers.count("fail"), runs), answers.count("pass") / runs
        print(f"  {damage.name:32} {found_share:25} {wrongly:5.1%}   {needed}")
    healthy = " / ".join(str(cases_needed(None, noise=NOISES[f"{share} noise"])) for share in ("10%", "2%"))
    print(f"  {'a healthy model passes':32} {'':25} {'':5}   {healthy}")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
