"""OpenAI's chat completions.

Beside the description: OAI-01 to OAI-06, and how functions are held to be (names, `type: object`, no combination at the
top, arrays with items), with the bodies that api.openai.com answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.providers.answer import Model
from tests.providers.descriptions import refused


def openai_error(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


RATE_LIMITED = openai_error("Rate limit reached for gpt-4o", "requests", "rate_limit_exceeded")
NO_CREDIT = openai_error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
TOO_LONG = openai_error(
    "This model's maximum context length is 128000 tokens.", "invalid_request_error", "context_length_exceeded"
)

_OWN = re.compile(r"gpt|o\d")
"""OpenAI's models; the others are of servers that are called like it."""
_REASONS = re.compile(r"o\d|gpt-5")


def refusal(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error that this request gets, None where it is answered."""
    if _OWN.match(body["model"]):
        wrong = _unsupported(body) or next(_functions(body.get("tools") or []), None)
        if wrong is not None:
            return wrong
    found = refused("openai", "CreateChatCompletionRequest", body)
    return None if found is None else openai_error(found, "invalid_request_error")


def _unsupported(body: dict[str, Any]) -> dict[str, Any] | None:
    model = body["model"]
    for number, message in enumerate(body["messages"]):
        for place, call in enumerate(message.get("tool_calls") or []):
            if len(call["id"]) > 40:
                param = f"messages[{number}].tool_calls[{place}].id"
                text = f"Invalid '{param}': string too long. Expected a string with maximum length 40, but got a"
                text += f" string with length {len(call['id'])} instead."
                return openai_error(text, "invalid_request_error", "string_above_max_length", param)
    if re.match(r"o1-(mini|preview)", model) and body["messages"][0]["role"] == "system":
        text = "Unsupported value: 'messages[0].role' does not support 'system' with this model."
        return openai_error(text, "invalid_request_error", "unsupported_value", "messages[0].role")
    if not _REASONS.match(model):
        return None
    if body.get("temperature", 1) != 1:
        text = f"Unsupported value: 'temperature' does not support {body['temperature']} with this model."
        return openai_error(text, "invalid_request_error", "unsupported_value", "temperature")
    never = ["max_tokens", "logit_bias", "frequency_penalty", "stop"]
    if model.startswith("o3"):
        never += ["parallel_tool_calls", "logprobs", "top_p"]
    name = next((name for name in never if name in body), None)
    if name is None:
        return None
    text = f"Unsupported parameter: '{name}' is not supported with this model."
    hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    return openai_error(text + hint, "invalid_request_error", "unsupported_parameter", name)


def _functions(tools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, tool in enumerate(tools):
        function = tool["function"]
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function["name"]):
            text = f"Invalid 'tools[{number}].function.name': string does not match pattern. Expected a string that"
            text += " matches the pattern '^[a-zA-Z0-9_-]+$'."
            yield openai_error(text, "invalid_request_error", "invalid_value", f"tools[{number}].function.name")
        if "parameters" not in function:
            continue
        wrong = next(_schema(function["parameters"]), None)
        if wrong is not None:
            text = f"Invalid schema for function '{function['name']}': {wrong}."
            param = f"tools[{number}].function.parameters"
            yield openai_error(text, "invalid_request_error", "invalid_function_parameters", param)


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("type") != "object":
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {schema.get('type')}'"
    if schema.keys() & {"oneOf", "anyOf", "allOf", "enum", "const", "not"}:
        either = "'oneOf'/'anyOf'/'allOf'/'enum'/'const'/'not'"
        yield f"schema must have type 'object' and not have {either} at the top level"
    if "properties" not in schema:
        yield "In context=(), object schema missing properties"
    yield from _arrays(schema, ())


def _arrays(schema: Any, context: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    if "array" in (kinds if isinstance(kinds, list) else [kinds]) and "items" not in schema:
        yield f"In context={context}, array schema missing items"
    for name, part in (schema.get("properties") or {}).items():
        yield from _arrays(part, (*context, "properties", name))
    yield from _arrays(schema.get("items"), (*context, "items"))
    for number, part in enumerate(schema.get("anyOf") or []):
        yield from _arrays(part, (*context, "anyOf", str(number)))


def answered(model: Model, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the whole answer, and the same as the events of a stream."""
    usage = {
        "prompt_tokens": model.prompt,
        "completion_tokens": model.completion,
        "total_tokens": model.prompt + model.completion,
        "prompt_tokens_details": {"cached_tokens": model.cached},
        "completion_tokens_details": {"reasoning_tokens": model.reasoning},
    }
    base = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in model.tool_calls
    ]
    finish = model.finish or ("tool_calls" if calls else "stop")
    content = None if calls or model.refusal else model.text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": model.refusal}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    whole = base | {"object": "chat.completion", "choices": [choice], "usage": usage}
    events = [
        base
        | {
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
        }
        for delta, reason in [*((delta, None) for delta in _deltas(model)), ({}, finish)]
    ]
    if (body.get("stream_options") or {}).get("include_usage") or "mistral" in body["model"]:
        events.append(base | {"object": "chat.completion.chunk", "choices": [], "usage": usage})
    return whole, events


def _deltas(model: Model) -> Iterator[dict[str, Any]]:
    if model.refusal is not None:
        half = len(model.refusal) // 2
        yield from ({"refusal": part} for part in (model.refusal[:half], model.refusal[half:]))
        return
    if not model.tool_calls:
        yield from ({"content": word} for word in model.words)
    for index, (call_id, name, arguments) in enumerate(model.tool_calls):
        half = len(arguments) // 2
        first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
        yield from ({"tool_calls": [part]} for part in (first, *rest))
