"""The entry point: global options, the commands, and what becomes of errors."""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from llmmigrate import __version__
from llmmigrate.cli import ask, author, controller, demonstrate, look, run, storage
from llmmigrate.cli.context import Format, Project
from llmmigrate.exceptions import ExitCode, LlmmigrateError, RefusedError

_HELP = """Move the model behind an LLM feature like a database schema: a reviewed document, gates, and a way back.

A migration goes regression, shadow, canary, observation; it is rolled back by itself when a trigger fires, and every
step is recorded with its evidence.

\b
Example:
  llmmigrate init
  llmmigrate new -m "Move support" --route support --from openai/gpt-4o --to openai/gpt-5.1
  llmmigrate upgrade
  llmmigrate status
"""

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"llmmigrate {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="Configuration file.")] = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="History store, or env:NAME.")] = None,
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,  # noqa: A002
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks.")] = False,
    named: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Record another name; it proves nothing.")
    ] = None,
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    project = _project
    project.config, project.database_url, project.format = config, db, format
    project.quiet, project.verbose, project.named = quiet, verbose, named
    context.obj = project


author.register(app)
run.register(app)
controller.register(app)
ask.register(app)
storage.register(app)
look.register(app)
demonstrate.register(app)

_project = Project()


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="llmmigrate.plain")
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13
    except typer.Abort:
        sys.stderr.write("stopped\n")
        code = 128 + 2
    except Exception as error:
        if _project.verbose and not isinstance(error, _USAGE_ERROR):
            raise
        code = _failure(error)
    sys.exit(code if isinstance(code, int) else 0)


def _failure(error: Exception) -> int:
    """Print an error in one clear line, and return its exit code; a traceback is shown only with -v."""
    if isinstance(error, _USAGE_ERROR):
        if {"json", "--format=json"} & set(sys.argv[1:]):
            _project.format = Format.json
            return _project.fail(RefusedError(error.format_message(), hint="llmmigrate --help"))
        error.show()
        return int(ExitCode.USAGE)
    if isinstance(error, LlmmigrateError):
        return _project.fail(error)
    what = str(error).splitlines()[0] if str(error) else ""
    words = what if isinstance(error, OSError) else f"unexpected {type(error).__name__}: {what}"
    return _project.fail(LlmmigrateError(words, hint="the same with -v shows where"))


_USAGE_ERROR: Any = typer.BadParameter.__mro__[2]
"""Typer ships its own copy of click, whose base error has no public name."""

_PLAIN = {"→": "->", "…": "...", "–": "-", "—": "-", "−": "-", "±": "+-", "█": "#", "░": ".", "µ": "u", "·": "-"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Write for a terminal that knows no such sign: something like it, or a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in part), error.end


codecs.register_error("llmmigrate.plain", _plain)
