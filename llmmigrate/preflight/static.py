"""The static check: documents, their line, their owners, their deadlines, and what was applied of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from llmmigrate.document import Document, edited_part, load_readable
from llmmigrate.exceptions import DocumentError, DocumentInvalid, GraphError, Problem, RefusedError, SettingsError
from llmmigrate.graph import Graph
from llmmigrate.head_files import head_file_faults
from llmmigrate.lifecycle import RouteState
from llmmigrate.preflight.case import Asked, Unreadable
from llmmigrate.preflight.catalogue import RULES
from llmmigrate.preflight.deadlines import Timetable, line_timetables, retires
from llmmigrate.preflight.finding import Finding
from llmmigrate.preflight.folding import Checker, findings_of, hold
from llmmigrate.preflight.merged import changed_since
from llmmigrate.settings import CONFIG_NAME, Settings
from llmmigrate.support import unsupported

DocumentPath = tuple[str | int, ...]


@dataclass(slots=True)
class Report:
    """All findings of a check, the documents that were checked, and the timetables of what is still to come."""

    findings: list[Finding] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    timetables: dict[str, Timetable] = field(default_factory=dict)

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "warning"]


def check(
    settings: Settings,
    *,
    now: datetime,
    states: Mapping[str, RouteState] | None = None,
    applied: Collection[str] | None = None,
    only: Collection[str] = (),
    per_second: float | None = None,
    git_base: str | None = None,
    requests: Iterable[Asked | Unreadable] | None = None,
    suites: Callable[[Document], Iterable[Asked]] | None = None,
) -> Report:
    """Check every document of a project, or those of the revisions in `only`.

    `states` are the routes of a history store and `applied` the revisions in its history, None without one: with them
    an edited document that was applied is found, and what is completed is not held against deadlines nor against facts
    of providers. `per_second` is the traffic that timetables reckon with. `requests` are held against the documents
    that are still to come; they are read once and not kept. `suites` gives the requests of the suite that a document
    names, and raises DocumentInvalid for one that cannot be read. Reads files, and git where `git_base` is given;
    writes nothing. Raises SettingsError where there is no project, and for a `git_base` that git does not know, and
    RefusedError for requests where documents of several routes are checked, since what one route sends says nothing of
    another, or where none is still to come.
    """
    report = Report()
    report.documents, broken = load_readable(settings.versions, root=settings.root)
    if settings.file is None and not report.documents and not broken:
        raise SettingsError(
            f"no {CONFIG_NAME} in {settings.root} or above it, and no documents: nothing was checked",
            hint="change to the project's folder, or name its file: llmmigrate -c FILE check",
        )
    report.findings += [_invalid(settings, problem, error.route) for error in broken for problem in error.problems]
    graph = Graph(report.documents, broken)
    places = _Places(settings, graph)
    report.findings += [places.of_line(fault) for fault in graph.faults if isinstance(fault, GraphError)]
    report.findings += [places.of_head_file(fault) for fault in head_file_faults(graph, settings.heads)]
    for document in report.documents:
        report.findings += _document(settings, places, document)
    for route in graph.routes:
        report.findings += _route(report, places, graph, route, (states or {}).get(route), now, per_second)
    if git_base is not None:
        report.findings += _merged(settings, places, report.documents, applied, git_base)
    coming = [one for one in _coming(graph, states or {}) if not only or one.migration.revision in only]
    if requests is not None:
        _one_route(coming)
        if not coming and not report.errors:
            raise RefusedError("no document is still to come that requests could be held against")
    checkers = [Checker(one, file=places.file(one.name), per_second=per_second) for one in coming]
    if suites is not None:
        for checker, document in zip(checkers, coming, strict=True):
            report.findings += _suite(settings, document, checker, suites)
    report.findings += hold(checkers, requests or ())
    if only:
        report.documents = [one for one in report.documents if one.migration.revision in only]
        routes = {None, *(one.migration.route for one in report.documents)}
        report.findings = [
            one for one in report.findings if one.revision in only or (one.revision is None and one.route in routes)
        ]
    report.findings.sort(key=lambda one: (one.file, one.severity != "error", one.line, one.column))
    return report


def _suite(
    settings: Settings, document: Document, checker: Checker, suites: Callable[[Document], Iterable[Asked]]
) -> list[Finding]:
    """Show a checker the requests of a document's suite; return what keeps the suite from being read."""
    suite = document.migration.regression.suite
    if suite is None or not (settings.root / suite).is_file():
        return []
    try:
        for asked in suites(document):
            checker.see(asked)
    except DocumentInvalid as error:
        rule = RULES["SUI-01"]
        return [
            Finding(
                rule.id,
                rule.severity,
                problem.message,
                suite,
                problem.line,
                problem.column,
                problem.path,
                document.route,
                document.revision,
                rule.instead,
            )
            for problem in error.problems
        ]
    return []


