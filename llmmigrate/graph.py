"""Revisions and heads: one line of documents per route, found by the identifiers that Alembic knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from llmmigrate.document import Document
from llmmigrate.exceptions import DocumentError, DocumentInvalid, GraphError, MultipleHeads, TargetNotFound

if TYPE_CHECKING:
    from alembic.script.revision import RevisionMap

SHORTEST = 4
"""Characters that a partial revision has at least."""

_IDENTIFIER = re.compile(r"(?P<symbol>\w+)?(?P<steps>[+-]\d+)?", re.ASCII)
_WORDS = (None, "head", "heads", "base", "current")
_LOOK = "llmmigrate status"
_BEGIN = 'llmmigrate new -m "…" --route NAME --from MODEL --to MODEL'
_STANDS = "llmmigrate current"
_NOWHERE: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """What an identifier means: a route, and a revision of it (None for base)."""

    route: str
    revision: str | None


def is_relative(target: str | None) -> bool:
    """Tell whether a target counts from what its route stands on, such as `+1` or `ROUTE@-1`."""
    symbol, steps = _parts((target or "").rpartition("@")[2])
    return (symbol is None and steps is not None) or symbol == "current"


def no_document(route: str, revision: str) -> GraphError:
    """Return the error where a route stands on a revision that no document has."""
    return GraphError(
        f"route {route} stands on {revision}, which no document describes",
        hint="restore the missing document",
        route=route,
    )


class Graph:
    """All documents, ordered per route from base to head.

    A route has a fault where a revision stands twice, a parent is missing, or is another route's, or its own, where
    there are several heads, a `current` is not the parent's `target`, or a file that says to be about it cannot be
    read (`broken`). Nothing is raised for it until that route is asked for: a mistake in one route stops no other.
    Files that do not say what they are about are `unread`, and stop none.
    """

    def __init__(self, documents: Sequence[Document], broken: Sequence[DocumentInvalid] = ()) -> None:
        self.documents = tuple(documents)
        self._by_revision: dict[str, list[Document]] = {}
        for document in self.documents:
            self._by_revision.setdefault(document.revision, []).append(document)
        ordered = sorted(self.documents, key=_route)
        self._by_route = {route: list(members) for route, members in groupby(ordered, key=_route)}
        self.unread = tuple(error for error in broken if error.route is None)
        self._faults: dict[str, list[DocumentError]] = {route: list(self._check(route)) for route in self._by_route}
        for error in broken:
            if error.route is not None:
                self._faults.setdefault(error.route, []).insert(0, error)
        self._lines = {route: self._walk(route) for route, faults in self._faults.items() if not faults}

    def _check(self, route: str) -> Iterator[GraphError]:
        """Find what is wrong with a route; heads and chain only where every parent is there."""
        members = self._by_route[route]
        broken = [*self._twins(route), *(fault for member in members if (fault := self._parent_fault(member)))]
        if broken:
            yield from broken
            return
        circle = self._circle(route)
        if circle:
            yield GraphError(
                f"the documents of route {route} follow each other in a circle: {', '.join(circle)}",
                hint="set down_revision of the first one to null",
                route=route,
            )
            return
        heads = self.heads(route)
        if len(heads) > 1:
            bases = sorted(m.revision for m in members if m.down_revision is None)
            yield MultipleHeads(route, heads, bases)
        yield from (fault for member in members if (fault := self._chain_fault(member)))

    def _twins(self, route: str) -> Iterator[GraphError]:
        for revision in dict.fromkeys(member.revision for member in self._by_route[route]):
            twins = self._by_revision[revision]
            if len(twins) > 1:
                yield GraphError(
                    f"revision {revision} stands in {' and in '.join(twin.name for twin in twins)}",
                    hint="give one of them a new revision",
                    route=route,
                )

    def _parent_fault(self, document: Document) -> GraphError | None:
        own, down, route = document.revision, document.down_revision, document.route
        if down is None:
            return None
        if down == own:
            return GraphError(f"{document.name}: down_revision is the document's own revision", route=route)
        parents = self._by_revision.get(down)
        if parents is None:
            return GraphError(
                f"{document.name}: down_revision {down} does not exist",
                hint="restore the missing document, or correct down_revision",
                route=route,
            )
        if all(_route(parent) != route for parent in parents):
            return GraphError(
                f"{document.name}: down_revision {down} belongs to route {_route(parents[0])}, not {route}", route=route
            )
        return None

    def _chain_fault(self, document: Document) -> GraphError | None:
        if document.down_revision is None:
            return None
        expected, found = self._by_revision[document.down_revision][0].moves("target"), document.moves("current")
        if expected == found:
            return None
        return GraphError(
            f"{document.name}: current must equal the target of {document.down_revision} "
            f"({expected['model']} with its params and prompt), but is {found['model']}",
            route=document.route,
        )

    def _circle(self, route: str) -> list[str]:
        """Return the revisions that go round, empty where every walk down ends at base."""
        down = {m.revision: m.down_revision for m in self._by_route[route]}
        grounded: set[str | None] = {None}
        for start in down:
            way: list[str] = []
            at: str | None = start
            while at not in grounded:
                assert at is not None
                if at in way:
                    return sorted(way[way.index(at) :])
                way.append(at)
                at = down[at]
            grounded.update(way)
        return []

    def _walk(self, route: str) -> list[Document]:
        [head] = self.heads(route)
        return [self._by_revision[revision][0] for revision in self.ancestry(head)]

    @property
    def routes(self) -> list[str]:
        """All routes that have documents, sorted, those with faults too."""
        return sorted(self._faults)

    @property
    def faults(self) -> list[DocumentError]:
        """All that is wrong, by route; each error names its route."""
        return [fault for faults in self._faults.values() for fault in faults]

    def fault(self, route: str) -> DocumentError | None:
        """Return what `line` would raise for a route."""
        return next(iter(self._faults.get(route, [])), None)

    def heads(self, route: str) -> list[str]:
        """Return the revisions of a route that nothing follows, by age; several of them are a fault. Never raises."""
        members = sorted(self._by_route.get(route, []), key=lambda m: (str(m.value("created")), m.revision))
        followed = {m.down_revision for m in members if m.down_revision != m.revision}
        return list(dict.fromkeys(m.revision for m in members if m.revision not in followed))

    def ancestry(self, revision: str) -> list[str]:
        """Return a revision with all below it, from base on; only for a route without circles."""
        way: list[str] = []
        at: str | None = revision
        while at is not None:
            way.append(at)
            at = self._by_revision[at][0].down_revision
        return way[::-1]

    def line(self, route: str) -> list[Document]:
        """Return a route's documents from base to head; empty for an unknown route. Raises the route's fault."""
        fault = self.fault(route)
        if fault is not None:
            raise fault.with_traceback(None)
        return list(self._lines.get(route, []))

    def head(self, route: str) -> Document | None:
        """Return a route's newest document; raises the route's fault."""
        line = self.line(route)
        return line[-1] if line else None

    def after(self, route: str, revision: str | None) -> Document | None:
        """Return the document that follows `revision` on a route (the first one after None).

        Raises the route's fault.
        """
        line = self.line(route)
        revisions = [None, *(document.revision for document in line)]
        index = revisions.index(revision) if revision in revisions else len(line)
        return line[index] if index < len(line) else None

    def get(self, revision: str) -> Document | None:
        """Return the document of a full revision id, whatever is wrong with its route."""
        return next(iter(self._by_revision.get(revision, [])), None)

    def resolve(self, target: str | None = None, current: Mapping[str, str | None] = _NOWHERE) -> Target:
        """Return what `[ROUTE@]IDENTIFIER` or `ROUTE` means; None is the head of the only route there is.

        An identifier is a full or partial (4 or more) revision, `head`, `base`, `current`, each with or without steps
        (`REV-1`), or steps alone (`+1`), counted from what the route stands on: `current` says that per route. A
        route's name comes before a revision's. Raises TargetNotFound, and the fault of the route that is meant.
        """
        if target is None:
            target = self._only()
        label, _, identifier = (target, "", "head") if target in self._faults else target.rpartition("@")
        symbol, steps = _parts(identifier)
        if ("@" in target and label not in self._faults) or (symbol is None and steps is None):
            raise self._unknown(target)
        route, start = self._start(label or None, symbol, current)
        line = [None, *(document.revision for document in self.line(route))]
        if start not in line:
            assert start is not None
            raise no_document(route, start)
        at, steps = line.index(start), steps or 0
        if symbol is None and steps == 0:
            raise TargetNotFound(f"{target!r} leads nowhere: say how many steps", hint=_STANDS)
        if not 0 <= at + steps < len(line):
            end, left, side = ("the head", len(line) - 1 - at, "above") if steps > 0 else ("base", at, "below")
            away = f"{left} step{'s' * (left != 1)} {side} {start or 'base'}"
            raise TargetNotFound(f"{target!r} leads past {end} of route {route}, {away}", hint=_STANDS)
        return Target(route, line[at + steps])

    def _start(
        self, label: str | None, symbol: str | None, current: Mapping[str, str | None]
    ) -> tuple[str, str | None]:
        """Return the route that is meant, and the revision that steps count from."""
        if symbol not in _WORDS:
            if label is not None:
                self.line(label)
            found = self.find(symbol, label)
            return _route(found), found.revision
        route = label or self._only()
        if symbol in ("head", "heads"):
            return route, self.line(route)[-1].revision
        return route, None if symbol == "base" else current.get(route)

    def find(self, revision: str, route: str | None = None) -> Document:
        """Return the document of a full or partial revision, as Alembic finds it, on one route or on any.

        Raises TargetNotFound; faults of routes are no matter.
        """
        found = self._by_revision.get(revision) or [self._partial(revision, route)]
        for document in found:
            if route in (None, _route(document)):
                return document
        raise TargetNotFound(f"revision {revision} belongs to route {_route(found[0])}, not {route}", hint=_LOOK)

    def _partial(self, partial: str, route: str | None) -> Document:
        from alembic.script.revision import ResolutionError

        if len(partial) < SHORTEST:
            raise TargetNotFound(
                f"there is no route {partial!r}, and {SHORTEST} characters of a revision are the least", hint=_LOOK
            )
        line = self._lines.get(route or "", [])
        lineage = f"{line[0].revision}@" if line else ""
        try:
            found = self._map.get_revision(f"{lineage}{partial}")
        except ResolutionError as error:
            matching = sorted(revision for revision in self._by_revision if revision.startswith(partial))
            matching = [r for r in matching if route in (None, *map(_route, self._by_revision[r]))]
            if len(matching) > 1:
                raise TargetNotFound(
                    f"{partial!r} is the beginning of {len(matching)} revisions: {', '.join(matching)}",
                    hint="give more of its characters",
                ) from error
            raise self._unknown(partial) from error
        assert found is not None
        return self._by_revision[found.revision][0]

    @cached_property
    def _map(self) -> RevisionMap:
        """Alembic's map of all revisions; those of a route with a fault stand in it alone, without parents."""
        from alembic.script.revision import Revision, RevisionMap

        def revisions() -> Iterator[Revision]:
            for revision, (document, *_) in self._by_revision.items():
                sound = _route(document) in self._lines
                yield Revision(revision, document.down_revision if sound else None)

        return RevisionMap(revisions)

    def _only(self) -> str:
        """Return the only route; raises TargetNotFound where there is none or a choice."""
        routes = self.routes
        if not routes and self.unread:
            raise DocumentInvalid([problem for error in self.unread for problem in error.problems])
        if not routes:
            raise TargetNotFound("there are no documents yet", hint=_BEGIN)
        if len(routes) > 1:
            raise TargetNotFound(f"name a route: there are {len(routes)} ({', '.join(routes)})", hint=_LOOK)
        return routes[0]

    def _unknown(self, target: str) -> TargetNotFound:
        known = ", ".join(self.routes) or "none"
        return TargetNotFound(f"there is no route or revision {target!r}; routes: {known}", hint=_LOOK)


def _route(document: Document) -> str:
    return document.route


def _parts(identifier: str) -> tuple[str | None, int | None]:
    """Split an identifier in its symbol and its steps; both are None where it is none."""
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None:
        return None, None
    steps = match["steps"]
    return match["symbol"], int(steps) if steps is not None else None
