"""Mistral's chat completions: MIS-01, MIS-02, MIS-04, with the bodies that api.mistral.ai answers.

Its answers have OpenAI's form; usage comes with every stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.providers.openai import answered

__all__ = ["answered", "mistral_error", "refusal"]

_FIELDS = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "metadata",
    "response_format", "tools", "tool_choice", "presence_penalty", "frequency_penalty", "prediction",
    "parallel_tool_calls", "prompt_mode", "reasoning_effort", "safe_prompt",
}  # fmt: skip


def mistral_error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def refusal(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error that this request gets, None where it is answered."""
    unknown = sorted(body.keys() - _FIELDS)
    if unknown:
        return _detail("extra_forbidden", ["body", unknown[0]], "Extra inputs are not permitted")
    for number, tool in enumerate(body.get("tools") or []):
        if "parameters" not in tool["function"]:
            return _detail("missing", ["body", "tools", number, "function", "parameters"], "Field required")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["function"]["name"]):
            text = f"Function name was {tool['function']['name']} but must be a-z, A-Z, 0-9, or contain underscores and"
            return mistral_error(f"{text} dashes, with a maximum length of 64.", "invalid_function_call", "3280")
    return next(_conversation(body["messages"]), None)


def _detail(kind: str, place: list[str | int], text: str) -> dict[str, Any]:
    return mistral_error({"detail": [{"type": kind, "loc": place, "msg": text}]})  # type: ignore[arg-type]


def _conversation(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    last = messages[-1]
    if last["role"] not in {"user", "tool"} and not (last["role"] == "assistant" and last.get("prefix")):
        text = "Expected last role User or Tool (or Assistant with prefix True) for serving but got"
        yield mistral_error(f"{text} {last['role']}")
    for message in messages:
        calls = message.get("tool_calls") or []
        if calls and message.get("content"):
            yield mistral_error("Assistant message must have either content or tool_calls, but not both.")
        for call in calls:
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]):
                text = f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
                yield mistral_error(text, "invalid_function_call", "3280")
    asked = sum(len(message.get("tool_calls") or []) for message in messages)
    if asked != sum(message["role"] == "tool" for message in messages):
        yield mistral_error("Not the same number of function calls and responses", "invalid_request_message_order")
