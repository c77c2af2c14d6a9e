"""Engines that behave alike: explicit transactions, and on SQLite write-ahead logging and patience."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from llmmigrate.exceptions import StoreBusy, StoreError, StoreUnavailable

BUSY_S = 30.0
"""How long a writer waits for a lock that another holds before it gives up."""

_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A PostgreSQL server that falls silent is noticed in seconds, where libpq would wait for hours (libpq, 34.1.2)."""

_BUSY = ("database is locked", "lock timeout", "lock_timeout")
"""Words of SQLite and PostgreSQL for a lock that was waited for in vain."""


def parse_url(text: str) -> URL:
    """Read a database URL; raises StoreError that never repeats a password."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StoreError(
            "the database URL cannot be read",
            hint="write it such as sqlite:///llmmigrate.db or postgresql+psycopg://user@host/name",
        ) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"{url.get_backend_name()} is not supported: use SQLite or PostgreSQL")
    return url


def store_error(error: DBAPIError, doing: str) -> StoreError:
    """Return our error for a driver's: one line, and whether another try may succeed."""
    text = str(error.orig).strip().splitlines()[0] if error.orig is not None else type(error).__name__
    if any(words in text for words in _BUSY):
        return StoreBusy(
            f"the store cannot be {doing}: another process holds it ({text})",
            hint="the same again, or a longer --lock-timeout",
        )
    kind = StoreUnavailable if isinstance(error, (OperationalError, InterfaceError)) else StoreError
    local = "sqlite" in type(error.orig).__module__
    hint = "is there room, and may the file and its folder be written?" if local else "is the database running?"
    return kind(f"the store cannot be {doing}: {text}", hint=f"{hint} Is --db right?")


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite URL, None for a server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def telemetry_url(url: URL) -> URL:
    """Return where telemetry goes: beside the file on SQLite, into the same database elsewhere."""
    file = sqlite_file(url)
    if file is None:
        return url
    return url.set(database=str(file.with_name(f"{file.stem}.telemetry{file.suffix}")))


Sync = Literal["FULL", "NORMAL", "OFF"]
"""SQLite's `synchronous`: every commit is on disk, every checkpoint is, or nothing has to be."""


def connect(url: URL, *, sync: Sync, create: bool, busy_s: float = BUSY_S) -> Engine:
    """Make an engine; `sync` says what SQLite has to bring to disk and when (telemetry needs less than state).

    A lock that another holds is waited for `busy_s` seconds.

    `create` lets SQLite make the file and switch it to write-ahead logging; without it a file that is not there is an
    error, and stays so.
    """
    try:
        if sqlite_file(url) is None:
            patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
            options = {"options": f"-c lock_timeout={round(busy_s * 1000)}"}
            return create_engine(url, pool_pre_ping=True, connect_args=patience | options)
        address = f"file:{quote(str(sqlite_file(url)))}?mode={'rwc' if create else 'rw'}"
        engine = create_engine(
            "sqlite://",
            paramstyle="named",
            poolclass=QueuePool,
            creator=lambda: sqlite3.connect(address, uri=True, timeout=busy_s, check_same_thread=False),
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"the driver for {url.drivername} is not installed", hint="pip install 'llmmigrate[postgres]'"
        ) from error

    def opened(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        if create:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {sync}")
        cursor.close()

    def begun(connection: Any) -> None:
        begin = "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN DEFERRED"
        try:  # straight to the driver: SQLAlchemy's own way takes as long again as the statement
            connection.connection.dbapi_connection.execute(begin)
        except sqlite3.Error as error:
            raise DBAPIError.instance(begin, None, error, sqlite3.Error) from error

    event.listen(engine, "connect", opened)
    event.listen(engine, "begin", begun)
    return engine
