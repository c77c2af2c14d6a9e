"""Commands with which a person steers an attempt: pause, resume, approve, stamp, repair."""

from __future__ import annotations

from typing import Annotated

import typer

from llmmigrate.cli.context import TARGETS, Format, MaybeTarget, Project, exits, plain, project
from llmmigrate.exceptions import RefusedError
from llmmigrate.lifecycle import RouteState
from llmmigrate.units import parse_duration

_Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
_Format = Annotated[Format | None, typer.Option("--format", help="How to print.")]


def register(app: typer.Typer) -> None:
    for command in (approve, pause, resume, ack, extend, stamp, repair):
        app.command(command.__name__, context_settings=TARGETS)(exits(command))


def _done(run: Project, state: RouteState, words: str) -> int:
    run.emit(
        {
            "route": state.route,
            "revision": state.revision,
            "status": state.status,
            "phase": state.phase,
            "generation": state.generation,
            "completed_revision": state.completed_revision,
        }
    )
    run.say(f"{state.route} {state.revision or 'base'}: {words}")
    return 0


def approve(
    context: typer.Context,
    target: MaybeTarget = None,
    phase: Annotated[str, typer.Option("--phase", help="The stage to be entered, such as canary:5.")] = "",
    comment: Annotated[str, typer.Option("--comment", help="What you looked at.")] = "",
    format: _Format = None,  # noqa: A002
) -> int:
    """Approve the entry of the next stage for your groups.

    The approval is bound to the document, the generation and the evidence of this moment. Groups stand in the
    configuration. A revision, where one is given, must be the one under way.

    \b
    Example: llmmigrate approve support --phase canary:5 --comment "read 50 answers"
    Example: llmmigrate approve 3f9a --phase canary:5
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    if not phase:
        raise RefusedError("say which stage is approved", hint="add --phase canary:5")
    groups = run.settings.groups_of(run.person) if run.person is not None else []
    if not groups:
        raise RefusedError(
            f"{run.actor} belongs to no group of approvers",
            hint='[groups] in llmmigrate.toml names them: ml-leads = ["maria@example.com"]',
        )
    store = run.store()
    state = ask.approve(store, run.attempt(store, target), phase, groups, actor=run.actor, comment=comment)
    return _done(run, state, f"{phase} approved by {run.actor} for {', '.join(groups)}")


def pause(context: typer.Context, reason: _Reason, target: MaybeTarget = None, format: _Format = None) -> int:  # noqa: A002
    """Stop a migration from advancing.

    It goes on serving its share, and its rollback rules stay in force.

    \b
    Example: llmmigrate pause support --reason "launch day"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    store = run.store()
    state = ask.pause(store, run.attempt(store, target), actor=run.actor, reason=reason)
    return _done(run, state, f"paused at {state.phase}; it goes on serving its share")


def resume(context: typer.Context, reason: _Reason, target: MaybeTarget = None, format: _Format = None) -> int:  # noqa: A002
    """Let a paused migration go on, on new evidence.

    Statistics and time of the stage begin anew: what paused it must not show again.

    \b
    Example: llmmigrate resume support --reason "the cause is fixed"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    store = run.store()
    state = ask.resume(store, run.attempt(store, target), actor=run.actor, reason=reason)
    return _done(run, state, f"resumed at {state.phase} on new evidence (generation {state.generation})")


def ack(context: typer.Context, reason: _Reason, target: MaybeTarget = None, format: _Format = None) -> int:  # noqa: A002
    """Say that you have seen a rollback.

    Until its next attempt the route counts as healthy again.

    \b
    Example: llmmigrate ack support --reason "the prompt is being rewritten"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    store = run.store()
    state = ask.acknowledge(store, run.route(store, target), actor=run.actor, reason=reason)
    return _done(run, state, f"its rollback is acknowledged by {run.actor}")


def extend(
    context: typer.Context,
    reason: _Reason,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How much longer, such as 12h.")],
    target: MaybeTarget = None,
    format: _Format = None,  # noqa: A002
) -> int:
    """Let the present stage hold longer before a person is asked.

    \b
    Example: llmmigrate extend support --for 12h --reason "waiting for Monday's traffic"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise RefusedError(f"--for: {error}") from error
    store = run.store()
    state = ask.extend(store, run.attempt(store, target), seconds, actor=run.actor, reason=reason)
    return _done(run, state, f"{state.phase} may hold {duration} longer")


def stamp(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Where a route stands, such as support@head.", callback=plain)
    ],
    revision: Annotated[
        str | None,
        typer.Argument(metavar="REVISION", help="The same in two words: support head.", callback=plain),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "stamped by hand",
    format: _Format = None,  # noqa: A002
) -> int:
    """Declare where a route stands, without a migration.

    For a model that was switched by other means. Routers serve that revision's target from then on.

    \b
    Example: llmmigrate stamp support head --reason "switched in March"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    if revision is not None and "@" not in revision:
        target = f"{target}@{revision}"
    elif revision is not None or target in run.graph.routes:
        raise RefusedError("say where the route stands", hint=f"llmmigrate stamp {target.partition('@')[0]} head")
    found = run.target(target)
    store = run.store(create=True)
    state = ask.stamp(store, run.graph, found.route, found.revision, actor=run.actor, reason=reason)
    return _done(run, state, f"stands on {state.completed_revision or 'base'} from now on")


def repair(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The revision whose document was edited.", callback=plain)
    ],
    reason: _Reason,
    format: _Format = None,  # noqa: A002
) -> int:
    """Put an edited document in force, on record.

    Approvals of the former text count no more. The target may be another one only while nothing was served or mirrored:
    before the regression suite has passed, and after a rollback.

    \b
    Example: llmmigrate repair 3f9a --reason "the limit was a typing error"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    found = run.target(target)
    document = run.graph.get(found.revision) if found.revision is not None else None
    if document is None:
        raise RefusedError("base has no document to repair", hint=f"llmmigrate status {found.route}")
    state = ask.repair(run.store(), found.route, document, actor=run.actor, reason=reason)
    code = _done(run, state, f"the edited document is in force ({document.hash[:12]})")
    run.say(f"Next: llmmigrate upgrade {state.route}" + ' --retry --reason "…"' * (state.status == "rolled_back"))
    return code
