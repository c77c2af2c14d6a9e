"""Commands that only look: status, current, heads, history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.render import metric_table
from llmmigrate.cli.views import BEGIN, loss_notes, status_views
from llmmigrate.clock import from_text
from llmmigrate.exceptions import DocumentInvalid, ExitCode, RefusedError, StoreError, StoreMissing, TargetNotFound
from llmmigrate.head_files import head_file_faults
from llmmigrate.lifecycle import RouteState
from llmmigrate.overview import RouteOverview, overview, worst
from llmmigrate.store import Store
from llmmigrate.visible import visible


class StatusFormat(StrEnum):
    """How `status` prints: for people, or for another program."""

    table = "table"
    json = "json"
    github = "github"
    junit = "junit"
    prometheus = "prometheus"


class Check(StrEnum):
    """What `status --check` asks."""

    head = "head"
    healthy = "healthy"


def register(app: typer.Typer) -> None:
    app.command("status")(exits(status))
    app.command("current")(exits(current))
    app.command("heads")(exits(heads))
    app.command("history")(exits(history))


def status(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    check: Annotated[Check | None, typer.Option("--check", help="Exit 3, 4, 5, 6 where it is not so.")] = None,
    format: Annotated[StatusFormat | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show where every route stands, and why.

    Writes nothing, and makes no store. A range holds however often you look.

    \b
    Example: llmmigrate status
    Example: llmmigrate status --check healthy --format json
    Example: llmmigrate status --format prometheus > /var/lib/node_exporter/llmmigrate.prom
    """
    run = project(context, Format.json if format is StatusFormat.json else Format.table if format else None)
    store = _store(run)
    graph = run.graph_seen_from(store)
    routes = overview(graph, store)
    if route is not None:
        routes = [one for one in routes if one.state.route == route]
        if not routes:
            raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    unreadable = [*graph.unread, *(one for one in graph.faults if isinstance(one, DocumentInvalid))]
    unreadable = [one for one in unreadable if route in (None, one.route)]
    code = int(worst(routes, head=check is Check.head)) if check is not None else 0
    code = int(ExitCode.UNFIT) if unreadable else code
    if check is not None and store is None:
        run.err.print("error: there is no history store, so nothing can be healthy")
        run.err.print("hint: is --db right? llmmigrate upgrade makes one")
        code = 1
    losses = _losses(store)
    written = _written(routes, format)
    run.emit(
        {
            "healthy": store is not None and not unreadable and all(one.healthy for one in routes),
            "store": store is not None,
            **losses,
            "routes": [one.to_json() for one in routes],
            "unreadable": [one.as_dict() for one in unreadable],
        }
    )
    if written is not None:
        run.write(written)
    elif format in (None, StatusFormat.table):
        for view in status_views(routes, store.now() if store is not None else datetime.now(UTC), width=run.out.width):
            run.say(view) if isinstance(view, str) else run.show(view)
        for line in loss_notes(**losses):
            run.say(line)
        for fault in unreadable:
            run.complain(fault)
        if unreadable and any(one.state.active for one in routes):
            run.err.print('undo needs no document: llmmigrate downgrade ROUTE --reason "…"')
    return code


def _written(routes: list[RouteOverview], format: StatusFormat | None) -> str | None:  # noqa: A002
    """Return a report for another program, None where people or JSON readers are meant."""
    if format not in (StatusFormat.github, StatusFormat.junit, StatusFormat.prometheus):
        return None
    from llmmigrate import exposition

    return {
        StatusFormat.github: exposition.github,
        StatusFormat.junit: exposition.junit,
        StatusFormat.prometheus: exposition.prometheus,
    }[format](routes)


def _store(run: Project) -> Store | None:
    try:
        return run.look()
    except StoreMissing:
        return None


def _losses(store: Store | None) -> dict[str, int | None]:
    """Return the flushes known to be lost and the replicas that fell silent, None where telemetry is away."""
    try:
        flushes = store.telemetry.lost_flushes() if store is not None else 0
        replicas = store.telemetry.silent_replicas(store.real_now()) if store is not None else 0
    except StoreError:
        return {"lost_flushes": None, "silent_replicas": None}
    return {"lost_flushes": flushes, "silent_replicas": replicas}


