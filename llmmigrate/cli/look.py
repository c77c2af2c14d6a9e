"""Commands that only look: status, history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.render import RANGE_NOTE, ago, metric_table, share
from llmmigrate.clock import from_text
from llmmigrate.exceptions import ExitCode, StoreError, StoreMissing, TargetNotFound
from llmmigrate.overview import RouteOverview, overview, worst
from llmmigrate.store import Store

_WIDE = 120
"""Columns from which on what a route waits for stands in its row, and not below."""


class Check(StrEnum):
    """What `status --check` asks."""

    head = "head"
    healthy = "healthy"


def register(app: typer.Typer) -> None:
    app.command("status")(exits(status))
    app.command("history")(exits(history))


def status(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    check: Annotated[Check | None, typer.Option("--check", help="Exit 3, 4, 5, 6 where it is not so.")] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show where every route stands, and why.

    \b
    Example: llmmigrate status --check healthy --format json
    """
    run = project(context, format)
    store = _store(run)
    routes = overview(run.graph, store)
    if route is not None:
        routes = [one for one in routes if one.state.route == route]
        if not routes:
            raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    code = int(worst(routes, head=check is Check.head)) if check is not None else 0
    if check is not None and store is None:
        run.err.print("error: there is no history store, so nothing can be healthy", markup=False)
        run.err.print("hint: is --db right? llmmigrate upgrade makes one", markup=False)
        code = 1
    run.emit(
        {
            "healthy": store is not None and all(one.healthy for one in routes),
            "store": store is not None,
            "lost_flushes": _lost(store),
            "routes": [one.to_json() for one in routes],
        }
    )
    _print_status(run, routes, store.now() if store is not None else datetime.now(UTC))
    return code


def _store(run: Project) -> Store | None:
    try:
        return run.look()
    except StoreMissing:
        return None


def _lost(store: Store | None) -> int | None:
    """Return the flushes known to be lost, None where telemetry is away."""
    try:
        return store.telemetry.lost_flushes() if store is not None else 0
    except StoreError:
        return None


def _print_status(run: Project, routes: list[RouteOverview], now: datetime) -> None:
    if not routes:
        run.say("No routes yet.")
        run.say('Next: llmmigrate new -m "…" --route NAME --from MODEL --to MODEL')
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    wide = run.out.width >= _WIDE
    for column in ("ROUTE", "REVISION", "PHASE", "SHARE", "STATUS", "SINCE", "VERDICT", *(["WAITING FOR"] * wide)):
        table.add_column(column, overflow="fold", no_wrap=column != "WAITING FOR")
    for route in routes:
        data = route.to_json()
        revision = route.state.revision or route.head or ""
        at_head = " (head)" if revision == route.head else ""
        table.add_row(
            route.state.route,
            f"{revision}{at_head}",
            route.state.phase or "–",
            share(data),
            route.state.status,
            ago(route.state.since, now) if route.state.since is not None else "–",
            route.verdict or "–",
            *([_waiting(route)] * wide),
        )
    run.show(table)
    for route in routes:
        _print_detail(run, route, now, wide=wide)


def _waiting(route: RouteOverview) -> str:
    if route.unfit is not None:
        return route.unfit
    if route.waiting_for:
        more = f" (+{len(route.waiting_for) - 1} more)" if len(route.waiting_for) > 1 else ""
        return f"{route.waiting_for[0]['detail']}{more}"
    return "upgrade" if route.state.status in ("pending", "running") else "–"


def _notes(route: RouteOverview, now: datetime, *, wide: bool) -> list[str]:
    state = route.state
    notes = []
    if route.last_reason is not None:
        notes.append(f"{state.status.replace('_', ' ')}: {route.last_reason}")
    shown = 1 if wide else 0
    notes += [f"waits for: {reason['detail']}" for reason in route.waiting_for[shown:]]
    if route.profile == "demo":
        notes.append("profile demo: lowered minimum counts, no evidence for real users")
    if state.version:
        notes.append(f"history: {state.version} rows, head {state.head_hash[:12]}")
    if route.forsaken:
        notes.append("nobody is watching: routers serve control. Start llmmigrate run")
    if state.accepted:
        notes.append(f"accepted by a person: {', '.join(state.accepted)}")
    if state.active and route.evaluated_at is not None:
        notes.append(f"evaluated {ago(route.evaluated_at, now)} ago")
    return notes


def _print_detail(run: Project, route: RouteOverview, now: datetime, *, wide: bool) -> None:
    state = route.state
    notes = _notes(route, now, wide=wide)
    if notes or route.metrics:
        run.say()
        run.say(f"{state.route}: control {route.control}, candidate {route.candidate or '–'}")
    for note in notes:
        run.say(f"  {note}")
    if route.metrics:
        run.show(metric_table(route.metrics, indent=2))
        run.say(f"  {RANGE_NOTE}")
    if state.status == "rolled_back":
        run.say(f'Next: llmmigrate history {state.route}, or upgrade {state.route} --retry --reason "…"')
    elif state.status == "rolling_back":
        run.say(f"Next: llmmigrate upgrade {state.route}   (it ends the rollback as soon as routers have confirmed)")
    elif state.status == "paused":
        run.say(f'Next: llmmigrate resume {state.route} --reason "…", or downgrade if it must go back')


def history(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="One route only.")] = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="Also the figures each decision was taken on.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check the hash chain; exit 1 where it is broken.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Show what happened, when, by whom and why.

    \b
    Example: llmmigrate history support --evidence
    """
    run = project(context, format)
    store = _store(run)
    if verify:
        return _verify(run, route)
    rows = store.history(route) if store is not None else []
    if route is not None and not rows and route not in run.graph.routes:
        raise TargetNotFound(f"no route {route!r}", hint="llmmigrate status")
    run.emit({"history": [_with_evidence(row) for row in rows]})
    print_history(run, rows, evidence=evidence)
    return 0


def _verify(run: Project, route: str | None) -> int:
    store = run.look()
    faults = store.verify(route)
    heads = {s.route: (s.version, s.head_hash) for s in store.routes() if route in (None, s.route)}
    run.emit({"verified": not faults, "faults": faults, "heads": {name: head for name, (_, head) in heads.items()}})
    for name, (version, head) in heads.items():
        if not any(fault.startswith(f"{name}: ") for fault in faults):
            run.say(f"{name}: {version} rows, unbroken; head {head}")
    for fault in faults:
        run.err.print(f"error: {fault}", markup=False)
    return int(ExitCode.ERROR if faults else ExitCode.DONE)


def _with_evidence(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "evidence": json.loads(row["evidence"]) if row["evidence"] else None}


def print_history(run: Project, rows: list[dict[str, Any]], *, evidence: bool) -> None:
    """Print history rows, oldest first: what changed and by whom, then why."""
    if not rows:
        run.say("No history yet.")
    for row in rows:
        start = row["from_phase"] if row["event"] != "started" else "pending"
        end = row["to_phase"] if row["to_status"] == "running" else row["to_status"]
        at = from_text(row["at"])
        run.say(
            f"{row['seq']:>3}  {at:%Y-%m-%d %H:%M}  {row['route']} {row['revision']}  {start} → {end}  {row['actor']}"
        )
        run.say(f"     {row['reason']}")
        if evidence and row["evidence"]:
            run.show(metric_table(json.loads(row["evidence"])["metrics"], indent=5))
