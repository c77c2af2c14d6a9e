"""Commands that look for what is wrong before it matters: check, doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmmigrate.cli.context import TARGETS, Format, Project, exits, plain, project
from llmmigrate.exceptions import ExitCode, LlmmigrateError, RefusedError, StoreError, StoreMissing, TargetNotFound
from llmmigrate.units import format_duration

if TYPE_CHECKING:
    from llmmigrate.document import Document
    from llmmigrate.lifecycle import RouteState
    from llmmigrate.preflight import Asked, Finding, Report, Unreadable
    from llmmigrate.preflight.finding import Severity


class CheckFormat(StrEnum):
    """How `check` prints: for people, or for a CI system."""

    table = "table"
    json = "json"
    github = "github"
    junit = "junit"
    sarif = "sarif"


def register(app: typer.Typer) -> None:
    app.command("check", context_settings=TARGETS)(exits(check))
    app.command("doctor")(exits(doctor))


def _plain_all(texts: list[str] | None) -> list[str] | None:
    for text in texts or []:
        plain(text)
    return texts


def check(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Only these revisions.", callback=_plain_all, show_default=False),
    ] = None,
    git_base: Annotated[
        str | None, typer.Option("--git-base", metavar="REF", help="Refuse documents that differ from this branch.")
    ] = None,
    rps: Annotated[
        float | None, typer.Option("--rps", help="Requests a second: how long the plan takes with them.")
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option("--requests", metavar="FILE", help="Captured requests, a JSON object a line, to hold against it."),
    ] = None,
    notes: Annotated[bool, typer.Option("-v", "--notes", help="Also notes: what is seen to on the way.")] = False,
    explain: Annotated[str | None, typer.Option("--explain", metavar="RULE", help="What a rule is about.")] = None,
    format: Annotated[CheckFormat | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Check all that can be known before any traffic.

    Documents, their order, owners, deadlines, whether an applied one was edited, and what the providers of both models
    are known to refuse or to write otherwise, both ways. Exit 6 where something is wrong; warnings leave it at 0.

    \b
    Example: llmmigrate check
    Example: llmmigrate check --format github --git-base origin/main
    Example: llmmigrate check support --requests captured.jsonl
    Example: llmmigrate check --explain ANT-05
    """
    from llmmigrate import preflight
    from llmmigrate.preflight import formats

    run = project(context, Format.json if format is CheckFormat.json else Format.table if format else None)
    if explain is not None:
        return _explain(run, explain)
    if rps is not None and not rps > 0:
        raise RefusedError("--rps must be above 0")
    states, applied = _applied(run)
    only = [document.migration.revision for document in map(run.document, targets or [])]
    captured = _Captured(run, requests) if requests is not None else None
    report = preflight.check(
        run.settings,
        now=datetime.now(UTC),
        states=states,
        applied=applied,
        only=only,
        per_second=rps,
        git_base=git_base,
        requests=captured,
        suites=lambda document: _suite_requests(run, document),
    )
    if captured is not None and not captured.requests and not report.errors:
        raise RefusedError(
            f"{captured.name} has no requests: nothing was held against it", hint="--requests FILE.jsonl"
        )
    if format in (CheckFormat.github, CheckFormat.junit, CheckFormat.sarif):
        text = {
            CheckFormat.github: lambda: formats.github(report.findings),
            CheckFormat.junit: lambda: formats.junit(report),
            CheckFormat.sarif: lambda: formats.sarif(report),
        }[format]()
        run.write(text)
    run.emit(
        {
            "ok": not report.errors,
            "errors": len(report.errors),
            "warnings": len(report.warnings),
            "requests": captured.requests if captured is not None else None,
            "unread": captured.unread if captured is not None else None,
            "findings": [finding.to_json() for finding in report.findings],
            "documents": [_document_json(report, document) for document in report.documents],
        }
    )
    if format in (None, CheckFormat.table):
        _print(run, report, rps, notes=notes or captured is not None)
        if captured is not None:
            run.say(captured.told())
    return int(ExitCode.UNFIT if report.errors else ExitCode.DONE)


def _suite_requests(run: Project, document: Document) -> Iterator[Asked]:
    """Give what the cases of a document's suite ask; raises DocumentInvalid."""
    from llmmigrate.preflight import Asked, Place
    from llmmigrate.regression.asking import first_messages
    from llmmigrate.regression.suite import load_suite

    name, root = document.migration.regression.suite, run.settings.root
    assert name is not None
    for case in load_suite(root / name, root=root).cases:
        yield Asked(
            messages=first_messages(case),
            tools=case.tools,
            tool_choice=case.tool_choice,
            response_format=case.response_format,
            params=case.params,
            place=Place(name, case.place[0], case.id),
        )


_FIRST = 5
"""So many lines are named that could not be read."""


