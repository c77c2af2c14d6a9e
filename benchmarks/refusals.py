"""Print how well refusals are told on XSTest, each model by weights fitted on the other two, and what drift is seen.

Phrases were written once, with a sight of some answers of each model and of LLMDrift's; weights are fitted. What is
held out is therefore the weights, not the choice of phrases.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from llmmigrate.regression.refusals import SURE, refusal_change, refusal_of
from llmmigrate.regression.refusals_rules import INTERCEPT, SIGNS, signs

FloatArray = npt.NDArray[np.float64]
MODELS = ("llama2orig", "mistralguard", "mistralinstruct")
DEFAULT_DATA = Path(__file__).parents[1].parent / "shared" / "data"
_PENALTY = 1.0
_NAMES = [sign.name for sign in SIGNS]


class Labelled(NamedTuple):
    """Answers as signs (n, signs), with people's labels: 1 for a refusal, whole or partial; both annotators' (n, 2)."""

    signs: FloatArray
    refused: FloatArray
    annotators: FloatArray


class Told(NamedTuple):
    """How the rules do on one model: kappa where they decide, the uncertain share, and kappa between annotators."""

    kappa: float
    uncertain: float
    people: float


def labelled(data: Path, model: str) -> Labelled:
    """Read one model's answers of XSTest."""
    with (data / "xstest" / f"completions_{model}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [{sign.name for sign in signs(row["completion"])} for row in rows]
    columns = ("final_label", "annotation_1", "annotation_2")
    labels = np.array([[not row[column].startswith("1_") for column in columns] for row in rows], dtype=np.float64)
    return Labelled(np.array([[name in one for name in _NAMES] for one in shown], float), labels[:, 0], labels[:, 1:])


def fit(parts: list[Labelled]) -> FloatArray:
    """Return the intercept and the weights of a logistic regression, each sign bound to the side it has in SIGNS."""
    shown = np.vstack([part.signs for part in parts])
    refused = np.concatenate([part.refused for part in parts])

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        odds = weights[0] + shown @ weights[1:]
        error = 1 / (1 + np.exp(-odds)) - refused
        value = np.logaddexp(0, (1 - 2 * refused) * odds).sum() + _PENALTY / 2 * (weights[1:] ** 2).sum()
        return float(value), np.concatenate([[error.sum()], shown.T @ error + _PENALTY * weights[1:]])

    bounds = [(None, None), *((0, None) if sign.weight > 0 else (None, 0) for sign in SIGNS)]
    return np.asarray(minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x)


def told(part: Labelled, weights: FloatArray) -> Told:
    """Compare what rules with these weights say with people's labels."""
    odds = weights[0] + part.signs @ weights[1:]
    odds[part.signs[:, _NAMES.index("declines")] > 0] = math.inf
    sure = np.abs(odds) >= SURE
    return Told(kappa(odds[sure] > 0, part.refused[sure] > 0), float(1 - sure.mean()), kappa(*(part.annotators.T > 0)))


def kappa(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return Cohen's kappa (Cohen 1960)."""
    chance = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
    return float(((first == second).mean() - chance) / (1 - chance))


def shipped() -> FloatArray:
    """Return the weights that the package has."""
    return np.array([INTERCEPT, *(sign.weight for sign in SIGNS)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LLMMIGRATE_TEST_DATA", DEFAULT_DATA)))
    data = parser.parse_args().data
    parts = {model: labelled(data, model) for model in MODELS}
    print("XSTest, 450 answers a model    held out           all three fitted   people with people")
    for model, part in parts.items():
        held_out = told(part, fit([other for name, other in parts.items() if name != model]))
        own = told(part, shipped())
        print(
            f"  {model:18} kappa  {held_out.kappa:.2f}, {held_out.uncertain:4.0%} unsure  "
            f"{own.kappa:.2f}, {own.uncertain:4.0%} unsure   {own.people:.2f}"
        )
    with (data / "llmdrift" / "sensitive_questions.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["id"]))
    found = {
        version: [refusal_of(row["answer"]) for row in rows if row["model"].endswith(version)]
        for version in ("gpt-4-0314", "gpt-4-0613")
    }
    change = refusal_change(*found.values())
    print("\nLLMDrift, 100 sensitive questions (answered by its authors' count: 21%, then 5%)")
    for version, rate in zip(found, (change.before, change.after), strict=True):
        print(f"  {version}  {rate.refusals} refuse, {rate.decided - rate.refusals} answer, {rate.uncertain} unsure")
    low, high = change.interval
    print(f"  refusals {change.difference:+.1%} ({low:+.1%} to {high:+.1%}), McNemar p = {change.p:.4f}")
    print("\nweights fitted on all three:")
    weights = fit(list(parts.values()))
    print(
        f"  intercept {weights[0]:.2f}  " + "  ".join(f"{n} {w:.2f}" for n, w in zip(_NAMES, weights[1:], strict=True))
    )


if __name__ == "__main__":
    main()
