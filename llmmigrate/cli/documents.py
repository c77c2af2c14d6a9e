"""Commands about documents: show, edit, schema, list-templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmmigrate.cli.context import TARGETS, Format, exits, plain, project
from llmmigrate.exceptions import RefusedError

_Format = Annotated[Format | None, typer.Option("--format", help="How to print.")]
_Target = Annotated[
    str | None,
    typer.Argument(metavar="TARGET", help="A revision, or a route for its head.", callback=plain, show_default=False),
]


def register(app: typer.Typer) -> None:
    app.command("show", context_settings=TARGETS)(exits(show))
    app.command("edit", context_settings=TARGETS)(exits(edit))
    app.command("schema")(exits(schema))
    app.command("list-templates")(exits(list_templates))


def show(context: typer.Context, target: _Target = None, format: _Format = None) -> int:  # noqa: A002
    """Show a document as it is on disk, with its content hash.

    \b
    Example: llmmigrate show 3f9a
    """
    run = project(context, format)
    document = run.document(target)
    migration = document.migration
    file = run.settings.versions / document.name
    run.emit(
        {
            "route": migration.route,
            "revision": migration.revision,
            "down_revision": migration.down_revision,
            "file": str(file),
            "hash": document.hash,
            "document": document.source.data,
        }
    )
    run.say(f"# {file}")
    run.say(f"# content {document.hash}")
    run.say(document.text.rstrip("\n"))
    return 0


def edit(context: typer.Context, target: _Target = None, format: _Format = None) -> int:  # noqa: A002
    """Open a document in your editor ($VISUAL, $EDITOR), then check it.

    An applied document should not be edited; the check says so.

    \b
    Example: llmmigrate edit 3f9a
    """
    from llmmigrate.document import load_file

    run = project(context, format)
    file = run.settings.versions / run.document(target).name
    run.edit(file)
    document = load_file(file, root=run.settings.root)
    run.emit({"file": str(file), "hash": document.hash})
    run.say(f"{file.name} is valid (content {document.hash[:12]}).")
    run.say("Next: llmmigrate check")
    return 0


def schema(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it there; a folder gets migration.schema.json.")
    ] = None,
    format: _Format = None,  # noqa: A002
) -> int:
    """Print the JSON Schema of documents, for editors.

    The first line of each scaffold names it: migrations/migration.schema.json.

    \b
    Example: llmmigrate schema -o migrations
    """
    from llmmigrate.document.schema import NAME, json_schema, schema_text
    from llmmigrate.files import replace_file

    run = project(context, format)
    if output is None:
        if run.format is Format.json:
            run.emit({"schema": json_schema()})
        else:
            run.write(schema_text())
        return 0
    file = output / NAME if output.is_dir() else output
    if not file.parent.is_dir():
        raise RefusedError(f"there is no folder {file.parent}")
    replace_file(file, schema_text().encode("utf-8"))
    run.emit({"file": str(file)})
    run.say(f"Wrote {file}")
    return 0


def list_templates(context: typer.Context, format: _Format = None) -> int:  # noqa: A002
    """List the document templates, yours and the shipped ones.

    Yours are in templates/documents of the folder that the configuration names.

    \b
    Example: llmmigrate list-templates
    """
    from llmmigrate import scaffold

    run = project(context, format)
    found = scaffold.templates(run.settings)
    run.emit({"templates": [{"name": name, "purpose": purpose} for name, purpose in found.items()]})
    width = max(map(len, found))
    for name, purpose in found.items():
        run.say(f"{name:<{width}}  {purpose}")
    run.say()
    run.say("Example: llmmigrate new -t small-traffic …")
    return 0