class _Captured:
    """The requests of a file, read once: how many they were, and how many lines were none."""

    def __init__(self, run: Project, file: Path) -> None:
        whole, root = file.absolute(), run.settings.root
        self.name = whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(file)
        self.requests = 0
        self.unread = 0
        self._first: list[str] = []
        self._file = file

    def __iter__(self) -> Iterator[Asked | Unreadable]:
        from llmmigrate.preflight import Asked, read_requests

        for one in read_requests(self._file, name=self.name):
            if isinstance(one, Asked):
                self.requests += 1
            else:
                self.unread += 1
                if self.unread <= _FIRST:
                    self._first.append(str(one.place.line))
            yield one

    def told(self) -> str:
        """Say how many requests were read, and which lines were not: REQ-01 has why."""
        read = f"{self.name}: {_many(self.requests, 'request')} read"
        if not self.unread:
            return f"{read}."
        more = ", …" if self.unread > _FIRST else ""
        none = "line is no request" if self.unread == 1 else "lines are no requests"
        return f"{read}; {self.unread:,} {none} (REQ-01): {', '.join(self._first)}{more}"


def _applied(run: Project) -> tuple[dict[str, RouteState] | None, set[str] | None]:
    """Return what a store knows, None without one: a check must work where no store is reached."""
    try:
        store = run.look()
    except StoreMissing:
        return None, None
    except StoreError as error:
        run.err.print(f"warning: {error.message}; edited documents cannot be found")
        return None, None
    states = {state.route: state for state in store.routes()}
    return states, {str(row["revision"]) for row in store.history() if row["revision"] is not None}


def _document_json(report: Report, document: Document) -> dict[str, object]:
    table = report.timetables.get(document.migration.revision)
    return {
        "route": document.migration.route,
        "revision": document.migration.revision,
        "file": document.name,
        "hash": document.hash,
        "stages": [{"stage": name, "seconds": seconds} for name, seconds in table.stages] if table else [],
        "ends_at": table.ends_at.isoformat() if table else None,
    }


def _print(run: Project, report: Report, rps: float | None, *, notes: bool) -> None:
    findings = [one for one in report.findings if notes or one.severity != "note"]
    if not report.documents and not findings:
        run.say("No documents yet.")
        run.say('Next: llmmigrate new -m "…" --route NAME --from MODEL --to MODEL')
        return
    shown: set[int] = set()
    for document in report.documents:
        migration = document.migration
        own = [one for one in findings if one.file.endswith(f"/{document.name}") or one.revision == migration.revision]
        shown |= {id(one) for one in own}
        run.say(f"{migration.route} {migration.revision}  {_count(own)}")
        for one in own:
            _print_finding(run, one)
        table = report.timetables.get(migration.revision)
        if table is not None:
            at = f"at {rps:g} req/s: " if rps else "at least "
            stages = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in table.stages)
            run.say(f"  plan    {at}{stages}; ends {table.ends_at:%Y-%m-%d}")
    for one in findings:
        if id(one) not in shown:
            _print_finding(run, one)
    run.say(f"{_many(len(report.documents), 'document')}: {_counted(findings, always=True)}.")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _count(found: list[Finding]) -> str:
    parts = _counted(found)
    return parts if any(one.severity == "error" for one in found) else f"ok, {parts}" if parts else "ok"


def _counted(found: list[Finding], *, always: bool = False) -> str:
    """Count errors, warnings and notes; `always` the first two, where there are none too."""
    counts = Counter(one.severity for one in found)
    kinds: tuple[Severity, ...] = ("error", "warning", "note")
    return ", ".join(_many(counts[kind], kind) for kind in kinds if counts[kind] or (always and kind != "note"))


def _print_finding(run: Project, one: Finding) -> None:
    where = f"{one.file}:{one.line}:{one.column}"
    path = f"{one.path}: " if one.path else ""
    if one.severity == "error":
        run.say(f"  {one.rule}  error: {where}: {path}{one.message}")
        if one.hint:
            run.say(f"          {one.hint}")
    else:
        kind = "note: " if one.severity == "note" else ""
        run.say(f"  {one.rule}  {kind}{path}{one.message}")


def _explain(run: Project, name: str) -> int:
    from llmmigrate.preflight import RULES

    rule = RULES.get(name.upper())
    if rule is None:
        raise TargetNotFound(f"there is no rule {name!r}; there are {', '.join(RULES)}", hint="llmmigrate check")
    run.emit(
        {
            "rule": rule.id,
            "severity": rule.severity,
            "title": rule.title,
            "why": rule.why,
            "instead": rule.instead,
            "source": rule.source or None,
        }
    )
    run.say(f"{rule.id} ({rule.severity}): {rule.title}")
    run.say(f"  Why:     {rule.why}")
    run.say(f"  Instead: {rule.instead}")
    if rule.source:
        run.say(f"  Source:  {rule.source}")
    return 0


def doctor(
    context: typer.Context,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Look at the set-up itself: configuration, store, controller, routers, people.

    Exit 1 where something is broken. Writes nothing.

    \b
    Example: llmmigrate doctor
    """
    from llmmigrate import doctor as ward

    run = project(context, format)
    found = ward.examine(lambda: run.settings, person=_person(run))
    run.emit({"ok": not any(one.state == "broken" for one in found), "checks": [one.to_json() for one in found]})
    signs = {"ok": "ok     ", "look": "look   ", "broken": "broken "}
    for one in found:
        run.say(f"{signs[one.state]} {one.what}: {one.words}")
        if one.hint:
            run.say(f"         {one.hint}")
    return int(ExitCode.ERROR if any(one.state == "broken" for one in found) else ExitCode.DONE)


def _person(run: Project) -> str | None:
    try:
        return run.person
    except LlmmigrateError:
        return None
