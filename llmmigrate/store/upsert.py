"""Statements that insert or update, alike on SQLite and PostgreSQL; their text is made once per table and use.

They go to the driver as text, with rows as the driver takes them: for many small rows SQLAlchemy's own handling of
parameters takes longer than the database does. So a driver's parameters have to have names.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Dialect, Table

Row = dict[str, Any]
"""The values of all columns of a table, by name."""


def upsert(connection: Connection, table: Table, rows: list[Row], *, added: tuple[str, ...] = ()) -> None:
    """Insert rows; where the primary key is taken, replace the other columns, or add to those in `added`."""
    if rows:
        connection.exec_driver_sql(_replacing(connection.dialect, table, added), rows)


def insert_new(connection: Connection, table: Table, row: Row) -> None:
    """Insert a row, or leave the one alone that has its primary key."""
    connection.exec_driver_sql(_keeping(connection.dialect, table), row)


@lru_cache(maxsize=64)
def _replacing(dialect: Dialect, table: Table, added: tuple[str, ...]) -> str:
    statement = _insert(dialect, table)
    keys = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in keys]
    values = {
        name: table.c[name] + statement.excluded[name] if name in added else statement.excluded[name] for name in others
    }
    return str(statement.on_conflict_do_update(index_elements=keys, set_=values).compile(dialect=dialect))


@lru_cache(maxsize=64)
def _keeping(dialect: Dialect, table: Table) -> str:
    return str(_insert(dialect, table).on_conflict_do_nothing().compile(dialect=dialect))


def _insert(dialect: Dialect, table: Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect.name}").insert(
        table
    )  # the other one is slow to load, and not needed
