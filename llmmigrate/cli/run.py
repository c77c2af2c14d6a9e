"""The command that moves a route up: upgrade."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import TARGETS, Format, MaybeTarget, Project, exits, project, set_from_handler, steps
from llmmigrate.cli.render import after_failed_suite, state_line
from llmmigrate.exceptions import (
    DocumentError,
    ExitCode,
    LlmmigrateError,
    RefusedError,
    StoreMissing,
    TargetNotFound,
)
from llmmigrate.units import parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmmigrate.cli.testing import Trial
    from llmmigrate.lifecycle import RouteState, Transition
    from llmmigrate.runner import UpgradeResult
    from llmmigrate.store import Store

_CONNECT = """\
Connect your application:
  from llmmigrate import AsyncRouter, Usage     # or Router, for threads
  router = AsyncRouter()
  answer = await router.acompletion(route="{route}", messages=messages, unit=conversation_id)
or keep your own client:
  d = router.assign("{route}", unit=conversation_id)     # then call d.model with d.params
  router.observe(d, usage=Usage(prompt_tokens, completion_tokens), latency_s=seconds)     # or error_class="timeout"
  # where d.mirror is set, call d.mirror.model too, out of the user's way, and observe(d.mirror, …)"""


def register(app: typer.Typer) -> None:
    app.command("upgrade", context_settings=TARGETS)(exits(upgrade))


