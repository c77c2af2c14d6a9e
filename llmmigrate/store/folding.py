"""Folding: waiting flushes become cells, coverage and counters, each exactly once, in the caller's transaction.

What a decision needs is read here as well: what has just been folded is not read again. Only who decides loads this
module, and the arrays that it needs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from sqlalchemy import Connection, bindparam, delete, select

from llmmigrate.clock import from_text, to_text
from llmmigrate.metrics.cells import Cell, CellKey, Counted
from llmmigrate.metrics.counting import ARMS, PAYLOAD_VERSION, Arm
from llmmigrate.metrics.sequence import SequenceLog
from llmmigrate.store import tables
from llmmigrate.store.counters import CounterKey, add_counters, serialise
from llmmigrate.store.upsert import upsert

_log = logging.getLogger(__name__)

_LONGEST_WORD = 64

CoverageKey = tuple[str, int, str]
Place = tuple[str, int]

_flush, _cell, _coverage, _sequence = (
    tables.flush,
    tables.cell,
    tables.coverage,
    tables.sequence,
)
_TAKE = delete(_flush).returning(_flush.c.run_id, _flush.c.seq, _flush.c.at, _flush.c.payload)
_SEQUENCES = select(_sequence).where(_sequence.c.run_id.in_(bindparam("run_ids", expanding=True)))
_CELLS = select(_cell).where(_cell.c.route == bindparam("r"), _cell.c.generation == bindparam("g"))
_COVERAGE = select(_coverage).where(_coverage.c.route == bindparam("r"), _coverage.c.generation == bindparam("g"))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Time on fresh data of one arm in one generation, and when its last data arrived."""

    dwell_s: float
    last_at: datetime


@dataclass(slots=True)
class Folded:
    """What a fold came to: how many flushes, and the cells and the coverage that it has brought up to date, by place.

    A place is a route's generation; its cells are all there are, also those that no flush added to.
    """

    flushes: int = 0
    cells: dict[Place, dict[CellKey, Cell]] = field(default_factory=dict)
    coverage: dict[Place, dict[str, Coverage]] = field(default_factory=dict)

    def cells_of(self, connection: Connection, route: str, generation: int) -> dict[CellKey, Cell]:
        """Return the cells of a generation."""
        known = self.cells.get((route, generation))
        return known if known is not None else read_cells(connection, route, generation)

    def coverage_of(self, connection: Connection, route: str, generation: int) -> dict[str, Coverage]:
        """Return per arm the time on fresh data of a generation."""
        known = self.coverage.get((route, generation))
        return known if known is not None else read_coverage(connection, route, generation)


def fold(connection: Connection) -> Folded:
    """Add all waiting flushes to cells, coverage and counters, and delete them; return what that came to.

    A flush that was counted before is dropped. A payload that cannot be read is left out, logged, and stays counted
    as lost.
    """
    serialise(connection)
    flushes = sorted(connection.execute(_TAKE).all(), key=lambda row: (row.at, row.run_id, row.seq))
    if not flushes:
        return Folded()
    logs = _sequences(connection, {row.run_id for row in flushes})
    found: dict[CellKey, list[Counted]] = {}
    counters: dict[CounterKey, list[float]] = {}
    arrivals: dict[CoverageKey, list[tuple[datetime, float]]] = {}
    for row in flushes:
        log = logs.setdefault(row.run_id, SequenceLog())
        if not log.accept(row.seq):
            continue
        try:
            tallies, covered = _read_payload(row.payload)
        except (ValueError, KeyError, TypeError):
            _log.warning("flush %s/%s cannot be read and is counted as lost", row.run_id, row.seq)
            log.missing.add(row.seq)
            continue
        for key, counted in tallies:
            found.setdefault(key, []).append(counted)
            counter = counters.setdefault((key.route, row.at[:16], 60, key.arm, key.metric), [0, 0.0])
            n, total, _ = counted.sums.sum(axis=0)
            counter[0] += int(n)
            counter[1] += float(total)
        at = from_text(row.at)
        for place, covered_s in covered:
            arrivals.setdefault(place, []).append((at, covered_s))
    _put_sequences(connection, logs)
    cells = _add_to_cells(connection, found)
    add_counters(connection, counters)
    return Folded(len(flushes), cells, _extend_coverage(connection, arrivals))


def read_cells(connection: Connection, route: str, generation: int) -> dict[CellKey, Cell]:
    """Return the cells of a generation as they were last folded."""
    rows = connection.execute(_CELLS, {"r": route, "g": generation}).all()
    return {CellKey(*row[:5]): Cell.from_bytes(row.sums, row.times) for row in rows}


