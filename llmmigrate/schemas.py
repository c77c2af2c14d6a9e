"""JSON Schemas (2020-12) held against what models wrote: nothing is fetched, and no pattern takes for ever.

`jsonschema` fetches a reference to another document where it is let, and searches patterns with the standard library's
`re`, which cannot be stopped: one answer could hang a process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable

from llmmigrate.patterns import Undecided, found


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


def fits(value: object, schema: object) -> bool:
    """Tell whether a value fits a schema; raises Undecided as `misfit` does."""
    try:
        return bool(_compiled(json.dumps(schema, sort_keys=True)).is_valid(value))
    except (SchemaError, Unresolvable, RecursionError) as wrong:
        raise Undecided(f"the schema cannot be held against it: {type(wrong).__name__}") from wrong


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
