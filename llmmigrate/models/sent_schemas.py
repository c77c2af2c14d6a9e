"""What a translation on the way did to tools and schemas: what was given to it, held against what was sent.

Shapes are those of OpenAI, Anthropic, Gemini and Bedrock Converse. What says nothing to a model or a provider is not
compared: titles, identifiers, how definitions are referred to, an empty list of required properties.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.openapi import definitions
from llmmigrate.models.tools import Notes

_SAYS_NOTHING = {"title", "$schema", "$id", "$comment", "$defs", "definitions", "$ref"}
_EMPTY: tuple[object, ...] = ({}, [], None)
AS_A_TOOL = "json_tool_call"
"""The tool by which LiteLLM asks for a response format where a provider has none of its own (RF-01)."""


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: object = None
    strict: bool = False


def tool_changes(asked: object, sent: object) -> Iterator[str]:
    """Give one sentence for each change: tools that are not there, named otherwise or added, and parts of schemas."""
    wanted, there = list(_tools(asked)), list(_tools(sent))
    names = {tool.name for tool in wanted} & {tool.name for tool in there}
    missing = [tool for tool in wanted if tool.name not in names]
    added = [tool for tool in there if tool.name not in names and tool.name != AS_A_TOOL]
    pairs = [(tool, next(one for one in there if one.name == tool.name)) for tool in wanted if tool.name in names]
    if len(missing) == len(added):
        yield from (f"tools: {one.name} sent as {other.name}" for one, other in zip(missing, added, strict=True))
        pairs += zip(missing, added, strict=True)
    else:
        yield from (f"tools: {one.name} not sent" for one in missing)
        yield from (f"tools: {one.name} added" for one in added)
    if any(tool.name == AS_A_TOOL for tool in there) and AS_A_TOOL not in names:
        yield f"tools: {AS_A_TOOL} added"
    for one, other in pairs:
        yield from _compared(one, other)


def schema_changes(name: str, asked: Mapping[str, Any], sent: Mapping[str, Any]) -> Iterator[str]:
    """Give one sentence for each change to the schema of a parameter."""
    notes = Notes(name)
    _Comparison(definitions(asked), definitions(sent), notes).part(asked, sent, "schema")
    yield from notes.sentences()


def schema_of(tools: object, name: str) -> Mapping[str, Any] | None:
    """Return the schema of one tool that was sent, None where it is not there."""
    return next((tool.schema for tool in _tools(tools) if tool.name == name), None)


def _tools(tools: object) -> Iterator[_Tool]:
    for tool in items(tools):
        declared = items(mapping(tool).get("function_declarations") or mapping(tool).get("functionDeclarations"))
        if declared:
            yield from _tools(declared)
            continue
        named = mapping(mapping(tool).get("function") or mapping(tool).get("toolSpec") or tool)
        if not named.get("name"):
            yield _Tool(str(mapping(tool).get("type") or next(iter(mapping(tool)), "")))
            continue
        schema = named.get("parameters") or named.get("input_schema") or mapping(named.get("inputSchema")).get("json")
        yield _Tool(str(named["name"]), mapping(schema), named.get("description"), bool(named.get("strict")))


def _compared(asked: _Tool, sent: _Tool) -> Iterator[str]:
    notes = Notes(f"tools: {asked.name}")
    if asked.description and asked.description != sent.description:
        notes.add("", "description not sent" if not sent.description else "description sent otherwise")
    if asked.strict and not sent.strict:
        notes.add("", "strict not sent")
    if asked.schema:
        _Comparison(definitions(asked.schema), definitions(sent.schema), notes).part(
            asked.schema, sent.schema, "parameters"
        )
    yield from notes.sentences()


class _Comparison:
    def __init__(self, asked: Mapping[str, Any], sent: Mapping[str, Any], notes: Notes) -> None:
        self._asked = asked
        self._sent = sent
        self._notes = notes

    def part(self, asked: object, sent: object, place: str) -> None:
        """Note what differs at a place and below it; a reference that both sides have is followed no further."""
        if not isinstance(asked, Mapping) or not isinstance(sent, Mapping):
            if asked != sent:
                self._notes.add(place, f"sent as {_text(sent)}")
            return
        if "$ref" in asked and asked.get("$ref") == sent.get("$ref"):
            return
        asked, sent = self._followed(asked, self._asked), self._followed(sent, self._sent)
        for key, value in asked.items():
            if key not in _SAYS_NOTHING:
                self._keyword(key, value, sent.get(key), place)
        for key, value in sent.items():
            if key not in asked and key not in _SAYS_NOTHING and value not in _EMPTY:
                self._notes.add(place, f"{key} {_text(value)} added")

    def _keyword(self, key: str, asked: Any, sent: Any, place: str) -> None:
        if key == "properties" and isinstance(asked, Mapping):
            for name, part in asked.items():
                self._within(part, mapping(sent).get(name), f"{place}.{name}")
        elif key == "items":
            self._within(asked, sent, f"{place}.items")
        elif key in {"anyOf", "oneOf", "allOf"} and items(sent) and len(items(sent)) == len(items(asked)):
            for number, (one, other) in enumerate(zip(asked, sent, strict=True)):
                self.part(one, other, f"{place}.{key}[{number}]")
        elif key == "type" and isinstance(sent, str) and isinstance(asked, str):
            if asked.lower() != sent.lower():
                self._notes.add(place, f"type {asked} sent as {sent}")
        elif sent is None and asked not in _EMPTY:
            self._notes.add(place, f"{key} not sent")
        elif sent != asked and asked not in _EMPTY:
            self._notes.add(place, f"{key} sent as {_text(sent)}")

    def _within(self, asked: object, sent: object, place: str) -> None:
        if sent is None and asked is not None:
            self._notes.add(place, "not sent")
        else:
            self.part(asked, sent, place)

    @staticmethod
    def _followed(part: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
        target = known.get(str(part.get("$ref")))
        return {**target, **part} if isinstance(target, Mapping) else part


def _text(value: object) -> str:
    return orjson.dumps(value, default=str).decode()
