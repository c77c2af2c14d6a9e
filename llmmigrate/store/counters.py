"""Counters by minute and by hour: how much there was of what, and when. No decision is taken on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, func, select

from llmmigrate.clock import to_text
from llmmigrate.store import tables
from llmmigrate.store.upsert import upsert

KEEP_MINUTES = timedelta(hours=48)
KEEP_HOURS = timedelta(days=90)

_FOLD_LOCK = 0x6C6D01
"""Name of the advisory lock that serialises folds on PostgreSQL."""

CounterKey = tuple[str, str, int, str, str]
"""Route, start, span in seconds, arm, metric."""

_minute = tables.minute
_OLD_MINUTES = (_minute.c.span_s == 60) & (_minute.c.start < bindparam("limit"))


def serialise(connection: Connection, lock: int = _FOLD_LOCK) -> None:
    """Let one transaction at a time go on from here; SQLite's writers are alone already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(lock)))


def add_counters(connection: Connection, counters: Mapping[CounterKey, list[float]]) -> None:
    """Add to the counters of a span of time."""
    rows = [
        {"route": route, "start": start, "span_s": span_s, "arm": arm, "metric": metric, "n": int(n), "total": total}
        for (route, start, span_s, arm, metric), (n, total) in sorted(counters.items())
    ]
    upsert(connection, _minute, rows, added=("n", "total"))


def roll_up(connection: Connection, *, now: datetime) -> None:
    """Turn minute counters older than two days into hourly ones."""
    serialise(connection)
    limit = {"limit": to_text(now - KEEP_MINUTES)[:13]}
    counters: dict[CounterKey, list[float]] = {}
    for row in connection.execute(select(_minute).where(_OLD_MINUTES), limit):
        counter = counters.setdefault((row.route, f"{row.start[:13]}:00", 3600, row.arm, row.metric), [0, 0.0])
        counter[0] += row.n
        counter[1] += row.total
    connection.execute(delete(_minute).where(_OLD_MINUTES), limit)
    add_counters(connection, counters)
