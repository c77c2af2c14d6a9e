"""Commands that move routes: upgrade, downgrade."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.cli.render import state_line
from llmmigrate.exceptions import (
    DocumentError,
    ExitCode,
    LlmmigrateError,
    RefusedError,
    StoreError,
    StoreMissing,
    TargetNotFound,
)
from llmmigrate.lifecycle import RouteState, Transition

if TYPE_CHECKING:
    from llmmigrate.runner import DowngradeResult, UpgradeResult
    from llmmigrate.store import Store

_CONNECT = """\
Connect your application:
  from llmmigrate import Router, Usage
  router = Router()
  d = router.assign("{route}", unit=conversation_id)     # then call d.model with your own client
  router.observe(d, usage=Usage(prompt_tokens, completion_tokens))     # or error_class="timeout"
  # where d.mirror is set, call d.mirror.model too, out of the user's way, and observe(d.mirror, …)"""


def register(app: typer.Typer) -> None:
    app.command("upgrade")(exits(upgrade))
    # so that -1 is a plain argument, as with Alembic
    app.command("downgrade", context_settings={"ignore_unknown_options": True})(exits(downgrade))


def upgrade(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="A route, a revision (4 characters or more), ROUTE@head.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Begin a new attempt of what was rolled back.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Serve users although no llmmigrate run is alive.")
    ] = False,
    accept_risk: Annotated[
        str | None, typer.Option("--accept-risk", metavar="METRIC", help="Let a metric hold this attempt no more.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; wanted by the three above.")] = None,
    allow_hold: Annotated[bool, typer.Option("--allow-hold", help="Exit 0, not 3, where it only waits.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Advance a route as far as the evidence allows.

    Says what it waits for where it cannot go on.

    Exit codes: 0 reached, 3 waits, 4 paused, 5 rolled back, 6 documents unfit.

    \b
    Example: llmmigrate upgrade support
    """
    from llmmigrate import runner
    from llmmigrate.runner import ask

    run = project(context, format)
    if (retry or unattended or accept_risk) and not reason:
        raise RefusedError("a retry or an override is recorded with its reason", hint='add --reason "…"')
    try:
        route, revision = run.graph.resolve(target)
    except (DocumentError, TargetNotFound) as error:
        _guard(run, error)
        raise
    store = run.store(create=True)

    def moved(before: RouteState, after: RouteState, why: Transition) -> None:
        run.say(state_line(before, after))
        run.say(f"  {why.reason}")
        if after.phase == "shadow" and after.status == "running":
            run.say(_CONNECT.format(route=route))

    def advance(retry: str | None) -> runner.UpgradeResult:
        return runner.upgrade(
            store, run.graph, route, revision, actor=run.actor, retry=retry, targets=run.targets, on_transition=moved
        )

    result = advance(reason if retry else None)
    if reason and result.last.state.status in ("running", "paused") and (unattended or accept_risk):
        if unattended:
            ask.unattend(store, route, actor=run.actor, reason=reason)
        if accept_risk:
            ask.accept_risk(store, route, accept_risk, actor=run.actor, reason=reason)
        again = advance(None)
        again.transitions[:0] = result.transitions
        result = again
    _print_upgrade(run, result)
    code = result.exit_code
    return int(ExitCode.DONE if code is ExitCode.HOLD and allow_hold else code)


def _guard(run: Project, error: LlmmigrateError) -> None:
    """Roll back what must be rolled back, although the documents cannot be read."""
    from llmmigrate import runner

    try:
        store = run.store()
    except StoreMissing:
        return
    for state in runner.guard(store, actor=run.actor, blocked=error.message, targets=run.targets):
        if state.status in ("rolling_back", "rolled_back"):
            run.err.print(f"{state.route}: {state.status} (its triggers need no document on disk)", markup=False)


def _print_upgrade(run: Project, result: UpgradeResult) -> None:
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
            **({"error": result.edited.as_dict()} if result.edited is not None else {}),
        }
    )
    if result.reached:
        run.say(f"{state.route} is at {state.completed_revision}: nothing left to do.")
    elif state.status == "rolled_back":
        run.say(f"{state.route} {state.revision}: rolled back; all traffic is on control.")
        run.say(f"Next: llmmigrate history {state.route}")
        run.say('  or, to try again: llmmigrate upgrade --retry --reason "…"')
    elif state.status == "rolling_back":
        run.say(f"{state.route} {state.revision}: rolling back; {reasons[0]['detail'] if reasons else ''}")
        run.say(f"Next: llmmigrate upgrade {state.route}   (finishes it)")
    elif state.status == "paused":
        run.say(f"{state.route} {state.revision}: paused at {state.phase}; it goes on serving its share.")
        run.say(f'Next: llmmigrate status, then llmmigrate resume {state.route} --reason "…" or downgrade')
    else:
        run.say(f"Waiting at {state.phase}:")
        for reason in reasons:
            run.say(f"  {reason['detail']}")
        run.say("Keep it moving: llmmigrate run        (or llmmigrate run --once from cron, each minute)")
    if result.edited is not None:
        run.complain(result.edited)


def downgrade(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="A route, or -1, base or a revision to return to.", show_default=False)
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; asked for on a terminal.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="STAGE", help="Only back to an earlier stage, such as canary:5.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="REV", help="The completed revision that is to be undone.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Roll back a route: all traffic to control, now.

    Bare or with a route, the migration under way; works in every phase, needs no document and no model, and may be
    repeated. With -1, base or a revision, also what is completed already.

    \b
    Example: llmmigrate downgrade support --reason "answers are cut off"
    Example: llmmigrate downgrade -1 --expect 3f9a --reason "complaints"
    """
    from llmmigrate import runner
    from llmmigrate.runner import ask
    from llmmigrate.store import Store

    run = project(context, format)
    if not reason:
        if not sys.stdin.isatty():
            raise RefusedError("a rollback is recorded with its reason", hint='add --reason "…"')
        reason = str(typer.prompt("Reason", err=True))
    store, fault = Store.open_control(run.settings.database_url)
    route, onto = _landing(run, store, target)
    if to is not None:
        state = ask.step_back(store, route, to, actor=run.actor, reason=reason)
        run.emit({"route": route, "revision": state.revision, "status": state.status, "phase": state.phase})
        run.say(f"{route} {state.revision}: back at {state.phase} (generation {state.generation})")
        return int(ExitCode.DONE)
    with run.err.status("Waiting for routers to confirm control …") if run.err.is_terminal else nullcontext():
        result = runner.downgrade(
            store, route, actor=run.actor, reason=reason, blind=fault is not None, targets=run.targets
        )
        if onto is not None and not result.silent and _stands_above(run, result.state, onto.revision):
            expected = _expected(run, result.state, expect)
            result = runner.undo(
                store, route, onto.revision, expect=expected, actor=run.actor, reason=reason, targets=run.targets
            )
    return _print_downgrade(run, route, result, fault)


@dataclass(frozen=True, slots=True)
class _Onto:
    """Where a completed route is to land: a revision, or None for base."""

    revision: str | None


def _landing(run: Project, store: Store, target: str | None) -> tuple[str, _Onto | None]:
    """Return the route, and where it is to land; None where only an attempt under way is meant."""
    if target in ("-1", "base"):
        route = run.route(store, None)
        state = store.route(route)
        if target == "base":
            return route, _Onto(None)
        if state.active or state.completed_revision is None:
            return route, None
        document = run.graph.get(state.completed_revision)
        if document is None:
            raise TargetNotFound(f"the document of {state.completed_revision} is gone", hint="restore it")
        return route, _Onto(document.migration.down_revision)
    route = run.route(store, target)
    if target is None or target == route:
        return route, None
    return route, _Onto(run.graph.resolve(target)[1])


def _stands_above(run: Project, state: RouteState, onto: str | None) -> bool:
    """Tell whether a completed route is above where it shall land."""
    if state.completed_revision is None:
        return False
    line = [document.migration.revision for document in run.graph.line(state.route)]
    if onto is None:
        return True
    return state.completed_revision in line and line.index(onto) < line.index(state.completed_revision)


def _expected(run: Project, state: RouteState, expect: str | None) -> str:
    """Return the completed revision that a person means to undo: named, or confirmed on a terminal."""
    assert state.completed_revision is not None
    if expect is not None:
        return run.graph.resolve(expect)[1]
    if not sys.stdin.isatty():
        raise RefusedError(
            f"{state.route} stands completed on {state.completed_revision}: say that this is what you undo",
            hint=f"add --expect {state.completed_revision}",
        )
    typer.confirm(f"{state.route} stands completed on {state.completed_revision}. Undo it?", abort=True, err=True)
    return state.completed_revision


def _print_downgrade(run: Project, route: str, result: DowngradeResult, fault: StoreError | None) -> int:
    state = result.state
    run.emit(
        {
            "route": route,
            "revision": state.revision,
            "completed_revision": state.completed_revision,
            "status": state.status,
            "acted": result.acted,
            "generation": state.generation,
            "confirmed": result.confirmed,
            "expired": result.expired,
            "silent": result.silent,
        }
    )
    if not result.acted:
        run.say(f"{route}: nothing to roll back ({state.status}).")
        return int(ExitCode.DONE)
    run.say(f"{route} {state.revision} {state.status}: generation {state.generation} serves control only")
    if fault is not None:
        run.complain(fault)
        run.say("  Routing is switched, but no router can be heard. Those that live follow within 30 s.")
        run.say(f"  Next: mend the telemetry store, then llmmigrate upgrade {route}")
        return int(ExitCode.ERROR)
    run.say(f"  routers: {result.confirmed} confirmed, {result.expired} were silent and fell back by themselves")
    if state.status != "rolled_back":
        run.say(f"  {result.silent} have neither confirmed nor run out of time. Next: llmmigrate upgrade {route}")
        return int(ExitCode.ERROR)
    run.say(f"Next: llmmigrate history {route}")
    return int(ExitCode.DONE)
