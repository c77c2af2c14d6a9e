"""What `status` and `watch` show of routes, as lines and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from llmmigrate.cli.render import RANGE_NOTE, after_failed_suite, ago, figures_table, metric_table, share
from llmmigrate.clock import to_text
from llmmigrate.overview import RouteOverview

BEGIN = ("No routes yet.", 'Next: llmmigrate new -m "…" --route NAME --from MODEL --to MODEL')
"""What is said where there is nothing to show."""

_WIDE = 120
"""Columns from which on what a route waits for stands in its row, and not below."""


def status_views(routes: Sequence[RouteOverview], now: datetime, *, width: int) -> Iterator[str | Table]:
    """Yield the table of all routes, then what there is to say of each."""
    if not routes:
        yield from BEGIN
        return
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ROUTE", "REVISION", "PHASE", "SHARE", "STATUS", "SINCE", "VERDICT", *(["WAITING FOR"] * wide)):
        table.add_column(column, overflow="fold", no_wrap=column != "WAITING FOR")
    for route in routes:
        revision = route.state.revision or route.head or ""
        at_head = " (head)" if revision == route.head else ""
        cells = (
            route.state.route,
            f"{revision}{at_head}",
            route.state.phase or "–",
            share(route.to_json()),
            route.state.status,
            ago(route.state.since, now) if route.state.since is not None else "–",
            route.verdict or "–",
            *([_waiting(route)] * wide),
        )
        table.add_row(*map(Text, cells))
    yield table
    for route in routes:
        yield from _detail(route, now, wide=wide)


def loss_notes(*, lost_flushes: int | None, silent_replicas: int | None) -> Iterator[str]:
    """Yield what is missing from the figures; nothing where nothing is known to be."""
    if lost_flushes:
        yield f"{lost_flushes} flushes of routers never arrived: what they counted is missing from these figures."
    if silent_replicas:
        yield (
            f"{silent_replicas} routers were killed or are cut off from the store: what they counted since their last"
            " flush is missing from these figures."
        )


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
    if route.unfit is not None and not wide:
        notes.append(f"unfit: {route.unfit}")
    if state.status in ("rolling_back", "rolled_back"):
        notes.append(f"stands on {state.completed_revision or 'base'}, served by {route.control}")
    if route.last_reason is not None:
        notes.append(f"{_going(route)}: {route.last_reason}")
    shown = 1 if wide else 0
    notes += [f"waits for: {reason['detail']}" for reason in route.waiting_for[shown:]]
    if route.profile == "demo":
        notes.append("profile demo: lowered minimum counts, no evidence for real users")
    if state.version:
        notes.append(f"history: {state.version} {'row' if state.version == 1 else 'rows'}, head {state.head_hash[:12]}")
    if route.forsaken:
        notes.append("nobody is watching: routers serve control. Start llmmigrate run")
    notes += _losses(route.figures.get("candidate", {}))
    if state.accepted:
        notes.append(f"accepted by a person: {', '.join(state.accepted)}")
    if state.active and route.evaluated_at is not None:
        notes.append(f"evaluated {ago(route.evaluated_at, now)} ago")
    return notes


def _losses(candidate: dict[str, Any]) -> Iterator[str]:
    """Say what of the candidate's calls was not made, and why."""
    opened, dropped, over = (candidate.get(name, 0) for name in ("breaker_opened", "dropped", "over_budget"))
    if opened:
        yield f"routers stopped calling the failing candidate by themselves {opened} times"
    if dropped:
        yield f"{dropped:,} requests were not mirrored: too many mirrored calls were under way"
    if over:
        yield f"{over:,} requests were not mirrored: shadow.budget is spent"


def _going(route: RouteOverview) -> str:
    if route.draining_until is not None:
        return f"draining until {to_text(route.draining_until)}"
    return route.state.status.replace("_", " ")


def _detail(route: RouteOverview, now: datetime, *, wide: bool) -> Iterator[str | Table]:
    state = route.state
    notes = _notes(route, now, wide=wide)
    if notes or route.metrics or route.unfit_hint is not None:
        yield ""
        yield f"{state.route}: control {route.control or 'unknown'}, candidate {route.candidate or '–'}"
    for note in notes:
        yield f"  {note}"
    if route.metrics:
        yield metric_table(route.metrics, indent=2)
        yield f"  {RANGE_NOTE}"
    if any(arm["requests"] for arm in route.figures.values()):
        yield figures_table(route.figures, indent=2)
    following = _next(route)
    if route.unfit is None and state.status == "running" and route.verdict == "fail":
        yield from after_failed_suite(state)
    elif following is not None:
        yield f"Next: {following}"


def _next(route: RouteOverview) -> str | None:
    """Return what a person would do now, None where nothing is needed."""
    name, status = route.state.route, route.state.status
    if route.unfit_hint is not None:
        return route.unfit_hint
    if status == "rolled_back" and not route.state.acknowledged:
        return f'llmmigrate history {name}; then upgrade {name} --retry --reason "…", or ack {name} --reason "…"'
    if status == "rolling_back":
        return f"llmmigrate upgrade {name}   (it ends the rollback as soon as routers have confirmed)"
    if route.draining_until is not None:
        return f'nothing, or at once: llmmigrate downgrade {name} --reason "…"'
    if status == "paused":
        return f'llmmigrate resume {name} --reason "…", or llmmigrate downgrade {name} --reason "…"'
    return None
