"""Chat-completions requests as cases: what they ask is taken over, what is about the run is said by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from llmmigrate.document.loader import worded
from llmmigrate.document.source import dotted
from llmmigrate.redaction import secret_in
from llmmigrate.regression.suite_model import WrittenCase
from llmmigrate.regression.writing import writable

Leave = Callable[[str], None]
"""Is told what is left out of one request."""

_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id", "refusal")
_PARAMS = {
    "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "modalities",
    "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort", "seed", "stop", "temperature",
    "top_logprobs", "top_p", "verbosity", "web_search_options", "top_k", "min_p", "repetition_penalty", "thinking",
}  # fmt: skip
"""What changes an answer: of OpenAI's chat completions (openai 2.54, `CompletionCreateParams`), vLLM and Anthropic."""

_OF_THE_RUN = {
    "model": "the model: it is that of the migration document",
    "n": "n: how often a case is asked is its repetitions",
    **dict.fromkeys(("stream", "stream_options"), "stream: how answers are read is not in a suite"),
}
_ASKED = {"messages", "tools", "functions", "tool_choice", "function_call", "response_format"}


def asked_of(request: Mapping[str, Any], leave: Leave) -> dict[str, Any]:
    """Return what a request asks, as the keys of a case; raises ValueError where it has no messages."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise ValueError("it has no messages")
    plain = [message_of(message, leave) for message in messages]
    case: dict[str, Any] = {}
    first = plain[0]
    if (
        len(plain) == 1
        and first.keys() == {"role", "content"}
        and first["role"] == "user"
        and _is_text(first["content"])
    ):
        case["input"] = first["content"]
    else:
        case["messages"] = plain
    functions = request.get("functions")
    legacy_tools = [{"type": "function", "function": one} for one in functions] if isinstance(functions, list) else []
    tools = request.get("tools") or legacy_tools
    if tools:
        case["tools"] = tools
    choice = request.get("tool_choice", request.get("function_call"))
    if choice is not None:
        legacy = isinstance(choice, dict) and choice.keys() == {"name"}
        case["tool_choice"] = {"type": "function", "function": choice} if legacy else choice
    if request.get("response_format") is not None:
        case["response_format"] = request["response_format"]
    params = {}
    for key, value in request.items():
        if key in _PARAMS:
            params[key] = value
        elif key not in _ASKED:
            leave(_OF_THE_RUN.get(key, f"{key}: it is no part of what is asked"))
    return {**case, "params": params} if params else case


def message_of(message: Mapping[str, Any], leave: Leave) -> dict[str, Any]:
    """Return a message without what is empty, or of no use to the next model."""
    plain = {key: message[key] for key in _MESSAGE if message.get(key) is not None}
    if plain.get("role") == "assistant" and isinstance(plain.get("tool_calls"), list):
        plain["tool_calls"] = [_called(call) for call in plain["tool_calls"]]
        if not plain["tool_calls"]:
            del plain["tool_calls"]
    for key, value in message.items():
        if key not in _MESSAGE and value not in (None, [], {}):
            leave(f"{key} of a message")
    return plain


def _called(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    kept = {key: function[key] for key in ("name", "arguments") if key in function}
    return {"id": call.get("id"), "type": call.get("type", "function"), "function": kept}


def _is_text(content: Any) -> bool:
    return isinstance(content, str) and bool(content.strip())


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last message of a user, "" where there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part)
    return ""


def messages_of(case: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the messages of a case that sends `input` or `messages`."""
    return list(case["messages"]) if "messages" in case else [{"role": "user", "content": case.get("input", "")}]


def unfit(case: dict[str, Any]) -> str | None:
    """Say why a case cannot stand in a suite, None where it can."""
    if not writable(case):
        return "it is too deep, too large, or not plain text"
    kind = secret_in(json.dumps(case, ensure_ascii=False))
    if kind is not None:
        return f"it holds {kind}"
    try:
        WrittenCase.model_validate(case)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{dotted(tuple(part for part in first['loc'] if not str(part).startswith('~')))}: {worded(first)}"
    return None
