"""Hearing of a change at once: PostgreSQL tells whoever listens; on SQLite there is only the clock."""

from __future__ import annotations

import time
from typing import Any, Self

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

CHANNEL = "llmmigrate_route"


def announce(connection: Connection, route: str) -> None:
    """Tell who listens that a route's routing has changed, when and only when this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(CHANNEL, route)))


class Changes:
    """Waits for changes of any route, on a PostgreSQL connection of its own. For one thread, as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def wait(self, seconds: float) -> bool:
        """Return True at the next change, False after a time without one; a server that is away is waited out."""
        until = time.monotonic() + seconds
        try:
            for _ in self._listening().notifies(timeout=seconds, stop_after=1):
                return True
        except (DBAPIError, self._engine.dialect.loaded_dbapi.Error):
            self._close()
            time.sleep(max(0.0, until - time.monotonic()))
        return False

    def _listening(self) -> Any:
        """Return psycopg's connection, which is no longer the pool's: that would hand it on, still listening."""
        if self._connection is None:
            pooled = self._engine.raw_connection()
            self._connection = pooled.driver_connection
            pooled.detach()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
