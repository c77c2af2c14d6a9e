"""How a demonstration is watched: line by line in a pipe or a log, live below them on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from llmmigrate.cli.context import Format, Project
from llmmigrate.cli.render import metric_table, move
from llmmigrate.units import format_share

if TYPE_CHECKING:
    from llmmigrate.foresight.demo import Scene

_FRAME_S = 0.1
_BAR = 40


def watcher(run: Project, *, recorded: bool) -> Lines:
    """Return what shows the scenes of a run; what is `recorded` has days for seconds, and its reasons come later."""
    live = run.out.is_terminal and run.format is Format.table and not run.quiet
    return _Live(run, recorded=recorded) if live else Lines(run, recorded=recorded)


class Lines:
    """Print each transition as it happens."""

    def __init__(self, run: Project, *, recorded: bool) -> None:
        self._run = run
        self._recorded = recorded
        self._clock = "%b %d %H:%M" if recorded else "%H:%M:%S"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def __call__(self, scene: Scene) -> None:
        if scene.moved is None:
            return
        before, after, why = scene.moved
        self._run.say(f"{scene.at:{self._clock}}  {after.revision}  {move(before, after)}")
        if not self._recorded:
            for words in filter(None, (why.reason, scene.note)):
                self._run.say(f"          {words}")


class _Live(Lines):
    """Show where things are, many times a second, below the way so far."""

    def __init__(self, run: Project, *, recorded: bool) -> None:
        super().__init__(run, recorded=recorded)
        self._live = Live(console=run.out, transient=True, auto_refresh=False)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._live.__exit__(*exc)

    def __call__(self, scene: Scene) -> None:
        super().__call__(scene)
        now = time.monotonic()
        if now - self._drawn >= _FRAME_S:
            self._drawn = now
            self._live.update(_scene(scene, self._clock, self._run.out.width), refresh=True)


def _scene(scene: Scene, clock: str, width: int) -> RenderableType:
    state = scene.state
    words = f"{state.route}  {state.phase}  {state.status}   candidate {format_share(scene.share)}  "
    length = max(0, min(_BAR, width - len(words)))
    filled = round(scene.share * length)
    bar = Text("█" * filled, style="cyan") + Text("░" * (length - filled), style="dim")
    head = Text(f"{scene.at:{clock}}   {scene.requests:,} requests", style="bold")
    parts: list[RenderableType] = [Text(), head, Text(words) + bar]
    if scene.verdicts:
        parts.append(metric_table([verdict.to_json() for verdict in scene.verdicts]))
    parts += [Text(f"waits for: {detail}", style="dim") for detail in scene.waits[:2]]
    for asked, answer in scene.under_way:
        parts.append(Text(f"{asked}\n  {answer}", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)
