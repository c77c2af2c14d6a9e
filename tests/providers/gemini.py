"""Gemini's generateContent and streamGenerateContent.

Beside the description: names of functions and parameters (TOOL-01), GEM-01, GEM-03, and the order of turns, with the
bodies that generativelanguage.googleapis.com answers. Fields are taken in both spellings, as Google's JSON reader does.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.providers.answer import Model
from tests.providers.descriptions import refused

SIGNED = base64.b64encode(b"signed by this server").decode()
"""The signature of this server's own thoughts."""
NOT_CHECKED = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What ai.google.dev/gemini-api/docs/thought-signatures lets stand for a call that another model made."""

_FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema"}
"""Fields whose keys are the caller's own."""


def gemini_error(code: int, status: str, message: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return {"error": error | ({"details": details} if details else {})}


def refusal(name: str, body: dict[str, Any], key: str | None) -> dict[str, Any] | None:
    """Return the error that this request gets, None where it is answered."""
    if not key:
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return gemini_error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [reason])
    request = _spelled(body)
    wrong = refused("gemini", "GenerateContentRequest", request) or next(_wrong(name, request), None)
    return None if wrong is None else gemini_error(400, "INVALID_ARGUMENT", wrong)


def _spelled(value: Any, key: str = "") -> Any:
    """Return a request with its fields spelled as the description has them."""
    if isinstance(value, list):
        return [_spelled(part, key) for part in value]
    if not isinstance(value, dict) or key in _FREE:
        return value
    if key == "properties":
        return {name: _spelled(part) for name, part in value.items()}
    named = {re.sub(r"_(\w)", lambda found: found[1].upper(), name): part for name, part in value.items()}
    return {name: _spelled(part, name) for name, part in named.items()}


def _wrong(name: str, request: dict[str, Any]) -> Iterator[str]:
    config = request.get("generationConfig") or {}
    if not request.get("contents"):
        yield "* GenerateContentRequest.contents: contents is not specified"
    if len(config.get("stopSequences") or []) > 5:
        yield "* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences are supported"
    if not 0 <= config.get("temperature", 1) <= 2:
        yield "* GenerateContentRequest.generation_config.temperature: must be in the range [0.0, 2.0]"
    if {"thinkingBudget", "thinkingLevel"} <= (config.get("thinkingConfig") or {}).keys():
        yield "You can only set one of thinking budget and thinking level."
    choice = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if choice.get("allowedFunctionNames") and choice.get("mode", "").upper() not in {"ANY", "VALIDATED"}:
        yield "Please set allowed_function_names only when function calling mode is ANY."
    for number, tool in enumerate(request.get("tools") or []):
        for place, declared in enumerate(tool.get("functionDeclarations") or []):
            where = f"GenerateContentRequest.tools[{number}].function_declarations[{place}]"
            yield from _declaration(declared, where)
    yield from _turns(name, request["contents"])


def _declaration(declared: dict[str, Any], where: str) -> Iterator[str]:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}", declared["name"]):
        yield (
            f"* {where}.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore. Must be"
            " a-z, A-Z, 0-9, or contain underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of"
            " 128."
        )
    if "parameters" in declared and "parametersJsonSchema" in declared:
        yield f"* {where}: only one of parameters and parameters_json_schema may be set"
    if "parameters" in declared:
        if declared["parameters"].get("type", "").upper() != "OBJECT":
            yield f"* {where}.parameters: schema should be of type OBJECT"
        if not declared["parameters"].get("properties"):
            yield f"* {where}.parameters.properties: should be non-empty for OBJECT type"
        yield from _schema(declared["parameters"], f"{where}.parameters")


def _schema(schema: dict[str, Any], where: str) -> Iterator[str]:
    yield from _fields(schema, where)
    for name, part in (schema.get("properties") or {}).items():
        if len(name) > 64:
            yield f"* {where}.properties: Invalid property name {name}, with a maximum length of 64"
        yield from _schema(part, f"{where}.properties[{name}]")
    if "items" in schema:
        yield from _schema(schema["items"], f"{where}.items")
    for number, part in enumerate(schema.get("anyOf") or []):
        yield from _schema(part, f"{where}.any_of[{number}]")


def _fields(schema: dict[str, Any], where: str) -> Iterator[str]:
    kind = schema.get("type", "").upper()
    if not kind and not schema.get("anyOf"):
        yield f"* {where}.type: must be specified"
    if schema.get("enum") and kind != "STRING":
        yield f"* {where}.enum: only allowed for STRING type"
    if "" in (schema.get("enum") or []):
        yield f"* {where}.enum[{schema['enum'].index('')}]: cannot be empty"
    if kind == "ARRAY" and "items" not in schema:
        yield f"* {where}.items: missing field"
    if not {*(schema.get("required") or [])} <= {*(schema.get("properties") or {})}:
        yield f"* {where}.required[0]: property is not defined"


def _turns(name: str, contents: list[dict[str, Any]]) -> Iterator[str]:
    calls = 0
    for position, content in enumerate(contents, start=1):
        if content.get("role", "user") not in {"user", "model"}:
            yield "Please use a valid role: user, model."
        parts = content.get("parts") or []
        answers = sum("functionResponse" in part for part in parts)
        if answers != calls:
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        asked = [part for part in parts if "functionCall" in part]
        calls = len(asked)
        if asked and re.match(r"gemini-[3-9]", name):
            signature = asked[0].get("thoughtSignature")
            call = f"function call `default_api:{asked[0]['functionCall']['name']}` , position {position}"
            if signature is None:
                yield f"Function call is missing a thought_signature in functionCall parts. Additional data, {call}."
            elif signature not in {SIGNED, NOT_CHECKED}:
                yield f"Thought signature is not valid. Additional data, {call}."


def answered(model: Model, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the whole answer, and the same as the events of a stream."""
    usage = {
        "promptTokenCount": model.prompt,
        "cachedContentTokenCount": model.cached,
        "candidatesTokenCount": model.completion - model.reasoning,
        "thoughtsTokenCount": model.reasoning,
        "totalTokenCount": model.prompt + model.completion,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": model.prompt}],
    }
    base = {"usageMetadata": usage, "modelVersion": name, "responseId": "UqAGaYuqFpmA"}
    if model.blocked is not None:
        spent = {key: usage[key] for key in ("promptTokenCount", "promptTokensDetails")}
        spent["totalTokenCount"] = model.prompt
        whole = base | {"promptFeedback": {"blockReason": model.blocked}, "usageMetadata": spent}
        return whole, [whole]
    finish = model.finish or "STOP"
    parts = [_called(position, call, name) for position, call in enumerate(model.tool_calls)]
    if not parts:
        parts = [{"text": model.text}] if model.text else []
    pieces = [[part] for part in parts] if model.tool_calls else [[{"text": word}] for word in model.words]
    whole = base | {"candidates": [{"index": 0, "finishReason": finish} | _content(parts)]}
    events = [base | {"candidates": [{"index": 0} | _content(piece)]} for piece in pieces[:-1]]
    last = {"index": 0, "finishReason": finish} | _content(pieces[-1] if pieces else [])
    return whole, [*events, base | {"candidates": [last]}]


def _content(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": parts}} if parts else {}


def _called(position: int, call: tuple[str, str, str], name: str) -> dict[str, Any]:
    call_id, function, arguments = call
    made: dict[str, Any] = {"functionCall": {"name": function, "args": json.loads(arguments)}}
    if re.match(r"gemini-[3-9]", name):
        made["functionCall"]["id"] = call_id
        if position == 0:
            made["thoughtSignature"] = SIGNED
    return made