def upgrade(
    context: typer.Context,
    target: MaybeTarget = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="STAGE", help="No further than a stage, such as canary:5.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen next, and write nothing.")] = False,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--no-wait", help="Stay until it is reached, paused or rolled back. A terminal waits."),
    ] = None,
    interval: Annotated[str, typer.Option("--interval", help="Time between looks while waiting.")] = "10s",
    retry: Annotated[bool, typer.Option("--retry", help="Begin a new attempt of what was rolled back.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Serve users although no llmmigrate run is alive.")
    ] = False,
    accept_risk: Annotated[
        str | None, typer.Option("--accept-risk", metavar="METRIC", help="Let a metric hold this attempt no more.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; wanted by the three above.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing on a terminal, and run the regression suite where it is due.")
    ] = False,
    lock_timeout: Annotated[
        str, typer.Option("--lock-timeout", metavar="TIME", help="How long to wait for another process.")
    ] = "30s",
    allow_hold: Annotated[bool, typer.Option("--allow-hold", help="Exit 0, not 3, where it only waits.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Advance a route as far as the evidence allows.

    Says what it waits for where it cannot go on. On a terminal it stays and shows that live; ^C leaves the migration
    running.

    Exit codes: 0 reached, 3 waits, 4 paused, 5 rolled back, 6 documents unfit.

    \b
    Example: llmmigrate upgrade support
    Example: llmmigrate upgrade support@+1 --to shadow
    Example: llmmigrate upgrade --retry --reason "max_tokens was too small"
    """
    run = project(context, format)
    if (retry or unattended or accept_risk) and not reason:
        raise RefusedError("a retry or an override is recorded with its reason", hint='add --reason "…"')
    seconds, busy_s = _seconds("--interval", interval), _seconds("--lock-timeout", lock_timeout)
    route, revision = _height(run, target)
    if dry_run:
        return _foretell(run, route, revision)
    if (unattended or accept_risk) and not yes and sys.stdin.isatty() and sys.stdout.isatty():
        what = "serve users while nobody is watching" if unattended else f"go on in spite of {accept_risk}"
        typer.confirm(f"Let {route} {what}?", abort=True, err=True)
    way = _Way(run, run.store(create=True, busy_s=busy_s), route, revision, to)
    result = way.advance(reason if retry else None)
    if way.waits_for_suite(result) and (yes or _can_be_asked(run)):
        trial = way.prepare_suite()
        question = f"Run the regression suite of {route} now? It calls both models."
        if yes or typer.confirm(question, err=True):
            result = way.run_suite(trial)
    if reason and result.last.state.status in ("running", "paused") and (unattended or accept_risk):
        result = way.override(reason, unattended=unattended, accept_risk=accept_risk)
    waits = wait if wait is not None else run.out.is_terminal and run.format is Format.table and not run.quiet
    if waits and result.exit_code is ExitCode.HOLD:
        result = way.wait(result, seconds)
    _print_upgrade(run, result, to)
    code = result.exit_code
    return int(ExitCode.DONE if code is ExitCode.HOLD and allow_hold else code)


def _can_be_asked(run: Project) -> bool:
    """Tell whether a person is there to say that the suite may be run, which costs calls."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not run.quiet and run.format is Format.table


def _seconds(option: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise RefusedError(f"{option}: {error}") from error
    if seconds <= 0:
        raise RefusedError(f"{option} must be above 0")
    return seconds


class _Way:
    """One route's way up: every look moves it as far as the evidence allows, and says what moved."""

    def __init__(self, run: Project, store: Store, route: str, revision: str, to: str | None) -> None:
        self._run = run
        self._store = store
        self._route = route
        self._revision = revision
        self._to = to
        self._transitions: list[tuple[RouteState, RouteState, Transition]] = []

    def advance(self, retry: str | None = None) -> UpgradeResult:
        """Move as far as possible now; the result has every transition since the beginning."""
        from llmmigrate import runner

        result = runner.upgrade(
            self._store,
            self._run.graph,
            self._route,
            self._revision,
            actor=self._run.actor,
            retry=retry,
            to=self._to,
            targets=self._run.targets,
            suites=self._run.suite_hash,
            on_transition=self._moved,
        )
        self._transitions += result.transitions
        result.transitions = list(self._transitions)
        return result

    def waits_for_suite(self, result: UpgradeResult) -> bool:
        """Tell whether the attempt waits for its regression suite, and was told to go beyond it."""
        state, wait = result.last.state, result.last.wait
        due = result.unfit is None and wait is not None and any(reason.about_suite for reason in wait.reasons)
        return due and state.status == "running" and state.phase == "regression" and self._to != "regression"

    def prepare_suite(self) -> Trial:
        """Read the attempt's suite, and say what it asks for and costs at most."""
        from llmmigrate.cli.testing import prepare
        from llmmigrate.runner.write import applied

        return prepare(self._run, self._store, applied(self._store.route(self._route)))

    def run_suite(self, trial: Trial) -> UpgradeResult:
        """Run the attempt's suite, keep what it shows, and move again."""
        from llmmigrate.cli.testing import run_and_keep

        run_and_keep(self._run, self._store, trial)
        return self.advance()

    def override(self, reason: str, *, unattended: bool, accept_risk: str | None) -> UpgradeResult:
        """Record what a person takes upon them, and move again."""
        from llmmigrate.runner import ask

        if unattended:
            ask.unattend(self._store, self._route, actor=self._run.actor, reason=reason)
        if accept_risk:
            ask.accept_risk(self._store, self._route, accept_risk, actor=self._run.actor, reason=reason)
        return self.advance()

    def wait(self, result: UpgradeResult, seconds: float) -> UpgradeResult:
        """Look again and again until there is no more to wait for; ^C ends the waiting, and nothing else."""
        with _interrupted() as enough, _live(self._run) as show:
            while result.exit_code is ExitCode.HOLD and not enough.is_set():
                show(self._scene(result))
                if not enough.wait(seconds):
                    result = self.advance()
        if enough.is_set():
            self._run.say(f"{self._route} goes on without you, as long as llmmigrate run is alive.")
        return result

    def _scene(self, result: UpgradeResult) -> Sequence[RenderableType]:
        from rich.text import Text

        from llmmigrate.cli.render import metric_table

        state, wait = result.last.state, result.last.wait
        lines: list[RenderableType] = [Text(f"Waiting at {state.phase}:   ^C leaves it running.")]
        lines += [Text(f"  {reason.detail}") for reason in (wait.reasons if wait is not None else ())]
        if result.last.verdicts:
            lines.append(metric_table([verdict.to_json() for verdict in result.last.verdicts], indent=2))
        return lines

    def _moved(self, before: RouteState, after: RouteState, why: Transition) -> None:
        self._run.say(state_line(before, after))
        self._run.say(f"  {why.reason}")
        if after.phase == "shadow" and after.status == "running":
            self._run.say(_CONNECT.format(route=self._route))


@contextmanager
def _interrupted() -> Iterator[Event]:
    """Give what the first ^C sets, in place of cutting off whatever is under way; a second one does that."""
    enough = Event()

    def first(*_: object) -> None:
        set_from_handler(enough)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield enough
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _live(run: Project) -> Iterator[Callable[[Sequence[RenderableType]], None]]:
    """Give a way to show a changing scene: on a terminal in place, elsewhere not at all."""
    if not run.out.is_terminal or run.quiet or run.format is not Format.table:
        yield lambda _scene: None
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=run.out, transient=True, auto_refresh=False) as live:
        yield lambda scene: live.update(Group(*scene), refresh=True)


def _foretell(run: Project, route: str, revision: str) -> int:
    """Say what an upgrade would do next; nothing is written, and no store is made."""
    from llmmigrate import runner
    from llmmigrate.lifecycle import Wait

    try:
        store = run.look()
    except StoreMissing:
        first = run.graph.after(route, None)
        assert first is not None
        runner.suite_hash(first, run.suite_hash)
        run.emit({"dry_run": True, "route": route, "revision": revision, "would": "start", "waiting_for": []})
        run.say(f"Would make the history store, and begin {route} {revision}.")
        return int(ExitCode.HOLD)
    found = runner.preview(store, run.graph, route, revision, suites=run.suite_hash)
    edited = runner.edited_document(run.graph, store.route(route))
    if edited is not None and isinstance(found, Wait):
        raise edited
    reasons = [reason.to_json() for reason in found.reasons] if isinstance(found, Wait) else []
    would = None if isinstance(found, Wait) else found.event
    run.emit({"dry_run": True, "route": route, "revision": revision, "would": would, "waiting_for": reasons})
    if isinstance(found, Wait):
        if found.verdict == "pass":
            run.say(f"{route} is there: nothing left to do.")
            return int(ExitCode.DONE)
        run.say("Would wait:")
        for reason in reasons:
            run.say(f"  {reason['detail']}")
    else:
        run.say(f"Would be {found.event.replace('_', ' ')}: {found.status} {found.phase or ''}  ({found.reason})")
    return int(ExitCode.HOLD)


def _height(run: Project, target: str | None) -> tuple[str, str]:
    """Return the route and the revision to move up to; where documents are at fault, look after all routes first."""
    if steps(target).startswith("-"):
        raise RefusedError(f"{target} leads down", hint=f'llmmigrate downgrade {target} --reason "…"')
    try:
        found = run.target(target)
    except (DocumentError, TargetNotFound) as error:
        _guard(run, error)
        raise
    if found.revision is None:
        raise RefusedError(
            "base is below every migration: there is nothing to upgrade to",
            hint=f'llmmigrate downgrade {found.route}@base --reason "…"',
        )
    return found.route, found.revision


def _guard(run: Project, error: LlmmigrateError) -> None:
    """Roll back what must be rolled back, although the documents cannot be read."""
    from llmmigrate import runner

    try:
        store = run.store()
    except StoreMissing:
        return
    for state in runner.guard(store, actor=run.actor, blocked=error.brief, targets=run.targets):
        if state.status in ("rolling_back", "rolled_back"):
            run.err.print(f"{state.route}: {state.status} (its triggers need no document on disk)")


def _print_upgrade(run: Project, result: UpgradeResult, to: str | None) -> None:
    state, wait = result.last.state, result.last.wait
    reasons = [reason.to_json() for reason in wait.reasons] if wait is not None else []
    run.emit(
        {
            "route": state.route,
            "revision": state.revision,
            "status": state.status,
            "phase": state.phase,
            "generation": state.generation,
            "reached": result.reached,
            "exit_code": int(result.exit_code),
            "transitions": [
                {"event": why.event, "from": before.phase, "to": after.phase, "reason": why.reason}
                for before, after, why in result.transitions
            ],
            "waiting_for": reasons,
            **({"error": result.unfit.as_dict()} if result.unfit is not None else {}),
        }
    )
    if result.reached and to is not None and state.active:
        where = "as asked" if state.phase == to else f"past {to}"
        run.say(f"{state.route} {state.revision} is at {state.phase}, {where}.")
    elif result.reached:
        run.say(f"{state.route} is at {state.completed_revision}: nothing left to do.")
    elif state.status == "rolled_back":
        run.say(f"{state.route} {state.revision}: rolled back; all traffic is on control.")
        run.say(f"Next: llmmigrate history {state.route}")
        run.say('  or, to try again: llmmigrate upgrade --retry --reason "…"')
    elif state.status == "rolling_back":
        run.say(f"{state.route} {state.revision}: rolling back; {reasons[0]['detail'] if reasons else ''}")
        run.say(f"Next: llmmigrate upgrade {state.route}   (finishes it)")
    elif result.draining:
        run.say(f"{state.route} {state.revision}: {reasons[0]['detail'] if reasons else 'draining'}")
        run.say(f"  until {reasons[0]['until'] if reasons else 'its time is over'}")
        run.say(f'Next: llmmigrate run, or at once: llmmigrate downgrade {state.route} --reason "…"')
    elif state.status == "paused":
        run.say(f"{state.route} {state.revision}: paused at {state.phase}; it goes on serving its share.")
        run.say(f'Next: llmmigrate status, then llmmigrate resume {state.route} --reason "…"')
        run.say(f'  or, to go back: llmmigrate downgrade {state.route} --reason "…"')
    else:
        _print_waiting(run, result)
    if result.unfit is not None:
        run.complain(result.unfit)


def _print_waiting(run: Project, result: UpgradeResult) -> None:
    """Say what an attempt waits for, and what keeps it moving, or what a person would do."""
    state, wait = result.last.state, result.last.wait
    assert wait is not None
    run.say(f"Waiting at {state.phase}:")
    for reason in wait.reasons:
        run.say(f"  {reason.detail}")
    if result.unfit is not None:
        return
    if wait.verdict == "fail":
        for line in after_failed_suite(state):
            run.say(line)
    else:
        run.say("Keep it moving: llmmigrate run        (or llmmigrate run --once from cron, each minute)")