def current(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show what every route stands on, and the attempt under way.

    \b
    Example: llmmigrate current
    """
    run = project(context, format)
    store = _store(run)
    graph = run.graph_seen_from(store)
    states = {state.route: state for state in store.routes()} if store is not None else {}
    names = _names({*graph.routes, *states}, route)
    routes = [_standing(run, states.get(name, RouteState(name))) for name in names]
    run.emit({"routes": routes})
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ROUTE", "STANDS ON", "UNDER WAY"):
        table.add_column(column, overflow="fold")
    for one in routes:
        attempt = one["attempt"]
        stands = f"{one['completed_revision'] or 'base'}{' (head)' * one['at_head']}"
        moving = f"{attempt['revision']} {attempt['phase']} {attempt['status']}" if attempt is not None else "–"
        table.add_row(one["route"], stands, moving)
    _show_or_begin(run, table)
    return 0


def _standing(run: Project, state: RouteState) -> dict[str, Any]:
    own = run.graph.heads(state.route)
    attempt = {"revision": state.revision, "attempt": state.attempt, "phase": state.phase, "status": state.status}
    return {
        "route": state.route,
        "completed_revision": state.completed_revision,
        "heads": own,
        "at_head": own == [state.completed_revision],
        "attempt": attempt if state.active else None,
    }


def heads(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show the newest document of every route; exit 6 where a route has several, or none.

    \b
    Example: llmmigrate heads
    """
    run = project(context, format)
    names = _names(set(run.graph_seen_from(_store(run)).routes), route)
    faults = [*run.graph.faults, *head_file_faults(run.graph, run.settings.heads)]
    faults = [fault for fault in faults if route is None or fault.route == route]
    found = {name: [_head(run, revision) for revision in run.graph.heads(name)] for name in names}
    run.emit(
        {
            "routes": [{"route": name, "heads": own} for name, own in found.items()],
            "faults": [fault.as_dict() for fault in faults],
        }
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ROUTE", "REVISION", "MESSAGE", "FILE"):
        table.add_column(column, overflow="fold")
    for name, own in found.items():
        mark = "(head)" if len(own) == 1 else f"(one of {len(own)} heads)"
        for head in own:
            table.add_row(name, f"{head['revision']} {mark}", Text(visible(head["message"])), head["file"])
    _show_or_begin(run, table)
    for fault in (*faults, *run.graph.unread):
        run.complain(fault)
    return int(ExitCode.UNFIT if faults or run.graph.unread else ExitCode.DONE)


def _head(run: Project, revision: str) -> dict[str, str]:
    document = run.graph.get(revision)
    assert document is not None
    return {"revision": revision, "message": str(document.value("message")), "file": document.name}


def _names(known: set[str], route: str | None) -> list[str]:
    if route is not None and route not in known:
        raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    return sorted(known) if route is None else [route]


def _show_or_begin(run: Project, table: Table) -> None:
    """Show a table of routes, or how to begin where there are none."""
    if table.row_count:
        run.show(table)
        return
    for line in BEGIN:
        run.say(line)


def history(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    between: Annotated[
        str | None, typer.Option("-r", "--rev-range", metavar="A:B", help="Only these revisions, such as base:3f9a.")
    ] = None,
    evidence: Annotated[
        bool, typer.Option("-v", "--evidence", help="Also the figures that each decision was taken on.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check the hash chain; exit 1 where it is broken.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show what happened, when, by whom and why.

    \b
    Example: llmmigrate history support -v
    Example: llmmigrate history -r 3f9a:head
    Example: llmmigrate history --verify
    """
    run = project(context, format)
    store = _store(run)
    if verify:
        return _verify(run, route)
    rows = store.history(route) if store is not None else []
    if route is not None and not rows and route not in run.graph.routes:
        raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    if between is not None:
        rows = _within(run, rows, between, route)
    run.emit({"history": [_with_evidence(row) for row in rows]})
    print_history(run, rows, evidence=evidence)
    return 0


def _within(run: Project, rows: list[dict[str, Any]], between: str, route: str | None) -> list[dict[str, Any]]:
    """Keep the rows of revisions from A to B, both included."""
    first, colon, last = between.partition(":")
    if not colon:
        raise RefusedError(f"{between!r} is no range", hint="write -r A:B, -r A: or -r :B")
    prefix = f"{route}@" if route is not None else ""
    low, high = (run.target(f"{prefix}{end}" if "@" not in end else end) for end in (first or "base", last or "head"))
    if low.route != high.route:
        raise RefusedError(f"{first} and {last} are of two routes: {low.route} and {high.route}")
    line = [document.revision for document in run.graph.line(low.route)]
    if low.revision is not None and (high.revision is None or line.index(low.revision) > line.index(high.revision)):
        raise RefusedError(f"{low.revision} is above {high.revision or 'base'}", hint="write the lower one first: A:B")
    start = line.index(low.revision) if low.revision is not None else 0
    wanted = line[start : line.index(high.revision) + 1] if high.revision is not None else []
    return [row for row in rows if row["route"] == low.route and row["revision"] in wanted]


def _verify(run: Project, route: str | None) -> int:
    store = run.look()
    faults = store.verify(route)
    heads = {s.route: (s.version, s.head_hash) for s in store.routes() if route in (None, s.route)}
    run.emit({"verified": not faults, "faults": faults, "heads": {name: head for name, (_, head) in heads.items()}})
    for name, (version, head) in heads.items():
        if not any(fault.startswith(f"{name}: ") for fault in faults):
            run.say(f"{name}: {version} rows, unbroken; head {head}")
    for fault in faults:
        run.err.print(f"error: {fault}")
    return int(ExitCode.ERROR if faults else ExitCode.DONE)


def _with_evidence(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "evidence": json.loads(row["evidence"]) if row["evidence"] else None}


def print_history(run: Project, rows: list[dict[str, Any]], *, evidence: bool) -> None:
    """Print history rows, oldest first: what changed and by whom, then why."""
    if not rows:
        run.say("No history yet.")
    for row in rows:
        start = row["from_phase"] if row["from_phase"] and row["event"] != "started" else row["from_status"]
        end = row["to_phase"] if row["to_status"] == "running" else row["to_status"]
        at = from_text(row["at"])
        run.say(
            f"{row['seq']:>3}  {at:%Y-%m-%d %H:%M}  {row['route']} {row['revision']}  {start} → {end}  {row['actor']}"
        )
        run.say(f"     {row['reason']}")
        metrics = json.loads(row["evidence"])["metrics"] if evidence and row["evidence"] else []
        if metrics:
            run.show(metric_table(metrics, indent=5))
