"""The command that takes a route back: downgrade."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import TARGETS, Format, Project, exits, plain, project, steps
from llmmigrate.clock import to_text
from llmmigrate.exceptions import ExitCode, LlmmigrateError, RefusedError, StoreError
from llmmigrate.graph import SHORTEST
from llmmigrate.lifecycle import RouteState
from llmmigrate.units import format_share, parse_duration

if TYPE_CHECKING:
    from llmmigrate.runner import DowngradeResult
    from llmmigrate.store import Store


def register(app: typer.Typer) -> None:
    app.command("downgrade", context_settings=TARGETS)(exits(downgrade))


def downgrade(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="A route, or [ROUTE@] with -1, base or a revision to return to.",
            callback=plain,
            show_default=False,
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; asked for on a terminal.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="STAGE", help="Only back to an earlier stage, such as canary:5.")
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option("--drain", metavar="TIME", help="Let open conversations end first, for a time such as 30m."),
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="REV", help="The completed revision that is to be undone.")
    ] = None,
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="Although owners.rollback does not name you; on record.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and write nothing.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Roll back a route: all traffic to control, now.

    Bare or with a route, the migration under way; works in every phase, needs no document and no model, and may be
    repeated. With -1, base or a revision, also what is completed already.

    \b
    Example: llmmigrate downgrade support --reason "answers are cut off"
    Example: llmmigrate downgrade support --drain 30m --reason "planned"
    Example: llmmigrate downgrade -1 --expect 3f9a --reason "complaints"
    """
    from llmmigrate import runner
    from llmmigrate.runner import ask
    from llmmigrate.store import Store

    run = project(context, format)
    seconds = _seconds(drain, to, dry_run=dry_run)
    if dry_run:
        return _foretell(run, target, to)
    if not reason:
        if not sys.stdin.isatty():
            raise RefusedError("a rollback is recorded with its reason", hint='add --reason "…"')
        reason = str(typer.prompt("Reason", err=True))
    store, fault = Store.open_control(run.settings.database_url)
    run.keep(store)
    route, onto = _landing(run, store, target)
    reason = _allowed(run, store.route(route), reason, break_glass=break_glass)
    if to is not None:
        state = ask.step_back(store, route, to, actor=run.actor, reason=reason)
        run.emit({"route": route, "revision": state.revision, "status": state.status, "phase": state.phase})
        run.say(f"{route} {state.revision}: back at {state.phase} (generation {state.generation})")
        return int(ExitCode.DONE)
    if seconds is not None:
        if onto is not None:
            raise RefusedError("only a migration under way can be drained", hint="leave --drain out")
        return _print_drain(run, ask.drain(store, route, seconds, actor=run.actor, reason=reason))
    with run.err.status("Waiting for routers to confirm control …") if run.err.is_terminal else nullcontext():
        result = runner.downgrade(
            store, route, actor=run.actor, reason=reason, blind=fault is not None, targets=run.targets
        )
        if onto is not None and not result.acted:
            _not_above(run, result.state, onto.revision)
        if onto is not None and not result.silent and _stands_above(run, result.state, onto.revision):
            expected = _expected(run, result.state, expect)
            result = runner.undo(
                store, route, onto.revision, expect=expected, actor=run.actor, reason=reason, targets=run.targets
            )
    return _print_downgrade(run, route, result, fault)


def _seconds(drain: str | None, to: str | None, *, dry_run: bool) -> float | None:
    """Read the time to drain; raises typer.BadParameter."""
    if drain is None:
        return None
    if to is not None or dry_run:
        raise typer.BadParameter("--drain goes with neither --to nor --dry-run")
    try:
        return parse_duration(drain)
    except ValueError as error:
        raise typer.BadParameter(f"--drain: {error}") from error


def _print_drain(run: Project, state: RouteState) -> int:
    """Say what happens until the end of a drain: nothing is rolled back yet, so that it is no success."""
    from llmmigrate.routing.snapshot import Snapshot

    assert state.snapshot is not None
    drain = Snapshot.from_text(state.snapshot).drain
    assert drain is not None
    until = to_text(drain.until)
    run.emit(
        {
            "route": state.route,
            "revision": state.revision,
            "status": state.status,
            "phase": state.phase,
            "generation": state.generation,
            "acted": True,
            "draining_until": until,
        }
    )
    run.say(f"{state.route} {state.revision}: draining until {until}; nothing is rolled back before that.")
    run.say("  Conversations that began before now may end on the candidate, all others are on control.")
    run.say("  A conversation counts as open by its started_at, or an id that is a UUID of version 7.")
    run.say(f"Next: llmmigrate run rolls it back at that time, and so does llmmigrate upgrade {state.route}")
    run.say(f'  or at once: llmmigrate downgrade {state.route} --reason "…"')
    return int(ExitCode.HOLD)


