"""Commands with which a person steers an attempt: pause, resume, approve, stamp, repair."""

from __future__ import annotations

from typing import Annotated

import typer

from llmmigrate.cli.context import Format, Project, exits, project
from llmmigrate.exceptions import RefusedError
from llmmigrate.lifecycle import RouteState

_Route = Annotated[str | None, typer.Argument(help="The route; may be left out where there is one.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
_Format = Annotated[Format | None, typer.Option("--format", help="How to print.")]


def register(app: typer.Typer) -> None:
    app.command("approve")(exits(approve))
    app.command("pause")(exits(pause))
    app.command("resume")(exits(resume))
    app.command("stamp")(exits(stamp))
    app.command("repair")(exits(repair))


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
    route: _Route = None,
    phase: Annotated[str, typer.Option("--phase", help="The stage to be entered, such as canary:5.")] = "",
    comment: Annotated[str, typer.Option("--comment", help="What you looked at.")] = "",
    format: _Format = None,  # noqa: A002
) -> int:
    """Approve the entry of the next stage for your groups.

    The approval is bound to the document, the generation and the evidence of this moment. Groups stand in the
    configuration.

    \b
    Example: llmmigrate approve support --phase canary:5 --comment "read 50 answers"
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
    state = ask.approve(store, run.route(store, route), phase, groups, actor=run.actor, comment=comment)
    return _done(run, state, f"{phase} approved by {run.actor} for {', '.join(groups)}")


def pause(context: typer.Context, reason: _Reason, route: _Route = None, format: _Format = None) -> int:  # noqa: A002
    """Stop a migration from advancing.

    It goes on serving its share, and its rollback rules stay in force.

    \b
    Example: llmmigrate pause support --reason "launch day"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    store = run.store()
    state = ask.pause(store, run.route(store, route), actor=run.actor, reason=reason)
    return _done(run, state, f"paused at {state.phase}; it goes on serving its share")


def resume(context: typer.Context, reason: _Reason, route: _Route = None, format: _Format = None) -> int:  # noqa: A002
    """Let a paused migration go on, on new evidence.

    Statistics and time of the stage begin anew: what paused it must not show again.

    \b
    Example: llmmigrate resume support --reason "the cause is fixed"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    store = run.store()
    state = ask.resume(store, run.route(store, route), actor=run.actor, reason=reason)
    return _done(run, state, f"resumed at {state.phase} on new evidence (generation {state.generation})")


def stamp(
    context: typer.Context,
    route: Annotated[str, typer.Argument(help="The route.")],
    revision: Annotated[str, typer.Argument(help="Where it stands: a revision, head or base.")],
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
    onto = None if revision == "base" else run.graph.resolve(route if revision == "head" else revision)[1]
    store = run.store(create=True)
    state = ask.stamp(store, run.graph, route, onto, actor=run.actor, reason=reason)
    return _done(run, state, f"stands on {state.completed_revision or 'base'} from now on")


def repair(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="The revision whose document was edited.")],
    reason: _Reason,
    format: _Format = None,  # noqa: A002
) -> int:
    """Put an edited document in force, on record.

    Approvals of the former text count no more.

    \b
    Example: llmmigrate repair 3f9a --reason "the limit was a typing error"
    """
    from llmmigrate.runner import ask

    run = project(context, format)
    route, full = run.graph.resolve(revision)
    document = run.graph.get(full)
    assert document is not None
    state = ask.repair(run.store(), route, document, actor=run.actor, reason=reason)
    return _done(run, state, f"the edited document is in force ({document.hash[:12]})")
