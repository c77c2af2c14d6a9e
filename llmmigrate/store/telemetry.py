"""Telemetry: flushes and samples come in, replicas and controllers report, verdicts and detectors are kept.

Flushes are folded into cells by `folding`, which routers and those who only look do not load.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from llmmigrate.clock import from_text, to_text
from llmmigrate.store import counters, tables
from llmmigrate.store.engine import store_error
from llmmigrate.store.upsert import insert_new, upsert

_log = logging.getLogger(__name__)

KEEP_REPLICAS = timedelta(days=1)

_HEARTBEAT = "heartbeat"
_LEASE_LOCK = 0x6C6D02
"""Name of the advisory lock that serialises takers of a free lease on PostgreSQL."""


_LEASE = select(tables.lease).where(tables.lease.c.name == bindparam("n"))
_DETECTORS = select(tables.detector).where(
    tables.detector.c.route == bindparam("r"), tables.detector.c.generation == bindparam("g")
)


@dataclass(frozen=True, slots=True)
class Replica:
    """A router process as it last reported: the generation that it serves per route, and until when it may."""

    run_id: str
    host: str
    pid: int
    seen_at: datetime
    lease_s: float
    generations: dict[str, int]

    @property
    def lease_until(self) -> datetime:
        """When this replica falls back to the safe arm unless it is heard of again."""
        return self.seen_at + timedelta(seconds=self.lease_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """The texts of one request and one answer to it, redacted; those of one request share their `pair`.

    `request`, `response` and `facts` are JSON; `unit` is a hash.
    """

    id: str
    route: str
    generation: int
    arm: str
    at: datetime
    pair: str
    unit: str
    input_type: str
    request: str
    response: str
    facts: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of a lease: who, the count of beats, and when (real time)."""

    holder: str
    beat: int
    at: datetime


