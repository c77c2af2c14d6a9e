"""A JSON Schema that recorded answers fit: what they have in common, and nothing that one of them breaks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 8
MAX_KEYS = 50
_ENUM_FROM, _ENUM_MOST, _ENUM_LONGEST = 10, 5, 40
"""Texts become an enumeration from this many values on, of at most so many that differ, none longer."""


def inferred(values: Sequence[Any], depth: int = 0) -> dict[str, Any]:
    """Return a schema of the keys, types and few-valued texts that all values share; every one of them fits it.

    Keys that some lack are optional; an object of more than 50 keys is read as a table. Nothing is forbidden that was
    not seen: a new key is allowed.
    """
    if depth == MAX_DEPTH or not values:
        return {}
    kinds = sorted({_kind(value) for value in values})
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if objects:
        schema.update(_of_objects(objects, depth))
    items = [item for value in lists for item in value]
    if items:
        schema["items"] = inferred(items, depth + 1)
    if kinds == ["string"]:
        schema.update(_of_texts([str(value) for value in values]))
    return schema


def _of_objects(objects: Sequence[Mapping[str, Any]], depth: int) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for one in objects for key in one))
    if len(keys) > MAX_KEYS:
        return {"additionalProperties": inferred([value for one in objects for value in one.values()], depth + 1)}
    required = [key for key in keys if all(key in one for one in objects)]
    properties = {key: inferred([one[key] for one in objects if key in one], depth + 1) for key in keys}
    return {**({"properties": properties} if properties else {}), **({"required": required} if required else {})}


def _of_texts(texts: Sequence[str]) -> dict[str, Any]:
    different = sorted(set(texts))
    few = len(texts) >= _ENUM_FROM and len(different) <= _ENUM_MOST and len(different) * 3 <= len(texts)
    return {"enum": different} if few and all(len(text) <= _ENUM_LONGEST for text in different) else {}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def shape(value: Any) -> str:
    """Name the shape of an answer: the keys of an object, or its type; answers of one shape are of one kind."""
    return json.dumps(sorted(value)) if isinstance(value, dict) else _kind(value)
