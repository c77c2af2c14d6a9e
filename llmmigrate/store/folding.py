"""Folding: waiting flushes become cells, coverage and counters, each exactly once, in the caller's transaction."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, bindparam, delete, func, select

from llmmigrate.clock import from_text, to_text
from llmmigrate.metrics.cells import ARMS, PAYLOAD_VERSION, Cell, CellKey
from llmmigrate.metrics.sequence import SequenceLog
from llmmigrate.store import tables
from llmmigrate.store.upsert import upsert

_log = logging.getLogger(__name__)

KEEP_MINUTES = timedelta(hours=48)
KEEP_HOURS = timedelta(days=90)
KEEP_REPLICAS = timedelta(days=1)

_LONGEST_WORD = 64

FOLD_LOCK = 0x6C6D01
"""Name of the advisory lock that serialises folds on PostgreSQL."""

CounterKey = tuple[str, str, int, str, str]
CoverageKey = tuple[str, int, str]

_flush, _cell, _coverage, _sequence, _minute = (
    tables.flush,
    tables.cell,
    tables.coverage,
    tables.sequence,
    tables.minute,
)
_TAKE = delete(_flush).returning(_flush.c.run_id, _flush.c.seq, _flush.c.at, _flush.c.payload)
_SEQUENCES = select(_sequence).where(_sequence.c.run_id.in_(bindparam("run_ids", expanding=True)))
_CELLS = select(_cell).where(_cell.c.route == bindparam("r"), _cell.c.generation == bindparam("g"))
_COVERAGE = select(_coverage).where(_coverage.c.route == bindparam("r"), _coverage.c.generation == bindparam("g"))
_OLD_MINUTES = (_minute.c.span_s == 60) & (_minute.c.start < bindparam("limit"))


def serialise(connection: Connection, lock: int) -> None:
    """Let one transaction at a time go on from here; SQLite's writers are alone already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(lock)))


def fold(connection: Connection) -> int:
    """Add all waiting flushes to cells, coverage and counters, and delete them; return their number.

    A flush that was counted before is dropped. A payload that cannot be read is left out, logged, and stays counted
    as lost.
    """
    serialise(connection, FOLD_LOCK)
    flushes = sorted(connection.execute(_TAKE).all(), key=lambda row: (row.at, row.run_id, row.seq))
    if not flushes:
        return 0
    logs = _sequences(connection, {row.run_id for row in flushes})
    cells: dict[CellKey, Cell] = {}
    counters: dict[CounterKey, list[float]] = {}
    arrivals: dict[CoverageKey, list[tuple[datetime, float]]] = {}
    for row in flushes:
        log = logs.setdefault(row.run_id, SequenceLog())
        if not log.accept(row.seq):
            continue
        try:
            found, covered = _read_payload(row.payload)
        except (ValueError, KeyError, TypeError):
            _log.warning("flush %s/%s cannot be read and is counted as lost", row.run_id, row.seq)
            log.missing.add(row.seq)
            continue
        for key, cell in found:
            cells.setdefault(key, Cell()).merge(cell)
            counter = counters.setdefault((key.route, row.at[:16], 60, key.arm, key.metric), [0, 0.0])
            counter[0] += cell.n
            counter[1] += cell.total
        at = from_text(row.at)
        for place, covered_s in covered:
            arrivals.setdefault(place, []).append((at, covered_s))
    _put_sequences(connection, logs)
    _merge_cells(connection, cells)
    add_counters(connection, counters)
    _extend_coverage(connection, arrivals)
    return len(flushes)


def cells_of(connection: Connection, route: str, generation: int) -> dict[CellKey, Cell]:
    """Return the cells of a generation."""
    rows = connection.execute(_CELLS, {"r": route, "g": generation})
    return {CellKey(*row[:5]): Cell.from_json(orjson.loads(row.buckets), orjson.loads(row.histogram)) for row in rows}


def coverage_of(connection: Connection, route: str, generation: int) -> dict[str, tuple[float, datetime]]:
    """Return per arm the time on fresh data in seconds, and when the last data arrived."""
    rows = connection.execute(_COVERAGE, {"r": route, "g": generation})
    return {row.arm: (row.dwell_s, from_text(row.last_at)) for row in rows}


