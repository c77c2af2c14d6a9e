"""The command that shows a route as it moves: watch."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.views import status_views
from llmmigrate.exceptions import RefusedError, TargetNotFound
from llmmigrate.overview import RouteOverview, overview, worst
from llmmigrate.units import parse_duration


def register(app: typer.Typer) -> None:
    app.command("watch")(exits(watch))


def watch(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    interval: Annotated[str, typer.Option("--interval", help="Time between looks.")] = "2s",
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show the status live, until nothing is under way any more.

    Into a pipe or a log it writes a line (or a JSON object) whenever something changes. It only looks; ^C ends it, and
    leaves the migration running.

    \b
    Example: llmmigrate watch support
    """
    run = project(context, format)
    try:
        seconds = parse_duration(interval)
    except ValueError as error:
        raise RefusedError(f"--interval: {error}") from error
    if seconds < 0.1:
        raise RefusedError("--interval must be at least 100ms")
    if run.format is Format.json or not run.out.is_terminal or run.quiet:
        return _lines(run, route, seconds)
    return _live(run, route, seconds)


def _look(run: Project, route: str | None) -> list[RouteOverview]:
    store = run.look()
    try:
        routes = [one for one in overview(run.graph_seen_from(store), store) if route in (None, one.state.route)]
    finally:
        store.close()
    if not routes:
        raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    return routes


def _ended(routes: list[RouteOverview]) -> bool:
    return not any(one.state.active for one in routes)


def _lines(run: Project, route: str | None, seconds: float) -> int:
    from llmmigrate.exposition import words

    last: dict[str, str] = {}
    while True:
        routes = _look(run, route)
        for one in routes:
            line = words(one)
            if last.get(one.state.route) != line:
                last[one.state.route] = line
                run.emit(one.to_json(), line=True)
                run.say(f"{one.state.route}: {line}")
        if _ended(routes):
            return int(worst(routes, head=False))
        time.sleep(seconds)


def _live(run: Project, route: str | None, seconds: float) -> int:
    from datetime import UTC, datetime

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=run.out, auto_refresh=False) as live:
        while True:
            routes = _look(run, route)
            views = status_views(routes, datetime.now(UTC), width=run.out.width)
            parts = [Text(view) if isinstance(view, str) else view for view in views]
            live.update(Group(*parts), refresh=True)
            if _ended(routes):
                return int(worst(routes, head=False))
            time.sleep(seconds)
