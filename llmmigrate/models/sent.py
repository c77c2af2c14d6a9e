"""What a translation on the way did to the parameters of a request: what was asked, held against what was sent.

Providers name things differently (`stop` is `stop_sequences`); that alone is no change. A value that differs, a
parameter that is not there and one that nobody asked for are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from llmmigrate.models.anything import mapping
from llmmigrate.models.sent_schemas import AS_A_TOOL, schema_changes, schema_of, tool_changes

_MAX_TOKENS = ("maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens", "numpredict")
_THINKING = ("reasoningeffort", "thinking", "thinkingconfig", "reasoningconfig", "reasoning")
_NAMES: dict[str, tuple[str, ...]] = {
    "max_tokens": _MAX_TOKENS,
    "max_completion_tokens": _MAX_TOKENS,
    "stop": ("stop", "stopsequences"),
    "seed": ("seed", "randomseed"),
    "n": ("n", "candidatecount", "numgenerations"),
    "top_p": ("topp", "p"),
    "top_k": ("topk", "k"),
    "logprobs": ("logprobs", "responselogprobs"),
    "top_logprobs": ("toplogprobs", "logprobs"),
    "response_format": (
        "responseformat", "outputformat", "responsejsonschema", "responseschema", "responsemimetype", "outputconfig",
        "format",
    ),
    "reasoning_effort": _THINKING,
    "thinking": _THINKING,
    "user": ("user", "userid"),
    "parallel_tool_calls": ("paralleltoolcalls", "disableparalleltooluse"),
}  # fmt: skip
"""Names by provider, without underscores and in lower case (Anthropic, Gemini, Bedrock Converse, Cohere, Mistral)."""

_SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty")
_NOT_PARAMETERS = {"messages", "contents", "system", "systeminstruction", "tools", "prompt", "input", "inputs"}
_SCHEMAS = ("responsejsonschema", "responseschema", "schema", "jsonschema")
_KINDS = {"any": "required", "tool": "named", "function": "named", "validated": "required"}


def changes(asked: Mapping[str, Any], sent: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what became of the parameters, one entry a change: not sent, sent as something else, or added.

    Messages are compared in `sent_messages`.
    """
    flat = dict(_flat(sent))
    tools = sent.get("tools") or mapping(sent.get("toolConfig")).get("tools")
    known = [*tool_changes(asked.get("tools"), tools)]
    for name, value in asked.items():
        if value is None or name in {"tools", "extra_body"}:
            continue
        if name == "tool_choice":
            known += _choice_changes(value, flat)
            continue
        if name == "response_format":
            known += _format_changes(value, flat, schema_of(tools, AS_A_TOOL))
            continue
        key = next((key for key in _keys(name) if key in flat), None)
        if key is not None:
            known += _value_changes(name, value, key, flat[key])
        else:
            known.append(f"{name}: not sent")
    for name in _SAMPLING:
        if not any(other in asked for other in (name, *(k for k, v in _NAMES.items() if v is _NAMES.get(name)))):
            found = next((flat[key] for key in _keys(name) if key in flat), None)
            if found is not None:
                known.append(f"{name}: added, {_text(found)}")
    return tuple(known)


def _keys(name: str) -> tuple[str, ...]:
    return _NAMES.get(name, (_plain(name),))


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _flat(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give every parameter of a body, those in its groups (`generationConfig`, `inferenceConfig`) too."""
    for key, value in data.items():
        plain = _plain(key)
        if plain in _NOT_PARAMETERS:
            continue
        if isinstance(value, Mapping) and plain not in _SCHEMAS:
            yield from _flat(value)
        yield plain, value


def _value_changes(name: str, asked: object, key: str, sent: object) -> Iterator[str]:
    if name in {"reasoning_effort", "thinking"} and sent != asked:
        yield f"{name}: sent as {key} {_text(sent)}"
    elif isinstance(asked, (bool, Mapping)) or isinstance(sent, Mapping):
        return
    elif isinstance(asked, (int, float, str, list)) and sent not in (asked, [asked]):
        yield f"{name}: sent as {_text(sent)}"


def _choice_changes(asked: object, flat: Mapping[str, Any]) -> Iterator[str]:
    sent = flat.get("toolchoice", flat.get("functioncallingconfig", flat.get("toolconfig")))
    wanted, there = _kind(asked), _kind(sent)
    if there is None and wanted != "auto":
        yield "tool_choice: not sent"
    elif there is not None and there != wanted:
        yield f"tool_choice: {wanted} sent as {there}"


def _format_changes(asked: object, flat: Mapping[str, Any], as_a_tool: Mapping[str, Any] | None) -> Iterator[str]:
    """Compare a response format; that it is asked for by a tool is said where tools are."""
    if not isinstance(asked, Mapping) or asked.get("type") in (None, "text"):
        return
    keys = [key for key in _keys("response_format") if key in flat]
    if not keys and as_a_tool is None:
        yield "response_format: not sent"
    wanted = mapping(mapping(asked.get("json_schema")).get("schema"))
    sent = next((flat[key] for key in _SCHEMAS if isinstance(flat.get(key), Mapping)), as_a_tool)
    if wanted and (keys or as_a_tool is not None):
        if not sent:
            yield "response_format: its schema not sent"
        else:
            yield from schema_changes("response_format", wanted, sent)


def _kind(choice: object) -> str | None:
    if isinstance(choice, Mapping):
        if choice.get("allowedFunctionNames") or choice.get("allowed_function_names"):
            return "named"
        choice = choice.get("type") or choice.get("mode") or next(iter(choice), None)
    return _KINDS.get(choice.lower(), choice.lower()) if isinstance(choice, str) else None


def _text(value: object) -> str:
    return orjson.dumps(value, default=str).decode()
