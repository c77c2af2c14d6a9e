"""The store: opening it, its clock, and the one write that every change of a route goes through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Engine, bindparam, func, insert, literal_column, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from llmmigrate import __version__
from llmmigrate.clock import Clock, from_text, to_text
from llmmigrate.exceptions import LostRace, SchemaMismatch, StoreError, StoreMissing
from llmmigrate.lifecycle.state import RouteState
from llmmigrate.store import schema, tables
from llmmigrate.store.chain import first_fault, row_hash
from llmmigrate.store.changes import Changes, announce
from llmmigrate.store.engine import BUSY_S, connect, parse_url, sqlite_file, store_error, telemetry_url
from llmmigrate.store.telemetry import Telemetry

_SCHEMA_LOCK = 0x6C6D00
"""Name of the advisory lock under which PostgreSQL's schema is made."""


_STATE = tuple(field.name for field in fields(RouteState))
_ROUTE = select(tables.route).where(tables.route.c.route == bindparam("r"))


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to enter a stage, bound to what they saw: document, generation and evidence."""

    stage: str
    groups: tuple[str, ...]
    evidence_hash: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one route, with what its history row says of it.

    `before` is the state that was read and decided on; `after` carries the new values (its version and head hash are
    set by the write). `document` is the text to keep with the row, given where an attempt starts.
    """

    before: RouteState
    after: RouteState
    event: str
    actor: str
    reason: str
    evidence: str | None = None
    document: str | None = None
    approval: Approval | None = None


