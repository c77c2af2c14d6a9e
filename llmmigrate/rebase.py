"""Re-parenting: a second head of a route comes to follow the other one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmmigrate.document import Document, Endpoint, PromptFiles, PromptReader, load_text
from llmmigrate.document.editing import edited
from llmmigrate.document.source import Path as KeyPath
from llmmigrate.document.source import read
from llmmigrate.exceptions import DocumentInvalid, MultipleHeads, RefusedError
from llmmigrate.files import replace_file
from llmmigrate.graph import Graph
from llmmigrate.head_files import head_file_faults, write_head
from llmmigrate.settings import Settings

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RebaseResult:
    """What was written: the document that follows `onto` now, None where only the head file was put right."""

    route: str
    head: str
    head_file: Path
    file: Path | None = None
    document: Document | None = None
    onto: str | None = None


def rebase(
    settings: Settings, graph: Graph, revision: str, applied: Collection[str], *, onto: str | None = None
) -> RebaseResult:
    """Let the branch of a second head follow the other head of its route; `onto` says which where there are more.

    Of the branch's first document `down_revision` and `current` are rewritten in place; every other byte stays. The
    head file is written too, and alone where the route has one head and its file does not say so. `applied` are the
    revisions that were ever applied. Raises RefusedError with nothing written, TargetNotFound, and the GraphError of a
    route that has more wrong than its heads.
    """
    asked = graph.find(revision).migration
    route, heads = asked.route, graph.heads(asked.route)
    for fault in graph.faults:
        if fault.route == route and not isinstance(fault, MultipleHeads):
            raise fault.with_traceback(None)
    if len(heads) == 1:
        if all(fault.route != route for fault in head_file_faults(graph, settings.heads)):
            raise RefusedError(f"route {route} has one head, {heads[0]}: there is nothing to re-parent")
        return RebaseResult(route, heads[0], write_head(settings.heads, route, heads[0]))
    head = _head_above(graph, asked.revision, heads)
    onto = _onto(graph, head, heads, onto)
    shared = {below for other in heads if other != head for below in graph.ancestry(other)}
    branch = [own for own in graph.ancestry(head) if own not in shared]
    done = [own for own in branch if own in applied]
    if done:
        raise RefusedError(
            f"{', '.join(done)} was applied already: an applied document is not rewritten",
            hint=f"llmmigrate rebase {onto}, where that one was not",
        )
    first, below = graph.get(branch[0]), graph.get(onto)
    assert first is not None
    assert below is not None
    current, target = below.migration.target, first.migration.target
    if below.moves("target") == first.moves("target"):
        raise RefusedError(
            f"{first.migration.revision} moves to {target.model}, and so does {onto}: nothing is left to migrate",
            hint=f"delete {first.name}, or change its target",
        )
    prompts = PromptFiles(settings.root)
    document = _rewrite(settings.versions / first.name, first, onto, current, prompts)
    return RebaseResult(
        route, head, write_head(settings.heads, route, head), settings.versions / first.name, document, onto
    )


def _head_above(graph: Graph, revision: str, heads: Sequence[str]) -> str:
    above = [head for head in heads if revision in graph.ancestry(head)]
    if len(above) > 1:
        raise RefusedError(
            f"{revision} is not a head: {' and '.join(above)} both follow it", hint=f"llmmigrate rebase {above[-1]}"
        )
    return above[0]


def _onto(graph: Graph, head: str, heads: Sequence[str], asked: str | None) -> str:
    others = [other for other in heads if other != head]
    if asked is None:
        if len(others) > 1:
            raise RefusedError(
                f"there are {len(others)} other heads, {', '.join(others)}: say which one it is to follow",
                hint=f"add --onto {others[0]}",
            )
        return others[0]
    found = graph.find(asked).migration.revision
    if found not in others:
        raise RefusedError(f"{found} is not another head of the route; there are {', '.join(others)}")
    return found


def _rewrite(file: Path, document: Document, onto: str, current: Endpoint, prompts: PromptReader) -> Document:
    """Replace a document by one that follows `onto`, once it is known to differ in nothing else."""
    raw = file.read_bytes()
    if raw.decode("utf-8-sig") != document.text:
        raise RefusedError(f"{file.name} was changed meanwhile", hint="the same command again")
    text = follow(document.text, onto, current)
    expected = document.migration.model_copy(update={"down_revision": onto, "current": current})
    try:
        rewritten = load_text(text, document.name, prompts=prompts)
    except DocumentInvalid:
        rewritten = None
    if rewritten is None or rewritten.migration != expected:
        raise RefusedError(
            f"{file.name} is not written so that it can be changed in place",
            hint=f"set its down_revision to {onto}, and its current to the target of that",
        )
    replace_file(file, (_BOM if raw.startswith(_BOM) else b"") + text.encode("utf-8"))
    return rewritten


def follow(text: str, onto: str, current: Endpoint) -> str:
    """Return a document's text with another `down_revision` and `current`; all else is kept to the letter."""
    source = read(text.encode("utf-8"), "")
    changes: list[tuple[KeyPath, Any]] = [(("down_revision",), onto)]
    for key, value in current.model_dump(mode="json").items():
        path: KeyPath = ("current", key)
        empty = value is None or value == {}
        if path in source.spans or not empty:
            changes.append((path, value))
    return edited(text, source, changes)
