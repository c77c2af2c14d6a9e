"""Whether an answer is what the request asked for: tool calls that can be executed, text of the asked structure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmmigrate.models import ToolCall
from llmmigrate.patterns import Undecided, one_limit
from llmmigrate.schemas import fits

_LIMIT_S = 0.05
"""Time that the patterns of one schema may take: an answer is judged on the way to its user."""


def _fits(value: object, schema: object) -> bool | None:
    """Tell whether a value fits a schema; None for a schema that nothing can be held against."""
    try:
        with one_limit(_LIMIT_S):
            return fits(value, schema)
    except Undecided:
        return None


def tools_valid(calls: Sequence[ToolCall], tools: Sequence[Mapping[str, Any]]) -> bool | None:
    """Tell whether every call parses, names a tool of the request, and has arguments valid by that tool's schema.

    `tools` are OpenAI-shaped. None where there is no call to judge, or a schema is none itself.
    """
    if not calls:
        return None
    known = {str(tool["function"]["name"]): tool["function"].get("parameters") for tool in tools if "function" in tool}
    unsure = False
    for call in calls:
        if call.name not in known:
            return False
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            return False
        fits = _fits(arguments, known[call.name] or {"type": "object"}) if isinstance(arguments, dict) else False
        if fits is False:
            return False
        unsure = unsure or fits is None
    return None if unsure else True


def schema_valid(text: str, response_format: Mapping[str, Any] | None, calls: Sequence[ToolCall]) -> bool | None:
    """Tell whether an answer is JSON of the asked structure; None where none was asked, or a tool is called instead.

    `response_format` is OpenAI's: `{"type": "json_object"}`, or `json_schema` with its schema.
    """
    kind = (response_format or {}).get("type")
    if kind not in ("json_object", "json_schema") or (calls and not text):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return False
    if kind == "json_object":
        return isinstance(value, dict)
    assert response_format is not None
    schema = response_format.get("json_schema", {}).get("schema")
    return _fits(value, schema) if schema is not None else None
