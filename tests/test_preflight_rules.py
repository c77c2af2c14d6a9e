"""Every rule finds what breaks a migration, on the way there and on the way back, and is silent elsewhere."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmmigrate.document import Document, load_text
from llmmigrate.models import costmap
from llmmigrate.preflight import Asked, Place, findings_of
from llmmigrate.preflight.capability import entry_of
from llmmigrate.preflight.case import Case, ways
from llmmigrate.preflight.catalogue import PROVIDER_RULES, RULES
from tests.test_document import EXAMPLE

GPT_4O, GPT_5, GPT_5_1, GPT_5_6, O3 = "openai/gpt-4o", "openai/gpt-5", "openai/gpt-5.1", "openai/gpt-5.6", "openai/o3"
SONNET, OPUS_4_7, OPUS_5_5 = "anthropic/claude-sonnet-4-5", "anthropic/claude-opus-4-7", "anthropic/claude-opus-5-5"
FABLE, UNMAPPED = "anthropic/claude-fable-5", "anthropic/claude-of-our-own"
MISTRAL, GEMINI_2, GEMINI_3 = "mistral/mistral-large-latest", "gemini/gemini-2.5-pro", "gemini/gemini-3-flash-preview"
OWN = "hosted_vllm/our-own"

HELLO = {"role": "user", "content": "Hello"}
SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
FIND = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}


def call(one: str = "call_1", **more: Any) -> dict[str, Any]:
    return {"id": one, "type": "function", "function": {"name": "search", "arguments": "{}"}, **more}


def after_a_call(one: str = "call_1", **more: Any) -> list[dict[str, Any]]:
    asked = {"role": "assistant", "content": None, "tool_calls": [call(one, **more)]}
    return [HELLO, asked, {"role": "tool", "tool_call_id": one, "content": "none"}]


def tool(name: str = "search", **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def structured(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    wanted = {"name": "answer", "strict": strict, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def document(current: str, target: str, *, sides: dict[str, Any] | None = None, **more: Any) -> Document:
    data = yaml.safe_load(EXAMPLE)
    data |= {"created": "2026-11-23T22:52:11Z", "current": {"model": current}, "target": {"model": target}, **more}
    for side, own in (sides or {}).items():
        data[side] |= own
    return load_text(yaml.safe_dump(data, sort_keys=False), "d.yaml", prompts=lambda path: f"the text of {path}")


def asked(request: dict[str, Any], line: int = 1) -> Asked:
    body = deepcopy(request)
    known = {key: body.pop(key) for key in ("tools", "tool_choice", "response_format") if key in body}
    return Asked(body.pop("messages", [HELLO]), params=body, place=Place("r.jsonl", line), **known)


def found(one: Document, *requests: dict[str, Any], per_second: float | None = None) -> list[Any]:
    given = [asked(request, number) for number, request in enumerate(requests, 1)]
    return findings_of(one, given, file="migrations/versions/d.yaml", per_second=per_second)


def of(rule: str, findings: list[Any]) -> list[tuple[str, str, str]]:
    return [(one.severity, one.direction, one.path) for one in findings if one.rule == rule]


OPTIONAL = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
LIMITED = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer", "minimum": 1}}}}
CLOSED = {**OPEN, "additionalProperties": False}
SIGNED = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}

BROKEN = [
    # rule, how bad, the model before, the model that it breaks at, what is asked, where
    ("ANT-01", "warning", GPT_4O, SONNET, {}, ""),
    ("ANT-02", "warning", GPT_4O, SONNET, {"messages": [HELLO, {"role": "system", "content": "x"}]}, "messages[1]"),
    ("ANT-02", "note", GPT_4O, SONNET, {"messages": [HELLO, HELLO]}, "messages[1]"),
    ("ANT-03", "error", GPT_4O, OPUS_4_7, {"messages": [HELLO, {"role": "assistant", "content": "{"}]}, "messages[1]"),
    (
        "ANT-03",
        "warning",
        GPT_4O,
        UNMAPPED,
        {"messages": [HELLO, {"role": "assistant", "content": "{"}]},
        "messages[1]",
    ),
    ("ANT-04", "error", GPT_4O, OPUS_4_7, {"temperature": 0}, "temperature"),
    ("ANT-04", "error", GPT_4O, OPUS_4_7, {"top_p": 0.9}, "top_p"),
    ("ANT-04", "error", GPT_4O, "bedrock/anthropic.claude-opus-4-7", {"top_p": 0.9}, "top_p"),
    ("ANT-04", "warning", GPT_4O, UNMAPPED, {"temperature": 0}, "temperature"),
    ("ANT-05", "error", GPT_4O, OPUS_5_5, {"tools": [SEARCH], "tool_choice": "required"}, "tool_choice"),
    (
        "ANT-05",
        "error",
        GPT_4O,
        OPUS_5_5,
        {"tools": [SEARCH], "tool_choice": {"type": "function", "function": {"name": "search"}}},
        "tool_choice",
    ),
    ("ANT-05", "warning", GPT_4O, UNMAPPED, {"tools": [SEARCH], "tool_choice": "required"}, "tool_choice"),
    (
        "ANT-06",
        "error",
        GPT_4O,
        SONNET,
        {"tools": [SEARCH], "tool_choice": "required", "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "tool_choice",
    ),
    (
        "ANT-06",
        "error",
        GPT_4O,
        SONNET,
        {"tools": [SEARCH], "tool_choice": "required", "reasoning_effort": "low"},
        "tool_choice",
    ),
    ("ANT-07", "warning", SONNET, OPUS_4_7, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
    ("ANT-07", "warning", SONNET, FABLE, {"thinking": {"type": "disabled"}}, "thinking"),
    ("ANT-07", "warning", OPUS_4_7, SONNET, {"thinking": {"type": "adaptive"}}, "thinking"),
    ("ANT-07", "warning", SONNET, UNMAPPED, {"thinking": {"type": "adaptive"}}, "thinking"),
    (
        "ANT-07",
        "error",
        OPUS_4_7,
        SONNET,
        {"thinking": {"type": "enabled", "budget_tokens": 1000}},
        "thinking.budget_tokens",
    ),
    (
        "ANT-07",
        "error",
        OPUS_4_7,
        SONNET,
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000},
        "thinking.budget_tokens",
    ),
    ("ANT-08", "error", OPUS_4_7, SONNET, {"messages": [HELLO, SIGNED, HELLO]}, "messages[1]"),
    (
        "ANT-08",
        "error",
        OPUS_4_7,
        SONNET,
        {"messages": [HELLO, {"role": "assistant", "thinking_blocks": [{"type": "redacted_thinking"}]}, HELLO]},
        "messages[1]",
    ),
    ("ANT-09", "error", GPT_4O, SONNET, {"stop": ["END", "\n\n"]}, "stop"),
    ("ANT-09", "error", GPT_4O, SONNET, {"stop": " "}, "stop"),
    ("ANT-10", "error", GPT_4O, SONNET, {"seed": 1}, "seed"),
    ("ANT-10", "error", GPT_4O, SONNET, {"n": 2}, "n"),
    ("ANT-10", "error", GPT_4O, "bedrock/us.anthropic.claude-opus-5-5", {"store": True}, "store"),
    ("ANT-10", "error", GPT_4O, SONNET, {"logit_bias": {"1": 1}}, "logit_bias"),
    ("TOOL-01", "error", SONNET, GPT_4O, {"tools": [tool("find.it")]}, "tools.find.it"),
    ("TOOL-01", "error", SONNET, MISTRAL, {"tools": [tool("a" * 65)]}, f"tools.{'a' * 65}"),
    ("TOOL-01", "error", GPT_4O, GEMINI_3, {"tools": [tool("1st")]}, "tools.1st"),
    (
        "TOOL-01",
        "error",
        GPT_4O,
        GEMINI_3,
        {"tools": [tool(where={"type": "object", "properties": {"x" * 65: {"type": "string"}}})]},
        f"tools.search.parameters.properties.where.properties.{'x' * 65}",
    ),
    ("TOOL-01", "error", GPT_4O, SONNET, {"tools": [tool(**{"a b": {}})]}, "tools.search.parameters.properties.a b"),
    ("TOOL-01", "note", GPT_4O, SONNET, {"tools": [tool("find.it")]}, "tools.find.it"),
    ("TOOL-02", "error", SONNET, GPT_4O, {"tools": [{"name": "search", "input_schema": {}}]}, "tools.search"),
    ("TOOL-02", "error", SONNET, GPT_4O, {"tools": [tool(a={"type": "dict"})]}, "tools.search"),
    ("TOOL-02", "warning", GPT_4O, SONNET, {"tools": [{"type": "web_search"}]}, "tools.web_search"),
    (
        "TOOL-02",
        "error",
        GPT_4O,
        GEMINI_3,
        {"tools": [{"type": "function", "function": {"name": "s", "parameters": {}, "parameters_json_schema": {}}}]},
        "tools.s",
    ),
    (
        "TOOL-02",
        "note",
        GPT_4O,
        SONNET,
        {"tools": [{"type": "function", "function": {"name": "s", "parameters": {"anyOf": [{"type": "object"}]}}}]},
        "tools.s",
    ),
    ("GEM-01", "warning", GPT_4O, GEMINI_3, {"tools": [tool(a={"type": "integer", "enum": [1, 2]})]}, "tools.search"),
    ("GEM-01", "warning", GPT_4O, GEMINI_2, {"tools": [tool(a={"enum": ["", "x"]})]}, "tools.search"),
    (
        "GEM-02",
        "warning",
        GPT_4O,
        GEMINI_3,
        {"tools": [SEARCH, FIND], "parallel_tool_calls": False},
        "parallel_tool_calls",
    ),
    ("GEM-03", "warning", GPT_4O, GEMINI_3, {"messages": after_a_call()}, "messages[1].tool_calls"),
    (
        "GEM-03",
        "warning",
        "gemini/gemini-3.1-pro-preview",
        GEMINI_3,
        {"messages": after_a_call("call_1__thought__c2ln")},
        "messages[1].tool_calls",
    ),
    ("GEM-04", "error", GPT_4O, GEMINI_2, {"frequency_penalty": 0.5}, "frequency_penalty"),
    ("GEM-04", "error", GPT_4O, GEMINI_3, {"logit_bias": {"1": 1}}, "logit_bias"),
    ("MIS-01", "note", GPT_4O, MISTRAL, {"messages": after_a_call()}, "messages[1]"),
    ("MIS-02", "error", GPT_4O, MISTRAL, {"messages": [HELLO, {"role": "assistant", "content": "x"}]}, "messages[1]"),
    ("MIS-02", "error", GPT_4O, MISTRAL, {"messages": [*after_a_call()[:2], HELLO]}, "messages"),
    (
        "MIS-02",
        "error",
        GPT_4O,
        MISTRAL,
        {"messages": [{**message, "content": "x"} for message in after_a_call()]},
        "messages[1]",
    ),
    ("MIS-02", "error", GPT_4O, MISTRAL, {"messages": [{"role": "developer", "content": "x"}, HELLO]}, "messages[0]"),
    (
        "MIS-03",
        "note",
        GPT_4O,
        MISTRAL,
        {"tools": [SEARCH], "tool_choice": {"type": "function", "function": {"name": "search"}}},
        "tool_choice",
    ),
    ("MIS-04", "error", GPT_4O, MISTRAL, {"user": "u"}, "user"),
    ("MIS-04", "note", GPT_4O, MISTRAL, {"seed": 1}, "seed"),
    ("MIS-04", "warning", GPT_4O, MISTRAL, {"store": True}, "store"),
    ("OAI-01", "note", GPT_4O, GPT_5, {"max_tokens": 100}, "max_tokens"),
    ("OAI-01", "error", GPT_4O, "azure/gpt-5", {"max_tokens": 100}, "max_tokens"),
    ("OAI-02", "error", GPT_4O, O3, {"temperature": 0.2}, "temperature"),
    ("OAI-02", "error", GPT_4O, GPT_5, {"temperature": 0.2}, "temperature"),
    ("OAI-02", "error", GPT_4O, GPT_5_1, {"temperature": 0.2, "reasoning_effort": "low"}, "temperature"),
    ("OAI-02", "warning", GPT_4O, "openai/gpt-5.5", {"temperature": 0.2}, "temperature"),
    ("OAI-03", "error", GPT_4O, GPT_5, {"stop": ["x"]}, "stop"),
    ("OAI-03", "error", GPT_4O, O3, {"stop": "x"}, "stop"),
    ("OAI-03", "error", SONNET, GPT_4O, {"stop": list("abcde")}, "stop"),
    ("OAI-03", "error", GPT_4O, GPT_5, {"frequency_penalty": 0.5}, "frequency_penalty"),
    ("OAI-03", "warning", GPT_4O, GPT_5, {"frequency_penalty": 0}, "frequency_penalty"),
    ("OAI-03", "error", GPT_4O, GPT_5, {"logit_bias": {"1": 1}}, "logit_bias"),
    ("OAI-03", "error", GPT_4O, O3, {"logit_bias": {"1": 1}}, "logit_bias"),
    ("OAI-04", "error", GPT_4O, GPT_5_6, {"tools": [SEARCH]}, "tools"),
    ("OAI-04", "error", GPT_4O, "openai/gpt-5.4", {"tools": [SEARCH], "reasoning_effort": "low"}, "reasoning_effort"),
    ("OAI-04", "warning", GPT_4O, "openai/gpt-5.5", {"tools": [SEARCH]}, "tools"),
    ("OAI-05", "error", GPT_4O, O3, {"parallel_tool_calls": True}, "parallel_tool_calls"),
    ("OAI-05", "error", GPT_4O, O3, {"logprobs": True}, "logprobs"),
    ("OAI-05", "error", GPT_4O, GPT_5, {"top_p": 0.5}, "top_p"),
    ("OAI-06", "error", GPT_4O, "openai/o1-mini", {"messages": [{"role": "system", "content": "x"}]}, "messages[0]"),
    ("RF-01", "error", SONNET, GPT_4O, structured(OPTIONAL), "response_format.json_schema.schema"),
    ("RF-01", "error", SONNET, GPT_4O, structured(OPEN), "response_format.json_schema.schema"),
    ("RF-01", "error", SONNET, "openai/gpt-4", structured(CLOSED), "response_format"),
    (
        "RF-01",
        "warning",
        GPT_4O,
        SONNET,
        structured(LIMITED),
        "response_format.json_schema.schema.properties.a.items.minimum",
    ),
    ("RF-01", "warning", GPT_4O, "vertex_ai/claude-opus-4-7", structured(CLOSED), "response_format"),
    ("RF-01", "warning", GPT_4O, UNMAPPED, structured(CLOSED), "response_format"),
    ("RF-01", "warning", GPT_4O, SONNET, {"response_format": {"type": "json_object"}}, "response_format"),
    ("RF-01", "error", SONNET, GPT_4O, {"response_format": {"type": "json_object"}}, "response_format"),
    ("CTX-01", "error", SONNET, GPT_4O, {"max_tokens": 20_000}, "max_tokens"),
    (
        "CACHE-01",
        "error",
        SONNET,
        GPT_4O,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
        "messages[0]",
    ),
    ("CACHE-01", "error", SONNET, MISTRAL, {"tools": [{**SEARCH, "cache_control": {}}]}, "tools.search"),
    ("DROP-01", "warning", GPT_4O, SONNET, {"drop_params": True, "seed": 1}, "drop_params"),
    ("HIST-01", "warning", SONNET, GPT_4O, {"messages": [HELLO, SIGNED, HELLO]}, "messages[1]"),
    (
        "HIST-01",
        "error",
        SONNET,
        MISTRAL,
        {"messages": [HELLO, {"role": "assistant", "content": "x", "reasoning_content": "hm"}, HELLO]},
        "messages[1]",
    ),
    ("HIST-01", "note", GPT_4O, SONNET, {"messages": after_a_call()}, "messages[1].tool_calls"),
    ("HIST-01", "note", GEMINI_3, GPT_4O, {"messages": after_a_call("c" * 41)}, "messages[1]"),
]


@pytest.mark.parametrize(("rule", "severity", "before", "breaks", "request_", "path"), BROKEN)
def test_what_breaks_is_found_at_its_place_on_either_way(rule, severity, before, breaks, request_, path):
    there = found(document(before, breaks), request_)
    assert (severity, "there", path) in of(rule, there)
    back = found(document(breaks, before), request_)
    assert (severity, "back", path) in of(rule, back)
    known = (rule, severity, "there", path)
    [first] = [one for one in there if (one.rule, one.severity, one.direction, one.path) == known]
    assert (first.file, first.line, first.requests, first.places) == ("r.jsonl", 1, 1, ("r.jsonl:1",))


KEPT = [
    ("ANT-01", SONNET, {"max_tokens": 100}),
    ("ANT-01", SONNET, {"max_completion_tokens": 100}),
    ("ANT-01", "bedrock/anthropic.claude-opus-4-7", {}),
    ("ANT-02", SONNET, {"messages": [{"role": "system", "content": "x"}, HELLO]}),
    ("ANT-03", SONNET, {"messages": [HELLO, {"role": "assistant", "content": "{"}]}),
    ("ANT-03", OPUS_4_7, {"messages": [HELLO]}),
    ("ANT-04", OPUS_4_7, {"temperature": 1}),
    ("ANT-04", SONNET, {"temperature": 0}),
    ("ANT-05", OPUS_5_5, {"tools": [SEARCH], "tool_choice": "auto"}),
    ("ANT-05", SONNET, {"tools": [SEARCH], "tool_choice": "required"}),
    ("ANT-06", SONNET, {"tools": [SEARCH], "tool_choice": "required"}),
    ("ANT-06", SONNET, {"tools": [SEARCH], "reasoning_effort": "low"}),
    ("ANT-07", SONNET, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}),
    ("ANT-07", "anthropic/claude-opus-4-6", {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
    ("ANT-07", OPUS_4_7, {"thinking": {"type": "adaptive"}}),
    ("ANT-08", SONNET, {"messages": [HELLO, {"role": "assistant", "content": "x"}, HELLO]}),
    ("ANT-09", SONNET, {"stop": ["END\n"]}),
    ("ANT-10", SONNET, {"n": 1, "top_p": 0.5}),
    ("TOOL-01", GPT_4O, {"tools": [tool("find-it_1")]}),
    ("TOOL-01", GEMINI_3, {"tools": [tool("find.it:now-1")]}),
    ("TOOL-01", OWN, {"tools": [tool("find it, quick!")]}),
    ("TOOL-02", GPT_4O, {"tools": [SEARCH]}),
    ("TOOL-02", OWN, {"tools": [{"name": "search", "input_schema": {}}]}),
    (
        "GEM-01",
        GEMINI_3,
        {"tools": [tool(a={"type": "string", "enum": ["x"]}, b={"type": "array", "items": {"type": "string"}})]},
    ),
    ("GEM-01", GPT_4O, {"tools": [tool(a={"type": "integer", "enum": [1]})]}),
    ("GEM-02", GEMINI_3, {"tools": [SEARCH], "parallel_tool_calls": False}),
    ("GEM-03", GEMINI_2, {"messages": after_a_call()}),
    ("GEM-03", GEMINI_3, {"messages": [HELLO]}),
    ("GEM-04", GEMINI_2, {"frequency_penalty": 0, "logprobs": True, "seed": 1, "n": 2}),
    ("GEM-04", "gemini/gemini-2.0-flash", {"frequency_penalty": 1}),
    ("MIS-01", MISTRAL, {"messages": after_a_call("abcDEF123")}),
    ("MIS-01", OWN, {"messages": after_a_call()}),
    ("MIS-02", MISTRAL, {"messages": after_a_call()}),
    ("MIS-02", MISTRAL, {"messages": [HELLO, {"role": "assistant", "content": "x", "prefix": True}]}),
    ("MIS-03", MISTRAL, {"tools": [SEARCH], "tool_choice": "required"}),
    ("MIS-04", MISTRAL, {"n": 2, "frequency_penalty": 1, "random_seed": 1}),
    ("OAI-01", GPT_5, {"max_completion_tokens": 100}),
    ("OAI-01", GPT_4O, {"max_tokens": 100}),
    ("OAI-02", GPT_5, {"temperature": 1}),
    ("OAI-02", GPT_5_1, {"temperature": 0.2}),
    ("OAI-02", GPT_5_6, {"temperature": 0.2, "reasoning_effort": "none"}),
    ("OAI-02", "openai/gpt-5-chat-latest", {"temperature": 0.2}),
    ("OAI-03", GPT_4O, {"stop": list("abcd"), "frequency_penalty": 1, "logit_bias": {"1": 1}}),
    ("OAI-03", "openai/o3-mini", {"stop": "x"}),
    ("OAI-04", GPT_5_6, {"tools": [SEARCH], "reasoning_effort": "none"}),
    ("OAI-04", "openai/gpt-5.4", {"tools": [SEARCH]}),
    ("OAI-04", GPT_5_1, {"tools": [SEARCH], "reasoning_effort": "low"}),
    ("OAI-04", GPT_5_6, {}),
    ("OAI-05", GPT_5_1, {"top_p": 0.5, "logprobs": True}),
    ("OAI-05", GPT_5, {"top_p": 1, "logprobs": False, "parallel_tool_calls": True}),
    ("OAI-06", "openai/o1", {"messages": [{"role": "system", "content": "x"}]}),
    ("OAI-06", "openai/o1-mini", {"messages": [HELLO]}),
    ("RF-01", GPT_4O, structured(CLOSED)),
    ("RF-01", GPT_4O, structured(OPEN, strict=False)),
    ("RF-01", SONNET, structured(CLOSED)),
    ("RF-01", GPT_4O, {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "JSON!"}]}),
    ("RF-01", OWN, structured(LIMITED)),
    ("CTX-01", GPT_4O, {"max_tokens": 16_384}),
    ("CTX-01", OWN, {"max_tokens": 10**9}),
    ("CACHE-01", OWN, {"cache_control": {"type": "ephemeral"}}),
    ("DROP-01", SONNET, {"drop_params": False}),
    ("HIST-01", OWN, {"messages": [HELLO]}),
]


@pytest.mark.parametrize(("rule", "model", "request_"), KEPT)
def test_what_does_not_break_is_not_told(rule, model, request_):
    for pair in (document("recorded/one", model), document(model, "recorded/one")):
        assert [one for one in of(rule, found(pair, request_)) if not one[2].endswith(".model")] == []


def test_an_own_server_that_speaks_as_openai_does_is_not_held_to_its_rules():
    request = {"temperature": 0, "max_tokens": 1, "tools": [tool("a b")], "stop": list("abcde")}
    there = document("recorded/one", GPT_5, sides={"target": {"api_base": "http://vllm.internal/v1"}})
    assert [one for one in found(there, request) if one.severity != "note"] == []
    europe = document("recorded/one", GPT_5, sides={"target": {"api_base": "https://eu.api.openai.com/v1"}})
    assert of("OAI-02", found(europe, request)) == [("error", "there", "temperature")]


def test_a_model_that_only_the_responses_api_serves_is_found_both_ways():
    assert of("OAI-07", found(document(GPT_4O, "openai/gpt-5-pro"))) == [("error", "there", "target.model")]
    assert of("OAI-07", found(document("openai/gpt-5-pro", GPT_4O))) == [("error", "back", "current.model")]
    assert of("OAI-07", found(document(GPT_4O, GPT_5))) == []


def test_windows_are_compared_and_what_is_not_known_is_said():
    smaller = found(document(SONNET, GPT_4O))
    assert of("CTX-01", smaller) == [("warning", "there", "target.model")]
    assert "prompts are not counted here" in next(one.message for one in smaller if one.rule == "CTX-01")
    assert of("CTX-01", found(document(GPT_4O, SONNET))) == [("note", "back", "current.model")]
    assert of("CTX-01", found(document(GPT_4O, OWN))) == [("note", "there", "target.model")]
    assert of("CTX-01", found(document(OWN, "recorded/one"))) == []


def test_a_cache_that_is_lost_is_told_with_its_prices():
    dearer = document(SONNET, "openai/gpt-5.2-chat-latest")
    assert of("CACHE-01", found(dearer)) == [("warning", "there", "target.model")]
    assert "$0.3 a million cost $1.75" in next(one.message for one in found(dearer) if one.rule == "CACHE-01")
    assert of("CACHE-01", found(document(GPT_4O, GPT_5))) == [("note", "both", "target.model")]
    least = found(document(GPT_4O, "anthropic/claude-opus-4-5"))
    assert "prompts of 4,096 tokens and more" in next(one.message for one in least if one.rule == "CACHE-01")
    assert of("CACHE-01", found(document(GPT_4O, OWN))) == [("note", "there", "target.model")]
    assert of("CACHE-01", found(document(OWN, "recorded/one"))) == []


def test_a_quota_is_held_against_the_traffic_on_both_ways():
    there = document(GPT_4O, GEMINI_2)
    assert of("QUOTA-01", found(there)) == []
    assert of("QUOTA-01", found(there, per_second=10)) == [("note", "back", "current.model")]
    assert ("warning", "there", "target.model") in of("QUOTA-01", found(there, per_second=34))
    assert ("warning", "back", "current.model") in of("QUOTA-01", found(document(GEMINI_2, GPT_4O), per_second=34))
    projected = document(OWN, GEMINI_2, monitoring={"projection": {"tokens_per_request": 2000}})
    [finding] = [one for one in found(projected, per_second=10) if one.rule == "QUOTA-01"]
    assert "1,200,000 tokens a minute at 100% are more than the 800,000 of the cost map" in finding.message


def limited(current=None, target=None, models=(GPT_4O, GEMINI_2), **more):
    sides = {side: {"limits": own} for side, own in (("current", current), ("target", target)) if own}
    return document(*models, sides=sides, **more)


def test_a_declared_limit_comes_before_that_of_the_cost_map():
    quotas = of("QUOTA-01", found(limited(target={"rpm": 100}), per_second=2))
    assert ("warning", "there", "target.limits.rpm") in quotas
    [finding] = [one for one in found(limited(target={"rpm": 100}), per_second=2) if one.severity == "warning"]
    assert "120 requests a minute at 100% are more than the 100 that target.limits.rpm declares" in finding.message
    enough = limited({"rpm": 5000}, {"rpm": 5000})
    assert of("QUOTA-01", found(enough, per_second=34)) == []  # the cost map says 2,000 of the target
    assert of("QUOTA-01", found(limited({"rpm": 100}), per_second=2)) == [("warning", "back", "current.limits.rpm")]
    back = [one for one in found(limited({"rpm": 100}), per_second=2) if one.rule == "QUOTA-01"]
    assert "120 requests a minute after a rollback" in back[0].message


def test_what_a_limit_of_tokens_is_held_against_must_be_projected():
    own = {"target": {"tpm": 100_000}, "current": {"rpm": 5000}}
    assert of("QUOTA-01", found(limited(**own), per_second=2)) == [("note", "there", "target.limits.tpm")]
    projected = limited(**own, monitoring={"projection": {"tokens_per_request": 1000}})
    assert of("QUOTA-01", found(projected, per_second=2)) == [("warning", "there", "target.limits.tpm")]
    assert of("QUOTA-01", found(projected, per_second=1)) == []


def test_a_declared_limit_of_a_server_of_one_s_own_is_held_too():
    own = limited(target={"rpm": 100}, models=("recorded/one", OWN))
    assert of("QUOTA-01", found(own, per_second=2)) == [("warning", "there", "target.limits.rpm")]
    assert of("QUOTA-01", found(own, per_second=1)) == []


@pytest.mark.parametrize("rule", ["ERR-01", "ERR-02"])
def test_failures_of_two_providers_are_told_apart_once_for_both_ways(rule):
    assert of(rule, found(document(GPT_4O, SONNET))) == [("note", "both", "target.model")]
    assert of(rule, found(document(GPT_4O, GPT_5))) == []
    assert of(rule, found(document(GPT_4O, OWN))) == []
    assert of(rule, found(document(SONNET, GEMINI_3))) == [("note", "both", "target.model")]


def test_open_conversations_are_told_of_where_providers_differ():
    assert of("HIST-01", found(document(GPT_4O, SONNET))) == [("note", "both", "target.model")]
    assert of("HIST-01", found(document(GPT_4O, GPT_5))) == []


def test_what_drop_params_hid_is_listed():
    there = document(GPT_4O, OPUS_4_7, sides={"target": {"params": {"drop_params": True, "temperature": 0, "seed": 1}}})
    [finding] = [one for one in found(there) if one.rule == "DROP-01"]
    assert "it hid seed, temperature" in finding.message
    assert (finding.path, finding.file) == ("target.params.drop_params", "migrations/versions/d.yaml")
    nothing = document(GPT_4O, OPUS_4_7, sides={"target": {"params": {"drop_params": True}}})
    assert "it hides nothing" in next(one.message for one in found(nothing) if one.rule == "DROP-01")


def test_what_the_document_sets_is_found_in_the_document_with_line_and_column():
    there = document(GPT_4O, OPUS_4_7, sides={"target": {"params": {"max_tokens": 10, "temperature": 0.5}}})
    line = next(number for number, text in enumerate(there.text.splitlines(), 1) if "temperature:" in text)
    [alone] = [one for one in found(there) if one.rule == "ANT-04"]
    assert (alone.file, alone.line, alone.path) == ("migrations/versions/d.yaml", line, "target.params.temperature")
    assert alone.column > 1
    assert alone.requests is None
    [with_requests] = [one for one in found(there, {"temperature": 1}, {"temperature": 1}) if one.rule == "ANT-04"]
    assert (with_requests.line, with_requests.requests) == (line, 2)
    assert "r.jsonl:1, r.jsonl:2" in with_requests.message


def test_parameters_of_the_document_win_over_those_of_requests():
    there = document(GPT_4O, OPUS_4_7, sides={"target": {"params": {"temperature": 1, "max_tokens": 10}}})
    assert of("ANT-04", found(there, {"temperature": 0})) == []
    moved = document(SONNET, GPT_4O, sides={"target": {"params": {"response_format": {"type": "text"}}}})
    assert of("RF-01", found(moved, structured(OPTIONAL))) == []


def test_requests_that_carry_what_is_required_silence_the_document():
    there = document(GPT_4O, SONNET)
    assert of("ANT-01", found(there)) == [("warning", "there", "target.params")]
    assert of("ANT-01", found(there, {"max_tokens": 5})) == []


def test_places_in_messages_are_those_of_the_request_where_the_document_has_a_prompt():
    there = document(SONNET, GPT_4O, sides={"target": {"system": "prompts/new.md"}})
    system = {"role": "system", "content": "old"}
    request = {"messages": [system, system, HELLO, SIGNED, HELLO]}
    assert ("warning", "there", "messages[3]") in of("HIST-01", found(there, request))
    early = document(GPT_4O, "openai/o1-mini", sides={"target": {"system": "prompts/new.md"}})
    assert of("OAI-06", found(early, {"messages": [HELLO]})) == [("error", "there", "target.system")]
    assert of("OAI-06", found(early)) == [("error", "there", "target.system")]


def test_two_claudes_that_can_write_as_much_are_no_change():
    assert of("ANT-01", found(document("anthropic/claude-sonnet-4-6", OPUS_4_7))) == []
    assert of("ANT-01", found(document(SONNET, OPUS_4_7))) == [
        ("warning", "there", "target.params"),
        ("warning", "back", "current.params"),
    ]


def test_every_rule_of_a_provider_names_its_source_and_is_tested():
    told = {rule for rule, *_ in BROKEN} | {"MAP-01", "SRV-01", "OAI-07", "QUOTA-01", "ERR-01", "ERR-02"}
    assert told == {rule.info.id for rule in PROVIDER_RULES}
    assert len(PROVIDER_RULES) == len(told)
    assert told < RULES.keys()
    for rule in PROVIDER_RULES:
        assert rule.info.source
        assert rule.info.why.endswith(".")


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("anthropic/claude-opsu-5-5", "anthropic/claude-opus-5-5"),
        ("claude", "anthropic/claude-"),
        ("openai/gtp-4o", "openai/gpt-4o"),
    ],
)
def test_a_name_that_the_cost_map_does_not_have_may_be_a_typing_error(model, near):
    [one] = [one for one in found(document(GPT_4O, model)) if one.rule == "MAP-01"]
    assert (one.severity, one.direction, one.path) == ("warning", "there", "target.model")
    assert "A typing error?" in one.message
    assert near in one.message
    assert of("MAP-01", found(document(model, GPT_4O))) == [("warning", "back", "current.model")]


@pytest.mark.parametrize("model", ["gpt-4o", SONNET, OWN, "azure/our-deployment", "openai/ft:gpt-4o:we::1", "fake/x"])
def test_what_is_listed_or_named_by_users_is_no_typing_error(model):
    assert of("MAP-01", found(document(GPT_4O, model))) == []


def test_a_name_at_a_server_of_one_s_own_is_no_typing_error():
    own = document(GPT_4O, "openai/our-own", sides={"target": {"api_base": "http://vllm.internal/v1"}})
    assert of("MAP-01", found(own)) == []
    assert of("MAP-01", found(document(GPT_4O, "openai/our-own"))) != []


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        (OWN, "HOSTED_VLLM_API_BASE"),
        ("azure/ours", "AZURE_API_BASE"),
        ("lm_studio/ours", "LM_STUDIO_API_BASE"),
        ("litellm_proxy/ours", "LITELLM_PROXY_API_BASE"),
    ],
)
def test_a_model_of_one_s_own_wants_a_server(model, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    there = document(GPT_4O, model)
    [one] = [one for one in found(there) if one.rule == "SRV-01"]
    assert (one.severity, one.direction, one.path) == ("warning", "there", "target.model")
    assert "target.api_base" in one.message
    assert variable in one.message
    assert of("SRV-01", found(document(model, GPT_4O))) == [("warning", "back", "current.model")]
    assert of("SRV-01", found(document(GPT_4O, model, sides={"target": {"api_base": "http://vllm/v1"}}))) == []
    monkeypatch.setenv(variable, "http://vllm.internal/v1")
    assert of("SRV-01", found(there)) == []


def test_a_tool_without_a_name_is_called_so():
    one, _ = [one for one in found(document(GPT_4O, GPT_5), {"tools": [{"type": "function"}]}) if one.rule == "TOOL-02"]
    assert "a tool without a name has no known form" in one.message
    assert one.path == "tools"


def test_findings_say_to_which_model_and_on_which_way():
    messages = {one.direction: one.message for one in found(document(OPUS_4_7, GPT_5), {"temperature": 0, "top_p": 1})}
    assert messages["there"].startswith(f"to {GPT_5}: ")
    assert messages["back"].startswith(f"on the way back to {OPUS_4_7}: ")
    assert messages["both"].startswith("both ways: ")


def test_the_page_has_every_rule_with_its_source():
    page = (Path(__file__).parents[1] / "docs" / "preflight.md").read_text("utf-8")
    for rule in PROVIDER_RULES:
        info = rule.info
        assert f"| {info.id} | {info.severity} | {info.title} | {info.source} |" in page


def test_the_rule_that_the_page_shows_works():
    page = (Path(__file__).parents[1] / "docs" / "preflight.md").read_text("utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    shown: dict[str, Any] = {}
    exec(code, shown)
    [rule] = shown["RULES"]
    there, back = ways(document(GPT_4O, "xai/grok-4"))
    assert (rule.concerns(there), rule.concerns(back)) == (True, False)
    [hit] = rule.of_case(Case(there, asked({"frequency_penalty": 1})))
    assert hit.at == ("params", "frequency_penalty")
    assert list(rule.of_case(Case(there, asked({})))) == []


def test_a_model_that_stays_and_changes_its_parameters_keeps_its_history():
    sides = {"target": {"params": {"max_tokens": 100}}, "current": {"params": {"max_tokens": 50}}}
    stays = document(SONNET, SONNET, sides=sides)
    assert of("ANT-08", found(stays, {"messages": [HELLO, SIGNED, HELLO]})) == []
    assert of("HIST-01", found(stays, {"messages": after_a_call()})) == []
    gemini = document(GEMINI_3, GEMINI_3, sides=sides)
    assert of("GEM-03", found(gemini, {"messages": after_a_call("call_1__thought__c2ln")})) == []


def test_windows_of_one_size_are_no_change():
    assert of("CTX-01", found(document(GPT_5, GPT_5_1))) == []


def test_azure_at_an_address_of_its_own_is_held_to_openai_s_rules():
    there = document(GPT_4O, "azure/gpt-5", sides={"target": {"api_base": "https://we.openai.azure.com"}})
    assert of("OAI-02", found(there, {"temperature": 0})) == [("error", "there", "temperature")]


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("openai/gpt-4o", True),
        ("groq/gpt-4o", False),
        ("bedrock/converse/us.anthropic.claude-opus-5-5", True),
        ("bedrock/us.anthropic.claude-opus-5-5", True),
        ("anthropic/claude-opus-5-5", True),
        (UNMAPPED, False),
    ],
)
def test_what_another_provider_calls_by_the_same_name_is_not_that_model(model, known):
    assert (entry_of(model) is not None) == known
    assert (costmap.facts(model).max_input_tokens is not None) == known
