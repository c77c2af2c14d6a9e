"""What rules call refused is refused, by the test servers and by LiteLLM as it is installed, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.models import ChatRequest
from llmmigrate.models.providers import prepare
from llmmigrate.preflight import Asked, Place, findings_of
from tests.providers import mistral, openai
from tests.test_preflight_rules import BROKEN, HELLO, KEPT, MISTRAL, SEARCH, after_a_call, asked, document, found

ENVIRON = {"OPENAI_API_KEY": "k", "MISTRAL_API_KEY": "k"}
SERVERS = {"openai": openai.refusal, "mistral": mistral.refusal}
NOT_PLAYED = {"OAI-04", "RF-01", "CTX-01", "CACHE-01", "TOOL-02", "HIST-01"}
"""What the test servers take and providers do not: tools while reasoning, strict schemas, lengths, unknown fields."""


def body_of(model, request):
    one = asked(request)
    return prepare(
        ChatRequest(model, one.messages, one.params, one.tools, one.tool_choice, one.response_format),
        stream=False,
        environ=ENVIRON,
    ).body


def differs(rule, model, request):
    """Tell where a test server does not play its provider: it knows no efforts of GPT-5, no roles, not all fields."""
    efforts = model.endswith(("gpt-5.1", "gpt-5.6", "chat-latest")) or (rule == "OAI-05" and "gpt-5" in model)
    roles = {message["role"] for message in request.get("messages", ())}
    return rule in NOT_PLAYED or efforts or model.endswith("o3-mini") or "developer" in roles or "n" in request


REFUSED = [(rule, model, request) for rule, severity, _, model, request, _ in BROKEN if severity == "error"]


def played(rows):
    return [row for row in rows if row[1].partition("/")[0] in SERVERS and not differs(*row)]


@pytest.mark.parametrize(("rule", "model", "request_"), played(REFUSED))
def test_what_is_called_refused_is_refused(rule, model, request_):
    assert SERVERS[model.partition("/")[0]](body_of(model, request_)) is not None


@pytest.mark.parametrize(("rule", "model", "request_"), played(KEPT))
def test_what_no_rule_calls_refused_is_taken(rule, model, request_):
    findings = found(document("recorded/one", model), request_)
    refused = any(one.severity == "error" and one.direction == "there" for one in findings)
    assert (SERVERS[model.partition("/")[0]](body_of(model, request_)) is not None) == refused


CONVERSATION = st.lists(
    st.sampled_from(
        [
            [HELLO],
            [{"role": "system", "content": "x"}],
            [{"role": "assistant", "content": "x"}],
            [{"role": "assistant", "content": "x", "prefix": True}],
            after_a_call(),
            after_a_call("abcDEF123"),
            after_a_call()[:2],
            [{**message, "content": "x"} for message in after_a_call()],
        ]
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: [message for part in parts for message in part])
PARAMS = st.dictionaries(
    st.sampled_from(["temperature", "seed", "user", "logprobs", "logit_bias", "top_p", "frequency_penalty"]), st.just(1)
)
TOOLS = st.lists(st.sampled_from([SEARCH, {"type": "function", "function": {"name": "find.it"}}]), max_size=2)


@given(CONVERSATION, PARAMS, TOOLS)
def test_mistral_refuses_what_the_rules_say_and_nothing_else(messages, params, tools):
    one = Asked(messages, tools, params=params, place=Place("r.jsonl", 1))
    findings = findings_of(document("recorded/one", MISTRAL), [one], file="d.yaml")
    errors = [found.message for found in findings if found.severity == "error"]
    body = prepare(ChatRequest(MISTRAL, messages, params, tools), stream=False, environ=ENVIRON).body
    assert bool(errors) == (mistral.refusal(body) is not None), errors


OF_OPENAI = {"temperature": 0.5, "stop": "x", "frequency_penalty": 1, "logit_bias": {"1": 1}, "max_tokens": 9}
OF_OPENAI |= {"parallel_tool_calls": True, "logprobs": True, "top_p": 0.5, "seed": 1, "user": "u", "n": 2}


@given(st.sets(st.sampled_from(sorted(OF_OPENAI))), TOOLS, st.sampled_from(["openai/o3", "openai/gpt-4o"]))
def test_openai_refuses_what_the_rules_say_and_nothing_else(names, tools, model):
    params = {name: OF_OPENAI[name] for name in names}
    one = Asked([HELLO], tools, params=params, place=Place("r.jsonl", 1))
    findings = findings_of(document("recorded/one", model), [one], file="d.yaml")
    errors = [found.message for found in findings if found.severity == "error"]
    body = prepare(ChatRequest(model, [HELLO], params, tools), stream=False, environ=ENVIRON).body
    assert bool(errors) == (openai.refusal(body) is not None), errors


LITELLM = """
import json, sys
import litellm
from litellm.exceptions import UnsupportedParamsError
from litellm.utils import get_optional_params

