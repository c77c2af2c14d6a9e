"""The command that explains: explain."""

from __future__ import annotations

from typing import Annotated

import typer

from llmmigrate.cli.context import Format, exits, project
from llmmigrate.cli.render import RANGE_NOTE, ago
from llmmigrate.exceptions import ExitCode, TargetNotFound
from llmmigrate.explanation import Explanation, MetricExplanation, about, explain
from llmmigrate.verdict import worded


def register(app: typer.Typer) -> None:
    app.command("explain")(exits(explain_route))


def explain_route(
    context: typer.Context,
    route: Annotated[str | None, typer.Argument(help="The route; with one, it may be left out.")] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Say why the last verdict is what it is, rule by rule.

    As the controller saw it; of an attempt that ended, by the evidence in history. Writes nothing.

    \b
    Example: llmmigrate explain support
    """
    run = project(context, format)
    store = run.look()
    name = run.route(store, route)
    told = explain(store, name)
    if told.state.version == 0:
        raise TargetNotFound(f"nothing has happened on route {name} yet", hint=f"llmmigrate upgrade {name}")
    now = store.now()
    run.emit(told.to_json())
    state = told.state
    run.say(f"{name} {state.revision or ''}  {told.phase or '–'}  {state.status}  (attempt {state.attempt})")
    if told.at is None:
        run.say("  Nobody has looked at it yet. Next: llmmigrate run")
    else:
        run.say(f"  {_head(told)}, {ago(told.at, now)} ago")
    if told.reason is not None:
        run.say(f"  {told.reason}")
    if told.at is not None and not told.metrics:
        run.say("  No figures were decided on.")
    for metric in told.metrics:
        run.say()
        for line in _lines(metric, None if told.event is not None else about(metric, now)):
            run.say(f"  {line}")
    if told.metrics:
        run.say()
        run.say(f"  {RANGE_NOTE}")
    for reason in told.waiting_for:
        run.say(f"  waits for: {reason['detail']}")
    return int(ExitCode.DONE)


def _head(told: Explanation) -> str:
    if told.event is not None:
        return told.event.replace("_", " ").capitalize()
    return f"The gate's verdict is {told.verdict}"


def _lines(metric: MetricExplanation, when: str | None) -> list[str]:
    own = metric.verdict
    unit = own["unit"]
    limit = worded(own["limit"], unit)
    lines = [f"{own['title']}: {own['verdict']}   ({own['rule']}, limit {limit})"]
    if own["estimate"] is not None and own["interval"] is not None:
        low, high = (worded(end, unit) for end in own["interval"])
        counts = f"{own['n_candidate']:,} requests of the candidate, {own['n_control']:,} of control"
        lines.append(f"  {worded(own['estimate'], unit)} [{low}, {high}], over {counts}")
    lines.append(f"  {metric.why}")
    if metric.meaning is not None:
        lines.append(f"  {metric.meaning[0].upper()}{metric.meaning[1:]}")
    if when is not None:
        lines.append(f"  Decided {when}, if requests go on coming as they did.")
    return lines
