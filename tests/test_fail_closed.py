"""The published ways in which a gate could fail open (docs/gates.md): each holds or pauses, with a reason of its own.

A stage that may be left is taken, one thing in it is broken at a time, and the decision is asked for again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from llmmigrate.document import load_text
from llmmigrate.exceptions import StoreError
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.lifecycle import Facts, Transition, Wait, next_step
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import SPLIT
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.routing.recorder import Recorder
from llmmigrate.runner.tick import tick
from llmmigrate.stages import plan_of
from llmmigrate.store.folding import fold
from tests.conftest import ROUTE
from tests.test_document import EXAMPLE
from tests.test_gates import cell, errors
from tests.test_lifecycle import NOW, running
from tests.test_quantiles import timed
from tests.test_triggers import split_cells

TOKENS = np.random.default_rng(2).normal(400, 60, 4000)
TIMES = np.random.default_rng(3).normal(0.5, 0.02, 4000)


def document(*rollback):
    """Return the example with a rule on latency, and further ones."""
    latency = '  - {metric: latency_p95, increase: 100ms}\n  - {metric: latency_p99, waived: "p95 is watched"}\n'
    text = EXAMPLE.replace('  - {metric: latency_p99, waived: "no limit agreed yet"}    # increase: 200ms\n', latency)
    assert latency in text
    return load_text(
        text.replace("\npause:", "".join(f"\n  - {rule}" for rule in rollback) + "\npause:"), "d"
    ).migration


@dataclass
class Situation:
    """All that a decision is taken on, good as it stands."""

    stage: str
    migration: object = field(default_factory=document)
    cells: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)

    @classmethod
    def good(cls, stage):
        cells = {}
        for arm in ("control", "candidate"):
            cells[arm, "error_rate"] = errors(4000, 12)
            cells[arm, "tokens_per_request"] = cell(TOKENS)
            cells[arm, "cost_per_request"] = cell(TOKENS * 1e-5)
            cells[arm, "latency"] = timed(TIMES)
        for name, found in split_cells(8000, round(8000 * plan_of(document()).stage(stage).share), 1.0).items():
            arm, metric = name.split("_", 1)
            cells[arm, metric] = found
        return cls(stage, cells=cells).share(plan_of(document()).stage(stage).share)

    def share(self, share):
        for arm in ("control", "candidate"):
            found = self.cells[arm, SPLIT]
            self.cells[arm, SPLIT] = Cell(found.sums[:, [0]] * [1, share, share**2])
        return self

    def decide(self):
        plan = plan_of(self.migration)
        stage = plan.stage(self.stage)
        verdicts = evaluate(self.migration, plan, stage, self.cells)
        usual = {
            "verdicts": tuple(verdicts),
            "dwell_s": stage.min_s,
            "candidate_age_s": 5.0,
            "control_age_s": 5.0,
            "observed": (4000, 4000),
            "assigned": (4000, 4000),
            "watched": True,
        }
        facts = Facts(now=NOW + timedelta(days=1), **(usual | self.facts))
        return next_step(plan, running(self.stage), facts)


def without(situation, *keys):
    for key in keys:
        situation.cells.pop(key, None)


def zero_samples(s):
    s.cells.clear()
    s.facts |= {"candidate_age_s": None, "control_age_s": None, "observed": (0, 0), "assigned": (0, 0), "dwell_s": 0.0}


def one_sample(s):
    s.cells = {(arm, metric): timed([0.5]) if metric == "latency" else errors(1, 0) for arm, metric in s.cells}


def missing_arm(s):
    without(s, *[key for key in s.cells if key[0] == "control"])
    s.facts |= {"control_age_s": None}


def missing_metric_of_one_arm(s):
    without(s, ("control", "latency"))


def missing_baseline(s):
    s.migration = document("{metric: tokens_per_request, increase: 50%, baseline: projection}")


def no_judge(s):
    s.migration = document("{metric: quality, drop: 5pp}")


def no_source(s):
    source = "monitoring: {sources: {tickets: {events: opened, lag: 24h}}}\nrollback_procedure:"
    text = EXAMPLE.replace("rollback_procedure:", source).replace(
        "  - {metric: tokens_per_request", "  - {metric: tickets, increase: 15%}\n  - {metric: tokens_per_request"
    )
    s.migration = load_text(text, "d.yaml").migration


def stale_window(s):
    s.facts |= {"candidate_age_s": 16 * 60.0}


def stale_control(s):
    s.facts |= {"control_age_s": 16 * 60.0}


def not_a_number(s):
    s.cells["candidate", "tokens_per_request"] = cell([math.nan] * 4000)


def infinite(s):
    s.cells["control", "cost_per_request"] = cell([math.inf] * 4000)


def dead_mirror(s):
    s.facts |= {"observed": (4000, 0)}


def unobserved(s):
    s.facts |= {"observed": (4000, 3000)}


def wrong_split(s):
    for name, found in split_cells(8000, 3000, 0.05).items():
        s.cells[tuple(name.split("_", 1))] = found


def split_not_counted(s):
    without(s, ("control", SPLIT), ("candidate", SPLIT))


def clock_set_back(s):
    s.facts |= {"dwell_s": 0.0, "candidate_age_s": 0.0}


def empty_metric_list(s):
    s.facts |= {"verdicts": ()}


def nobody_watching(s):
    s.facts |= {"watched": False}


def one_unit(s):
    s.cells["candidate", "error_rate"] = errors(4000, 0)
    s.cells["candidate", "error_rate"] = cell([0.0] * 4000, buckets=1)


CASES = {
    "zero samples": (zero_samples, "shadow", "no data from the candidate yet: nothing passes on no data"),
    "one sample": (one_sample, "shadow", "1 of 300 requests from the candidate"),
    "one unit": (one_unit, "shadow", "error rate: the range still reaches past"),
    "a missing arm": (missing_arm, "shadow", "no data from the control yet: nothing passes on no data"),
    "a metric of one arm only": (missing_metric_of_one_arm, "shadow", "latency p95: no data from the control yet"),
    "a missing baseline": (missing_baseline, "shadow", "the document projects no tokens / request"),
    "no judge": (no_judge, "shadow", "this release does not decide on quality, drop"),
    "a source that cannot be asked": (no_source, "shadow", "this release does not decide on tickets, increase"),
    "a stale window": (stale_window, "canary:5", "the last data from the candidate are 16 m old"),
    "a stale control": (stale_control, "canary:5", "the last data from the control are 16 m old"),
    "a figure that is none": (not_a_number, "shadow", "tokens / request: the figures allow no range yet"),
    "an infinite figure": (infinite, "shadow", "cost / request: the figures allow no range yet"),
    "a dead mirror": (dead_mirror, "shadow", "the mirror is dead"),
    "answers that were not observed": (unobserved, "canary:5", "only 3,000 of 4,000 requests sent to the candidate"),
    "a wrong split": (wrong_split, "canary:5", "the data are broken"),
    "a split that was not counted": (split_not_counted, "canary:5", "no data on how requests were split yet"),
    "a clock that goes backwards": (clock_set_back, "canary:5", "time on fresh data: 0 s of 6 h"),
    "an empty list of metrics": (empty_metric_list, "canary:5", "no rule could be evaluated"),
    "nobody watching": (nobody_watching, "canary:5", "nobody is watching, so routers serve control"),
}
PAUSES = {"a wrong split"}


@pytest.mark.parametrize("stage", ["shadow", "canary:5", "canary:100", "observation"])
def test_what_is_good_in_every_way_passes(stage):
    found = Situation.good(stage).decide()
    assert isinstance(found, Transition), found
    assert found.event in ("advanced", "completed")


@pytest.mark.parametrize("case", CASES)
def test_each_case_holds_or_pauses_with_its_own_reason(case):
    breaks, stage, words = CASES[case]
    situation = Situation.good(stage)
    breaks(situation)
    found = situation.decide()
    if case in PAUSES:
        assert isinstance(found, Transition)
        assert found.event == "paused"
        assert words in found.reason
        return
    assert isinstance(found, Wait), found
    assert found.verdict == "hold"
    assert any(words in reason.detail for reason in found.reasons), found.reasons


def test_no_two_cases_say_the_same():
    words = [words for _, _, words in CASES.values()]
    assert not [(one, two) for one in words for two in words if one is not two and one in two]


def test_the_cases_are_the_published_ones():
    page = (Path(__file__).parents[1] / "docs" / "gates.md").read_text("utf-8")
    table = page.partition("## What is no pass")[2]
    published = dict(re.findall(r"^\| ([^|]+?) \| (?:holds|pauses): `([^`]+)` \|$", table, re.MULTILINE))
    assert published == {case: words for case, (_, _, words) in CASES.items()}


def test_a_clock_that_is_set_gains_no_time_on_fresh_data(world):
    """Data that vouch for five minutes each bring five minutes at most, wherever the store's clock is set to."""
    world.write()
    world.upgrade()
    generation, recorder, dwell = world.store.route(ROUTE).generation, Recorder(), []
    moments = [
        timedelta(0),
        timedelta(minutes=5),
        timedelta(days=-1),
        timedelta(days=-1, minutes=5),
        timedelta(days=30),
    ]
    for number, moment in enumerate(moments):
        recorder.observe(ROUTE, generation, "candidate", "u", "", Outcome(tokens=1))
        recorder.cut(300.0 * number)
        [(seq, payload, _)] = recorder.waiting()
        world.store.telemetry.put_flush("run", seq, payload, at=NOW + moment)
        recorder.delivered(seq)
        with world.store.telemetry.writing() as connection:
            folded = fold(connection)
            dwell.append(folded.coverage_of(connection, ROUTE, generation)["candidate"].dwell_s)
    assert dwell == [0.0, 300.0, 300.0, 600.0, 900.0]


def test_telemetry_that_cannot_be_read_moves_nothing(world):
    world.write()
    world.upgrade()
    before = world.store.route(ROUTE)
    with world.store.telemetry.writing() as connection:
        connection.exec_driver_sql("DROP TABLE llmmigrate_cell")
    with pytest.raises(StoreError):
        tick(world.store, before, actor="t")
    assert world.store.route(ROUTE) == before
