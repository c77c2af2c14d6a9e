"""A verdict is explained as it was decided on, from telemetry while it runs and from history afterwards."""

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
from llmmigrate.explanation import about, explain
from llmmigrate.foresight.behaviour import tally
from llmmigrate.graph import Graph
from llmmigrate.metrics.counting import ASSIGNED
from llmmigrate.routing.recorder import Recorder
from llmmigrate.runner import downgrade, upgrade
from llmmigrate.runner.ask import accept_risk, pause
from llmmigrate.store import Store

EXAMPLE = next((Path(__file__).parents[1] / "migrations" / "versions").glob("*.yaml")).read_text("utf-8")


@pytest.fixture
def route(tmp_path):
    """Give a route in shadow, with a way to send it requests and look."""
    clock = VirtualClock(datetime(2026, 1, 5, tzinfo=UTC))
    document = load_text(EXAMPLE, "own.yaml")
    store = Store.open(f"sqlite:///{tmp_path}/llmmigrate.db", clock=clock, create=True)
    graph, recorder = Graph([document]), Recorder()

    def look(errors=0.0, n=200, minutes=5):
        name = document.route
        state = store.route(name)
        for arm, rate in (("control", 0.0), ("candidate", errors)):
            places = np.arange(n).astype(np.int8) % 64
            failed = (np.arange(n) < rate * n).astype(float)
            for metric, cell in ((ASSIGNED, tally(places)), ("error_rate", tally(places, failed))):
                recorder.add(name, state.generation, arm, metric, cell)
        clock.advance(60 * minutes)
        recorder.cut(clock.monotonic())
        for seq, payload, _ in recorder.waiting():
            store.telemetry.put_flush("r", seq, payload, at=store.now())
            recorder.delivered(seq)
        return upgrade(store, graph, name, document.revision, actor="test", confirm_s=0).last.state

    upgrade(store, graph, document.route, document.revision, actor="test")
    yield store, document.route, look
    store.close()


def of(told, metric):
    return next(one for one in told.metrics if one.verdict["metric"] == metric)


def test_before_anybody_looked_there_is_only_what_is_waited_for(route):
    store, name, _ = route
    told = explain(store, name)
    assert told.phase == "shadow"
    assert told.verdict == "hold"
    assert [one.verdict["n_candidate"] for one in told.metrics] == [0, 0, 0]
    assert all(one.meaning is None and one.until is None for one in told.metrics)
    assert any("no data" in reason["detail"] for reason in told.waiting_for)


def test_a_hold_says_what_is_missing_and_about_when(route):
    store, name, look = route
    look()
    told = explain(store, name)
    errors = of(told, "error_rate")
    assert errors.verdict["verdict"] == "hold"
    assert errors.why == "This keeps the gate shut: 200 of 300 requests from the candidate."
    assert "error rate is between 0.0% and " in errors.meaning
    assert "at every look" in errors.meaning
    began = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=5)
    assert errors.until - began == timedelta(seconds=150)  # 100 more, of 200 in five minutes
    assert about(errors, began) == "about 2 m 30 s from now"
    assert about(errors, began + timedelta(hours=1)) == "any time now"
    look()
    assert of(explain(store, name), "error_rate").why.startswith("This keeps nothing shut: all of the range is inside")


def test_the_time_that_a_range_needs_grows_with_how_near_the_limit_is(route):
    store, name, look = route
    look(errors=0.03, n=600)
    near = of(explain(store, name), "error_rate")
    assert near.verdict["verdict"] == "hold"
    assert near.until is not None
    before = near.until
    look(errors=0.045, n=4000)
    nearer = of(explain(store, name), "error_rate")
    assert nearer.verdict["verdict"] == "hold"
    assert nearer.until > before
    accept_risk(store, name, "error_rate", actor="test", reason="known")
    assert of(explain(store, name), "error_rate").why.startswith("This would keep the gate shut, and is accepted")


def test_an_estimate_past_the_limit_promises_no_time(route):
    store, name, look = route
    look(errors=0.055, n=2000)
    errors = of(explain(store, name), "error_rate")
    assert (errors.verdict["verdict"], errors.until) == ("hold", None)


def test_a_rollback_is_explained_by_its_evidence(route):
    store, name, look = route
    assert look(errors=0.4).status == "rolled_back"
    told = explain(store, name)
    assert (told.event, told.phase, told.verdict) == ("rolling_back", "shadow", None)
    assert told.reason.startswith("rollback[0]: error rate 40.0%")
    errors = of(told, "error_rate")
    assert errors.why.startswith("This rolls back: all of the range is past 5.0%")
    assert errors.until is None


def test_what_a_person_stopped_has_no_figures(route):
    store, name, look = route
    look()
    pause(store, name, actor="test", reason="a look by hand")
    told = explain(store, name)
    assert (told.event, told.reason, told.metrics) == ("paused", "a look by hand", ())
    downgrade(store, name, actor="test", reason="enough", confirm_s=0)
    told = explain(store, name)
    assert (told.event, told.reason) == ("rolling_back", "enough")


def test_the_command_says_it_in_sentences_and_loads_no_statistics(route, tmp_path):
    _, name, look = route
    look()
    (tmp_path / "llmmigrate.toml").write_text("")
    code = (
        "import sys, runpy\nsys.argv = ['llmmigrate', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('llmmigrate', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print({'numpy', 'scipy', 'litellm'} & set(sys.modules), file=sys.stderr)\n    raise\n"
    )

    def call(*words):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code_, out, err = call("explain", name)
    assert (code_, err.strip()) == (0, "set()")
    assert "The gate's verdict is hold" in out
    assert "error rate: hold   (rollback[0], limit 5.0%)" in out
    assert "This keeps the gate shut: 200 of 300 requests from the candidate." in out
    code_, out, _ = call("explain", "--format", "json")
    told = json.loads(out)
    assert (code_, told["route"], told["verdict"], told["event"]) == (0, name, "hold", None)
    assert told["metrics"][0]["decided_about"].startswith("2026-01-05T00:07:30")
    assert call("explain", "nothing")[0] != 0
