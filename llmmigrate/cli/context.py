"""What every command needs: the global options, the project, and one way to print."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import typer
from rich.console import Console, RenderableType

from llmmigrate.document import load_folder
from llmmigrate.exceptions import LlmmigrateError
from llmmigrate.graph import Graph
from llmmigrate.settings import Settings, load
from llmmigrate.store import Store

if TYPE_CHECKING:
    from llmmigrate.targets import TrafficTarget

P = ParamSpec("P")

SCHEMA_VERSION = 1
_PIPE_WIDTH = 200
"""Columns of a table that goes into a pipe or a log: nothing is cut there."""


class Format(StrEnum):
    """How a command prints."""

    table = "table"
    json = "json"


@dataclass
class Project:
    """The project a command works on; parts are loaded when they are first asked for."""

    config: Path | None = None
    database_url: str | None = None
    format: Format = Format.table
    quiet: bool = False
    verbose: bool = False
    named: str | None = None

    @cached_property
    def actor(self) -> str:
        """Who is recorded: git's identity, or the name given with --as, marked as nobody's proof."""
        return git_identity() if self.named is None else f"{self.named} (unverified)"

    @property
    def person(self) -> str | None:
        """Whose groups count: nobody's for a name that the configuration does not trust."""
        if self.named is None:
            return git_identity()
        return self.named if self.settings.trust_as else None

    @cached_property
    def settings(self) -> Settings:
        return load(self.config, database_url=self.database_url)

    @cached_property
    def graph(self) -> Graph:
        return Graph(load_folder(self.settings.versions))

    def store(self, *, create: bool = False) -> Store:
        return Store.open(self.settings.database_url, create=create)

    @cached_property
    def targets(self) -> list[TrafficTarget]:
        """What must follow the routing besides routers."""
        from llmmigrate.targets import FlagdFile

        return [FlagdFile(self.settings.flagd)] if self.settings.flagd is not None else []

    def look(self) -> Store:
        """Open the store for a command that only looks: it shows what it can where telemetry is broken."""
        return Store.open_to_look(self.settings.database_url)

    def route(self, store: Store, target: str | None) -> str:
        """Find a route, without reading documents where possible: a rollback must not depend on them."""
        known = [state.route for state in store.routes()]
        if target in known:
            assert target is not None
            return target
        if target is None and len(known) == 1:
            return known[0]
        return self.graph.resolve(target)[0]

    @cached_property
    def out(self) -> Console:
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        return Console(highlight=False, soft_wrap=True, width=width)

    @cached_property
    def err(self) -> Console:
        return Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line of a human answer; quiet and JSON runs print none."""
        if not self.quiet and self.format is Format.table:
            self.out.print(text, markup=False)

    def show(self, table: RenderableType) -> None:
        """Print a table of a human answer; quiet and JSON runs print none."""
        if not self.quiet and self.format is Format.table:
            self.out.print(table, soft_wrap=False)

    def emit(self, body: dict[str, Any]) -> None:
        """Print the one JSON object of a run that asked for it."""
        if self.format is Format.json:
            plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
            text = json.dumps({"schema_version": SCHEMA_VERSION, **body}, ensure_ascii=plain, indent=2)
            sys.stdout.write(text + "\n")

    def fail(self, error: LlmmigrateError) -> int:
        """Print an error the way the run prints, and return its exit code."""
        if self.format is Format.json:
            self.emit({"error": error.as_dict()})
        else:
            self.complain(error)
        return int(error.exit_code)

    def complain(self, error: LlmmigrateError) -> None:
        """Print an error for people, beside the answer."""
        if self.format is Format.table:
            self.err.print(f"error: {error.message}", markup=False, style="red" if self.err.is_terminal else None)
            if error.hint:
                self.err.print(f"hint: {error.hint}", markup=False)


def project(context: typer.Context, format: Format | None = None) -> Project:  # noqa: A002 (the option's name)
    """Return the run's project; a command's own `--format` wins over the global one."""
    found = context.find_root().obj
    assert isinstance(found, Project)
    if format is not None:
        found.format = format
    return found


def git_identity() -> str:
    """Return who is working here: git's e-mail, else user and host."""
    try:
        answer = subprocess.run(
            ["git", "config", "user.email"],  # noqa: S607 (the git that the user works with)
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if answer:
        return answer
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def exits(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a command's answer into the exit code of the process."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(int(command(*args, **kwargs) or 0))

    return run
