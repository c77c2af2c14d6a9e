"""Commands for the store itself: db upgrade, db current, db purge, ensure-version."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from llmmigrate.cli.context import Format, exits, project
from llmmigrate.exceptions import RefusedError
from llmmigrate.units import parse_duration

_Format = Annotated[Format | None, typer.Option("--format", help="How to print.")]


def register(app: typer.Typer) -> None:
    db = typer.Typer(help="The history store: its schema, and what may be dropped.", no_args_is_help=True)
    db.command("upgrade")(exits(upgrade))
    db.command("current")(exits(current))
    db.command("purge")(exits(purge))
    app.add_typer(db, name="db")
    app.command("ensure-version")(exits(ensure_version))


def upgrade(context: typer.Context, format: _Format = None) -> int:  # noqa: A002
    """Make the store's tables, or bring them to this release.

    \b
    Example: llmmigrate db upgrade
    """
    from llmmigrate.store import Store

    run = project(context, format)
    before, after = Store.upgrade(run.settings.database_url)
    run.emit({"before": before, "after": after})
    for side, version in after.items():
        words = f"is at {version}" if before[side] == version else f"{before[side] or 'new'} → {version}"
        run.say(f"{side}: {words}")
    return 0


def current(context: typer.Context, format: _Format = None) -> int:  # noqa: A002
    """Show the versions of the store's tables.

    \b
    Example: llmmigrate db current
    """
    from llmmigrate.store import Store

    run = project(context, format)
    versions = Store.versions(run.settings.database_url)
    run.emit({"versions": versions})
    for side, version in versions.items():
        run.say(f"{side}: {version or 'not made yet'}")
    return 0


def purge(
    context: typer.Context,
    before: Annotated[str, typer.Option("--before", help="How old, such as 90d.")] = "90d",
    format: _Format = None,  # noqa: A002
) -> int:
    """Drop old counters; history stays.

    \b
    Example: llmmigrate db purge --before 90d
    """
    run = project(context, format)
    try:
        age_s = parse_duration(before)
    except ValueError as error:
        raise RefusedError(f"--before: {error}") from error
    store = run.store()
    rows = store.telemetry.purge(before=store.now() - timedelta(seconds=age_s))
    run.emit({"rows": rows})
    run.say(f"Dropped {rows:,} rows older than {before}. History is never purged.")
    return 0


def ensure_version(context: typer.Context, format: _Format = None) -> int:  # noqa: A002
    """Make the store where there is none, and nothing else.

    \b
    Example: llmmigrate ensure-version
    """
    run = project(context, format)
    run.store(create=True).close()
    run.emit({"done": True})
    run.say("The store is there.")
    return 0
