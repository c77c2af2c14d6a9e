"""Our own schema under Alembic: one line of versions for control, one for telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.sql import column, table

from llmmigrate.exceptions import SchemaMismatch

Side = Literal["control", "telemetry"]
HEADS: dict[Side, str] = {"control": "c001", "telemetry": "t001"}
"""The versions that this release works with; a test holds them to the scripts."""


def version_table(side: Side) -> str:
    """Name the table in which Alembic keeps a side's version."""
    return f"llmmigrate_schema_{side}"


def current(connection: Connection, side: Side) -> str | None:
    """Read a side's version, None where the schema was never made."""
    if not inspect(connection).has_table(version_table(side)):
        return None
    found = connection.execute(select(column("version_num")).select_from(table(version_table(side)))).scalar()
    return str(found) if found is not None else None


def create(connection: Connection, side: Side) -> None:
    """Bring an empty or older schema to this release's version, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / side).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table(side)
    command.upgrade(config, "head")


def verify(connection: Connection, side: Side) -> bool:
    """Tell whether the schema is there; raises SchemaMismatch where it is another release's."""
    try:
        found = current(connection, side)
    except (OperationalError, ProgrammingError) as error:
        raise SchemaMismatch(f"the {side} store cannot be read: {error.orig}") from error
    if found is None:
        return False
    if found != HEADS[side]:
        raise SchemaMismatch(
            f"the {side} store has schema {found}, this release works with {HEADS[side]}",
            hint="use the release that made it, or a store of its own: --db URL",
        )
    return True
