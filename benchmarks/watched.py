"""Print how often what is watched of every answer fails a model against itself, and how often it finds a change.

Answers are drawn as texts: JSON with noise in its form, keys and values, and prose that now and then declines or is in
another language; each case has its own chances, of a beta. "Copied" repeats a run's first answer in half of the cases.
They go through `watched` and `judge`, as those of a suite do.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.equivalence import ranged
from llmmigrate.regression.equivalence import judge
from llmmigrate.regression.equivalence_power import DEFAULT_CASES, DEFAULT_REPETITIONS
from llmmigrate.regression.given import Given
from llmmigrate.regression.watched import Answered, watched

LABELS = ("billing", "delivery", "returns", "account", "other")
TYPES = ("order", "refund", "advice")
NO = "I'm sorry, but I can't help with that request."
ENGLISH = "Your order {n} has been shipped today and it will be with you on Monday, as you asked us to do."
SPANISH = "Su pedido {n} ha sido enviado hoy y llegará el lunes por la mañana, como usted nos ha pedido a todos."

NOISE = {"fence": 0.05, "no note": 0.10, "null": 0.05, "label": 0.10, "rare": 0.01, "declines": 0.05, "spanish": 0.03}
"""How often an answer is out of the usual, by what."""

QUIET = dict.fromkeys(NOISE, 0.0)

Text = Callable[[int], str]

CHANGES: dict[str, tuple[str, str]] = {
    "declines +10pp": ("declines", "does not decline"),
    "fenced +10pp": ("fence", "form"),
    "a key is gone in 10%": ("no note", "keys and kinds"),
    "null for absent in 10%": ("null", "keys and kinds"),
    "a new label in 10%": ("rare", "values of fixed sets"),
    "another language +10pp": ("spanish", "language"),
}
"""What is changed by adding 10 points to a chance, with the words of what should find it."""


def chances(random: np.random.Generator, cases: int, noise: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Draw each case's own chances: a beta with a fifth of the mean's weight, as in benchmarks.equivalence."""
    return {
        name: random.beta(2 * share, 2 * (1 - share), cases) if 0 < share < 1 else np.full(cases, share)
        for name, share in noise.items()
    }


def answer(random: np.random.Generator, case: int, own: Mapping[str, np.ndarray], tag: str) -> Given:
    """Draw one answer to a case: two of three are JSON."""
    so = {name: bool(random.random() < share[case]) for name, share in own.items()}
    if case % 3 == 2:
        text = NO if so["declines"] else (SPANISH if so["spanish"] else ENGLISH).format(n=case)
        return Given(text)
    label = LABELS[(case + int(random.integers(1, 5))) % 5] if so["label"] else LABELS[case % 5]
    if so["rare"]:
        label = f"{tag} {int(random.integers(0, 3))}"
    found = {"label": label, "amount": case, "note": f"as of call {case}", "agent": None if so["null"] else "Kim"}
    if so["no note"]:
        del found["note"]
    text = json.dumps(found)
    return Given(f"```json\n{text}\n```" if so["fence"] else text)


def suite(
    random: np.random.Generator, noise: Mapping[str, float], change: str | None, *, copied: float
) -> dict[str, str]:
    """Judge one run of a suite; return verdicts by what is watched."""
    own = chances(random, DEFAULT_CASES, noise)
    target = dict(own)
    if change is not None:
        target[change] = np.minimum(own[change] + 0.10, 1.0)
    answered = []
    for case in range(DEFAULT_CASES):
        runs = []
        for given in (target, own, own):
            drawn = [answer(random, case, given, "odd") for _ in range(DEFAULT_REPETITIONS)]
            runs.append([drawn[0]] * len(drawn) if random.random() < copied else drawn)
        answered.append(Answered(str(case), *runs, TYPES[case % 3]))
    return {one.invariant: one.verdict for one in judge(watched(answered))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    began = time.perf_counter()
    print(f"{DEFAULT_CASES} cases, {DEFAULT_REPETITIONS} repetitions, {runs} suites a row; 95% ranges by Wilson\n")
    print("the same model on both sides fails:")
    for label, noise, copied in (
        ("noisy", NOISE, 0.0),
        ("noisy, half copied", NOISE, 0.5),
        ("noisy, all copied", NOISE, 1.0),
        ("a fifth of that noise", {name: share / 5 for name, share in NOISE.items()}, 0.0),
    ):
        random = np.random.default_rng(11)
        found = [suite(random, noise, None, copied=copied) for _ in range(runs)]
        by = Counter(name for each in found for name, verdict in each.items() if verdict == "fail")
        failed = sum("fail" in each.values() for each in found)
        print(f"  {label:26} {ranged(failed, runs)}  {dict(by) or ''}")
    print("\na change in one answer of ten is found:   noisy                      without noise")
    for name, (key, words) in CHANGES.items():
        rows = []
        for noise in (NOISE, QUIET):
            random = np.random.default_rng(12)
            found = [suite(random, noise, key, copied=0.0) for _ in range(runs)]
            rows.append(ranged(sum(each.get(f"every answer: {words}") == "fail" for each in found), runs))
        print(f"  {name:38} {'    '.join(rows)}")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
