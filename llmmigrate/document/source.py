"""Read YAML into plain data with the place of every value; nothing in a document is ever executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from llmmigrate.exceptions import DocumentInvalid, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 30


class Wording(NamedTuple):
    """What errors call a file that is read, and what they advise: of one with no keys, too large, or too deep."""

    shape: str
    large: str
    deep: str


DOCUMENT = Wording(
    "a migration document is a mapping of keys, starting with revision and route",
    "a migration document is a few kB",
    "nested too deeply for a migration document",
)
Path = tuple[str | int, ...]

_Resolver = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}


@dataclass(frozen=True, slots=True)
class Source:
    """Plain data, and where each part of it stands: `{path: (line, column)}`, counted from 1.

    `spans` are the characters of a value in the text, `{path: (start, end)}`; a block ends with its last value.
    """

    name: str
    data: dict[str, Any]
    places: dict[Path, tuple[int, int]]
    spans: dict[Path, tuple[int, int]]

    def problem(self, path: Path, message: str) -> Problem:
        """Place a message at a path, or at its nearest written parent."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Problem(self.name, line, column, dotted(path), message)


def dotted(path: Path) -> str:
    """Write a path as people do: `canary.steps[0].traffic`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(raw: bytes, name: str, *, wording: Wording = DOCUMENT) -> Source:
    """Parse one file; raises DocumentInvalid with file, line and column.

    Anchors, aliases, tags, several documents in a file and duplicate keys are refused. Dates stay text.
    """
    if len(raw) > MAX_BYTES:
        raise _single(name, 1, 1, f"the file is larger than {MAX_BYTES:,} bytes: {wording.large}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _single(name, 1, 1, f"not UTF-8 text (byte {error.start})") from error
    try:
        _refuse_aliases(text, name, wording.deep)
        node = yaml.compose(text, Loader=_Resolver)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = f"not valid YAML: {error.problem or error.context}"
        if "\\t" in words or "cannot start any token" in words:
            words = f"{words}: indent with spaces, and quote what begins with a sign"
        raise _single(name, line, column, wording.deep if "nesting" in words else words) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _single(name, 1, 1, "not valid YAML: unreadable characters or too deeply nested") from error
    if not isinstance(node, yaml.MappingNode):
        raise _single(name, 1, 1, wording.shape)
    reader = _Reader(name)
    data = reader.value(node, ())
    if reader.problems:
        raise DocumentInvalid(reader.problems)
    return Source(name, data, reader.places, reader.spans)


def _single(name: str, line: int, column: int, message: str) -> DocumentInvalid:
    return DocumentInvalid([Problem(name, line, column, "", message)])


def _refuse_aliases(text: str, name: str, too_deep: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Resolver):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        message = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message = "anchors and aliases are not allowed: write it out"
        elif depth > MAX_DEPTH:
            message = too_deep
        if message is not None:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            raise _single(name, line, column, message)


def _end(node: yaml.Node) -> int:
    """Return where a node ends: a block reaches to its last value, not to the comments below it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


class _Reader:
    """Turn nodes into plain data, noting places and problems."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scalars = yaml.SafeLoader("")
        self.places: dict[Path, tuple[int, int]] = {}
        self.spans: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.spans[path] = (node.start_mark.index, _end(node))
        if node.tag not in _PLAIN_TAGS:
            self._note(node, path, f"the tag {node.tag} is not allowed in a document")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, path, "a key must be plain text: where {{name}} is meant, put it in quotes")
                continue
            key = str(key_node.value)
            if key in found:
                self._note(key_node, (*path, key), "this key stands twice")
                continue
            found[key] = self.value(value_node, (*path, key))
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag.endswith(":timestamp"):
            return str(node.value)
        try:
            value = self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return str(node.value)
        if isinstance(value, float) and value - value != 0:
            self._note(node, path, f"{node.value} is not a number that can be used here")
            return None
        return value

    def _note(self, node: yaml.Node, path: Path, message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self._name, mark.line + 1, mark.column + 1, dotted(path), message))
