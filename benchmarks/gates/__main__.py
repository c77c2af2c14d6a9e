"""Print how often rules roll back healthy migrations, and how many requests they need to see a bad one.

`python -m benchmarks.gates [--runs N] [--part NAME]`: each scenario has its own seed, printed beside it, so that a row
can be had again. `--write` puts the tables into `results.md`.
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.gates import naive, scenarios, soundness
from benchmarks.gates.scenarios import OURS, Times

COLUMNS = (*naive.RULES, OURS)

FALSE: dict[str, Callable[[np.random.Generator], Times]] = {
    "errors 1%, limit 5%": scenarios.no_change,
    "the same, traffic by day and night": scenarios.by_day_and_night,
    "errors at the limit of 5%": scenarios.at_the_limit,
    "the same, conversations of 10, ICC 0.1": scenarios.sticky_at_the_limit,
    "refusals 5% in both arms, +5pp allowed": scenarios.refusals_alike,
    "tokens at the limit of +20%": scenarios.tokens_at_the_limit,
    "p99 alike, +200 ms allowed": scenarios.times_alike,
    "p99 at the limit of +200 ms": scenarios.times_at_the_limit,
    "p99 alike, by day and night": scenarios.times_by_day_and_night,
}

DELAYS: dict[str, tuple[Callable[[np.random.Generator], Times], float]] = {
    "errors 8%, from the start": (partial(scenarios.errors_rise, rate=0.08, late=False), 1200),
    "errors 8%, after a week": (partial(scenarios.errors_rise, rate=0.08, late=True), 2200),
    "errors 15%, from the start": (partial(scenarios.errors_rise, rate=0.15, late=False), 150),
    "errors 15%, conversations of 3": (partial(scenarios.errors_rise, rate=0.15, late=False, length=3), 150),
    "errors 15%, after a week": (partial(scenarios.errors_rise, rate=0.15, late=True), 290),
    "quality -10pp, judged items": (partial(scenarios.quality_drops, drop=0.10), 2300),
    "quality -20pp, judged items": (partial(scenarios.quality_drops, drop=0.20), 410),
    "p99 +500 ms, from the start": (partial(scenarios.times_rise, shift_s=0.5, late=False), 7300),
    "p99 +1000 ms, from the start": (partial(scenarios.times_rise, shift_s=1.0, late=False), 1800),
    "p99 +500 ms, late": (partial(scenarios.times_rise, shift_s=0.5, late=True), 13200),
    "p99 +1000 ms, late": (partial(scenarios.times_rise, shift_s=1.0, late=True), 2300),
}


def seed_of(name: str) -> int:
    """Return the seed of a scenario, from its name."""
    return zlib.crc32(name.encode()) % 10_000


def runs_of(name: str, scenario: Callable[[np.random.Generator], Times], runs: int) -> list[Times]:
    """Run a scenario several times, each with a generator of its own."""
    return [scenario(np.random.default_rng([seed_of(name), number])) for number in range(runs)]


def false_alarms(runs: int) -> list[str]:
    """Return the table of rollbacks of what should not be rolled back."""
    lines = [
        "Healthy migrations rolled back within four weeks; 2 requests/s, the candidate has 5%",
        "",
        f"| what does not change | {' | '.join(COLUMNS)} | of runs | seed |",
        f"| --- |{' ---: |' * (len(COLUMNS) + 2)}",
    ]
    for name, scenario in FALSE.items():
        found = runs_of(name, scenario, runs)
        cells = [
            f"{sum(one[rule] <= scenarios.LONG for one in found)}" if rule in found[0] else "–" for rule in COLUMNS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {runs} | {seed_of(name)} |")
        print(lines[-1], flush=True)
    return lines


def delays(runs: int) -> list[str]:
    """Return the table of requests until a bad candidate is rolled back."""
    lines = [
        "Requests of the candidate until it is rolled back, as medians",
        "",
        f"| what changes | {' | '.join(COLUMNS)} | aim | of runs | seed |",
        f"| --- |{' ---: |' * (len(COLUMNS) + 3)}",
    ]
    for name, (scenario, aim) in DELAYS.items():
        found = runs_of(name, scenario, runs)
        cells = [_median([one[rule] for one in found]) if rule in found[0] else "–" for rule in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | {aim:,} | {runs} | {seed_of(name)} |")
        print(lines[-1], flush=True)
    return lines


def _median(figures: list[float]) -> str:
    """Write a median; one of runs that had been rolled back before anything changed says so."""
    early = sum(one == -math.inf for one in figures)
    if early * 2 > len(figures):
        return "in vain before"
    middle = float(np.median([one for one in figures if one != -math.inf]))
    return f"{middle:,.0f}" if math.isfinite(middle) else "never"


PARTS: dict[str, Callable[[int], list[str]]] = {
    "false": false_alarms,
    "delays": delays,
    "coverage": soundness.coverage,
    "cost": soundness.cost,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    text = []
    for part in chosen.part or PARTS:
        began = time.monotonic()
        lines = PARTS[part](chosen.runs)
        text.append("\n".join(lines))
        print("\n".join(lines), f"\n({time.monotonic() - began:.0f} s)\n", flush=True)
    if chosen.write:
        (Path(__file__).parent / "results.md").write_text("\n\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
