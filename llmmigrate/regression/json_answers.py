"""JSON in answers: read strictly, found inside prose, walked by paths.

Paths are a part of RFC 9535: `$`, `.name`, `['name']`, `[0]`, `[-1]`, `[*]`, `.*` and `..name` (at any depth).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from llmmigrate.patterns import Undecided

MAX_TEXT = 2_000_000
"""Characters of an answer that is read as JSON."""

MAX_FOUND = 10_000
"""Values that one path may find."""

_STARTS = 200
"""Places in a text at which JSON is looked for."""

Step = str | int | None
"""A step of a path: a key, an index, or None for every member."""


def read_json(text: str) -> Any:
    """Read a text as JSON by RFC 8259 (no NaN); raises ValueError where it is none, Undecided where it is too much."""
    if len(text) > MAX_TEXT:
        raise Undecided(f"the answer is longer than {MAX_TEXT:,} characters")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise Undecided("the answer is nested too deeply") from None


def embedded_json(text: str) -> Any:
    """Return the first object or list that stands in a text, such as in a code fence; raises as `read_json` does."""
    if len(text) > MAX_TEXT:
        raise Undecided(f"the answer is longer than {MAX_TEXT:,} characters")
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    for number, start in enumerate(re.finditer(r"[{\[]", text)):
        if number == _STARTS:
            raise Undecided(f"the answer has more than {_STARTS} places where JSON might begin")
        try:
            return decoder.raw_decode(text, start.start())[0]
        except RecursionError:
            raise Undecided("the answer is nested too deeply") from None
        except ValueError:
            continue
    raise ValueError("there is no JSON in it")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def same(one: object, other: object) -> bool:
    """Tell whether two JSON values are equal: 1 and 1.0 are, true and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one == other


_STEP = re.compile(
    r"""\.\.(?P<deep>[\w-]+) | \.(?P<name>[\w-]+) | (?P<every>\.\*|\[\*\]) | \[(?P<index>-?\d{1,9})\]
    | \['(?P<single>[^'\\]*)'\] | \["(?P<double>[^"\\]*)"\]""",
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def path_steps(path: str) -> tuple[tuple[bool, Step], ...]:
    """Read a path as steps (at any depth, step); raises ValueError that says what is understood."""
    steps: list[tuple[bool, Step]] = []
    at = 1
    while at < len(path) or not path.startswith("$"):
        step = _STEP.match(path, at) if path.startswith("$") else None
        if step is None:
            raise ValueError("is no path of this kind: $.name, $['name'], $.list[0], $.list[*], $..name")
        key: Step = next(
            (value for name, value in step.groupdict().items() if value is not None and name != "every"), None
        )
        steps.append((step["deep"] is not None, int(step["index"]) if step["index"] is not None else key))
        at = step.end()
    return tuple(steps)


def values_at(data: object, path: str) -> list[Any]:
    """Return the values that a path finds, in order; raises Undecided where there are too many to look at."""
    values: list[Any] = [data]
    for deep, step in path_steps(path):
        values = [value for parent in values for value in (_below(parent, step) if deep else _members(parent, step))]
        if len(values) > MAX_FOUND:
            raise Undecided(f"{path} finds more than {MAX_FOUND:,} values")
    return values


def _members(parent: object, step: Step) -> Iterator[Any]:
    if isinstance(parent, dict):
        if step is None:
            yield from parent.values()
        elif isinstance(step, str) and step in parent:
            yield parent[step]
    elif isinstance(parent, list):
        if step is None:
            yield from parent
        elif isinstance(step, int) and -len(parent) <= step < len(parent):
            yield parent[step]


def _below(parent: object, step: Step) -> Iterator[Any]:
    yield from _members(parent, step)
    for member in _members(parent, None):
        yield from _below(member, step)