litellm.suppress_debug_info = True
answers = []
for model, provider, params in json.load(sys.stdin):
    try:
        sent = get_optional_params(model=model, custom_llm_provider=provider, **params)
    except (UnsupportedParamsError, litellm.BadRequestError):
        answers.append("refused")
        continue
    if provider == "anthropic":
        sent = litellm.AnthropicConfig().transform_request(
            model, [{"role": "user", "content": "x"}], optional_params=sent, litellm_params={}, headers={}
        )
    answers.append(sent)
json.dump(answers, sys.stdout, default=str)
"""
OPUS, SONNET, GEMINI = (
    ("claude-opus-4-7", "anthropic"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini-3-flash-preview", "gemini"),
)
LIMITED = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
TWO = [SEARCH, {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


def test_litellm_does_what_the_rules_say_of_it():
    cases = {
        "ANT-01": (*SONNET, {}),
        "ANT-04 refused": (*OPUS, {"temperature": 0.2}),
        "ANT-04 taken": (*OPUS, {"temperature": 1}),
        "ANT-06": (
            *SONNET,
            {"tools": TWO, "tool_choice": "required", "thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        "ANT-07": (*OPUS, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}),
        "ANT-07 off": ("claude-fable-5", "anthropic", {"thinking": {"type": "disabled"}, "max_tokens": 4000}),
        "ANT-10": (*SONNET, {"seed": 1}),
        "GEM-02": (*GEMINI, {"tools": TWO, "parallel_tool_calls": False}),
        "GEM-04": (*GEMINI, {"logit_bias": {"1": 1}}),
        "RF-01": (
            *SONNET,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": LIMITED}}},
        ),
        "RF-01 no schema": (*SONNET, {"response_format": {"type": "json_object"}}),
        "MIS-03": (
            "mistral-large-latest",
            "mistral",
            {"tools": TWO, "tool_choice": {"type": "function", "function": {"name": "find"}}},
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", LITELLM],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    assert done.returncode == 0, done.stderr
    sent = dict(zip(cases, json.loads(done.stdout), strict=True))
    assert sent["ANT-01"]["max_tokens"] == 64_000
    assert sent["ANT-04 refused"] == sent["ANT-10"] == sent["GEM-04"] == "refused"
    assert sent["ANT-04 taken"]["temperature"] == 1
    assert (sent["ANT-06"]["tool_choice"]["type"], sent["ANT-06"]["thinking"]["type"]) == ("any", "enabled")
    assert sent["ANT-07"]["thinking"]["type"] == "adaptive"
    assert "budget_tokens" not in sent["ANT-07"]["thinking"]
    assert "thinking" not in sent["ANT-07 off"]
    assert "parallel_tool_calls" not in sent["GEM-02"]
    text = json.dumps(sent["RF-01"])
    assert ('"minimum"' in text, "minimum value: 1" in text) == (False, True)
    assert "schema" not in json.dumps(sent["RF-01 no schema"])
    assert "tool_choice" not in sent["MIS-03"]
