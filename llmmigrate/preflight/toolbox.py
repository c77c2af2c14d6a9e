"""Tools of a request as rules see them: by name, as a provider's dialect takes them, and every schema within."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.tools import to_provider
from llmmigrate.preflight.case import Path

_WITHIN = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")


@dataclass(frozen=True, slots=True)
class Translation:
    """What became of tools: (tool, what) for what is sent otherwise, and for what the provider will not take."""

    changed: tuple[tuple[str, str], ...] = ()
    unsupported: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=256)
def translated(tools: bytes, dialect: str) -> Translation:
    """Return what `models.tools` writes otherwise of tools, given as JSON, or cannot write for a dialect."""
    known: list[Any] = orjson.loads(tools)
    names = [name for name, _ in functions(known)]
    made = to_provider([one for one in known if isinstance(one, Mapping)], dialect)
    return Translation(
        tuple(_apart(sentence.removeprefix("tools: "), names) for sentence in made.changed),
        tuple(_apart(sentence, names) for sentence in made.unsupported),
    )


def _apart(sentence: str, names: list[str]) -> tuple[str, str]:
    """Take a sentence about a tool apart: the longest name that it begins with, and what it says."""
    name = max((one for one in names if sentence.startswith(f"{one}: ")), key=len, default="")
    return name, sentence[len(name) + 2 :]


def functions(tools: Sequence[object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the functions among tools in OpenAI's form, each with its name."""
    for tool in tools:
        function = mapping(tool).get("function")
        if isinstance(function, Mapping) and mapping(tool).get("type", "function") == "function":
            yield str(function.get("name", "")), function


def schemas(schema: object, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Give a schema and all schemas within it, each with its path; references are not followed."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for key in _NAMED:
        for name, part in mapping(schema.get(key)).items():
            yield from schemas(part, (*path, key, str(name)))
    for key in _WITHIN:
        yield from schemas(schema.get(key), (*path, key))
    for key in _SEVERAL:
        for number, part in enumerate(items(schema.get(key))):
            yield from schemas(part, (*path, key, number))
