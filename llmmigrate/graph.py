"""Revisions and heads, on Alembic's own revision map: one line of documents per route."""

from __future__ import annotations

from collections.abc import Sequence

from alembic.script.revision import ResolutionError, Revision, RevisionError, RevisionMap

from llmmigrate.document import Document
from llmmigrate.exceptions import GraphError, TargetNotFound

_SHORTEST = 4
"""Characters that a partial revision has at least."""


class Graph:
    """All documents, ordered per route from base to head.

    Raises GraphError for duplicate revisions, missing parents, several heads, a parent of another route, or a
    `current` that is not the parent's `target`.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents: dict[str, Document] = {}
        for document in documents:
            revision = document.migration.revision
            if revision in self._documents:
                raise GraphError(
                    f"revision {revision} stands in {self._documents[revision].name} and in {document.name}",
                    hint="give one of them a new revision",
                )
            self._documents[revision] = document
        for document in documents:
            self._check_parent(document)
        self._map = RevisionMap(
            lambda: [Revision(d.migration.revision, d.migration.down_revision) for d in self._documents.values()]
        )
        try:
            heads = set(self._map.heads)
        except RevisionError as error:
            raise GraphError(str(error)) from error
        self._lines: dict[str, list[str]] = {}
        for route in sorted({d.migration.route for d in documents}):
            self._lines[route] = self._line(route, heads)

    def _check_parent(self, document: Document) -> None:
        migration = document.migration
        if migration.down_revision is None:
            return
        parent = self._documents.get(migration.down_revision)
        if parent is None:
            raise GraphError(
                f"{document.name}: down_revision {migration.down_revision} does not exist",
                hint="restore the missing document, or correct down_revision",
            )
        if parent.migration.route != migration.route:
            raise GraphError(
                f"{document.name}: down_revision {migration.down_revision} belongs to route "
                f"{parent.migration.route}, not {migration.route}"
            )
        expected, found = parent.migration.target, migration.current
        if (expected.model, expected.params) != (found.model, found.params):
            raise GraphError(
                f"{document.name}: current must equal the target of {migration.down_revision} "
                f"({expected.model} with its params), but is {found.model}"
            )

    def _line(self, route: str, heads: set[str]) -> list[str]:
        own = [r for r in heads if self._documents[r].migration.route == route]
        if len(own) != 1:
            raise GraphError(
                f"route {route} has {len(own)} heads: {', '.join(sorted(own))}",
                hint="let one document follow the other: set its down_revision and current",
            )
        line = [revision.revision for revision in self._map.iterate_revisions(own[0], "base")]
        return line[::-1]

    @property
    def routes(self) -> list[str]:
        """All routes that have documents, sorted."""
        return list(self._lines)

    def line(self, route: str) -> list[Document]:
        """Return a route's documents from base to head; empty for an unknown route."""
        return [self._documents[revision] for revision in self._lines.get(route, [])]

    def head(self, route: str) -> Document | None:
        """Return a route's newest document."""
        line = self.line(route)
        return line[-1] if line else None

    def after(self, route: str, revision: str | None) -> Document | None:
        """Return the document that follows `revision` on a route (the first one after None)."""
        line = self._lines.get(route, [])
        index = line.index(revision) + 1 if revision in line else 0 if revision is None else len(line)
        return self._documents[line[index]] if index < len(line) else None

    def get(self, revision: str) -> Document | None:
        """Return the document of a full revision id."""
        return self._documents.get(revision)

    def resolve(self, target: str | None) -> tuple[str, str]:
        """Return (route, revision) for a route name, a full or partial (4 or more) revision, or `route@head`.

        None means the only route there is. Raises TargetNotFound.
        """
        if target is None:
            if len(self._lines) == 1:
                route = next(iter(self._lines))
                return route, self._lines[route][-1]
            if not self._lines:
                raise TargetNotFound("there are no documents yet", hint='llmmigrate new -m "…" --route NAME …')
            known = ", ".join(self._lines)
            raise TargetNotFound(f"name a route: there are {len(self._lines)} ({known})", hint="llmmigrate status")
        route = target.removesuffix("@head")
        if route in self._lines:
            return route, self._lines[route][-1]
        known = f"there is no route or revision {target!r}; routes: {', '.join(self._lines) or 'none'}"
        try:
            found = self._map.get_revision(target) if len(target) >= _SHORTEST else None
        except ResolutionError as error:
            ambiguous = "Multiple revisions" in str(error)
            raise TargetNotFound(str(error) if ambiguous else known, hint="llmmigrate status") from error
        if found is None:
            raise TargetNotFound(known, hint="llmmigrate status")
        return self._documents[found.revision].migration.route, found.revision
