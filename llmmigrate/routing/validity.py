"""Whether an answer is what the request asked for: tool calls that can be executed, text of the asked structure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from llmmigrate.models import ToolCall


@lru_cache(maxsize=256)
def _validator(schema: str) -> Draft202012Validator | None:
    """Compile a schema; None for one that is none itself, on which nothing can be held against an answer."""
    data = json.loads(schema)
    try:
        Draft202012Validator.check_schema(data)
    except SchemaError:
        return None
    return Draft202012Validator(data)


def _fits(value: object, schema: object) -> bool | None:
    validator = _validator(json.dumps(schema, sort_keys=True))
    try:
        return validator.is_valid(value) if validator is not None else None
    except (Unresolvable, RecursionError):
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