def check_document(settings: Settings, graph: Graph, document: Document, *, now: datetime) -> list[Finding]:
    """Check one document by itself and against the calendar, as if its line began with it now; notes are left out."""
    places = _Places(settings, graph)
    [(_, table)] = line_timetables([document], now=now)
    return [
        *_document(settings, places, document),
        *_deadlines(places, document, table, now),
        *(one for one in findings_of(document, file=places.file(document.name)) if one.severity != "note"),
    ]


class _Places:
    """Puts findings at their place."""

    def __init__(self, settings: Settings, graph: Graph) -> None:
        self._settings = settings
        self._graph = graph

    def file(self, name: str) -> str:
        return _relative(self._settings, self._settings.versions / name)

    def at(self, document: Document, path: DocumentPath, rule: str, message: str) -> Finding:
        """Place a finding at a path of a document."""
        problem = document.problem(path, message)
        return Finding(
            rule=rule,
            severity=RULES[rule].severity,
            message=message,
            file=self.file(document.name),
            line=problem.line,
            column=problem.column,
            path=problem.path,
            route=document.migration.route,
            revision=document.migration.revision,
            hint=RULES[rule].instead,
        )

    def head_file(self, route: str | None) -> str:
        """Return the file that names a route's head: what is left of a route whose document is gone."""
        return _relative(self._settings, self._settings.heads / (route or ""))

    def of_line(self, fault: GraphError) -> Finding:
        """Place a fault of the line of documents at the first document that it names."""
        own = [document for document in self._graph.documents if document.migration.route == fault.route]
        [document, *_] = [document for document in own if document.name in fault.message] or own
        return _fault(fault, "GRA-01", self.file(document.name))

    def of_head_file(self, fault: GraphError) -> Finding:
        """Place a fault of a head file there."""
        return _fault(fault, "GRA-02", self.head_file(fault.route))


def _fault(fault: GraphError, rule: str, file: str) -> Finding:
    hint = fault.hint or RULES[rule].instead
    return Finding(rule, "error", fault.message, file, route=fault.route, hint=hint)


def _relative(settings: Settings, file: Path) -> str:
    return file.relative_to(settings.root).as_posix() if file.is_relative_to(settings.root) else str(file)


def _invalid(settings: Settings, problem: Problem, route: str | None) -> Finding:
    return Finding(
        rule="DOC-01",
        severity="error",
        message=problem.message,
        file=_relative(settings, settings.versions / problem.file),
        line=problem.line,
        column=problem.column,
        path=problem.path,
        route=route,
    )


def _document(settings: Settings, places: _Places, document: Document) -> Iterator[Finding]:
    """Yield what one document says of itself, by reading it alone."""
    migration = document.migration
    for path, name in _named_files(document):
        if not (settings.root / name).is_file():
            yield places.at(document, path, "DOC-02", f"there is no file {name}")
    if not migration.owners.rollback:
        yield places.at(document, ("owners",), "OWN-01", "owners.rollback names nobody")
    for stage, groups in migration.owners.approvers.items():
        missing = [group for group in groups if not settings.groups.get(group)]
        if missing:
            words = f"{', '.join(missing)} must approve {stage}, and the configuration has no such group"
            yield places.at(document, ("owners", "approvers", stage), "OWN-02", words)
    waived = list(_waivers(document))
    if waived:
        path = waived[0][0]
        yield places.at(document, path, "WVD-01", f"waived: {', '.join(what for _, what in waived)}")
    for lack in unsupported(migration):
        words = lack.words if lack.holds is None else f"{lack.words}: {lack.holds} cannot be left"
        yield places.at(document, lack.path, "SUP-01", words)
    if migration.profile == "demo":
        yield places.at(document, ("profile",), "DEMO-01", RULES["DEMO-01"].title)
    yield from _judge(places, document)


def _judge(places: _Places, document: Document) -> Iterator[Finding]:
    migration = document.migration
    judge = migration.monitoring.judge
    for side in ("current", "target"):
        model = getattr(migration, side).model
        if judge is not None and family(judge.model) == family(model):
            words = f"{judge.model} judges {model}, of its own family ({family(model)})"
            yield places.at(document, ("monitoring", "judge", "model"), "JDG-01", f"{side}: {words}")


def _named_files(document: Document) -> Iterator[tuple[DocumentPath, str]]:
    migration = document.migration
    if migration.regression.suite is not None:
        yield ("regression", "suite"), migration.regression.suite
    if migration.monitoring.judge is not None:
        yield ("monitoring", "judge", "rubric"), migration.monitoring.judge.rubric


def _waivers(document: Document) -> Iterator[tuple[DocumentPath, str]]:
    migration = document.migration
    for section in ("regression", "shadow", "observation"):
        if getattr(migration, section).waived is not None:
            yield (section, "waived"), section
    for section in ("rollback", "pause"):
        for index, rule in enumerate(getattr(migration, section)):
            if rule.waived is not None:
                yield (section, index), rule.metric


