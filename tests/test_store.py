"""State and history change together or not at all, once; telemetry is counted exactly once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url

from llmmigrate.exceptions import LostRace, SchemaMismatch, StoreError, StoreMissing
from llmmigrate.lifecycle import RouteState
from llmmigrate.metrics.cells import Cell, CellKey, Counted
from llmmigrate.metrics.counting import Tally
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.metrics.sequence import SequenceLog
from llmmigrate.routing import recorder as recorder_module
from llmmigrate.routing.recorder import Recorder
from llmmigrate.store import Store, folding, schema, tables
from llmmigrate.store.chain import row_hash
from llmmigrate.store.engine import telemetry_url
from llmmigrate.store.folding import by_arm
from llmmigrate.store.store import Change
from llmmigrate.store.telemetry import Replica
from tests.conftest import START, both_backends


def change(before: RouteState, event="moved", actor="t") -> Change:
    after = replace(before, status="running", generation=before.generation + 1, since=START)
    return Change(before, after, event, actor, "why")


def test_a_store_is_made_only_when_asked(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.raises(StoreMissing):
        Store.open(url)
    assert list(tmp_path.iterdir()) == []
    Store.open(url, create=True).close()
    Store.open(url).close()


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be reached: unable to open"):
        Store.open(f"sqlite:///{tmp_path / 'none' / 'a.db'}", create=True)


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:secret@h/d", "://", ""])
def test_a_url_that_cannot_be_used_is_a_clear_error_without_its_password(url):
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_another_release_s_schema_is_refused(tmp_path):
    file = tmp_path / "a.db"
    Store.open(f"sqlite:///{file}", create=True).close()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE llmmigrate_schema_control SET version_num = 'c999'")
    connection.commit()
    connection.close()
    for create in (False, True):
        with pytest.raises(SchemaMismatch, match="c999"):
            Store.open(f"sqlite:///{file}", create=create)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "a.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        Store.open(f"sqlite:///{tmp_path / 'a.db'}")


@pytest.mark.parametrize("side", ["control", "telemetry"])
@both_backends
def test_the_scripts_make_the_tables_of_the_code(world, side):
    url = make_url(world.config.database_url)
    engine = create_engine(url if side == "control" else telemetry_url(url))
    with engine.connect() as connection:
        own = set(getattr(tables, side).tables)
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.version_table(side),
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in own,
            },
        )
        assert compare_metadata(context, getattr(tables, side)) == []
        config = Config()
        config.set_main_option("script_location", f"llmmigrate:store/schema/{side}")
        assert ScriptDirectory.from_config(config).get_heads() == [schema.HEADS[side]]
    engine.dispose()


@both_backends
def test_a_change_and_its_history_row_are_one_write(world):
    state = world.store.write(change(RouteState("r")), at=START)
    assert (state.version, world.store.route("r")) == (1, state)
    rows = world.store.history("r")
    assert [row["seq"] for row in rows] == [1]
    assert rows[0]["hash"] == state.head_hash


@both_backends
def test_the_loser_of_a_race_writes_nothing(world):
    before = world.store.route("r")
    world.store.write(change(before), at=START)
    with pytest.raises(LostRace):
        world.store.write(change(before), at=START)
    second = world.store.route("r")
    world.store.write(change(second), at=START)
    with pytest.raises(LostRace):
        world.store.write(change(second), at=START)
    assert [row["seq"] for row in world.store.history("r")] == [1, 2]


@both_backends
def test_of_many_at_once_exactly_one_wins(world):
    first = world.store.write(change(RouteState("r")), at=START)

    def attempt(number):
        try:
            world.store.write(change(first, actor=f"a{number}"), at=START)
        except LostRace:
            return "lost"
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(attempt, range(16)))
    assert outcomes == {"won": 1, "lost": 15}
    assert len(world.store.history("r")) == 2


@both_backends
def test_history_is_a_chain_of_hashes(world):
    state = RouteState("r")
    for _ in range(5):
        state = world.store.write(change(state), at=START)
    rows = world.store.history("r")
    assert [row["prev_hash"] for row in rows] == ["0" * 64, *(row["hash"] for row in rows[:-1])]
    assert all(row_hash(row) == row["hash"] for row in rows)
    assert row_hash({**rows[2], "reason": "another"}) != rows[2]["hash"]


@given(st.permutations(range(1, 9)), st.lists(st.integers(1, 8), max_size=10))
def test_each_number_is_accepted_once_in_any_order(order, repetitions):
    log = SequenceLog()
    accepted = [seq for seq in [*order, *repetitions] if log.accept(seq)]
    assert sorted(accepted) == list(range(1, 9))
    assert log.missing == set()


def test_a_gap_is_known():
    log = SequenceLog()
    assert [log.accept(seq) for seq in (1, 4, 4, 2)] == [True, True, False, True]
    assert (log.highest, log.missing) == (4, {3})


def flushes(recorder, monotonic):
    recorder.cut(monotonic)
    found = recorder.waiting()
    recorder.delivered(found[-1][0])
    return [flush[:2] for flush in found]


def observe(recorder, count, arm="candidate", generation=2, error=None, start=0):
    for number in range(start, start + count):
        recorder.observe("r", generation, arm, f"u{number}", "", Outcome(error_class=error, tokens=100))


def fold(store, generation=2):
    with store.telemetry.writing() as connection:
        folded = folding.fold(connection)
        return by_arm(folded.cells_of(connection, "r", generation)), folded.coverage_of(connection, "r", generation)


@both_backends
def test_what_was_observed_is_what_is_folded(world):
    recorder = Recorder()
    observe(recorder, 10)
    observe(recorder, 3, error="timeout", start=10)
    [(seq, payload)] = flushes(recorder, 0)
    world.store.telemetry.put_flush("run", seq, payload, at=START)
    cells, _ = fold(world.store)
    errors, tokens = cells["candidate", "error_rate"], cells["candidate", "tokens_per_request"]
    assert (errors.n, errors.total) == (13, 3)
    assert (tokens.n, tokens.total, tokens.total_sq) == (10, 1000, 100_000)


@both_backends
def test_a_flush_that_comes_twice_counts_once_before_and_after_the_fold(world):
    recorder = Recorder()
    observe(recorder, 10)
    [(seq, payload)] = flushes(recorder, 0)
    for _ in range(2):
        world.store.telemetry.put_flush("run", seq, payload, at=START)
    fold(world.store)
    world.store.telemetry.put_flush("run", seq, payload, at=START)
    cells, _ = fold(world.store)
    assert cells["candidate", "error_rate"].n == 10


@both_backends
def test_a_lost_flush_is_counted_as_lost_until_it_comes(world):
    recorder = Recorder()
    for moment in range(3):
        observe(recorder, 10)
        recorder.cut(moment)
    one, two, three = [flush[:2] for flush in recorder.waiting()]
    for seq, payload in (three, one):
        world.store.telemetry.put_flush("run", seq, payload, at=START)
    assert fold(world.store)[0]["candidate", "error_rate"].n == 20
    assert world.store.telemetry.lost_flushes() == 1
    world.store.telemetry.put_flush("run", *two, at=START)
    assert fold(world.store)[0]["candidate", "error_rate"].n == 30
    assert world.store.telemetry.lost_flushes() == 0


@both_backends
@pytest.mark.parametrize(
    "payload",
    [
        "",
        "[]",
        "{}",
        '{"v": 1, "cells": [[1]], "covered": []}',
        '{"v": 1, "cells": [["r",2,"third","","x",[],[],[],[]]], "covered": []}',
        '{"v": 2, "cells": [], "covered": []}',
        "null",
    ],
)
def test_a_flush_that_cannot_be_read_is_lost_alone(world, payload):
    recorder = Recorder()
    observe(recorder, 10)
    [(_, good)] = flushes(recorder, 0)
    world.store.telemetry.put_flush("run", 1, payload, at=START)
    world.store.telemetry.put_flush("run", 2, good, at=START)
    assert fold(world.store)[0]["candidate", "error_rate"].n == 10
    assert world.store.telemetry.lost_flushes() == 1


@both_backends
def test_time_counts_only_between_fresh_data(world):
    recorder = Recorder()
    moments = [0, 5, 10, 15]
    for number, moment in enumerate(moments):
        observe(recorder, 1)
        [(seq, payload)] = flushes(recorder, moment)
        world.store.telemetry.put_flush("run", seq, payload, at=START + timedelta(seconds=moment))
        assert fold(world.store)[1]["candidate"].dwell_s == 5 * number
    observe(recorder, 1)
    [(seq, payload)] = flushes(recorder, 86_400)
    world.store.telemetry.put_flush("run", seq, payload, at=START + timedelta(days=1))
    assert fold(world.store)[1]["candidate"].dwell_s == 15 + 15 * 60


@both_backends
@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_store_clock_that_jumps_gains_no_time(world, jump):
    recorder = Recorder()
    for moment in range(0, 60, 5):
        observe(recorder, 1)
        [(seq, payload)] = flushes(recorder, moment)
        at = START + timedelta(seconds=moment + (jump if moment >= 30 else 0))
        world.store.telemetry.put_flush("run", seq, payload, at=at)
        dwell = fold(world.store)[1]["candidate"].dwell_s
        assert dwell <= moment
    assert dwell >= 50


@both_backends
def test_replicas_that_overlap_are_not_counted_twice(world):
    recorders = {f"run{number}": Recorder() for number in range(3)}
    for moment in range(0, 60, 5):
        for run_id, recorder in recorders.items():
            observe(recorder, 1)
            [(seq, payload)] = flushes(recorder, moment)
            world.store.telemetry.put_flush(run_id, seq, payload, at=START + timedelta(seconds=moment))
    assert fold(world.store)[1]["candidate"].dwell_s == 55


@given(st.lists(st.tuples(st.integers(0, 63), st.floats(-1e6, 1e6)), max_size=60), st.integers(0, 60))
def test_cells_add_up_in_any_partition(values, cut):
    whole, parts = Tally(), [Tally(), Tally()]
    for number, (bucket, value) in enumerate(values):
        whole.add(bucket, value)
        parts[number >= cut].add(bucket, value)
    expected, sums = Cell.of(whole), Cell.of(parts[0])
    sums.add(Counted.from_json(*json.loads(json.dumps(parts[1].to_json()))))
    read = Cell.from_bytes(*sums.to_bytes())
    parts[0].merge(parts[1])
    for found in (sums, read, Cell.of(parts[0])):
        assert found.n == expected.n
        assert found.total == pytest.approx(expected.total, abs=1e-3)
        assert found.total_sq == pytest.approx(expected.total_sq, rel=1e-9, abs=1e-3)


@both_backends
def test_input_types_are_kept_apart_and_added_up(world):
    recorder = Recorder()
    for input_type in ("order", "refund"):
        recorder.observe("r", 2, "control", "u", input_type, Outcome(tokens=5))
    [(seq, payload)] = flushes(recorder, 0)
    keys = {CellKey(*key[:5]) for key in json.loads(payload)["cells"]}
    assert {key.input_type for key in keys} == {"order", "refund"}
    world.store.telemetry.put_flush("run", seq, payload, at=START)
    assert fold(world.store)[0]["control", "error_rate"].n == 2


def test_the_recorder_forgets_no_more_than_an_hour_while_the_store_is_away():
    recorder = Recorder()
    for moment in range(1000):
        observe(recorder, 1)
        recorder.cut(moment)
    waiting = recorder.waiting()
    assert (len(waiting), waiting[-1][0]) == (720, 1000)


def test_the_recorder_forgets_no_more_than_64_mb_while_the_store_is_away(monkeypatch):
    monkeypatch.setattr(recorder_module, "MAX_WAITING_BYTES", 10_000)
    recorder = Recorder()
    for moment in range(100):
        observe(recorder, 10)
        recorder.cut(moment)
    waiting = recorder.waiting()
    assert sum(len(payload) for _, payload, _ in waiting) <= 10_000
    assert waiting[-1][0] == 100
    recorder.delivered(100)
    observe(recorder, 10)
    recorder.cut(100)
    assert len(recorder.waiting()) == 1


@both_backends
@pytest.mark.parametrize("name", ["a\0b", "half a pair \ud800"])
def test_words_that_no_database_keeps_are_lost_and_stop_no_fold(world, name):
    recorder = Recorder()
    observe(recorder, 3)
    [(_, payload)] = flushes(recorder, 0)
    for place in ("r", "candidate", "error_rate"):
        spoilt = payload.replace(f'"{place}"', json.dumps(name))
        assert spoilt != payload
        world.store.telemetry.put_flush(place, 1, spoilt, at=START)
    world.store.telemetry.put_flush("run", 1, payload, at=START)
    assert fold(world.store)[0]["candidate", "error_rate"].n == 3
    assert world.store.telemetry.lost_flushes() == 3


@both_backends
def test_counters_roll_up_into_hours_and_nothing_is_lost(world):
    recorder = Recorder()
    for moment in range(0, 3 * 3600, 600):
        observe(recorder, 7)
        [(seq, payload)] = flushes(recorder, moment)
        world.store.telemetry.put_flush("run", seq, payload, at=START + timedelta(seconds=moment))
        fold(world.store)

    def totals(counters):
        found = Counter()
        for _, _, arm, metric, n, _ in counters:
            found[arm, metric] += n
        return found

    before = world.store.telemetry.counters("r")
    assert {span for _, span, *_ in before} == {60}
    later = START + timedelta(days=3)
    for _ in range(2):
        world.store.telemetry.roll_up(now=later, real_now=later)
        after = world.store.telemetry.counters("r")
        assert {span for _, span, *_ in after} == {3600}
        assert len({start for start, *_ in after}) == 3
        assert totals(after) == totals(before)
    world.store.telemetry.roll_up(now=START + timedelta(days=100), real_now=later)
    assert world.store.telemetry.counters("r") == []
    assert fold(world.store)[0]["candidate", "error_rate"].n == 7 * 18


@both_backends
def test_a_router_that_is_gone_for_a_day_is_forgotten(world):
    now = world.store.real_now()
    for run_id, age in (("old", timedelta(days=2)), ("new", timedelta(minutes=1))):
        world.store.telemetry.report_replica(Replica(run_id, "h", 1, now - age, 30.0, {}))
    world.store.telemetry.roll_up(now=now, real_now=now)
    assert [replica.run_id for replica in world.store.telemetry.replicas()] == ["new"]
