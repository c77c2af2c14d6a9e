"""What LiteLLM refuses, drops, rewrites and adds on the way to Anthropic and Gemini is an error or is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.models import ChatRequest
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.sent import changes
from llmmigrate.models.sent_messages import message_changes
from tests import asking
from tests.asking import QUICK
from tests.providers import ANSWER

NOW = {"type": "function", "function": {"name": "now"}}
ASK = [{"role": "user", "content": "Which?"}]
ANTHROPIC, GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"
EMPTY = "[System: Empty message content sanitised to satisfy protocol]"

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", "key-0123456789abcdef0123456789")


def ask(model: str, messages: list[dict[str, object]] = ASK, **more: object):
    request = ChatRequest(model, messages, **{"params": {"max_tokens": 3000}, **more})
    return asking.ask(LiteLLMClient(budget=QUICK), request)


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        (ANTHROPIC, {}, ("max_tokens: added, 64000",)),
        (ANTHROPIC, {"max_tokens": 5, "user": "me@example.org"}, ("user: not sent",)),
        (ANTHROPIC, {"max_tokens": 5, "user": "u1", "stop": "a", "temperature": 0.5, "top_k": 3}, ()),
        ("anthropic/claude-opus-4-7", {"max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
         ('thinking: sent as thinking {"type":"adaptive"}',)),
        ("anthropic/claude-opus-4-7", {"max_tokens": 3000, "reasoning_effort": "low"},
         ('reasoning_effort: sent as thinking {"type":"adaptive","display":"summarized"}',)),
        (ANTHROPIC, {"max_tokens": 5, "response_format": {"type": "json_object"}}, ("response_format: not sent",)),
    ],
)  # fmt: skip
def test_a_parameter_that_is_dropped_rewritten_or_added_is_said(model, params, said):
    answer, _ = ask(model, params=params)
    assert (answer.text, answer.dropped) == (ANSWER, said)


@pytest.mark.parametrize(
    ("model", "params", "more", "said", "sent"),
    [
        ("anthropic/claude-opus-4-7", {"temperature": 0.5}, {}, "temperature=0.5", 0),
        ("anthropic/claude-opus-5-5", {}, {"tools": [NOW], "tool_choice": "required"}, "forced tool use", 0),
        (ANTHROPIC, {"n": 2}, {}, "['n']", 0),
        (ANTHROPIC, {"seed": 2}, {}, "['seed']", 0),
        (ANTHROPIC, {"logprobs": True}, {}, "['logprobs']", 0),
        (ANTHROPIC, {"frequency_penalty": 1}, {}, "['frequency_penalty']", 0),
        (ANTHROPIC, {"logit_bias": {"1": 1}}, {}, "['logit_bias']", 0),
        (ANTHROPIC, {"stop": [" "]}, {}, "non-whitespace", 1),
        (ANTHROPIC, {"thinking": {"type": "enabled", "budget_tokens": 500}}, {}, "budget_tokens", 1),
        (ANTHROPIC, {"thinking": {"type": "enabled", "budget_tokens": 2000}},
         {"tools": [NOW], "tool_choice": "required"}, "Thinking may not be enabled", 1),
        ("anthropic/claude-sonnet-4-6", {}, {"messages": [*ASK, {"role": "assistant", "content": "It is"}]}, "prefill",
         1),
        (ANTHROPIC, {}, {"messages": [
            *ASK, {"role": "assistant", "content": "x",
                   "thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "another model's"}]}, *ASK]},
         "Invalid `signature` in `thinking` block", 1),
    ],
)  # fmt: skip
def test_what_a_model_does_not_take_is_a_bad_request_that_says_so(model, params, more, said, sent):
    error, server = ask(model, params={"max_tokens": 3000, **params}, **more)
    assert (error.error_class, error.attempts, len(server.requests)) == ("bad_request", 1, sent)
    assert said in str(error)


CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLED = [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "{}"},
]
LATE = [{"role": "system", "content": "Be short."}, *ASK, {"role": "system", "content": "Be polite."}, *ASK]
NOTE = '"Operator note (not from the user): the following was originally a mid-conversati…"'


@pytest.mark.parametrize(
    ("model", "messages", "said"),
    [
        (ANTHROPIC, [*ASK, {"role": "assistant", "content": ""}, *ASK], (f'messages: "{EMPTY}" added',)),
        (ANTHROPIC, [{"role": "user", "content": ""}], (f'messages: "{EMPTY}" added',)),
        (ANTHROPIC, LATE, (f"messages: {NOTE} added",)),
        (GEMINI, LATE, ("messages: a later system message sent with the first",)),
        (GEMINI, [{"role": "system", "content": "Be short."}], ('messages: "." added',)),
        (GEMINI, [{"role": "user", "name": "Ann", "content": "Hi"}], ("messages: name not sent",)),
        (ANTHROPIC, [*ASK, *CALLED], ()),
        (GEMINI, [*ASK, *CALLED], ()),
        (ANTHROPIC, [*ASK, {"role": "assistant", "content": "It is  "}], ()),
        (ANTHROPIC, [{"role": "developer", "content": "Be short."}, *ASK, *ASK], ()),
        (GEMINI, [{"role": "developer", "content": "Be short."}, *ASK, *ASK], ()),
    ],
)
def test_a_text_that_nobody_wrote_and_a_turn_that_moved_are_said(model, messages, said):
    answer, server = ask(model, messages, tools=[NOW])
    assert (answer.text, answer.dropped) == (ANSWER, said)
    assert (EMPTY in str(server.requests[0])) == (EMPTY in str(said))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"messages": [{"role": "user", "content": "One\n\nTwo"}]}, ()),
        ({"messages": [{"role": "user", "content": "One\nand\nTwo"}]}, ('messages: "and" added',)),
        ({"messages": [{"role": "user", "content": "One"}]}, ("messages: 1 of 2 texts not sent",)),
        ({"messages": [{"role": "user", "content": [{"text": " One"}, {"text": "Two "}]}]}, ()),
        ({"prompt": "One Two"}, ()),
    ],
)
def test_texts_are_held_against_each_other_however_they_are_joined(sent, said):
    asked = [{"role": "user", "content": "One"}, {"role": "user", "content": [{"type": "text", "text": "Two"}]}]
    assert tuple(message_changes(asked, sent)) == said


words = st.sampled_from(
    [
        *(
            "tools",
            "function",
            "name",
            "parameters",
            "properties",
            "type",
            "anyOf",
            "items",
            "$ref",
            "$defs",
            "enum",
            "a",
        ),
        *("messages", "role", "content", "text", "parts", "system", "tool_choice", "response_format", "json_schema"),
        *("schema", "toolConfig", "function_declarations", "input_schema", "inputSchema", "toolSpec", "json"),
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "auto", "#/$defs/a", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=14,
)
bodies = st.dictionaries(words, anything, max_size=5)


@given(bodies, bodies, st.lists(st.dictionaries(words, anything, max_size=3), max_size=3))
def test_no_body_whatsoever_makes_the_comparison_fail(asked, sent, messages):
    assert all(isinstance(line, str) for line in (*changes(asked, sent), *message_changes(messages, sent)))