class Telemetry:
    """The telemetry side of a store. Methods that take a connection belong to one tick's transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._for_writing = engine.execution_options(writes=True)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes."""
        with self._guard(), self._for_writing.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._guard(), self.engine.begin() as connection:
            yield connection

    @staticmethod
    @contextmanager
    def _guard() -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise store_error(error, "used for telemetry") from error

    def put_flush(self, run_id: str, seq: int, payload: str, *, at: datetime) -> None:
        """Add one flush of a replica; a repetition of one that still lies there is ignored."""
        row = {"run_id": run_id, "seq": seq, "at": to_text(at), "payload": payload}
        with self.writing() as connection:
            insert_new(connection, tables.flush, row)

    def put_samples(self, samples: Sequence[Sample]) -> None:
        """Add texts of sampled requests."""
        if samples:
            rows = [{**asdict(sample), "at": to_text(sample.at)} for sample in samples]
            with self.writing() as connection:
                connection.execute(insert(tables.sample), rows)

    def samples(self, route: str, *, limit: int = 1000) -> list[Sample]:
        """Return the latest samples of a route, the newest first."""
        table = tables.sample
        query = select(table).where(table.c.route == route).order_by(table.c.at.desc(), table.c.id).limit(limit)
        with self.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [Sample(**{**row, "at": from_text(row["at"])}) for row in rows]

    def report_replica(self, replica: Replica) -> None:
        """Note what a replica serves, as of its `seen_at`."""
        values = {
            "run_id": replica.run_id,
            "host": replica.host,
            "pid": replica.pid,
            "seen_at": to_text(replica.seen_at),
            "lease_s": replica.lease_s,
            "generations": json.dumps(replica.generations),
        }
        with self.writing() as connection:
            upsert(connection, tables.replica, [values])

    def forget_replica(self, run_id: str) -> None:
        """Remove a replica that has stopped in order."""
        with self.writing() as connection:
            connection.execute(delete(tables.replica).where(tables.replica.c.run_id == run_id))

    def replicas(self) -> list[Replica]:
        """Return all replicas that have reported and not said goodbye."""
        with self.reading() as connection:
            rows = connection.execute(select(tables.replica).order_by(tables.replica.c.run_id)).mappings().all()
        return [
            Replica(
                run_id=row["run_id"],
                host=row["host"],
                pid=row["pid"],
                seen_at=from_text(row["seen_at"]),
                lease_s=row["lease_s"],
                generations=json.loads(row["generations"]),
            )
            for row in rows
        ]

    def heartbeat(self, *, at: datetime) -> None:
        """Note that a controller is alive; `at` is real time."""
        values = {"name": _HEARTBEAT, "holder": "any", "beat": 1, "at": to_text(at)}
        with self.writing() as connection:
            upsert(connection, tables.lease, [values], added=("beat",))

    def last_heartbeat(self, connection: Connection | None = None) -> Beat | None:
        """Return the last sign of life of any controller, None where there never was one."""
        return self.lease(_HEARTBEAT, connection)

    def lease(self, name: str, connection: Connection | None = None) -> Beat | None:
        """Return who holds a lease and its last beat; read in a transaction of its own where none is given."""
        with nullcontext(connection) if connection is not None else self.reading() as used:
            row = used.execute(_LEASE, {"n": name}).first()
        return Beat(row.holder, row.beat, from_text(row.at)) if row is not None else None

    def hold_lease(self, name: str, holder: str, *, at: datetime, instead_of: Beat | None = None) -> bool:
        """Take a free lease, renew one's own, or take over the one whose last beat was `instead_of`; tell if held.

        Who takes over has seen that beat stand still for longer than the lease, on their own monotonic clock: no
        step of a wall clock can steal a lease.
        """
        table = tables.lease
        values = {"holder": holder, "at": to_text(at), "beat": table.c.beat + 1}
        mine = and_(table.c.name == name, table.c.holder == holder)
        with self.writing() as connection:
            if connection.execute(update(table).where(mine).values(values)).rowcount:
                return True
            if instead_of is not None:
                theirs = and_(
                    table.c.name == name, table.c.holder == instead_of.holder, table.c.beat == instead_of.beat
                )
                return connection.execute(update(table).where(theirs).values(values)).rowcount == 1
            counters.serialise(connection, _LEASE_LOCK)
            if connection.execute(select(table.c.name).where(table.c.name == name)).first() is not None:
                return False
            connection.execute(insert(table).values(name=name, **{**values, "beat": 1}))
            return True

    def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back, so that another may take it at once."""
        table = tables.lease
        with self.writing() as connection:
            connection.execute(delete(table).where(and_(table.c.name == name, table.c.holder == holder)))

    def lost_flushes(self) -> int:
        """Count flushes that never arrived although later ones of the same replica did."""
        with self.reading() as connection:
            rows = connection.execute(select(tables.sequence.c.missing)).scalars().all()
        return sum(len(json.loads(missing)) for missing in rows)

    def silent_replicas(self, now: datetime) -> int:
        """Count replicas of the last day that never signed off and whose lease has run out: killed, or cut off.

        What they counted since their last flush is missing from all figures, and no gap in their sequence shows it.
        """
        return sum(replica.lease_until <= now for replica in self.replicas())

    def detectors(self, connection: Connection, route: str, generation: int) -> dict[str, tuple[datetime, bytes]]:
        """Return by name when each detector of a generation was last moved, and its state."""
        rows = connection.execute(_DETECTORS, {"r": route, "g": generation}).all()
        return {row.rule: (from_text(row.at), row.state) for row in rows}

    def put_detectors(
        self, connection: Connection, route: str, generation: int, states: Mapping[str, bytes], *, at: datetime
    ) -> None:
        """Keep the states of detectors, by name."""
        same = {"route": route, "generation": generation, "at": to_text(at)}
        rows = [{**same, "rule": name, "state": state} for name, state in states.items()]
        upsert(connection, tables.detector, rows)

    def put_verdict(
        self, connection: Connection, route: str, generation: int, *, at: datetime, answer: str, body: Mapping[str, Any]
    ) -> None:
        """Keep a route's latest verdict, for those who only look."""
        values = {
            "route": route,
            "generation": generation,
            "at": to_text(at),
            "answer": answer,
            "body": orjson.dumps(body).decode(),
        }
        upsert(connection, tables.verdict, [values])

    def verdict(self, route: str, generation: int) -> dict[str, Any] | None:
        """Return the latest verdict of a route's generation, None where that generation has none yet."""
        table = tables.verdict
        query = select(table).where(and_(table.c.route == route, table.c.generation == generation))
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        return {"at": row["at"], "answer": row["answer"], **json.loads(row["body"])}

    def roll_up(self, *, now: datetime, real_now: datetime) -> None:
        """Turn minute counters older than two days into hourly ones; drop old hours, and replicas that are gone."""
        with self.writing() as connection:
            counters.roll_up(connection, now=now)
            gone = to_text(real_now - KEEP_REPLICAS)
            connection.execute(delete(tables.replica).where(tables.replica.c.seen_at < gone))
        self.purge(before=now - counters.KEEP_HOURS)

    def purge(self, *, before: datetime) -> int:
        """Drop counters, samples and answers to suites from before a time; return the number of rows.

        History is never touched.
        """
        with self.writing() as connection:
            old_counters = delete(tables.minute).where(tables.minute.c.start < to_text(before)[:16])
            old_samples = delete(tables.sample).where(tables.sample.c.at < to_text(before))
            old_answers = delete(tables.answer).where(tables.answer.c.at < to_text(before))
            return sum(connection.execute(old).rowcount for old in (old_counters, old_samples, old_answers))

    def counters(self, route: str) -> list[tuple[str, int, str, str, int, float]]:
        """Return a route's counters by time: (start, span in seconds, arm, metric, n, total)."""
        table = tables.minute
        columns = (table.c.start, table.c.span_s, table.c.arm, table.c.metric, table.c.n, table.c.total)
        query = select(*columns).where(table.c.route == route).order_by(*columns[:4])
        with self.reading() as connection:
            return [tuple(row) for row in connection.execute(query)]