class Store:
    """State, history and telemetry behind one URL."""

    def __init__(self, control: Engine, telemetry: Telemetry, clock: Clock | None) -> None:
        self._control = control
        self._for_writing = control.execution_options(writes=True)
        self.telemetry = telemetry
        self._clock = clock

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Clock | None = None,
        create: bool = False,
        busy_s: float = BUSY_S,
        lasting: bool = True,
    ) -> Store:
        """Open a store; with `create`, make its schema where there is none.

        `clock` replaces the database's clock, for simulations, whose store need not be `lasting`: a machine that fails
        may lose it. A lock that another holds is waited for `busy_s`
        seconds, then StoreBusy is raised. Raises StoreMissing without `create`, SchemaMismatch,
        StoreError.
        """
        store = cls._connect(url, clock=clock, create=create, busy_s=busy_s, lasting=lasting)
        with store.schema_sides() as sides:
            for connection, side in sides(writes=create):
                if schema.verify(connection, side):
                    continue
                if side == "telemetry" and not create:
                    raise SchemaMismatch("the telemetry store has no tables")
                if not create:
                    raise _missing(url)
                schema.create(connection, side)
        return store

    @classmethod
    def open_to_look(cls, url: str) -> Store:
        """Open a store and write nothing; telemetry is looked for only when it is asked.

        Raises StoreMissing, SchemaMismatch and StoreError for control.
        """
        store = cls._connect(url, clock=None, create=False)
        with store.schema_sides() as sides:
            for connection, side in sides(writes=False):
                if side == "control" and not schema.verify(connection, side):
                    raise _missing(url)
                break
        return store

    @classmethod
    def open_control(cls, url: str) -> tuple[Store, StoreError | None]:
        """Open a store even where its telemetry is lost or broken; return it with what is wrong there.

        State, history and rollback need only control: whatever asks telemetry then raises StoreError. A telemetry
        file that is gone is made anew. Raises StoreMissing, SchemaMismatch and StoreError for control.
        """
        cls.open_to_look(url).close()
        store = cls._connect(url, clock=None, create=False, mend=True)
        try:
            with store.telemetry.writing() as connection:
                if not schema.verify(connection, "telemetry"):
                    schema.create(connection, "telemetry")
        except (StoreError, DBAPIError) as error:
            fault = error if isinstance(error, StoreError) else store_error(error, "used for telemetry")
            return store, fault
        return store, None

    @classmethod
    def upgrade(cls, url: str) -> tuple[dict[schema.Side, str | None], dict[schema.Side, str | None]]:
        """Bring a store's schema to this release, making it where there is none; return the versions before and after.

        Raises StoreError.
        """
        before: dict[schema.Side, str | None] = {}
        store = cls._connect(url, clock=None, create=True)
        with store.schema_sides() as sides:
            for connection, side in sides(writes=True):
                before[side] = schema.current(connection, side)
                schema.create(connection, side)
        store.close()
        return before, cls.versions(url)

    @classmethod
    def versions(cls, url: str) -> dict[schema.Side, str | None]:
        """Return the versions of a store's schema; raises StoreMissing and StoreError, makes nothing."""
        store = cls._connect(url, clock=None, create=False)
        with store.schema_sides() as sides:
            found = {side: schema.current(connection, side) for connection, side in sides(writes=False)}
        store.close()
        return found

    @classmethod
    def _connect(
        cls,
        url: str,
        *,
        clock: Clock | None,
        create: bool,
        mend: bool = False,
        busy_s: float = BUSY_S,
        lasting: bool = True,
    ) -> Store:
        parsed = parse_url(url)
        file = sqlite_file(parsed)
        if file is not None and not file.exists() and not create:
            raise _missing(url)
        second = telemetry_url(parsed)
        control = connect(parsed, sync="FULL" if lasting else "OFF", create=create, busy_s=busy_s)
        if second == parsed:
            return cls(control, Telemetry(control), clock)
        engine = connect(second, sync="NORMAL" if lasting else "OFF", create=create or mend, busy_s=busy_s)
        return cls(control, Telemetry(engine), clock)

    @contextmanager
    def schema_sides(self) -> Iterator[Callable[..., Iterator[tuple[Connection, schema.Side]]]]:
        """Give a way through both sides, each in a transaction of its own; close everything where that fails."""

        def sides(*, writes: bool) -> Iterator[tuple[Connection, schema.Side]]:
            engines: tuple[tuple[Engine, schema.Side], ...] = (
                (self._control, "control"),
                (self.telemetry.engine, "telemetry"),
            )
            for engine, side in engines:
                with engine.execution_options(writes=writes).begin() as connection:
                    if writes and engine.dialect.name == "postgresql":
                        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
                    yield connection, side

        try:
            yield sides
        except DBAPIError as error:
            self.close()
            raise store_error(error, "reached") from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Give back all connections."""
        self._control.dispose()
        self.telemetry.close()

    def after_fork(self) -> None:
        """Forget, in a forked child, the connections that belong to its parent."""
        self._control.dispose(close=False)
        self.telemetry.engine.dispose(close=False)

    def changes(self) -> Changes | None:
        """Return what hears of routing changes at once; None on SQLite, where there is only the clock."""
        return Changes(self._control) if self._control.dialect.name == "postgresql" else None

    def now(self) -> datetime:
        """Return the store's time: the database's clock, or the virtual one."""
        return self._clock.now() if self._clock is not None else self.real_now()

    def real_now(self) -> datetime:
        """Return the database's clock, also under a virtual one: leases are about processes, in real time."""
        if self._control.dialect.name == "sqlite":
            return datetime.now(UTC)  # SQLite runs in this process: its clock is this machine's
        with self._reading() as connection:
            at = connection.execute(select(literal_column("clock_timestamp()", DateTime(timezone=True)))).scalar_one()
            return at.astimezone(UTC)

    def route(self, name: str) -> RouteState:
        """Return a route's state; a route never seen is pending at version 0."""
        with self._reading() as connection:
            row = connection.execute(_ROUTE, {"r": name}).mappings().first()
        return _state(row) if row is not None else RouteState(name)

    def routes(self) -> list[RouteState]:
        """Return the states of all routes that have one, by name."""
        with self._reading() as connection:
            rows = connection.execute(select(tables.route).order_by(tables.route.c.route)).mappings().all()
        return [_state(row) for row in rows]

    def generations(self) -> dict[str, tuple[int, bool]]:
        """Return per route the generation in force, and whether it may serve users unattended."""
        table = tables.route
        with self._reading() as connection:
            rows = connection.execute(select(table.c.route, table.c.generation, table.c.unattended)).all()
        return {str(row.route): (int(row.generation), bool(row.unattended)) for row in rows}

    def approved(self, state: RouteState, stage: str) -> frozenset[str]:
        """Return the groups that approved a stage of an attempt on its present document and generation."""
        table = tables.approval
        query = select(table.c.groups).where(
            table.c.route == state.route,
            table.c.attempt == state.attempt,
            table.c.revision == state.revision,
            table.c.generation == state.generation,
            table.c.document_hash == state.document_hash,
            table.c.stage == stage,
        )
        with self._reading() as connection:
            rows = connection.execute(query).scalars().all()
        return frozenset(group for groups in rows for group in json.loads(groups))

    def history(self, route: str | None = None) -> list[dict[str, Any]]:
        """Return history rows as they are stored, oldest first, of one route or of all.

        Rows of a route stay in their own order, also where the clock was set back between them.
        """
        table = tables.history
        query = select(table).order_by(table.c.route, table.c.seq)
        if route is not None:
            query = query.where(table.c.route == route)
        with self._reading() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        latest: dict[str, str] = {}
        for row in rows:
            latest[row["route"]] = row["_order"] = max(row["at"], latest.get(row["route"], ""))
        rows.sort(key=lambda row: (row["_order"], row["route"], row["seq"]))
        for row in rows:
            del row["_order"]
        return rows

    def applied_hashes(self) -> frozenset[str]:
        """Return the content hashes of all documents that were ever applied."""
        column = tables.history.c.document_hash
        with self._reading() as connection:
            return frozenset(connection.execute(select(column).where(column.is_not(None)).distinct()).scalars())

    def verify(self, route: str | None = None) -> list[str]:
        """Check the chain of every route's history; return what is wrong, the first fault of each route.

        A row that was altered, is missing or was added, and a state that is not that of the last row, are found.
        """
        states = {state.route: state for state in self.routes() if route in (None, state.route)}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in states}
        for row in self.history(route):
            rows.setdefault(row["route"], []).append(row)
        faults = [first_fault(name, found, states.get(name)) for name, found in sorted(rows.items())]
        return [fault for fault in faults if fault is not None]

    def write(self, change: Change, *, at: datetime) -> RouteState:
        """Write a change of state and its history row in one transaction, and return the new state.

        Raises LostRace, with nothing written, where the route is not at the version that was read.
        """
        before = change.before
        row = {
            "route": before.route,
            "seq": before.version + 1,
            "at": to_text(at),
            "actor": change.actor,
            "tool_version": __version__,
            "event": change.event,
            "revision": change.after.revision,
            "attempt": change.after.attempt,
            "from_status": before.status,
            "from_phase": before.phase,
            "to_status": change.after.status,
            "to_phase": change.after.phase,
            "generation": change.after.generation,
            "reason": change.reason,
            "document_hash": change.after.document_hash,
            "document": change.document,
            "evidence": change.evidence,
            "prev_hash": before.head_hash,
        }
        row["hash"] = row_hash(row)
        after = replace(change.after, version=before.version + 1, head_hash=str(row["hash"]))
        try:
            with self._writing() as connection:
                if not self._compare_and_set(connection, before, after):
                    raise LostRace(before.route, before.version)
                connection.execute(insert(tables.history).values(row))
                if after.generation != before.generation:
                    announce(connection, before.route)
                if change.approval is not None:
                    connection.execute(insert(tables.approval).values(_approval_row(row, change.approval)))
        except IntegrityError as error:
            raise LostRace(before.route, before.version) from error
        return after

    @staticmethod
    def _compare_and_set(connection: Connection, before: RouteState, after: RouteState) -> bool:
        values = {field.name: getattr(after, field.name) for field in fields(after)}
        values["since"] = to_text(after.since) if after.since is not None else None
        values["accepted"] = json.dumps(after.accepted)
        if before.version == 0:
            connection.execute(insert(tables.route).values(values))
            return True
        table = tables.route
        here = (table.c.route == before.route) & (table.c.version == before.version)
        return connection.execute(update(table).where(here).values(values)).rowcount == 1

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._control.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise store_error(error, "read") from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._for_writing.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise store_error(error, "written") from error


def _missing(url: str) -> StoreMissing:
    shown = make_url(url).render_as_string(hide_password=True)
    return StoreMissing(f"there is no history store at {shown}", hint="is --db right? llmmigrate upgrade makes one")


def _state(row: Mapping[Any, Any]) -> RouteState:
    values = {name: row[name] for name in _STATE}
    values["since"] = from_text(values["since"]) if values["since"] else None
    values["accepted"] = tuple(json.loads(values["accepted"]))
    return RouteState(**values)


def _approval_row(row: Mapping[str, Any], approval: Approval) -> dict[str, Any]:
    same = ("route", "seq", "at", "actor", "revision", "attempt", "generation", "document_hash")
    return {
        **{name: row[name] for name in same},
        "stage": approval.stage,
        "groups": json.dumps(approval.groups),
        "evidence_hash": approval.evidence_hash,
    }
