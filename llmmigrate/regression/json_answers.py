"""JSON in answers: read strictly, found inside prose, walked by paths, held against schemas; nothing is fetched.

Paths are a part of RFC 9535: `$`, `.name`, `['name']`, `[0]`, `[-1]`, `[*]`, `.*` and `..name` (at any depth).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable

from llmmigrate.regression.patterns import Undecided, found

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


def check_schema(schema: object) -> None:
    """Raise ValueError where a schema is no JSON Schema (2020-12)."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON Schema: {error.message[:200]}") from error
    except RecursionError as error:
        raise ValueError("is no JSON Schema: nested too deeply") from error


def misfit(value: object, schema: object) -> str | None:
    """Say where a value does not fit a schema and by which rule of it, None where it fits.

    References are followed inside the schema only. Raises Undecided where a schema is none, names another document, or
    one of its patterns takes too long.
    """
    try:
        error = best_match(_compiled(json.dumps(schema, sort_keys=True)).iter_errors(value))
    except SchemaError as wrong:
        raise Undecided(f"the schema is no JSON Schema: {wrong.message[:200]}") from wrong
    except Unresolvable as wrong:
        raise Undecided(f"the schema refers to {wrong.ref!r}, which is not part of it") from wrong
    except RecursionError:
        raise Undecided("the answer or the schema is nested too deeply") from None
    if error is None:
        return None
    rule = (
        "is not allowed"
        if error.validator is None
        else f"breaks {error.validator}: {json.dumps(error.validator_value)}"
    )
    return f"{error.json_path} {rule}"


@lru_cache(maxsize=256)
def _compiled(schema: str) -> Any:
    data = json.loads(schema)
    _Validator.check_schema(data)
    return _Validator(data, registry=REGISTRY)


def _pattern(_: Any, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not found(pattern, instance):
        yield ValidationError(f"does not match {pattern}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: object, _: object
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for key, value in instance.items():
                if found(pattern, key):
                    yield from validator.descend(value, schema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, rule: Any, instance: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        patterns = schema.get("patternProperties", {})
        for key, value in instance.items():
            if key in schema.get("properties", {}) or any(found(pattern, key) for pattern in patterns):
                continue
            if rule is False:
                yield ValidationError("is not allowed", path=(key,))
            else:
                yield from validator.descend(value, rule, path=key)


def _unique_items(_: Any, unique: object, instance: object, __: object) -> Iterator[ValidationError]:
    """Compare by a canonical text: the library compares each with each where items cannot be sorted."""
    if unique is True and isinstance(instance, list):
        seen = {json.dumps(_whole(item), sort_keys=True) for item in instance}
        if len(seen) != len(instance):
            yield ValidationError("has an item twice")


def _whole(value: Any) -> Any:
    """Write 1.0 as 1, which are one number in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _unevaluated(*_: object) -> Iterator[ValidationError]:
    raise Undecided("unevaluatedProperties is not evaluated by this version: use additionalProperties")


_Validator = extend(
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "unevaluatedProperties": _unevaluated,
    },
)
