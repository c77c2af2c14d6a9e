"""From what rules find to findings: each at its place, and the same of many requests told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import orjson

from llmmigrate.document import Document
from llmmigrate.document.source import dotted
from llmmigrate.preflight.case import Asked, Case, Hit, Path, Place, Rule, Unreadable, ways
from llmmigrate.preflight.catalogue import PROVIDER_RULES, RULES
from llmmigrate.preflight.finding import Finding

_FIRST = 3
"""So many places are named of what many requests have in common."""

_KINDS = 30
"""So many places of a rule are told apart; what else it finds is told together."""

_LONGEST = 400
"""A name or a path that a request brings is cut to so many characters."""


@dataclass(slots=True)
class _Fold:
    finding: Finding
    requests: int = 0
    places: list[str] = field(default_factory=list)
    last: int = 0

    def add(self, place: Place, number: int) -> None:
        """Count a request, once, however often it is found in it."""
        if number != self.last:
            self.last = number
            self.requests += 1
            if len(self.places) < _FIRST:
                self.places.append(printable(str(place)))

    def told(self) -> Finding:
        if not self.requests:
            return self.finding
        where = ", ".join(self.places)
        what = "lines" if self.finding.rule == "REQ-01" else "requests"
        many = f" [{self.requests:,} {what}, first {where}]" if self.requests > 1 else f" [{where}]"
        if where == f"{self.finding.file}:{self.finding.line}":
            many = ""
        message = f"{self.finding.message}{many}"
        return replace(self.finding, message=message, requests=self.requests, places=tuple(self.places))


class Folds:
    """Keeps findings by rule, severity, direction and kind of place, however many requests they are of."""

    def __init__(self) -> None:
        self._folds: dict[tuple[object, ...], _Fold] = {}
        self._kinds: dict[str, int] = {}

    def add(self, finding: Finding, path: Path, place: Place | None, number: int) -> None:
        """Keep a finding at a path, found in the request of a number, from 1 on; no place where none is concerned."""
        fold = self._folds.get(self._key(finding, path))
        if fold is None and self._kinds.get(finding.rule, 0) >= _KINDS:
            path = path[:1]
            fold = self._folds.get(self._key(finding, path))
        if fold is None:
            self._kinds[finding.rule] = self._kinds.get(finding.rule, 0) + 1
            known = replace(finding, message=printable(finding.message), path=printable(dotted(path)))
            fold = self._folds[self._key(finding, path)] = _Fold(known)
        if place is not None:
            fold.add(place, number)

    def told(self) -> list[Finding]:
        """Return one finding for each kind, with its count and its first places."""
        return [fold.told() for fold in self._folds.values()]

    @staticmethod
    def _key(finding: Finding, path: Path) -> tuple[object, ...]:
        kind = tuple("[]" if isinstance(part, int) else part for part in path)
        own = finding.message if finding.rule == "REQ-01" else ""
        return finding.rule, finding.severity, finding.direction, finding.file, kind, own


class Checker:
    """Holds one document, both ways, against the rules, and every request that it is shown.

    `file` is the document's path relative to the project. A request that is nested too deeply to be walked is told as
    one that cannot be read.
    """

    def __init__(self, document: Document, *, file: str, per_second: float | None = None) -> None:
        self._document = document
        self._file = file
        self._seen = 0
        self._folds = Folds()
        self._ways = [
            (way, [rule for rule in PROVIDER_RULES if rule.concerns(way)])
            for way in ways(document, per_second=per_second)
        ]

    def see(self, asked: Asked) -> None:
        """Look at one request."""
        self._seen += 1
        try:
            orjson.dumps(list(asked.tools), default=dict)
        except TypeError:
            self._lose(asked, "its tools are no JSON, or are nested too deeply")
            return
        try:
            self._look(asked)
        except RecursionError:
            self._lose(asked, "it is nested too deeply")

    def findings(self) -> list[Finding]:
        """Return what was found; without any request, what the document alone makes of every one."""
        for way, rules in self._ways:
            for rule in rules:
                for hit in rule.of_way(way):
                    self._add(rule, Case(way), hit)
        if not self._seen:
            self._look(None)
        return self._folds.told()

    def _lose(self, asked: Asked, words: str) -> None:
        self._folds.add(unreadable(Unreadable(asked.place, words)), (), asked.place, self._seen)

    def _look(self, asked: Asked | None) -> None:
        for way, rules in self._ways:
            case = Case(way, asked)
            for rule in rules:
                for hit in rule.of_case(case):
                    self._add(rule, case, hit)

    def _add(self, rule: Rule, case: Case, hit: Hit) -> None:
        direction = hit.direction or case.way.direction
        to = {"there": f"to {case.to.name}", "back": f"on the way back to {case.to.name}", "both": "both ways"}
        path, in_document = _path(case, hit.at)
        place = case.asked.place if case.asked is not None else None
        if in_document:
            problem = self._document.problem(path, "")
            file, line, column = self._file, problem.line, problem.column
        else:
            assert place is not None
            file, line, column = place.file, place.line, 1
        finding = Finding(
            rule=rule.info.id,
            severity=hit.severity or rule.info.severity,
            message=f"{to[direction]}: {hit.words}",
            file=file,
            line=line,
            column=column,
            route=self._document.migration.route,
            revision=self._document.migration.revision,
            hint=rule.info.instead,
            direction=direction,
        )
        self._folds.add(finding, path, place, self._seen)


def findings_of(
    document: Document, requests: Iterable[Asked | Unreadable] = (), *, file: str, per_second: float | None = None
) -> list[Finding]:
    """Return what the rules find in a document's pair of models, both ways, and in requests made of its route.

    `file` is the document's path relative to the project, `per_second` the traffic of the route in requests/s. Requests
    are read once and not kept. Lines that are no requests become findings of REQ-01.
    """
    return hold([Checker(document, file=file, per_second=per_second)], requests)


def hold(checkers: Sequence[Checker], requests: Iterable[Asked | Unreadable]) -> list[Finding]:
    """Show requests to checkers, once, and return what was found; lines that are no requests come first."""
    lost = Folds()
    for number, asked in enumerate(requests, 1):
        if isinstance(asked, Unreadable):
            lost.add(unreadable(asked), (), asked.place, number)
        else:
            for checker in checkers:
                checker.see(asked)
    return [*lost.told(), *(one for checker in checkers for one in checker.findings())]


def unreadable(line: Unreadable) -> Finding:
    """Make the finding of a line that is no request."""
    rule = RULES["REQ-01"]
    return Finding(rule.id, rule.severity, line.words, line.place.file, line.place.line, line.column, hint=rule.instead)


def printable(text: str) -> str:
    """Return a text that a request may have brought: on one line, without control signs, and cut."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(sign if sign.isprintable() else "?" for sign in short)


def _path(case: Case, at: Path) -> tuple[Path, bool]:
    """Return where a hit stands, and whether that is in the document."""
    side = case.to.side
    kind, prompted = at[:1], case.to.system is not None
    if kind == ("params",):
        own = case.asked is None or (len(at) > 1 and case.in_document(str(at[1])))
        return ((side, *at), True) if own else (at[1:], False)
    if kind == ("tools",) and case.in_document("tools"):
        return (side, "params", *at), True
    if at[:2] == ("messages", 0) and prompted:
        return (side, "system"), True
    if case.asked is None or kind in {("model",), ("limits",)}:
        return (side, *(at if kind == ("limits",) else ("model",))), True
    if kind == ("messages",) and len(at) > 1 and prompted:
        return ("messages", int(at[1]) - 1 + case.leading, *at[2:]), False
    return at, False
