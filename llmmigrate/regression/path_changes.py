"""What differs between two JSON answers, path by path, in words for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmmigrate.regression.formats import joined
from llmmigrate.regression.formats_changes import printable
from llmmigrate.regression.formats_reading import Written, read

_DEEPEST = 40
_LONGEST = 80
_ABSENT = "absent"


class PathChange(NamedTuple):
    """A path at which two answers differ, with what stands there in each, as JSON or `absent`."""

    path: str
    old: str
    new: str


def path_changes(old: str, new: str, *, most: int = 20) -> list[PathChange]:
    """Return the paths at which two answers differ, in the order of the first; none where one of them is no JSON.

    Values are compared as they are written: 5.0 and 5, and a key that is null and one that is absent, differ.
    """
    first, second = read(old).value, read(new).value
    if first is None or second is None:
        return []
    found = []
    for change in _changes("", first, second, 0):
        found.append(change)
        if len(found) == most:
            break
    return found


def _changes(path: str, old: Any, new: Any, depth: int) -> Iterator[PathChange]:
    first, second = _inside(path, old), _inside(path, new)
    if type(old) is type(new) and first is not None and second is not None and depth < _DEEPEST:
        for below in first | second:
            if below in first and below in second:
                yield from _changes(below, first[below], second[below], depth + 1)
            else:
                yield PathChange(printable(below), _at(first, below), _at(second, below))
    elif _text(old) != _text(new):
        yield PathChange(printable(path) or "the answer", _short(old), _short(new))


def _inside(path: str, value: Any) -> dict[str, Any] | None:
    """Return what stands in an object or a list, by path; None for anything else."""
    if isinstance(value, Mapping):
        return {joined(path, key): held for key, held in value.items()}
    if isinstance(value, list):
        return {f"{path}[{place}]": held for place, held in enumerate(value)}
    return None


def _at(values: Mapping[str, Any], path: str) -> str:
    return _short(values[path]) if path in values else _ABSENT


def _short(value: Any) -> str:
    return printable(_text(value), _LONGEST)


def _text(value: Any) -> str:
    """Write a value as JSON, a number as it came."""
    if isinstance(value, Written):
        return value.text
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "a value that is nested too deeply"