_FAMILIES = {
    "claude": "Claude",
    "gpt": "GPT",
    "chatgpt": "GPT",
    "o1": "GPT",
    "o3": "GPT",
    "o4": "GPT",
    "gemini": "Gemini",
    "gemma": "Gemini",
    "mistral": "Mistral",
    "mixtral": "Mistral",
    "ministral": "Mistral",
    "magistral": "Mistral",
    "codestral": "Mistral",
    "llama": "Llama",
    "qwen": "Qwen",
    "deepseek": "DeepSeek",
    "command": "Command",
    "grok": "Grok",
    "nova": "Nova",
}


def family(model: str) -> str:
    """Name the family of a model: by a part of its name that is known, else by its provider."""
    for part in re.split(r"[/.:_-]", model.lower()):
        for beginning, title in _FAMILIES.items():
            if part.startswith(beginning):
                return title
    return model.partition("/")[0]


def _route(
    report: Report,
    places: _Places,
    graph: Graph,
    route: str,
    state: RouteState | None,
    now: datetime,
    per_second: float | None,
) -> Iterator[Finding]:
    """Yield what a route's line of documents says together with time and with what was applied."""
    try:
        line = graph.line(route)
    except DocumentError:
        return
    active = (state.revision, state.phase) if state is not None and state.active else None
    for document, table in line_timetables(
        line,
        now=now,
        completed=state.completed_revision if state is not None else None,
        active=active if active is not None and active[0] and active[1] else None,  # type: ignore[arg-type]
        per_second=per_second,
    ):
        report.timetables[document.migration.revision] = table
        yield from _deadlines(places, document, table, now)
    yield from _edited(places, graph, state)


def _coming(graph: Graph, states: Mapping[str, RouteState]) -> list[Document]:
    """Return the documents that are not completed; all of a route whose line is broken."""
    coming = []
    for route in graph.routes:
        state = states.get(route)
        completed = state.completed_revision if state is not None else None
        try:
            line = graph.line(route)
        except DocumentError:
            coming += [one for one in graph.documents if one.migration.route == route]
            continue
        revisions = [one.migration.revision for one in line]
        coming += line[revisions.index(completed) + 1 :] if completed in revisions else line
    return coming


def _one_route(documents: Sequence[Document]) -> None:
    routes = sorted({one.migration.route for one in documents})
    if len(routes) > 1:
        raise RefusedError(
            f"requests are those of one route, and there are {', '.join(routes)}",
            hint=f"llmmigrate check {routes[0]} --requests FILE",
        )


def _deadlines(places: _Places, document: Document, table: Timetable, now: datetime) -> Iterator[Finding]:
    for side in ("current", "target"):
        endpoint = getattr(document.migration, side)
        day = retires(endpoint)
        if day is None:
            words = f"nobody knows when {endpoint.model} retires: write {side}.retires"
            yield places.at(document, (side, "model"), "DEP-02", words)
        elif day <= now.date():
            yield places.at(document, (side, "model"), "DEP-01", f"{endpoint.model} retired on {day}")
        elif day <= table.ends_at.date():
            end = f"{table.ends_at:%Y-%m-%d} at the earliest"
            words = f"{endpoint.model} retires on {day}, before the way back closes: {end}"
            yield places.at(document, (side, "model"), "DEP-01", words)


def _edited(places: _Places, graph: Graph, state: RouteState | None) -> Iterator[Finding]:
    if state is None or state.revision is None or state.document_hash is None or state.status == "rolled_back":
        return
    document = graph.get(state.revision)
    if document is None:
        yield Finding(
            rule="EDT-01",
            severity="error",
            message=f"the document of {state.revision}, which is applied to {state.route}, is gone",
            file=places.head_file(state.route),
            route=state.route,
            revision=state.revision,
            hint="restore the file: git log --diff-filter=D -- migrations/versions",
        )
    elif document.hash != state.document_hash:
        words = f"{edited_part(document, state.document)} of {state.revision} was edited after it was applied"
        yield places.at(document, (), "EDT-01", words)


def _merged(
    settings: Settings,
    places: _Places,
    documents: Sequence[Document],
    applied: Collection[str] | None,
    git_base: str,
) -> Iterator[Finding]:
    for changed in changed_since(settings, documents, git_base):
        if applied is not None and changed.revision not in applied:
            continue
        what = "is gone" if changed.now is None else "was edited"
        message = f"{changed.name}: revision {changed.revision} {what} since {git_base}"
        if changed.now is not None:
            yield places.at(changed.now, (), "EDT-02", message)
        else:
            yield Finding(
                rule="EDT-02",
                severity="error",
                message=message,
                file=places.file(changed.name),
                route=changed.route,
                revision=changed.revision,
                hint=RULES["EDT-02"].instead,
            )
