"""Commands that write documents: init, new, rebase."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from llmmigrate.cli.context import Format, Project, exits, git_identity, project
from llmmigrate.exceptions import RefusedError, StoreError, StoreMissing


def register(app: typer.Typer) -> None:
    app.command("init")(exits(init))
    app.command("new")(exits(new))
    app.command("rebase")(exits(rebase))


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; the current folder by default.")] = Path(),
    template: Annotated[
        str, typer.Option("-t", "--template", help="What new documents are made from; see list-templates.")
    ] = "generic",
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> None:
    """Set up a project in a folder.

    Makes llmmigrate.toml, the folder of migration documents, the JSON Schema that editors read, and a first suite.

    \b
    Example: llmmigrate init
    Example: llmmigrate init ops/models -t small-traffic
    """
    from llmmigrate import scaffold

    run = project(context, format)
    made = scaffold.init(folder, template=template)
    run.emit({"created": [str(path) for path in made]})
    run.say(
        "Created llmmigrate.toml, migrations/ and regression/; llmmigrate.db will be made beside them at the first "
        "upgrade."
    )
    run.say('Next: llmmigrate new -m "…" --route NAME --from MODEL --to MODEL')


def new(
    context: typer.Context,
    message: Annotated[str, typer.Option("-m", "--message", help="What this migration does, in one line.")],
    route: Annotated[str, typer.Option("--route", help="The name that the application calls.")],
    target: Annotated[str, typer.Option("--to", metavar="MODEL", help="The new model, as LiteLLM names it.")],
    current: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="The present model; known where the route has a head.")
    ] = None,
    api_base: Annotated[
        str | None,
        typer.Option("--api-base", metavar="URL", help="Where the new model is served, by one's own server."),
    ] = None,
    from_api_base: Annotated[
        str | None,
        typer.Option("--from-api-base", metavar="URL", help="The same of the present model; known as --from is."),
    ] = None,
    template: Annotated[
        str | None, typer.Option("-t", "--template", help="See list-templates; the configuration's by default.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--rev-id", help="The revision, instead of a random one.")] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Open it in your editor ($VISUAL, $EDITOR).")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> None:
    """Write the next migration document of a route.

    \b
    Example: llmmigrate new -m "Move support" --route support --from openai/gpt-4o --to openai/gpt-5.1
    """
    from llmmigrate import scaffold

    run = project(context, format)
    made = scaffold.new(
        run.settings,
        run.graph,
        message=message,
        route=route,
        current=current,
        target=target,
        current_api_base=from_api_base,
        target_api_base=api_base,
        driver=git_identity(),
        now=datetime.now(UTC),
        template=template,
        revision=revision,
    )
    migration = made.document.migration
    run.emit(
        {
            "file": str(made.file),
            "revision": migration.revision,
            "route": migration.route,
            "beside": [str(file) for file in made.beside],
            "findings": [finding.to_json() for finding in made.findings],
        }
    )
    run.say(f"Created {_near(made.file)}  (driver: {migration.owners.driver})")
    for file in made.beside:
        run.say(f"  and {_near(file)}, to begin with")
    below = _unfinished(run, migration.route, migration.down_revision)
    if below is not None:
        run.say(f"  It follows {below}: its current is that one's target, which the route does not run on.")
    for finding in made.findings:
        sign = "error: " if finding.severity == "error" else ""
        run.say(f"  {finding.rule}  {sign}{finding.path}: {finding.message}")
    if edit:
        run.edit(made.file)
    run.say("Next: edit it, then llmmigrate check" if not edit else "Next: llmmigrate check")


def rebase(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="The second head, or a document of its branch.")],
    onto: Annotated[
        str | None, typer.Option("--onto", metavar="REV", help="The head to follow, where there are more than two.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> None:
    """Let a second head follow the other one.

    For a route to which two branches added a document. Only down_revision and current of the branch's first document
    are rewritten, and the head file; a document that was applied is left as it is.

    \b
    Example: llmmigrate rebase 3f9a
    """
    from llmmigrate.rebase import rebase as write

    run = project(context, format)
    if revision in run.graph.routes:
        heads = run.graph.heads(revision)
        raise RefusedError(f"say which head is to move: {', '.join(heads)}", hint=f"llmmigrate rebase {heads[-1]}")
    asked = run.graph.find(revision).migration
    made = write(run.settings, run.graph, asked.revision, _applied(run, asked.route), onto=onto)
    run.emit(
        {
            "route": made.route,
            "head": made.head,
            "head_file": str(made.head_file),
            "file": str(made.file) if made.file is not None else None,
            "revision": made.document.migration.revision if made.document is not None else None,
            "down_revision": made.onto,
        }
    )
    if made.document is not None and made.file is not None:
        moved = made.document.migration
        run.say(f"{moved.revision} follows {made.onto} now: {moved.current.model} → {moved.target.model}")
        run.say(f"  {_near(made.file)}")
    run.say(f"  {_near(made.head_file)}: {made.head}")
    run.say("Next: review and commit both files" if made.file is not None else "Next: commit it")


def _applied(run: Project, route: str) -> set[str]:
    """Return the revisions of a route that history knows."""
    try:
        rows = run.look().history(route)
    except StoreMissing:
        return set()
    return {row["revision"] for row in rows}


def _unfinished(run: Project, route: str, below: str | None) -> str | None:
    """Say of the revision below a new document that it is not completed, as far as a store knows of it."""
    if below is None:
        return None
    try:
        state = run.look().route(route)
    except StoreError:
        return None
    if state.revision != below or state.status == "completed":
        return None
    return f"{below}, which is {state.status.replace('_', ' ')}, not completed"


def _near(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
