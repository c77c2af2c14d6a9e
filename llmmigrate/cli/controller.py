"""The command that keeps everything moving: run."""

from __future__ import annotations

import logging
import signal
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import Format, Project, exits, project, set_from_handler
from llmmigrate.cli.render import state_line
from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.lifecycle import RouteState, Transition
from llmmigrate.units import parse_duration

if TYPE_CHECKING:
    from llmmigrate.runner import RouteRound


def register(app: typer.Typer) -> None:
    app.command("run")(exits(run))


def run(
    context: typer.Context,
    interval: Annotated[str, typer.Option("--interval", help="Time between rounds, such as 60s.")] = "60s",
    once: Annotated[bool, typer.Option("--once", help="Do one round and end: for cron.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Look after all routes: advance them, and roll back by itself.

    While it lives, candidates may serve users; 15 minutes after its last sign of life routers are back on control. A
    second instance stands by and takes over. SIGTERM and ^C end it in order.

    \b
    Example: llmmigrate run
    Example: llmmigrate run --once        (each minute from cron)
    """
    from llmmigrate.document import load_readable
    from llmmigrate.graph import Graph
    from llmmigrate.runner import Controller

    tool = project(context, format)
    try:
        interval_s = parse_duration(interval)
    except ValueError as error:
        raise RefusedError(f"--interval: {error}") from error
    if not 0 < interval_s <= 300:
        raise RefusedError("--interval must be above 0 and at most 5m, or routers would lose their controller")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)

    def moved(before: RouteState, after: RouteState, why: Transition) -> None:
        tool.say(f"{state_line(before, after)}  {why.reason}")

    controller = Controller(
        tool.store(create=True),
        lambda: Graph(*load_readable(tool.settings.versions, root=tool.settings.root)),
        actor=f"{tool.actor} (run)",
        interval_s=interval_s,
        targets=tool.targets,
        suites=tool.suite_hash,
        on_transition=moved,
        on_lead=lambda leads: tool.say(
            f"Looking after all routes each {interval}. ^C ends it."
            if leads
            else "Another controller leads: standing by, to take over when it falls silent. ^C ends it."
        ),
    )
    if once:
        rounds = controller.once()
        _print_rounds(tool, rounds)
        return int(next((item.error.exit_code for item in rounds if item.error is not None), ExitCode.DONE))
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: set_from_handler(stop))
    controller.run(stop)
    tool.say("Ended in order.")
    return int(ExitCode.DONE)


def _print_rounds(tool: Project, rounds: list[RouteRound]) -> None:
    tool.emit(
        {
            "routes": [
                {
                    "route": item.route,
                    "status": item.tick.state.status if item.tick is not None else None,
                    "phase": item.tick.state.phase if item.tick is not None else None,
                    "error": item.error.as_dict() if item.error is not None else None,
                }
                for item in rounds
            ]
        }
    )
    for item in rounds:
        if item.tick is not None:
            tool.say(f"{item.route}: {item.tick.state.status} {item.tick.state.phase or ''}".rstrip())
        if item.error is not None:
            tool.err.print(f"error: {item.route}: {item.error.message}")
