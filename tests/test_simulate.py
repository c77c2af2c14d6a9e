"""Simulations go through the real runner and store, are repeatable, and count as routers do."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from llmmigrate.document import load_text
from llmmigrate.exceptions import DocumentInvalid, RefusedError, TargetNotFound
from llmmigrate.foresight import scenario as scenarios
from llmmigrate.foresight.behaviour import outcomes, tally
from llmmigrate.foresight.simulate import START, prepare, rates
from llmmigrate.foresight.traffic import Traffic
from llmmigrate.metrics.cells import Cell, quantile
from llmmigrate.metrics.histogram import bin_of
from llmmigrate.routing.assignment import BUCKETS
from llmmigrate.stages import plan_of

EXAMPLE = next((Path(__file__).parents[1] / "migrations" / "versions").glob("*.yaml"))


def quick():
    """Return the example document with short stages, so that a whole migration is a few dozen ticks."""
    text = EXAMPLE.read_text("utf-8").replace("duration: 7d", "duration: 2h").replace("min_pairs: 2000", "min_pairs: 9")
    text = text.replace("hold: 6h..48h", "hold: 1h..9h")
    text = text.replace("duration: 14d", "duration: 3h\n  waived: a test")
    return load_text(text, "quick.yaml")


def written(tmp_path, text):
    file = tmp_path / "own.yaml"
    file.write_text(f"description: a test\n{text}", "utf-8")
    return scenarios.load(str(file))


def simulated(tmp_path, text, *, document=None, seed=1, days=None):
    loaded = written(tmp_path, text)
    return prepare(document or quick(), loaded, days=days, interval_s=900).run(seed)


def test_a_candidate_that_fails_from_a_stage_on_is_rolled_back_there(tmp_path):
    ended = simulated(tmp_path, 'changes:\n  - {since: "canary:25", errors: 30%}\n')
    assert (ended.status, ended.phase) == ("rolled_back", "canary:25")
    assert ended.why.startswith("rollback[0]: error rate ")
    assert ended.rule == "rollback[0] on error_rate"
    assert [move.end for move in ended.moves] == [
        "regression", "shadow", "canary:5", "canary:25", "rolling_back", "rolled_back"
    ]  # fmt: skip
    entered = next(move.at_s for move in ended.moves if move.end == "canary:25")
    assert ended.changed_s == entered
    assert ended.at_s > entered
    assert 0 < ended.since_change.units <= ended.since_change.served <= ended.since_change.candidate
    assert ended.since_change.candidate < ended.reach.candidate
    assert ended.reach.served < ended.reach.candidate  # shadow called it too, and nobody saw that


def test_a_healthy_candidate_completes_and_the_same_seed_is_the_same_run(tmp_path):
    first, again, other = (simulated(tmp_path, "traffic: {rps: 1}\n", seed=seed) for seed in (5, 5, 6))
    assert first.status == "completed"
    assert first == again
    assert first.reach != other.reach
    assert first.changed_s is None


def test_what_is_not_over_says_what_it_waits_for(tmp_path):
    ended = simulated(tmp_path, "traffic: {rps: 0.5}\n", days=1 / 24)
    assert (ended.status, ended.phase, ended.at_s) == ("running", "shadow", 3600)
    assert any("time on fresh data" in detail for detail in ended.waits)


def test_what_no_traffic_decides_is_taken_for_granted_and_said(tmp_path):
    text = EXAMPLE.read_text("utf-8").replace('quality, waived: "no judge configured"', "quality, drop: 5pp")
    text = text.replace('waived: "no suite yet: shadow is the first comparison"', "suite: regression/example.yaml")
    text = text.replace("  rollback: [on-call] ", "  approvers: {canary: [leads]}\n  rollback: [on-call] ")
    text = text.replace("down_revision: null", "down_revision: abcd")
    prepared = prepare(load_text(text, "own.yaml"), written(tmp_path, ""), days=None, interval_s=600)
    words = " ".join(prepared.assumed)
    assert "regression suite" in words
    assert "approvals" in words
    assert "quality" in words
    plan = plan_of(prepared.document.migration)
    assert all(not stage.unsupported and not stage.approvers for stage in plan.stages)
    assert prepared.accepted == ("quality",)
    ended = prepare(load_text(text, "own.yaml"), written(tmp_path, ""), days=0.1, interval_s=600).run(1)
    assert ended.phase == "shadow"
    assert not any("quality" in detail for detail in ended.waits)


def test_units_are_split_by_their_own_start_and_keep_their_arm(tmp_path):
    ended = simulated(tmp_path, "traffic: {rps: 2, requests_per_unit: 4, gap: 600s}\n", days=0.3)
    assert (ended.status, ended.phase) == ("running", "canary:100")
    [split] = [metric for metric in ended.metrics if metric["metric"] == "split"]
    assert split["verdict"] == "pass"
    assert split["estimate"] < 0.95  # who began on control stays there
    share = ended.reach.units / (ended.reach.requests / 4)
    assert 0 < share < 0.9


def test_traffic_has_the_rate_the_swing_and_the_units_that_are_asked_for():
    demand = scenarios.Demand.model_validate({"rps": 2, "swing": "80%", "requests_per_unit": 3, "gap": "60s"})
    traffic = Traffic(demand, np.random.default_rng(1))
    hours = [traffic.until(hour * 3600.0) for hour in range(1, 49)]
    counts = [len(hour) for hour in hours]
    assert sum(counts) == pytest.approx(2 * 48 * 3600, rel=0.02)
    assert counts[6] > 5 * counts[18]
    requests = np.concatenate(hours)
    assert len(requests) / requests["first"].sum() == pytest.approx(3, rel=0.05)
    assert (requests["at"] >= requests["start"]).all()
    assert (np.diff([hour["at"].min() for hour in hours]) > 0).all()
    assert requests["bucket"].max() < BUCKETS
    assert requests["bucket"].mean() == pytest.approx(BUCKETS / 2, rel=0.01)


def test_a_log_of_arrivals_is_stretched_to_the_rate(tmp_path):
    log = tmp_path / "arrivals.csv"
    log.write_text("TIMESTAMP\n2023-11-16 18:00:00.0000000\n2023-11-16 18:00:01.0000000\n2023-11-16 18:00:09.0000000\n")
    loaded = written(tmp_path, "traffic: {rps: 3, log: arrivals.csv}\n")
    prepared = prepare(quick(), loaded, days=1, interval_s=600)
    traffic = Traffic(loaded.scenario.traffic, np.random.default_rng(1), arrivals=prepared.arrivals)
    starts = np.unique(traffic.until(1000.0)["start"])
    assert len(starts) == pytest.approx(1000, abs=5)
    assert sorted(set(np.round(np.diff(starts), 2))) == [pytest.approx(gap / 4.5, abs=0.02) for gap in (1, 4.5, 8)]
    with pytest.raises(RefusedError, match="log of arrivals"):
        prepare(quick(), loaded, days=1, interval_s=600, log=tmp_path / "none.csv")


def test_what_is_drawn_has_the_shares_and_quantiles_of_the_scenario():
    demand = scenarios.Demand(rps=100, alike=0.3)
    requests = Traffic(demand, np.random.default_rng(2)).until(1000.0)
    keys = {
        "errors": "10%",
        "malformed": "5%",
        "schema_valid": "70%",
        "tokens": 500,
        "cost": "$0.02",
        "latency_added": "500ms",
        "first_token_p50": "200ms",
        "first_token_p99": "900ms",
    }
    behaviour = scenarios.Behaviour.model_validate(keys).over(scenarios.USUAL)
    wanted = frozenset(
        {"latency", "first_token", "tokens_per_request", "cost_per_request", "schema_validity", "malformed_rate"}
    )
    drawn = outcomes(requests, behaviour, demand.alike, np.random.default_rng(3), wanted=wanted)
    cells = {metric: Cell.of(tally) for metric, tally in drawn.items()}
    mean = {metric: cell.total / cell.n for metric, cell in cells.items()}
    n = len(requests)
    assert cells["error_rate"].n == cells["latency"].n == cells["latency"].times.sum() == n
    assert mean["error_rate"] == pytest.approx(0.15, rel=0.05)
    assert mean["malformed_rate"] == pytest.approx(0.05 / 0.90, rel=0.1)
    assert mean["schema_validity"] == pytest.approx(0.7, rel=0.03)
    assert cells["schema_validity"].n == n - round(cells["error_rate"].total)
    assert mean["tokens_per_request"] == pytest.approx(500, rel=0.03)
    assert mean["cost_per_request"] == pytest.approx(0.02, rel=0.03)
    assert quantile(cells["latency"].times, 0.5) == pytest.approx(1.5, rel=0.03)
    assert quantile(cells["latency"].times, 0.99) == pytest.approx(3.7, rel=0.05)
    assert quantile(cells["first_token"].times, 0.99) == pytest.approx(0.9, rel=0.05)


def test_a_tally_is_what_a_recorder_would_have_counted():
    places = np.array([3, 3, 60], np.int8)
    values = np.array([0.0005, 1.7, 5000.0])
    cell = tally(places, values, times=True)
    assert cell.buckets == {3: [2, 1.7005, 0.0005**2 + 1.7**2], 60: [1, 5000.0, 5000.0**2]}
    assert cell.histogram == {bin_of(value): 1 for value in values}
    assert tally(places).buckets == {3: [2, 2, 2], 60: [1, 1, 1]}


def test_changes_are_in_force_when_they_say(tmp_path):
    scenario = written(
        tmp_path,
        "control: {errors: 2%}\ncandidate: {tokens: 500}\nchanges:\n"
        '  - {since: "canary:5", after: 1h, lasts: 2h, errors: 9%}\n  - {after: 1d, arm: both, errors: 20%}\n',
    ).scenario
    entered = {"canary:5": 1000.0}
    errors = [scenario.now("candidate", at, entered).errors for at in (0, 4599, 4600, 11799, 11800, 86400)]
    assert errors == [0.02, 0.02, 0.09, 0.09, 0.02, 0.2]
    assert scenario.now("candidate", 4600, {}).errors == 0.02
    assert scenario.now("control", 4600, entered).errors == 0.02
    assert scenario.now("control", 90000, entered).errors == 0.2
    assert scenario.now("candidate", 0, {}).tokens == 500


def test_every_shipped_scenario_can_be_read_and_is_described():
    page = (EXAMPLE.parents[2] / "docs" / "simulate.md").read_text("utf-8")
    names = set(scenarios.shipped())
    assert names == {"no-change", "errors", "slow-tail", "late-errors", "broken-json", "diurnal"}
    for name in names:
        assert scenarios.load(name).scenario.description
        assert f"| `{name}` |" in page
    for key in (*scenarios.Behaviour.model_fields, *scenarios.Demand.model_fields, *scenarios.Change.model_fields):
        assert key in page
    assert scenarios.load(None).name == "no-change"
    assert scenarios.load("diurnal").scenario.alike
    assert not scenarios.load("errors").scenario.alike


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("trafic: {rps: 2}", 2, "no such key"),
        ("traffic: {rps: 0}", 2, "more than 0"),
        ("changes:\n  - {errors: 5}", 3, "unit"),
        ("changes:\n  - {since: regression, errors: 5%}", 3, "pattern"),
        ("control: {latency_p50: 3s, latency_p99: 2s}", 1, "below the p99"),
        ("control: {first_token_p50: 3s}", 1, "below the p99"),
        ("traffic: {log: ../secret.csv}", 2, "inside the project"),
    ],
)
def test_a_scenario_is_read_strictly_with_its_lines(tmp_path, text, line, words):
    with pytest.raises(DocumentInvalid) as caught:
        written(tmp_path, text)
    [problem] = caught.value.problems
    assert problem.line == line
    assert words in problem.message


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(TargetNotFound, match="no scenario"):
        scenarios.load("nothing")
    loaded = written(tmp_path, 'changes:\n  - {since: "canary:7", errors: 5%}\n')
    with pytest.raises(RefusedError, match="no stage 'canary:7'"):
        prepare(quick(), loaded, days=None, interval_s=600)
    for days, interval_s in ((0, 600), (400, 600), (math.nan, 600), (1, 0.5), (1, 3600)):
        with pytest.raises(RefusedError):
            prepare(quick(), written(tmp_path, ""), days=days, interval_s=interval_s)


def test_rates_tell_false_rollbacks_from_detections(tmp_path):
    changed = written(tmp_path, 'changes:\n  - {since: "canary:5", errors: 40%}\n')
    prepared = prepare(quick(), changed, days=None, interval_s=900)
    found = rates(changed.scenario, [prepared.run(seed) for seed in (1, 2)])
    assert (found["detected"].count, found["detected"].of) == (2, 2)
    assert found["false_rollback"].count == 0
    low, high = found["detected"].interval
    assert (low, high) == (pytest.approx(0.158, abs=0.001), 1.0)  # 0.025 ** (1 / 2)
    alike = written(tmp_path, "traffic: {rps: 0.2}\n")
    held = rates(alike.scenario, [prepare(quick(), alike, days=0.1, interval_s=600).run(1)])
    assert (held["running"].count, held["false_rollback"].count) == (1, 0)
    assert "detected" not in held
    worse = written(tmp_path, "candidate: {errors: 20%}\n").scenario
    assert "false_rollback" not in rates(worse, [])


def test_the_command_prints_runs_for_people_and_for_programs(tmp_path):
    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    call("init")
    call("new", "-m", "m", "--route", "support", "--from", "openai/gpt-4o", "--to", "openai/gpt-5.1")
    before = sorted(file.name for file in tmp_path.iterdir())
    code, out, _ = call("simulate", "--scenario", "errors", "--days", "0.05", "--seed", "4")
    assert code == 0
    assert "still at shadow after 1 h 12 m" in out
    assert "requests of users" in out
    code, out, _ = call("simulate", "--runs", "2", "--days", "0.02", "--rps", "0.5", "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert (told["rates"]["running"]["count"], told["rates"]["running"]["of"]) == (2, 2)
    assert [one["seed"] for one in told["runs"]] == [1, 2]
    assert told["runs"][0]["transitions"][0]["to"] == "regression"
    code, out, _ = call("simulate", "--runs", "2", "--days", "0.02")
    assert "2 runs, the runner looks every 10 m" in out
    assert call("simulate", "--interval", "2h")[0] == 2
    assert call("simulate", "--scenario", "nothing")[0] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == before  # no store was made


def test_time_begins_on_a_monday_at_midnight():
    assert START.weekday() == 0
    assert START - timedelta(hours=START.hour) == START
