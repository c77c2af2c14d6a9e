"""A change after a good spell is seen: in minutes by detectors, in hours by restarts; and rarely in vain."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.gates import ShiryaevRoberts
from llmmigrate.gates.late import RateWatch, advance
from llmmigrate.gates.samples import Sample
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import Tally
from llmmigrate.stages import plan_of
from tests.conftest import ROUTE, START, both_backends
from tests.test_quantiles import lognormal
from tests.test_rules import migration


def test_a_detector_is_the_published_recursion():
    detector, r = ShiryaevRoberts(0.05), [0.0] * 4
    for events, n in [(1, 20), (0, 7), (5, 12)]:
        detector = detector.update(events, n)
        r = [
            (one + 1) * (p1 / 0.05) ** events * ((1 - p1) / 0.95) ** (n - events)
            for one, p1 in zip(r, (0.07, 0.1, 0.2, 0.5), strict=True)
        ]
    assert [math.exp(one) for one in detector.log_r] == pytest.approx(r)
    assert math.exp(detector.log_mean) == pytest.approx(sum(r) / 4)
    assert detector.updates == 3


@pytest.mark.parametrize(("limit", "alternatives"), [(0.05, 4), (0.2, 3), (0.5, 1), (0.8, 1), (0.99, 1)])
def test_what_is_looked_for_is_always_a_rate(limit, alternatives):
    found = ShiryaevRoberts(limit).alternatives
    assert len(found) == alternatives
    assert all(limit < rate < 1 for rate in found)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.floats(0.01, 0.99))
def test_a_detector_survives_being_written_down(batches, limit):
    detector = ShiryaevRoberts(limit)
    for events, n in batches:
        detector = detector.update(min(events, n), n)
    assert ShiryaevRoberts.from_json(json.loads(json.dumps(detector.to_json()))) == detector
    assert not math.isnan(detector.log_mean)


@pytest.mark.parametrize(("events", "n"), [(-1, 5), (6, 5), (math.nan, 5), (1, math.inf)])
def test_counts_that_are_none_are_refused(events, n):
    with pytest.raises(ValueError, match="events"):
        ShiryaevRoberts(0.05).update(events, n)


def test_false_alarms_of_a_detector_are_as_rare_as_promised():
    """Of 400 detectors at the exact limit over 2,000 updates, at most 5% may ever alarm."""
    random = np.random.default_rng(2)
    batches = random.binomial(6, 0.05, (2000, 400, 1))
    p1 = np.array(ShiryaevRoberts(0.05).alternatives)
    log_r, ever = np.full((400, 4), -np.inf), np.zeros(400, bool)
    for events in batches:
        log_r = np.logaddexp(log_r, 0) + events * np.log(p1 / 0.05) + (6 - events) * np.log((1 - p1) / 0.95)
        ever |= np.logaddexp.reduce(log_r, axis=1) - math.log(4) >= math.log(2000 / 0.05)
    assert ever.sum() <= 20
    detector = ShiryaevRoberts(0.05)
    for events in batches[:, 0, 0]:
        detector = detector.update(events, 6)
    assert detector.log_r == pytest.approx(log_r[0])


DOCUMENT = migration("{metric: latency_p95, increase: 200ms}", "{metric: schema_validity, below: 95%}")
PLAN = plan_of(DOCUMENT)
STAGE = PLAN.stage("canary:5")


class Rig:
    """Cells that grow, with detectors that take them in minute by minute."""

    def __init__(self):
        self.tallies = {}
        self.kept = {}
        self.now = START
        self.random = np.random.default_rng(4)

    def minute(self, minutes=1, **rates):
        """Let time pass: 10 requests a minute of units of their own, with rates of events by metric."""
        for _ in range(minutes):
            self.now += timedelta(minutes=1)
            for metric, rate in rates.items():
                tally = self.tallies.setdefault(("candidate", metric), Tally())
                for _ in range(10):
                    tally.add(int(self.random.integers(64)), float(self.random.random() < rate))
            self.take()

    @property
    def cells(self):
        return {key: Cell.of(tally) for key, tally in self.tallies.items()}

    def take(self):
        moved = advance(DOCUMENT, PLAN, STAGE, self.cells, self.kept, now=self.now)
        self.kept |= {name: (self.now, text) for name, text in moved.items()}

    def verdict(self, rule):
        found = evaluate(DOCUMENT, PLAN, STAGE, self.cells, kept=self.kept)
        return next(one for one in found if one.rule == rule)


ERROR_RULE, SCHEMA_RULE, LATENCY_RULE = "rollback[2]", "rollback[1]", "rollback[0]"


def test_a_rate_that_rises_late_fails_where_the_whole_stage_does_not():
    rig = Rig()
    rig.minute(2000, error_rate=0.01)
    assert rig.verdict(ERROR_RULE).verdict == "hold"
    rig.minute(40, error_rate=0.15)
    found = rig.verdict(ERROR_RULE)
    assert Sample(rig.cells["candidate", "error_rate"]).mean < 0.02
    assert found.verdict == "fail"
    assert found.estimate == pytest.approx(0.15, abs=0.05)
    assert found.note.startswith("a late change")


def test_a_score_that_sinks_late_fails():
    rig = Rig()
    rig.minute(1000, schema_validity=0.995)
    assert rig.verdict(SCHEMA_RULE).verdict == "hold"
    rig.minute(40, schema_validity=0.8)
    found = rig.verdict(SCHEMA_RULE)
    assert found.verdict == "fail"
    assert found.estimate == pytest.approx(0.8, abs=0.06)
    assert found.limit == 0.95


def test_one_conversation_that_retries_late_is_no_change():
    """Even after so long a good spell that it hardly shows in the variance of units."""
    rig = Rig()
    tally = rig.tallies["candidate", "error_rate"] = Tally({b: [16_000, 160.0, 160.0] for b in range(64)})
    rig.take()
    for _ in range(100):
        tally.add(7, 1.0)
    for _ in range(40):
        rig.minute(error_rate=0.03)
        assert rig.verdict(ERROR_RULE).verdict == "hold"
    for _ in range(30):
        tally.add(7, 1.0)
        rig.now += timedelta(minutes=1)
        rig.take()
        assert rig.verdict(ERROR_RULE).verdict == "hold"


def test_a_detector_moves_once_a_minute_and_counts_everything_once():
    rig = Rig()
    rig.minute(50, error_rate=0.1)
    before = rig.kept[ERROR_RULE]
    for _ in range(5):
        rig.now += timedelta(seconds=10)
        rig.take()
    assert rig.kept[ERROR_RULE] == before
    watch = RateWatch.from_bytes(before[1], 0.05)
    assert watch.seen[0].sum() == 500
    assert watch.detector.updates == 50


@pytest.mark.parametrize("back", [timedelta(days=3), timedelta(minutes=-1000)])
def test_a_clock_that_was_set_blinds_no_detector(back):
    rig = Rig()
    rig.minute(500, error_rate=0.01)
    rig.now -= back
    rig.minute(60, error_rate=0.2)
    assert rig.verdict(ERROR_RULE).verdict == "fail"


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"detector": {"limit": 0.05, "log_r": [1], "updates": 2}}',
        b"null",
        b"\x04\0\0\0null",
        b'\x10\0\0\0[["a", "b", 800]]\0\0\0',
        b'\x0f\0\0\0[["a", "b", 0]]' + b"1" * 100,
    ],
)
def test_state_that_cannot_be_read_begins_anew(state):
    rig = Rig()
    rig.minute(10, error_rate=0.01)
    rig.kept = dict.fromkeys((*rig.kept, "restart:24h"), (rig.now, state))
    rig.minute(100, error_rate=0.3)
    assert rig.verdict(ERROR_RULE).verdict == "fail"


def latency(rig, arm, n, shift):
    tally = rig.tallies.setdefault((arm, "latency"), Tally())
    for number, seconds in enumerate(lognormal(rig.random, n) + shift):
        tally.add_time(number % 64, float(seconds))


def test_times_that_rise_late_fail_by_a_restart_of_their_figures():
    rig = Rig()
    for hour in range(40):
        latency(rig, "control", 3000, 0.0)
        latency(rig, "candidate", 1000, 0.0 if hour < 37 else 0.6)
        rig.now += timedelta(hours=1)
        rig.take()
        if hour == 36:
            assert rig.verdict(LATENCY_RULE).verdict != "fail"
    found = rig.verdict(LATENCY_RULE)
    assert found.verdict == "fail"
    assert "restart" in found.note
    rig.kept = {name: row for name, row in rig.kept.items() if not name.startswith("restart")}
    assert rig.verdict(LATENCY_RULE).verdict != "fail"


def counts_of(cell):
    return [] if cell.times is None else [int(count) for count in cell.times if count]


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 5)), max_size=40), st.integers(0, 40))
def test_what_came_since_is_the_difference(values, cut):
    whole, early, late = Tally(), Tally(), Tally()
    for number, (bucket, value) in enumerate(values):
        whole.add_time(bucket, value)
        (early if number < cut else late).add_time(bucket, value)
    found, expected = Cell.of(whole).minus(Cell.of(early)), Cell.of(late)
    assert found.sums == pytest.approx(expected.sums)
    assert counts_of(found) == counts_of(expected)


@both_backends
def test_detectors_move_with_each_tick_and_are_stored_beside_the_cells(world):
    world.write()
    world.upgrade()
    generation = world.store.route(ROUTE).generation
    with world.router() as router:
        for _ in range(3):
            world.serve(router, 100, over_s=900)
            world.upgrade()
    with world.store.telemetry.reading() as connection:
        kept = world.store.telemetry.detectors(connection, ROUTE, generation)
        assert world.store.telemetry.detectors(connection, ROUTE, generation + 1) == {}
    assert set(kept) == {"rollback[0]", "rollback[0]:control", "restart:6h", "restart:24h", "restart:96h"}
    at, state = kept["rollback[0]"]
    assert at == world.store.now()
    watch = RateWatch.from_bytes(state, 0.05)
    assert watch.seen[0].sum() == 300
    assert watch.detector.updates == 4