def _allowed(run: Project, state: RouteState, reason: str, *, break_glass: bool) -> str:
    """Return the reason to record; raises RefusedError where the document names others, and they are known.

    Names count only where the configuration says who is in the groups; what cannot be read never stops a rollback.
    """
    try:
        from llmmigrate.document import load_applied

        owners = load_applied(state.document, "as applied").migration.owners.rollback if state.document else []
        named = [group for group in owners if run.settings.groups.get(group)]
        mine = set(run.settings.groups_of(run.person)) if run.person is not None else set()
    except LlmmigrateError:
        return reason
    if not named or mine & set(named):
        return reason
    if break_glass:
        return f"break glass: {reason}"
    raise RefusedError(
        f"{run.actor} is not of {', '.join(named)}, who may roll back {state.route}",
        hint="add --break-glass; it is recorded",
    )


def _foretell(run: Project, target: str | None, to: str | None) -> int:
    """Say what a rollback would do; nothing is written."""
    store = run.look()
    route, onto = _landing(run, store, target)
    state = store.route(route)
    living = []
    if to is not None:
        from llmmigrate.lifecycle import requests
        from llmmigrate.runner.write import applied
        from llmmigrate.stages import plan_of

        requests.under_way(state)
        requests.step_back(plan_of(applied(state).migration), state, to, "foretold")
    try:
        now = store.real_now()
        living = [replica for replica in store.telemetry.replicas() if replica.lease_until > now]
    except StoreError as error:
        run.complain(error)
    acts = state.status in ("running", "paused", "rolling_back") or (
        onto is not None and _stands_above(run, state, onto.revision)
    )
    run.emit(
        {
            "route": route,
            "revision": state.revision,
            "status": state.status,
            "phase": state.phase,
            "would_act": acts,
            "routers": len(living),
            "dry_run": True,
        }
    )
    if not acts:
        run.say(f"{route}: nothing to roll back ({state.status}).")
    elif to is not None:
        run.say(f"Would take {route} {state.revision} from {state.phase} back to {to}.")
    elif onto is not None and not state.active:
        run.say(f"Would take {route} from {state.completed_revision} down to {onto.revision or 'base'}.")
    else:
        where = f"{state.phase} ({format_share(_share(state))} of units)"
        run.say(f"Would roll back {route} {state.revision}, which is {state.status} at {where}.")
        run.say(f"{len(living)} routers are alive and would have to confirm control.")
    return int(ExitCode.DONE)


def _share(state: RouteState) -> float:
    from llmmigrate.routing.snapshot import Snapshot

    return Snapshot.from_text(state.snapshot).share if state.snapshot is not None else 0.0


@dataclass(frozen=True, slots=True)
class _Onto:
    """Where a completed route is to land: a revision, or None for base."""

    revision: str | None


def _landing(run: Project, store: Store, target: str | None) -> tuple[str, _Onto | None]:
    """Return the route, and where it is to land; None where only an attempt under way is meant."""
    if steps(target).startswith("+"):
        raise RefusedError(f"{target} leads up", hint=f"llmmigrate upgrade {target}")
    identifier = steps(target)
    if target is not None and identifier in ("-1", "base"):
        route = run.route(store, target.rpartition("@")[0] or None)
        if identifier == "base":
            return route, _Onto(None)
        state = store.route(route)
        if state.active or state.completed_revision is None:
            return route, None
        target = f"{route}@{identifier}"
    states = {state.route: state for state in store.routes()}
    if target is None or target in states or target in run.graph.routes:
        return run.route(store, target), None
    standing = {name: state.revision if state.active else state.completed_revision for name, state in states.items()}
    found = run.graph.resolve(target, standing)
    return found.route, _Onto(found.revision)


def _stands_above(run: Project, state: RouteState, onto: str | None) -> bool:
    """Tell whether a completed route is above where it shall land."""
    if state.completed_revision is None:
        return False
    if onto is None:
        return True
    line = [document.migration.revision for document in run.graph.line(state.route)]
    return state.completed_revision in line and line.index(onto) < line.index(state.completed_revision)


def _not_above(run: Project, state: RouteState, onto: str | None) -> None:
    """Raise RefusedError where a route would have to go up to land there."""
    line = [None, *(document.revision for document in run.graph.line(state.route))]
    if onto in line and state.completed_revision in line and line.index(onto) > line.index(state.completed_revision):
        raise RefusedError(
            f"route {state.route} stands on {state.completed_revision or 'base'}, below {onto}",
            hint=f"llmmigrate upgrade {state.route}@{onto}",
        )


def _expected(run: Project, state: RouteState, expect: str | None) -> str:
    """Return the completed revision that a person means to undo: named, or confirmed on a terminal."""
    assert state.completed_revision is not None
    if expect is not None:
        begins = len(expect) >= SHORTEST and state.completed_revision.startswith(expect)
        return state.completed_revision if begins else run.target(expect).revision or "base"
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
