"""Figures and states as text for people; nothing here decides anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.table import Table

from llmmigrate.lifecycle import RouteState
from llmmigrate.units import format_duration, format_share
from llmmigrate.verdict import worded


def state_line(before: RouteState, after: RouteState) -> str:
    """Return one line for a transition: route, revision, from, to."""
    words = move(before, after)
    return f"{after.route} {after.revision}  {words}   (attempt {after.attempt}, generation {after.generation})"


def move(before: RouteState, after: RouteState) -> str:
    """Return from where to where a transition went."""
    start = before.phase if before.active and before.phase else "pending"
    return f"{start} → {after.phase if after.status == 'running' else after.status}"


def after_failed_suite(state: RouteState) -> tuple[str, ...]:
    """Return what a person would do about an attempt whose regression suite fails, line by line."""
    route, revision = state.route, state.revision
    return (
        f"Next: llmmigrate test {route} --html suite.html        (shows the cases; kept answers are not asked again)",
        f'  or change the target in the document: llmmigrate repair {revision} --reason "…", then upgrade again',
        f'  or give it up: llmmigrate downgrade {route} --reason "…"',
    )


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in one or two units."""
    return format_duration((now - then).total_seconds())


def share(route: dict[str, Any]) -> str:
    """Return what the candidate is served now."""
    return format_share(route["candidate_share"]) if route["candidate"] else "0%"


def metric_table(metrics: list[dict[str, Any]], *, indent: int = 0) -> Table:
    """Lay out the metrics of a verdict, one row a rule."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("metric", "verdict", "estimate", "range", "limit", "n candidate / control"):
        table.add_column(f"{' ' * indent}{column}" if column == "metric" else column, no_wrap=column[0] != "n")
    for metric in metrics:
        name, *cells = _metric_row(metric)
        table.add_row(f"{' ' * indent}{name}", *cells)
    return table


def figures_table(figures: dict[str, Any], *, indent: int = 0) -> Table:
    """Lay out what each arm looks like, one row an arm."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    columns = ("arm", "requests", "p50", "p95", "p99", "first token p50", "tokens", "cost", "errors")
    for column in columns:
        table.add_column(f"{' ' * indent}{column}" if column == "arm" else column, no_wrap=column != "errors")
    for name, arm in figures.items():
        times, first = arm["latency_s"] or {}, arm["first_token_s"] or {}
        errors = ", ".join(f"{count:,} {kind}" for kind, count in arm["errors"].items())
        table.add_row(
            f"{' ' * indent}{name}",
            f"{arm['requests']:,}",
            *(_time(times.get(q)) for q in ("p50", "p95", "p99")),
            _time(first.get("p50")),
            f"{arm['tokens_per_request']:,.0f}" if arm["tokens_per_request"] is not None else "–",
            f"${arm['cost_per_request']:.4g}" if arm["cost_per_request"] is not None else "–",
            errors or "–",
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _metric_row(metric: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    """Return one metric's cells: name, verdict, estimate, range, limit, counts."""
    unit, estimate, interval = metric["unit"], metric["estimate"], metric["interval"]
    return (
        metric["title"],
        metric["verdict"] if metric["need"] == "prove" or metric["verdict"] == "fail" else "watch",
        worded(estimate, unit) if estimate is not None else "–",
        f"[{worded(interval[0], unit)}, {worded(interval[1], unit)}]" if interval is not None else "–",
        worded(metric["limit"], unit),
        f"{metric['n_candidate']:,} / {metric['n_control']:,}",
    )


RANGE_NOTE = (
    "A range holds however often you look. A gate needs all of it inside the limit; "
    "a rollback needs a stricter one to be all past it."
)
