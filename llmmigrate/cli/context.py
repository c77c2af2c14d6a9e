"""What every command needs: the global options, the project, and one way to print."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, wraps
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from llmmigrate.exceptions import LlmmigrateError, RefusedError, StoreMissing, TargetNotFound
from llmmigrate.settings import Settings, load
from llmmigrate.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from llmmigrate.document import Document
    from llmmigrate.graph import Graph, Target
    from llmmigrate.store import Store
    from llmmigrate.targets import TrafficTarget

P = ParamSpec("P")

SCHEMA_VERSION = 1
_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
"""Settings of a console that prints what it is given: `canary:100:` is no emoji, and `[x]` no style."""

_PIPE_WIDTH = 200
"""Columns of a table that goes into a pipe or a log: nothing is cut there."""


UsageError: Any = typer.BadParameter.__mro__[1]
ClickError: Any = typer.BadParameter.__mro__[2]
"""Typer ships its own copy of click, whose base errors have no public name."""

TARGETS = {"ignore_unknown_options": True}
"""Settings of a command that takes a TARGET: -1 is a plain argument, as with Alembic."""


def plain(text: str | None) -> str | None:
    """Let -1 be an argument, and all else that looks like an option a usage error."""
    if text is not None and text.startswith("-") and not re.fullmatch(r"-\d+", text):
        raise UsageError(f"No such option: {text}")
    return text


MaybeTarget = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="A route, or [ROUTE@] with a revision (4 characters or more), head, base, +1, -1, REV+2.",
        callback=plain,
        show_default=False,
    ),
]


def steps(target: str | None) -> str:
    """Return what a target says beside its route."""
    return (target or "").rpartition("@")[2]


class Format(StrEnum):
    """How a command prints."""

    table = "table"
    json = "json"


@dataclass
class Project:
    """The project a command works on; parts are loaded when they are first asked for."""

    config: Path | None = None
    section: str | None = None
    database_url: str | None = None
    format: Format = Format.table
    quiet: bool = False
    verbose: bool = False
    named: str | None = None
    _stores: list[Store] = field(default_factory=list)

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
        return load(self.config, database_url=self.database_url, section=self.section)

    @cached_property
    def graph(self) -> Graph:
        return self.graph_seen_from(None)

    def graph_seen_from(self, store: Store | None) -> Graph:
        """Load the documents for a command that only looks: what was applied was valid, and is not checked again."""
        from llmmigrate.document import load_readable
        from llmmigrate.graph import Graph

        trusted = store.applied_hashes() if store is not None else frozenset()
        self.graph = Graph(*load_readable(self.settings.versions, root=self.settings.root, trusted=trusted))
        return self.graph

    def document(self, target: str | None) -> Document:
        """Return the document that a TARGET names: of a route, its head."""
        found = self.target(target)
        document = self.graph.get(found.revision) if found.revision is not None else None
        if document is None:
            raise TargetNotFound(f"{found.route}@base is no document", hint="llmmigrate heads")
        return document

    def store(self, *, create: bool = False, busy_s: float = 30.0) -> Store:
        from llmmigrate.store import Store

        return self.keep(Store.open(self.settings.database_url, create=create, busy_s=busy_s))

    def keep(self, store: Store) -> Store:
        """Close a store when the run ends."""
        self._stores.append(store)
        return store

    def close(self) -> None:
        """Close every store that the run has opened."""
        while self._stores:
            self._stores.pop().close()

    @cached_property
    def targets(self) -> list[TrafficTarget]:
        """What must follow the routing besides routers."""
        from llmmigrate.targets import FlagdFile

        return [FlagdFile(self.settings.flagd)] if self.settings.flagd is not None else []

    def suite_hash(self, document: Document) -> str:
        """Return the hash of the suite that a document names, as it is now; raises DocumentInvalid."""
        from llmmigrate.regression.suite import load_suite

        assert document.migration.regression.suite is not None
        root = self.settings.root
        return load_suite(root / document.migration.regression.suite, root=root).hash

    def look(self) -> Store:
        """Open the store for a command that only looks: it shows what it can where telemetry is broken."""
        from llmmigrate.store import Store

        return self.keep(Store.open_to_look(self.settings.database_url))

    def target(self, text: str | None) -> Target:
        """Find what a TARGET means; the store is asked only by one that counts from where a route stands."""
        from llmmigrate.graph import is_relative

        standing: dict[str, str | None] = {}
        if is_relative(text):
            with suppress(StoreMissing):
                standing = {state.route: state.completed_revision for state in self.look().routes()}
        return self.graph.resolve(text, standing)

    def attempt(self, store: Store, target: str | None) -> str:
        """Find the route whose attempt is meant, without documents where it or a full revision is named.

        Raises RefusedError where the target is a revision, and the attempt under way is of another one.
        """
        from llmmigrate.lifecycle import RouteState

        states = {state.route: state for state in store.routes()}
        for state in states.values():
            if state.active and target == state.revision and target not in states:
                return state.route
        if target is None or target in states or target in self.graph.routes:
            return self.route(store, target)
        found = self.target(target)
        state = states.get(found.route, RouteState(found.route))
        if not state.active or found.revision != state.revision:
            instead = f"it is of {state.revision}" if state.active else "there is none"
            raise RefusedError(
                f"the attempt under way on route {found.route} is not of {found.revision or 'base'}: {instead}",
                hint=f"llmmigrate status {found.route}",
            )
        return found.route

    def route(self, store: Store, target: str | None) -> str:
        """Find a route, without reading documents where possible: a rollback must not depend on them."""
        known = [state.route for state in store.routes()]
        if target in known:
            assert target is not None
            return target
        if target is None and len(known) == 1:
            return known[0]
        return self.target(target).route

    @cached_property
    def out(self) -> Console:
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        return Console(**_AS_IT_IS, width=width)

    @cached_property
    def err(self) -> Console:
        from rich.console import Console

        return Console(**_AS_IT_IS, stderr=True)

    def say(self, text: str = "") -> None:
        """Print a line of a human answer; quiet and JSON runs print none."""
        if not self.quiet and self.format is Format.table:
            self.out.print(visible(text))
            if not self.out.is_terminal:
                self.out.file.flush()

    def show(self, table: RenderableType) -> None:
        """Print a table of a human answer; quiet and JSON runs print none."""
        if not self.quiet and self.format is Format.table:
            self.out.print(table, soft_wrap=False)

    def write(self, text: str) -> None:
        """Print text as it is: a file's content, or a report for another program."""
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")

    def edit(self, file: Path) -> None:
        """Open a file in the user's editor; raises RefusedError where there is none, or it fails."""
        name = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            code = subprocess.run([*shlex.split(name), str(file)], check=False).returncode  # noqa: S603 (the user's own)
        except OSError as error:
            raise RefusedError(f"the editor {name!r} cannot be started", hint="set EDITOR") from error
        if code != 0:
            raise RefusedError(f"the editor {name!r} ended with {code}", hint="the file is as the editor left it")

    def emit(self, body: dict[str, Any], *, line: bool = False) -> None:
        """Print the one JSON object of a run that asked for it; as one `line` where more will follow."""
        if self.format is Format.json:
            plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
            text = json.dumps(
                {"schema_version": SCHEMA_VERSION, **body}, ensure_ascii=plain, indent=None if line else 2
            )
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
            self.err.print(visible(f"error: {error.message}"), style="red" if self.err.is_terminal else None)
            if error.hint:
                self.err.print(f"hint: {error.hint}")


def project(context: typer.Context, format: Format | None = None) -> Project:  # noqa: A002 (the option's name)
    """Return the run's project; a command's own `--format` wins over the global one."""
    found = context.find_root().obj
    assert isinstance(found, Project)
    if format is not None:
        found.format = format
    return found


def set_from_handler(event: Event) -> None:
    """Set an event from a signal's handler: by a thread, for the handler may have cut into the event's own lock."""
    Thread(target=event.set, daemon=True).start()


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
