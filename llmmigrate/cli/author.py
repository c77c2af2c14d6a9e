"""Commands that write documents: init, new."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from llmmigrate.cli.context import Format, exits, git_identity, project


def register(app: typer.Typer) -> None:
    app.command("init")(exits(init))
    app.command("new")(exits(new))


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; the current folder by default.")] = Path(),
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> None:
    """Set up a project in a folder.

    Makes llmmigrate.toml and the folder of migration documents.

    \b
    Example: llmmigrate init
    """
    from llmmigrate import scaffold

    run = project(context, format)
    made = scaffold.init(folder)
    run.emit({"created": [str(path) for path in made]})
    run.say("Created llmmigrate.toml and migrations/; llmmigrate.db will be made beside them at the first upgrade.")
    run.say('Next: llmmigrate new -m "…" --route NAME --from MODEL --to MODEL')


def new(
    context: typer.Context,
    message: Annotated[str, typer.Option("-m", "--message", help="What this migration does, in one line.")],
    route: Annotated[str, typer.Option("--route", help="The name that the application calls.")],
    target: Annotated[str, typer.Option("--to", metavar="MODEL", help="The new model, as LiteLLM names it.")],
    current: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="The present model; known where the route has a head.")
    ] = None,
    template: Annotated[str, typer.Option("-t", "--template", help="generic or demo, or one of your own.")] = "generic",
    revision: Annotated[str | None, typer.Option("--rev-id", help="The revision, instead of a random one.")] = None,
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
        driver=git_identity(),
        now=datetime.now(UTC),
        template=template,
        revision=revision,
    )
    migration = made.document.migration
    run.emit(
        {"file": str(made.file), "revision": migration.revision, "route": migration.route, "warnings": made.warnings}
    )
    run.say(f"Created {_near(made.file)}  (driver: {migration.owners.driver})")
    if made.warnings:
        run.say(f"  {len(made.warnings)} to look at: {'; '.join(made.warnings)}.")
    run.say("Next: edit it, then llmmigrate upgrade")


def _near(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
