"""Anthropic's Messages.

Beside the description: ANT-03 to ANT-09, and how tools are held to be (no combination at the top of a schema, names of
properties), with the bodies that api.anthropic.com answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.providers.answer import Model
from tests.providers.descriptions import refused


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


OVERLOADED = anthropic_error("overloaded_error", "Overloaded")
SIGNED = "EqoBCkgIARABGAIiQOurs"
"""The signature of this server's own thinking."""

_NO_PREFILL = re.compile(r"claude-(?:\w+-4-[6-9]|\w+-[5-9])")
_NO_SAMPLING = re.compile(r"claude-(?:opus-4-[7-9]|\w+-[5-9])")
_NO_FORCED_TOOL = re.compile(r"claude-(?:(?:opus|sonnet)-5-5|(?:fable|mythos)-5-1)")


def refusal(body: dict[str, Any], beta: str | None) -> dict[str, Any] | None:
    """Return the error that this request gets, None where it is answered; `beta` is the header of that name."""
    name = "BetaCreateMessageParams" if beta else "CreateMessageParams"
    wrong = refused("anthropic", name, body) or next(_wrong(body), None)
    return None if wrong is None else anthropic_error("invalid_request_error", wrong)


def _wrong(body: dict[str, Any]) -> Iterator[str]:
    model = body["model"]
    if body["messages"][-1]["role"] == "assistant" and _NO_PREFILL.match(model):
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
    if body.keys() & {"temperature", "top_p", "top_k"} and _NO_SAMPLING.match(model):
        yield "temperature, top_p and top_k are not supported by this model"
    if any(not stop.strip() for stop in body.get("stop_sequences") or []):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    yield from _thinking(body)
    for number, tool in enumerate(body.get("tools") or []):
        yield from _tool(tool.get("input_schema") or {}, f"tools.{number}.custom.input_schema")


def _thinking(body: dict[str, Any]) -> Iterator[str]:
    thinking = body.get("thinking") or {}
    forced = (body.get("tool_choice") or {}).get("type") in {"any", "tool"}
    if forced and _NO_FORCED_TOOL.match(body["model"]):
        yield "tool_choice: this model does not support forced tool use"
    if forced and thinking.get("type") == "enabled":
        yield "Thinking may not be enabled when tool_choice forces tool use."
    if thinking.get("budget_tokens", 1024) < 1024:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    for number, message in enumerate(body["messages"]):
        for place, part in enumerate(message["content"] if isinstance(message["content"], list) else []):
            if part["type"] == "thinking" and part["signature"] != SIGNED:
                yield f"messages.{number}.content.{place}: Invalid `signature` in `thinking` block"


def _tool(schema: dict[str, Any], where: str) -> Iterator[str]:
    if schema.keys() & {"oneOf", "anyOf", "allOf"}:
        yield f"{where}: input_schema does not support oneOf, allOf, or anyOf at the top level"
    if any(not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name) for name in schema.get("properties") or {}):
        yield f"{where}.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$'"


def answered(model: Model, body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the whole answer, and the same as the events of a stream."""
    usage = {
        "input_tokens": model.prompt - model.cached - model.written,
        "output_tokens": model.completion,
        "cache_read_input_tokens": model.cached,
        "cache_creation_input_tokens": model.written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": model.written - model.written_1h,
            "ephemeral_1h_input_tokens": model.written_1h,
        },
    }
    content: list[dict[str, Any]] = [
        {"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}
        for call_id, name, arguments in model.tool_calls
    ] or [{"type": "text", "text": model.text}]
    stop: dict[str, Any] = {"stop_reason": model.finish or ("tool_use" if model.tool_calls else "end_turn")}
    stop |= {"stop_sequence": None}
    if model.refusal is not None:
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": model.refusal}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    whole = message | {"content": content, "usage": usage} | stop
    started = {"content": [], "usage": usage, "stop_reason": None, "stop_sequence": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message | started}]
    for index, part in enumerate(content):
        events += _block(index, part, model)
    events += [
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": model.completion}},
        {"type": "message_stop"},
    ]
    return whole, events


def _block(index: int, part: dict[str, Any], model: Model) -> Iterator[dict[str, Any]]:
    if part["type"] == "text":
        opening, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in model.words]
    else:
        written = json.dumps(part["input"])
        half = len(written) // 2
        opening = part | {"input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in (written[:half], written[half:])]
    yield {"type": "content_block_start", "index": index, "content_block": opening}
    yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
    yield {"type": "content_block_stop", "index": index}
