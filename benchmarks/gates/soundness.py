"""Whether ranges hold the truth where units are sticky, and what an evaluation costs; through the product itself."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from benchmarks.gates import streams
from benchmarks.gates.ours import MINIMUM
from benchmarks.gates.scenarios import CANDIDATE, CONTROL, with_rules
from llmmigrate.document import load_text
from llmmigrate.gates import normal_mixture_half_width, proportion_interval
from llmmigrate.gates.samples import Sample
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.metrics.cells import Cell, pack
from llmmigrate.stages import plan_of

MINUTES, LOOKS = streams.WEEK, 60
ALPHA, MARGIN = 0.05, 0.05


def cell(stream: streams.Stream, minutes: int) -> Cell:
    """Return what a stream has counted until a minute."""
    parts = [part[:minutes].sum(axis=0) for part in (stream.n, stream.total, stream.squares)]
    return Cell(np.stack(parts, axis=1).astype(float))


def counted(stream: streams.Stream, minutes: int) -> Cell:
    """Return the same for a stream of events, whose squares are themselves."""
    n, total = (part[minutes - 1] for part in stream.up_to)
    return Cell(np.stack([n, total, total], axis=1).astype(float))


def coverage(runs: int) -> list[str]:
    """Return how often 95% ranges held the truth at all of 60 looks in a week."""
    lines = [
        f"95% ranges that held the truth at each of {LOOKS} looks in a week, from {MINIMUM} requests on; "
        f"of {runs}, conversations of 10, ICC 0.1",
        "",
        "| range | with the variance of units | as if requests were independent | seed |",
        "| --- | ---: | ---: | ---: |",
    ]
    looks = np.unique(np.geomspace(60, MINUTES, LOOKS).astype(int))
    held = np.zeros((2, 2))
    for number in range(runs):
        random = np.random.default_rng([64, number])
        control, candidate = (
            streams.conversations(random, streams.load(MINUTES, rate), 0.05, length=10, icc=0.1)
            for rate in (CONTROL, CANDIDATE)
        )
        ever = np.ones((2, 2), bool)
        for minutes in looks:
            old, new = Sample(counted(control, minutes)), Sample(counted(candidate, minutes))
            if new.n < MINIMUM:
                continue
            for column, effect in enumerate((new.design_effect, 1.0)):
                low, high = proportion_interval(new.total / effect, new.n / effect, alpha=ALPHA)
                ever[0, column] &= low <= 0.05 <= high
            plain = sum(one.mean * (1 - one.mean) / one.n for one in (old, new))
            for column, square in enumerate((old.variance_of_rate + new.variance_of_rate, plain)):
                width = float(normal_mixture_half_width(np.sqrt(square), tau=MARGIN, alpha=ALPHA))
                ever[1, column] &= abs(new.mean - old.mean) <= width
        held += ever
    for row, name in enumerate(("a rate", "a difference of rates")):
        sound, unsound = held[row] / runs
        lines.append(f"| {name} | {sound:.1%} | {unsound:.1%} | 64 |")
    return lines


def cost(_runs: int) -> list[str]:
    """Return what one evaluation of a document with rules of every kind costs, by the requests behind it."""
    lines = [
        "One evaluation of a document with rules of every kind",
        "",
        "| requests | milliseconds | bytes of cells |",
        "| ---: | ---: | ---: |",
    ]
    migration = load_text(document(), "all.yaml").migration
    plan = plan_of(migration)
    random = np.random.default_rng(1)
    for requests in (10**4, 10**5, 10**6, 10**7):
        cells = {}
        for arm in ("control", "candidate"):
            each = requests / 64
            rate, mean = [each, each * 0.01, each * 0.01], [each, each * 400.0, each * 170_000.0]
            for metric in ("error_rate", "refusal_rate", "tool_call_accuracy", "schema_validity"):
                cells[arm, metric] = Cell(np.tile(rate, (64, 1)))
            for metric in ("tokens_per_request", "cost_per_request"):
                cells[arm, metric] = Cell(np.tile(mean, (64, 1)))
            counts = streams.times(random, requests, streams.chances())
            cells[arm, "latency"] = Cell(np.tile([each, each * 1.1, each * 1.6], (64, 1)), counts.astype(float))
        size = len(pack(cells))
        rounds = []
        for _ in range(9):
            began = time.perf_counter()
            evaluate(migration, plan, plan.stage("canary:25"), cells)
            rounds.append(time.perf_counter() - began)
        lines.append(f"| {requests:,} | {median(rounds) * 1e3:.1f} | {size:,} |")
    return lines


def document() -> str:
    """Return a document with rules of every kind."""
    text = with_rules(latency_p99="increase: 200ms", tool_call_accuracy="drop: 10pp")
    rules = (
        "{metric: latency_p95, increase: 20%}",
        "{metric: schema_validity, below: 95%}",
        '{metric: "*", worse: true}',
    )
    return text.replace("\npause:", "\npause:\n" + "\n".join(f"  - {rule}" for rule in rules) + "\n#", 1)
