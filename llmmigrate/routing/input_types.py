"""What kind of request one is, by the rules of its route in the configuration, where the caller does not say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmmigrate.settings import InputType

_LONGEST = 4000
"""Characters of the last user message that a pattern is held against: a request waits for it."""


def input_type_of(
    rules: Sequence[InputType],
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    attributes: Mapping[str, object],
) -> str:
    """Return the name of the first rule that a request fits in all that the rule is about, "" where none does."""
    text: str | None = None
    for rule in rules:
        if not all(str(attributes.get(name)) in values for name, values in rule.attributes.items()):
            continue
        if rule.tools and not any(_name(tool) in rule.tools for tool in tools):
            continue
        if rule.pattern is not None:
            text = _last_user_text(messages) if text is None else text
            if rule.pattern.search(text) is None:
                continue
        return rule.name
    return ""


def _name(tool: Mapping[str, Any]) -> str | None:
    function = tool.get("function")
    return str(function.get("name")) if isinstance(function, Mapping) else None


def _last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content[:_LONGEST]
            parts = content if isinstance(content, Sequence) else ()
            texts = [str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part]
            return "\n".join(texts)[:_LONGEST]
    return ""