def roll_up(connection: Connection, *, now: datetime) -> None:
    """Turn minute counters older than two days into hourly ones."""
    serialise(connection, FOLD_LOCK)
    limit = {"limit": to_text(now - KEEP_MINUTES)[:13]}
    counters: dict[CounterKey, list[float]] = {}
    for row in connection.execute(select(_minute).where(_OLD_MINUTES), limit):
        counter = counters.setdefault((row.route, f"{row.start[:13]}:00", 3600, row.arm, row.metric), [0, 0.0])
        counter[0] += row.n
        counter[1] += row.total
    connection.execute(delete(_minute).where(_OLD_MINUTES), limit)
    add_counters(connection, counters)


def add_counters(connection: Connection, counters: Mapping[CounterKey, list[float]]) -> None:
    """Add to the counters of a span of time."""
    rows = [
        {"route": route, "start": start, "span_s": span_s, "arm": arm, "metric": metric, "n": int(n), "total": total}
        for (route, start, span_s, arm, metric), (n, total) in sorted(counters.items())
    ]
    if rows:
        connection.execute(upsert(connection.dialect.name, _minute, ("n", "total")), rows)


def _sequences(connection: Connection, run_ids: Iterable[str]) -> dict[str, SequenceLog]:
    rows = connection.execute(_SEQUENCES, {"run_ids": sorted(run_ids)})
    return {row.run_id: SequenceLog(row.highest, set(json.loads(row.missing))) for row in rows}


def _put_sequences(connection: Connection, logs: Mapping[str, SequenceLog]) -> None:
    rows = [{"run_id": r, "highest": g.highest, "missing": json.dumps(sorted(g.missing))} for r, g in logs.items()]
    connection.execute(upsert(connection.dialect.name, _sequence), rows)


def _merge_cells(connection: Connection, cells: dict[CellKey, Cell]) -> None:
    if not cells:
        return
    for route, generation in {(key.route, key.generation) for key in cells}:
        for key, cell in cells_of(connection, route, generation).items():
            if key in cells:
                cells[key].merge(cell)
    rows = []
    for key, cell in cells.items():
        buckets, histogram = (orjson.dumps(part).decode() for part in cell.to_json())
        sums = {"n": cell.n, "total": cell.total, "total_sq": cell.total_sq}
        rows.append({**key._asdict(), **sums, "buckets": buckets, "histogram": histogram})
    connection.execute(upsert(connection.dialect.name, _cell), rows)


def _extend_coverage(connection: Connection, arrivals: Mapping[CoverageKey, list[tuple[datetime, float]]]) -> None:
    """Add to each arm's dwell the store time since its last data, but never more than its replica vouches for.

    A replica vouches for the time since its own last data, on its monotonic clock: a store clock that jumps gains
    nothing, and replicas that overlap are not counted twice.
    """
    rows = []
    known: dict[tuple[str, int], dict[str, tuple[float, datetime]]] = {}
    for (route, generation, arm), moments in sorted(arrivals.items()):
        if (route, generation) not in known:
            known[route, generation] = coverage_of(connection, route, generation)
        dwell, last = known[route, generation].get(arm, (0.0, None))
        for at, covered_s in moments:
            if last is not None:
                dwell += max(0.0, min((at - last).total_seconds(), covered_s))
            last = at
        assert last is not None
        rows.append({"route": route, "generation": generation, "arm": arm, "dwell_s": dwell, "last_at": to_text(last)})
    if rows:
        connection.execute(upsert(connection.dialect.name, _coverage), rows)


def _read_payload(text: str) -> tuple[list[tuple[CellKey, Cell]], list[tuple[CoverageKey, float]]]:
    payload = orjson.loads(text)
    if payload["v"] != PAYLOAD_VERSION:
        raise ValueError(f"a flush in form {payload['v']}, this release reads {PAYLOAD_VERSION}")
    cells = []
    for route, generation, arm, input_type, metric, buckets, histogram in payload["cells"]:
        if arm not in ARMS:
            raise ValueError(f"unknown arm {arm!r}")
        key = CellKey(_word(route), int(generation), arm, _word(input_type), _word(metric))
        cells.append((key, Cell.from_json(buckets, histogram)))
    covered = [((_word(r), int(g), _word(a)), max(0.0, float(s))) for r, g, a, s in payload["covered"]]
    return cells, covered


def _word(value: object) -> str:
    """Return a name as any database keeps it; ValueError for one that holds NUL or half a surrogate pair."""
    word = str(value)[:_LONGEST_WORD]
    if b"\0" in word.encode():
        raise ValueError("a name holds NUL")
    return word
