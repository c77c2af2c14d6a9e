"""The command that begins a regression suite: draft, from captured requests or from a suite of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import Format, MaybeTarget, Project, exits, project
from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.files import replace_file

if TYPE_CHECKING:
    from llmmigrate.regression.writing import Imported

_SAMPLES = 5000
_LEFT = 5


def register(app: typer.Typer) -> None:
    app.command("draft")(exits(draft))


def draft(
    context: typer.Context,
    target: MaybeTarget = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; regression/ROUTE.yaml by default.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A promptfoo configuration, or OpenAI requests as JSON lines."),
    ] = None,
    cases: Annotated[
        int | None, typer.Option("--cases", metavar="N", help="Cases at most, of captured requests; 150 by default.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Write a first regression suite.

    From the texts that routers kept of a route (`sample` in its configuration), different ones of each input type, with
    what held of the answers on record; or from a suite of another tool. A proposal: read every case. It says how many
    cases a suite needs to pass.

    \b
    Example: llmmigrate draft support
    Example: llmmigrate draft support --from promptfooconfig.yaml
    """
    from llmmigrate.regression.drafting import draft as drafted
    from llmmigrate.regression.drafting import drafted_text
    from llmmigrate.regression.equivalence_power import DEFAULT_CASES
    from llmmigrate.regression.suite_model import MAX_CASES
    from llmmigrate.regression.watched import hooks

    run = project(context, format)
    if cases is not None and not 1 <= cases <= MAX_CASES:
        raise RefusedError(f"--cases must be from 1 to {MAX_CASES}")
    route, root = run.target(target).route, run.settings.root.resolve()
    file = output if output is not None else run.settings.root / "regression" / f"{route}.yaml"
    whole = file.resolve()
    if not whole.is_relative_to(root):
        raise RefusedError(
            f"{file} is outside of the project: a document can only name a suite inside it",
            hint=f"--output regression/{route}.yaml",
        )
    if file.exists():
        raise RefusedError(f"{file} is there already, and is not written over", hint="--output FILE")
    requests = None
    if source is not None:
        made = _imported(source, root)
        text = made.text(f"Taken over from {source.name}. Read every case before it decides anything.")
    else:
        samples = run.look().telemetry.samples(route, limit=_SAMPLES)
        if not samples:
            raise RefusedError(
                f"no texts of {route} were kept",
                hint=f'[routes.{route}] sample = "1%" in llmmigrate.toml lets routers keep some; or --from FILE',
            )
        made = drafted(samples, most=cases or DEFAULT_CASES, hooks=hooks(python=False))
        requests = made.requests
        text = drafted_text(samples, made)
    if not made.data["cases"]:
        raise RefusedError("nothing could be made a case of", hint="; ".join(map(str, made.left_out[:1])) or None)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, text.encode("utf-8"))
    _print(run, file, made, requests)
    name = whole.relative_to(root).as_posix()
    run.say(f"Then name it in the document: regression: {{suite: {name}}}, and: llmmigrate test {route}")
    return int(ExitCode.DONE)


def _print(run: Project, file: Path, made: Imported, requests: int | None) -> None:
    """Say what was written, of how many requests, what is not in it, and what it takes to pass."""
    from llmmigrate.regression.equivalence import fewest_that_pass
    from llmmigrate.regression.equivalence_power import cases_needed

    number, left = len(made.data["cases"]), [str(one) for one in made.left_out]
    fewest, noisy = fewest_that_pass(), cases_needed(None)
    body = {"file": str(file), "cases": number, "requests": requests, "left_out": left}
    run.emit({**body, "cases_to_pass": fewest, "cases_to_pass_noisy": noisy, "asserting": made.asserting})
    cases = "1 case" if number == 1 else f"{number:,} cases"
    of = f" of {requests:,} different requests" if requests is not None else ""
    run.say(f"{file}: {cases}{of}. It is a proposal: read each, and add what would hurt most.")
    for words in left[:_LEFT]:
        run.say(f"  not taken over: {words}")
    if len(left) > _LEFT:
        run.say(f"  not taken over: {len(left) - _LEFT} more, listed at the head of the file")
    short = f": the {made.asserting:,} of this one are too few" if made.asserting < fewest else ""
    run.say(
        f"A suite passes from {fewest} cases on that assert something and that control passes, from about {noisy} "
        f"where control fails 10% by itself{short}."
    )


def _imported(source: Path, root: Path) -> Imported:
    from llmmigrate.regression.openai_jsonl import import_openai
    from llmmigrate.regression.promptfoo import import_promptfoo
    from llmmigrate.regression.suite_files import ProjectFiles

    try:
        raw = source.read_bytes()
    except OSError as error:
        raise RefusedError(f"{source} cannot be read: {error.strerror}") from error
    if source.suffix not in (".yaml", ".yml"):
        return import_openai(raw, source.name)
    folder = source.resolve().parent
    if folder.is_relative_to(root):
        return import_promptfoo(raw, source.name, files=ProjectFiles(root), folder=folder.relative_to(root).as_posix())
    return import_promptfoo(raw, source.name, files=ProjectFiles(folder), folder=None)
