"""Plans ask the gates themselves: what they promise is what the gates do, and what they cannot know they say."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from llmmigrate.clock import VirtualClock
from llmmigrate.document import load_text
from llmmigrate.exceptions import RefusedError
from llmmigrate.foresight.basis import basis
from llmmigrate.foresight.behaviour import outcomes, tally
from llmmigrate.foresight.expected import Mean, measured, usual
from llmmigrate.foresight.plan import outlook
from llmmigrate.foresight.scenario import USUAL, Behaviour, Demand
from llmmigrate.foresight.traffic import Traffic
from llmmigrate.gates.questions import questions
from llmmigrate.gates.verdicts import decide
from llmmigrate.metrics.catalogue import CATALOGUE
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import ASSIGNED, SPLIT
from llmmigrate.routing.recorder import Recorder
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from llmmigrate.store.folding import fold

EXAMPLE = next((Path(__file__).parents[1] / "migrations" / "versions").glob("*.yaml")).read_text("utf-8")


def document(text=EXAMPLE, **rules):
    for metric, rule in rules.items():
        line = next(line for line in text.splitlines() if f"metric: {metric}, waived" in line)
        text = text.replace(line, f"  - {{metric: {metric}, {rule}}}")
    return load_text(text, "own.yaml").migration


def stage_of(told, name):
    return next(stage for stage in told.stages if stage.name == name)


def rule_of(told, stage, metric):
    return next(rule for rule in stage_of(told, stage).rules if rule.metric == metric)


@pytest.mark.parametrize("metric", ["error_rate", "latency_p99", "cost_per_request"])
def test_drawn_requests_pass_about_when_the_plan_says_and_not_long_before(metric):
    migration = document(latency_p99="increase: 200ms")
    planned = rule_of(outlook(migration, per_second=2, figures=usual()), "shadow", metric)
    plan = plan_of(migration)
    [question] = [one for one in questions(migration, plan, plan.stage("shadow")) if one.rule.metric == metric]
    cell, demand = CATALOGUE[metric].cell, Demand(rps=1000, alike=0, requests_per_unit=1)

    def passed(part, seed):
        random = np.random.default_rng(seed)
        cells = {}
        for arm in ("control", "candidate"):
            drawn = Traffic(demand, random).until(planned.samples * 2 / 1000 + 60)[: round(planned.samples * part)]
            cells[arm, cell] = Cell.of(outcomes(drawn, USUAL, 0, random, wanted=frozenset({cell}))[cell])
        return decide(question, cells).verdict == "pass"

    assert sum(passed(1.6, seed) for seed in range(8)) >= 6
    assert not any(passed(0.4, seed) for seed in range(8))


@pytest.mark.parametrize("metric", ["error_rate", "latency_p99", "cost_per_request", "tool_call_accuracy"])
def test_a_change_well_past_what_the_plan_stops_is_stopped_and_half_of_it_is_not(metric):
    migration = document(latency_p99="increase: 200ms", tool_call_accuracy="drop: 10pp")
    told = outlook(migration, per_second=2, figures=usual())
    planned = rule_of(told, "canary:25", metric)
    plan = plan_of(migration)
    stage = plan.stage("canary:25")
    [question] = [one for one in questions(migration, plan, stage) if one.rule.metric == metric]
    cell, served = CATALOGUE[metric].cell, round(2 * stage.min_s * 0.25)

    def drawn(behaviour, n, random):
        requests = Traffic(Demand(rps=1000, alike=0, requests_per_unit=1), random).until(n * 2 / 1000 + 60)[:n]
        return Cell.of(outcomes(requests, behaviour, 0, random, wanted=frozenset({cell}))[cell])

    def stopped(change):
        random = np.random.default_rng(7)
        own = {
            "error_rate": {"errors": USUAL.errors + change},
            "latency_p99": {"latency_added": change},
            "cost_per_request": {"cost": USUAL.cost * (1 + change)},
            "tool_call_accuracy": {"tools_valid": USUAL.tools_valid + change},
        }[metric]
        cells = {
            ("control", cell): drawn(USUAL, served * 3, random),
            ("candidate", cell): drawn(Behaviour.model_construct(**own).over(USUAL), served, random),
        }
        return decide(question, cells).verdict == "fail"

    assert (planned.effect < 0) == (metric == "tool_call_accuracy")
    assert stopped(planned.effect * 1.4)
    assert not stopped(planned.effect * 0.5)


def test_less_traffic_takes_longer_and_sees_less():
    migration = document(latency_p99="increase: 200ms")
    fast, slow = (outlook(migration, per_second=rate, figures=usual()) for rate in (5, 0.1))
    assert fast.total_s < slow.total_s
    for name in ("canary:5", "canary:25", "canary:50"):
        assert stage_of(fast, name).expected_s <= stage_of(slow, name).expected_s
        for metric in ("error_rate", "cost_per_request"):
            quick, late = (rule_of(told, name, metric) for told in (fast, slow))
            assert quick.passes_s < late.passes_s
            assert late.effect is None or quick.effect < late.effect
            assert quick.samples >= 300
    assert rule_of(fast, "canary:5", "tokens_per_request").passes_s is None  # watched there
    assert fast.total_s >= (7 + 14 + 1) * 86400


def test_what_cannot_be_decided_in_time_is_said_with_what_would_help():
    told = outlook(document(latency_p99="increase: 200ms"), per_second=0.1, figures=usual())
    lines = " ".join(told.advice)
    assert "latency p99, increase 200ms: cannot be proved at canary:25, 25% of 0.1 req/s, within 2 d" in lines
    assert "gate on p95 here" in lines
    assert "canary:5 takes about" in lines
    quick = outlook(document(), per_second=50, figures=usual())
    assert quick.advice == ()
    never = outlook(document(quality="drop: 5pp"), per_second=50, figures=usual())
    assert never.total_s is None
    assert "this release does not decide on quality" in " ".join(never.advice)


def test_a_limit_below_what_is_usual_never_passes():
    figures = usual()
    figures.shares["error_rate"] = 0.06
    told = outlook(document(), per_second=50, figures=figures)
    assert rule_of(told, "shadow", "error_rate").passes_s is None
    assert stage_of(told, "shadow").expected_s is None
    assert rule_of(told, "canary:5", "error_rate").passes_s is not None  # twice the limit there


def test_the_last_start_is_the_whole_time_before_the_first_model_retires():
    text = EXAMPLE.replace("retires: 2027-04-01", "retires: 2030-06-01").replace(
        "  # retires: 2099-12-31", "  retires: 2030-05-01"
    )
    told = outlook(document(text), per_second=50, figures=usual())
    assert told.deadline == ("openai/gpt-4o", datetime(2030, 5, 1).date())  # noqa: DTZ001
    assert told.latest_start == datetime(2030, 5, 1, tzinfo=UTC) - timedelta(seconds=told.total_s)


def test_costs_are_known_by_the_document_or_the_route_and_else_not():
    assert stage_of(outlook(document(), per_second=2, figures=usual()), "shadow").cost is None
    week = 2 * 7 * 86400
    projected = document(EXAMPLE + "monitoring: {projection: {cost_per_request: $0.01}}\n")
    assert stage_of(outlook(projected, per_second=2, figures=usual()), "shadow").cost == pytest.approx(week * 0.01)
    costs = tally(np.arange(64).repeat(20).astype(np.int8), np.full(1280, 0.02))
    known = measured({"cost_per_request": Cell.of(costs)})
    own = stage_of(outlook(document(), per_second=2, figures=known), "shadow").cost
    assert own == pytest.approx(week * 0.02)
    judged = EXAMPLE + "monitoring: {judge: {model: a/b, sample: 5%, rubric: r.md, budget: $7/day}}\n"
    told = outlook(document(judged), per_second=50, figures=usual())
    assert told.judge_cost == pytest.approx(told.total_s / 86400 * 7)


def test_a_rule_against_a_projection_wants_one():
    text = EXAMPLE.replace("cost_per_request, increase: 20%", "cost_per_request, increase: 20%, baseline: projection")
    lines = outlook(document(text), per_second=50, figures=usual()).advice
    assert any("projects no cost" in line for line in lines)
    told = outlook(
        document(text + "monitoring: {projection: {cost_per_request: $0.01}}\n"), per_second=50, figures=usual()
    )
    assert rule_of(told, "shadow", "cost_per_request").passes_s is not None


def test_measured_figures_take_the_place_of_usual_ones():
    places = np.arange(64).repeat(40).astype(np.int8)
    tokens = np.tile([100.0, 300.0], 1280)
    few = Cell.of(tally(places[:900]))
    usual_split = Cell.of(tally(places))
    found = measured({"tokens_per_request": Cell.of(tally(places, tokens)), "error_rate": few, "split": usual_split})
    assert found.known == {"tokens_per_request"}
    assert found.means["tokens_per_request"] == Mean(200.0, pytest.approx(0.5))
    assert found.shares["error_rate"] == USUAL.errors
    slow = measured({"latency": Cell.of(tally(places, np.full(2560, 9.0), times=True))})
    cell = slow.cell("latency", 1000)
    assert cell.times.sum() == pytest.approx(1000)
    assert len(np.flatnonzero(cell.times)) == 1


def flush(store, clock, recorder, seq):
    recorder.cut(clock.monotonic())
    for _, payload, _ in recorder.waiting():
        store.telemetry.put_flush("r", seq, payload, at=store.now())
    recorder.delivered(seq)
    with store.telemetry.writing() as connection:
        fold(connection)


def test_the_rate_is_the_route_s_own_in_shadow_and_in_a_canary(tmp_path):
    clock = VirtualClock(datetime(2026, 1, 5, tzinfo=UTC))
    store = Store.open(f"sqlite:///{tmp_path}/a.db", clock=clock, create=True)
    try:
        with pytest.raises(RefusedError, match="nothing is known"):
            basis(store, "r")
        recorder, seq = Recorder(), 0
        for hour in range(4):
            for _ in range(60):
                seq += 1
                shadow = hour < 2
                for arm, n in (("control", 120 if shadow else 90), ("candidate", 120 if shadow else 30)):
                    counted = tally(np.arange(n, dtype=np.int8) % 64)
                    recorder.add("r", hour, arm, ASSIGNED, counted)
                    if not shadow:
                        recorder.add("r", hour, arm, SPLIT, counted)
                flush(store, clock, recorder, seq)
                clock.advance(60)
        assert basis(store, "r").per_second == pytest.approx(2.0)
        assert basis(store, "r", per_second=7).per_second == 7
        log = tmp_path / "log.csv"
        log.write_text(
            "TIMESTAMP\n2023-11-16 18:00:00.0000000\n2023-11-16 18:00:01.0000000\n2023-11-16 18:00:04.0000000\n"
        )
        assert basis(store, "r", log=log).per_second == pytest.approx(0.5)
        with pytest.raises(RefusedError, match="cannot be used"):
            basis(store, "r", log=tmp_path / "none")
    finally:
        store.close()


def test_the_command_prints_a_plan_and_exits_6_where_it_is_too_late(tmp_path):
    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    call("init")
    call("new", "-m", "m", "--route", "support", "--from", "openai/gpt-4o", "--to", "openai/gpt-5.1")
    code, _, err = call("plan")
    assert code == 2
    assert "llmmigrate plan --rps N" in err
    code, out, _ = call("plan", "--rps", "2")
    assert code == 0
    assert "support" in out
    assert "canary:25" in out
    assert "From start to end" in out
    [file] = (tmp_path / "migrations" / "versions").glob("*.yaml")
    file.write_text(file.read_text("utf-8").replace("  # retires: 2099-12-31", "  retires: 2020-01-01"), "utf-8")
    code, out, _ = call("plan", "--rps", "2", "--format", "json")
    told = json.loads(out)
    assert code == 6
    assert told["too_late"] is True
    assert told["deadline"]["retires"] == "2020-01-01"
    assert told["stages"][0]["rules"][0]["samples"] >= 300
    assert not list(tmp_path.glob("*.db"))
