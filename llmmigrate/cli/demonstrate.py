"""The command that shows it all: demo."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.look import print_history
from llmmigrate.cli.render import RANGE_NOTE, metric_table, state_line
from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.units import format_share

if TYPE_CHECKING:
    from llmmigrate.foresight.demo import Scene, Story

_FRAME_S = 0.1
_BAR = 40


def register(app: typer.Typer) -> None:
    app.command("demo")(exits(demo))


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="LLMMIGRATE_TEST_DATA", help="Folder with recorded answers and a request log."),
    ] = None,
    fast: Annotated[  # noqa: ARG001 (there is no other story yet)
        bool, typer.Option("--fast", help="The recorded story; this release has no other.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to put the project; a temporary folder by default.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Watch two migrations: one completes, one fails.

    No keys, no network: recorded answers, a virtual clock, and the real runner, store and gates.

    \b
    Example: llmmigrate demo
    """
    from llmmigrate.foresight import demo as story

    run = project(context, format)
    if data is not None and not data.is_dir():
        raise RefusedError(f"there is no folder {data}", hint="leave --data out: the demo brings its own")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="llmmigrate-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    watcher = _Live(run) if run.out.is_terminal and run.format is Format.table and not run.quiet else _Lines(run)
    with watcher:
        told = story.play(folder, data=data, watch=watcher)
    _print_end(run, told, time.monotonic() - began)
    return int(ExitCode.DONE)


class _Lines:
    """Print each transition as it happens: for logs and pipes."""

    def __init__(self, run: Project) -> None:
        self._run = run

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def __call__(self, scene: Scene) -> None:
        if scene.moved is not None:
            self._run.say(_moved(scene))


class _Live(_Lines):
    """Show where things are, many times a second, below the way so far."""

    def __init__(self, run: Project) -> None:
        super().__init__(run)
        self._live = Live(console=run.out, transient=True, auto_refresh=False)
        self._moves: list[str] = []
        self._drawn = 0.0

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._live.__exit__(*exc)

    def __call__(self, scene: Scene) -> None:
        if scene.moved is not None:
            self._moves.append(_moved(scene))
        now = time.monotonic()
        if now - self._drawn >= _FRAME_S:
            self._drawn = now
            self._live.update(Group(*map(Text, self._moves), _scene(scene)), refresh=True)


def _moved(scene: Scene) -> str:
    assert scene.moved is not None
    before, after, _ = scene.moved
    return f"{scene.at:%b %d %H:%M}  {state_line(before, after)}"


def _scene(scene: Scene) -> RenderableType:
    filled = round(scene.share * _BAR)
    bar = Text("█" * filled, style="cyan") + Text("░" * (_BAR - filled), style="dim")
    head = Text(f"{scene.at:%a %b %d, %H:%M}   {scene.requests:,} requests", style="bold")
    state = scene.state
    line = Text(f"{state.route}  {state.phase}  {state.status}   candidate {format_share(scene.share)}  ") + bar
    parts: list[RenderableType] = [Text(), head, line]
    if scene.verdicts:
        parts.append(metric_table([verdict.to_json() for verdict in scene.verdicts]))
    parts += [Text(f"waits for: {detail}", style="dim") for detail in scene.waits[:2]]
    return Group(*parts)


def _print_end(run: Project, told: Story, seconds: float) -> None:
    first, second = told.revisions
    rolled_back = next((row for row in told.history if row["event"] == "rolling_back"), None)
    run.emit(
        {
            "revisions": [first, second],
            "models": list(told.models),
            "history": told.history,
            "served_after_rollback": dict(told.served_after_rollback),
            "requests": told.requests,
            "seconds": round(seconds, 1),
            "folder": str(told.folder),
        }
    )
    for revision, title in ((first, "completed"), (second, "rolled back")):
        run.say()
        run.say(f"History of {revision}, {title}:")
        print_history(run, [row for row in told.history if row["revision"] == revision], evidence=False)
    if rolled_back is not None:
        _print_evidence(run, rolled_back)
    after = told.served_after_rollback
    failing = _users(told, second, "canary:25")
    run.say()
    run.say("Traffic after the rollback:")
    run.say(f"  {after.get(told.models[2], 0):,} requests answered by the candidate {told.models[2]}")
    run.say(f"  {after.get(told.models[1], 0):,} by control {told.models[1]}")
    run.say(
        f"While the candidate failed, {failing[1]} of {failing[0]:,} users' requests ended in an error: "
        "control answered where the candidate did not."
    )
    assert told.ended_at is not None
    assert told.started_at is not None
    days = (told.ended_at - told.started_at).days
    run.say()
    run.say(f"{days} days, {told.requests:,} requests, {seconds:.0f} s, on a virtual clock. Played with:")
    for line in told.described:
        run.say(f"  {line}")
    run.say("  profile demo: minimum counts are lowered (60 requests per arm, not 300)")
    run.say(f"Look around: cd {told.folder} && llmmigrate status")


def _users(told: Story, revision: str, phase: str) -> tuple[int, int]:
    counts = {model: count for (r, p, model), count in told.served.items() if (r, p) == (revision, phase)}
    return sum(counts.values()), counts.get("error", 0)


def _print_evidence(run: Project, row: dict[str, Any]) -> None:
    evidence = json.loads(row["evidence"])
    run.say()
    run.say(f"Evidence of the rollback at {evidence['phase']} (generation {evidence['generation']}):")
    run.show(metric_table(evidence["metrics"], indent=2))
    run.say(f"  {RANGE_NOTE}")