def read_coverage(connection: Connection, route: str, generation: int) -> dict[str, Coverage]:
    """Return the coverage of a generation by arm, as it was last folded."""
    rows = connection.execute(_COVERAGE, {"r": route, "g": generation}).all()
    return {row.arm: Coverage(row.dwell_s, from_text(row.last_at)) for row in rows}


def by_arm(cells: Mapping[CellKey, Cell]) -> dict[tuple[Arm, str], Cell]:
    """Return cells by (arm, metric), input types added up."""
    result: dict[tuple[Arm, str], Cell] = {}
    for key, cell in cells.items():
        known = result.get((key.arm, key.metric))
        result[key.arm, key.metric] = cell if known is None else known.plus(cell)
    return result


def by_type(cells: Mapping[CellKey, Cell]) -> dict[str, dict[tuple[Arm, str], Cell]]:
    """Return cells by input type and then by (arm, metric), of those requests that name one."""
    result: dict[str, dict[tuple[Arm, str], Cell]] = {}
    for key, cell in cells.items():
        if key.input_type:
            result.setdefault(key.input_type, {})[key.arm, key.metric] = cell
    return result


def _sequences(connection: Connection, run_ids: Iterable[str]) -> dict[str, SequenceLog]:
    rows = connection.execute(_SEQUENCES, {"run_ids": sorted(run_ids)}).all()
    return {row.run_id: SequenceLog(row.highest, set(json.loads(row.missing))) for row in rows}


def _put_sequences(connection: Connection, logs: Mapping[str, SequenceLog]) -> None:
    rows = [{"run_id": r, "highest": g.highest, "missing": json.dumps(sorted(g.missing))} for r, g in logs.items()]
    upsert(connection, _sequence, rows)


def _add_to_cells(connection: Connection, found: Mapping[CellKey, list[Counted]]) -> dict[Place, dict[CellKey, Cell]]:
    places = {(key.route, key.generation) for key in found}
    cells = {place: read_cells(connection, *place) for place in sorted(places)}
    rows = []
    for key, tallies in found.items():
        cell = cells[key.route, key.generation].setdefault(key, Cell())
        for counted in tallies:
            cell.add(counted)
        sums, times = cell.to_bytes()
        totals = {"n": cell.n, "total": cell.total, "total_sq": cell.total_sq}
        rows.append({**key._asdict(), **totals, "sums": sums, "times": times})
    upsert(connection, _cell, rows)
    return cells


def _extend_coverage(
    connection: Connection, arrivals: Mapping[CoverageKey, list[tuple[datetime, float]]]
) -> dict[Place, dict[str, Coverage]]:
    """Add to each arm's dwell the store time since its last data, but never more than its replica vouches for.

    A replica vouches for the time since its own last data, on its monotonic clock: a store clock that jumps gains
    nothing, and replicas that overlap are not counted twice.
    """
    rows = []
    known: dict[Place, dict[str, Coverage]] = {}
    for (route, generation, arm), moments in sorted(arrivals.items()):
        if (route, generation) not in known:
            known[route, generation] = read_coverage(connection, route, generation)
        before = known[route, generation].get(arm)
        dwell, last = (before.dwell_s, before.last_at) if before is not None else (0.0, None)
        for at, covered_s in moments:
            if last is not None:
                dwell += max(0.0, min((at - last).total_seconds(), covered_s))
            last = at
        assert last is not None
        known[route, generation][arm] = Coverage(dwell, last)
        rows.append({"route": route, "generation": generation, "arm": arm, "dwell_s": dwell, "last_at": to_text(last)})
    upsert(connection, _coverage, rows)
    return known


def _read_payload(text: str) -> tuple[list[tuple[CellKey, Counted]], list[tuple[CoverageKey, float]]]:
    payload = orjson.loads(text)
    if payload["v"] != PAYLOAD_VERSION:
        raise ValueError(f"a flush in form {payload['v']}, this release reads {PAYLOAD_VERSION}")
    tallies = []
    for route, generation, arm, input_type, metric, *tally in payload["cells"]:
        if arm not in ARMS:
            raise ValueError(f"unknown arm {arm!r}")
        key = CellKey(_word(route), int(generation), arm, _word(input_type), _word(metric))
        tallies.append((key, Counted.from_json(*tally)))
    covered = [((_word(r), int(g), _word(a)), max(0.0, float(s))) for r, g, a, s in payload["covered"]]
    return tallies, covered


def _word(value: object) -> str:
    """Return a name as any database keeps it; ValueError for one that holds NUL or half a surrogate pair."""
    word = str(value)[:_LONGEST_WORD]
    if b"\0" in word.encode():
        raise ValueError("a name holds NUL")
    return word
