"""One statement that inserts or updates, alike on SQLite and PostgreSQL; built once per table and use."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql.base import Executable


@lru_cache(maxsize=64)
def upsert(dialect: str, table: Table, added: tuple[str, ...] = ()) -> Executable:
    """Return an insert that, where the primary key is taken, replaces the other columns, or adds to those in `added`.

    Its parameters are the columns by name; it runs for one row or for many.
    """
    statement = _insert(dialect, table)
    keys = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in keys]
    values = {
        name: table.c[name] + statement.excluded[name] if name in added else statement.excluded[name] for name in others
    }
    made: Executable = statement.on_conflict_do_update(index_elements=keys, set_=values)
    return made


@lru_cache(maxsize=64)
def insert_new(dialect: str, table: Table) -> Executable:
    """Return an insert that leaves a row alone whose primary key is taken; its parameters are the columns by name."""
    made: Executable = _insert(dialect, table).on_conflict_do_nothing()
    return made


def _insert(dialect: str, table: Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(
        table
    )  # the other one is slow to load, and not needed
