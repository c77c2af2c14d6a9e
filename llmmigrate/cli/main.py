"""The entry point: global options, the commands, and what becomes of errors.

A command's module is imported when the command is called, so that `--help` and commands that only look stay quick.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from llmmigrate import __version__
from llmmigrate.cli.context import ClickError, Format, Project, UsageError
from llmmigrate.exceptions import ExitCode, LlmmigrateError, RefusedError

_HELP = """Move the model behind an LLM feature like a database schema: a reviewed document, gates, and a way back.

A migration goes regression, shadow, canary, observation; it is rolled back by itself when a trigger fires, and every
step is recorded with its evidence.
"""

FIRST = {
    "init": "Set up a project in a folder.",
    "new": "Write the next migration document of a route.",
    "check": "Check all that can be known before any traffic.",
    "upgrade": "Advance a route as far as the evidence allows.",
    "downgrade": "Roll back a route: all traffic to control, now.",
    "status": "Show where every route stands, and why.",
    "history": "Show what happened, when, by whom and why.",
    "demo": "Watch two migrations: one completes, one fails.",
}
"""The commands of the first screen, with the first sentence of each."""

GROUPS: dict[str, dict[str, str]] = {
    "author": {
        "init": "author",
        "new": "author",
        "edit": "documents",
        "show": "documents",
        "schema": "documents",
        "list-templates": "documents",
        "rebase": "author",
        "draft": "drafting",
    },
    "verify": {
        "check": "verify",
        "test": "testing",
        "estimate": "estimating",
        "plan": "foresee",
        "simulate": "foresee",
        "doctor": "verify",
    },
    "run": {
        "upgrade": "run",
        "downgrade": "back",
        "run": "controller",
        "pause": "ask",
        "resume": "ask",
        "ack": "ask",
        "extend": "ask",
        "approve": "ask",
        "stamp": "ask",
        "repair": "ask",
    },
    "look": {
        "status": "look",
        "current": "look",
        "heads": "look",
        "history": "look",
        "watch": "watch",
        "explain": "why",
    },
    "store": {"db": "storage", "ensure-version": "storage"},
    "show": {"demo": "demonstrate"},
}
"""Every command by group, with the module that has it."""

COMMANDS = {name: module for commands in GROUPS.values() for name, module in commands.items()}


class _Lazy(typer.core.TyperGroup):
    """A group whose commands are imported one by one, and whose first screen shows few."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (click's signature)
        if cmd_name not in COMMANDS:
            near = get_close_matches(cmd_name, COMMANDS, 1)
            hint = f" Did you mean {near[0]}?" if near else " llmmigrate --help names them."
            raise UsageError(f"No such command {cmd_name!r}.{hint}")
        module = import_module(f"llmmigrate.cli.{COMMANDS[cmd_name]}")
        part = typer.Typer(rich_markup_mode=None, context_settings=_SETTINGS, callback=lambda: None)
        module.register(part)
        return typer.main.get_group(part).commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (click's signature)
        with formatter.section("Commands"):
            formatter.write_dl(list(FIRST.items()))
        rest = [(group, ", ".join(name for name in names if name not in FIRST)) for group, names in GROUPS.items()]
        with formatter.section("More, each with --help"):
            formatter.write_dl([(group, names) for group, names in rest if names])
        with formatter.section("Example"):
            formatter.write_text("\b\n" + "\n".join(_EXAMPLE))


_EXAMPLE = (
    "llmmigrate init",
    'llmmigrate new -m "Move support" --route support --from openai/gpt-4o --to openai/gpt-5.1',
    "llmmigrate check",
    "llmmigrate upgrade",
    "llmmigrate status",
)

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    cls=_Lazy,
    help=_HELP,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"llmmigrate {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="Configuration file.")] = None,
    section: Annotated[
        str | None, typer.Option("-n", "--name", metavar="SECTION", help="An environment of the configuration.")
    ] = None,
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
    context.obj = _runs[-1]
    vars(_runs[-1]).update(
        config=config, section=section, database_url=db, format=format, quiet=quiet, verbose=verbose, named=named
    )


_runs: list[Project] = [Project()]
"""The run of this process; an error is printed as it asked for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (those of the process by default) and exit with its code."""
    _runs[-1] = Project()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="llmmigrate.plain")
    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\nstopped\n" if sys.stderr.isatty() else "stopped\n")  # a terminal has written ^C there
        code = 128 + 2
    except Exception as error:
        if _runs[-1].verbose and not isinstance(error, ClickError):
            raise
        code = _failure(error, sys.argv[1:] if arguments is None else arguments)
    finally:
        _runs[-1].close()
    sys.exit(code if isinstance(code, int) else 0)


def _failure(error: Exception, arguments: Sequence[str]) -> int:
    """Print an error in one clear line, and return its exit code; a traceback is shown only with -v."""
    run = _runs[-1]
    if isinstance(error, ClickError):
        if {"json", "--format=json"} & set(arguments):
            run.format = Format.json
            return run.fail(RefusedError(error.format_message(), hint="llmmigrate --help"))
        error.show()
        return int(ExitCode.USAGE)
    if isinstance(error, LlmmigrateError):
        return run.fail(error)
    what = str(error).splitlines()[0] if str(error) else ""
    words = what if isinstance(error, OSError) else f"unexpected {type(error).__name__}: {what}"
    return run.fail(LlmmigrateError(words, hint="the same with -v shows where"))


_PLAIN = {"→": "->", "…": "...", "–": "-", "—": "-", "−": "-", "±": "+-", "█": "#", "░": ".", "µ": "u", "·": "-"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Write for a terminal that knows no such sign: something like it, or a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in part), error.end


codecs.register_error("llmmigrate.plain", _plain)
