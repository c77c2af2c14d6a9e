"""How an answer ended, as each provider says it: refusals, filters, limits and failures, whole and streamed."""

from __future__ import annotations

import pytest

from llmmigrate.models import ChatRequest, ModelClient
from llmmigrate.models.choose import is_direct
from llmmigrate.models.endings import Ending, ending_of
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from tests import asking
from tests.asking import QUICK
from tests.providers import Model

OPENAI, AZURE, MISTRAL, DEEPSEEK = "openai/gpt-4o", "azure/gpt-4o", "mistral/mistral-small", "deepseek/m"
ANTHROPIC, GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"
NO = "I cannot help with that."

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "AZURE", "MISTRAL", "DEEPSEEK", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", "key-0123456789abcdef0123456789")


def client(model: str) -> ModelClient:
    return OpenAICompatibleClient(budget=QUICK) if is_direct(model) else LiteLLMClient(budget=QUICK)


def asked(model: str) -> ChatRequest:
    return ChatRequest(model, [{"role": "user", "content": "Which?"}], {"max_tokens": 5})


@pytest.mark.parametrize(
    ("name", "model", "finish", "refusal"),
    [
        (OPENAI, Model(refusal=NO), "stop", NO),
        (OPENAI, Model(finish="content_filter"), "content_filter", "content_filter"),
        (AZURE, Model(text="", finish="content_filter"), "content_filter", "content_filter"),
        (OPENAI, Model(finish="length"), "length", None),
        (MISTRAL, Model(finish="model_length"), "length", None),
        (MISTRAL, Model(finish="error"), "error", None),
        (DEEPSEEK, Model(finish="insufficient_system_resource"), "insufficient_system_resource", None),
        (ANTHROPIC, Model(text="", finish="refusal"), "content_filter", "refusal"),
        (ANTHROPIC, Model(text="Well", finish="refusal", refusal=NO), "content_filter", NO),
        (ANTHROPIC, Model(finish="max_tokens"), "length", None),
        (ANTHROPIC, Model(finish="model_context_window_exceeded"), "length", None),
        (ANTHROPIC, Model(finish="pause_turn"), "pause_turn", None),
        (ANTHROPIC, Model(finish="stop_sequence"), "stop", None),
        (GEMINI, Model(text="", finish="SAFETY"), "content_filter", "SAFETY"),
        (GEMINI, Model(text="", finish="PROHIBITED_CONTENT"), "content_filter", "PROHIBITED_CONTENT"),
        (GEMINI, Model(text="", finish="RECITATION"), "content_filter", "RECITATION"),
        (GEMINI, Model(text="", finish="SPII"), "content_filter", "SPII"),
        (GEMINI, Model(blocked="PROHIBITED_CONTENT"), "content_filter", "PROHIBITED_CONTENT"),
        (GEMINI, Model(blocked="SAFETY"), "content_filter", "SAFETY"),
        (GEMINI, Model(finish="MAX_TOKENS"), "length", None),
        (GEMINI, Model(finish="TOO_MANY_TOOL_CALLS"), "too_many_tool_calls", None),
    ],
)
def test_an_ending_is_the_providers_own_whole_and_streamed(name, model, finish, refusal):
    answer, _ = asking.ask(client(name), asked(name), model=model)
    chunks, error, _ = asking.stream(client(name), asked(name), model=model)
    assert error is None
    assert (answer.finish_reason, answer.refusal) == (finish, refusal)
    assert chunks[-1].finish_reason == finish
    whole = chunks[-1].completion
    assert (whole.finish_reason, whole.refusal) == (finish, refusal)


@pytest.mark.parametrize(
    ("name", "finish", "cause"),
    [
        (MISTRAL, "error", "malformed"),
        (DEEPSEEK, "insufficient_system_resource", "overloaded"),
        (GEMINI, "MALFORMED_FUNCTION_CALL", "malformed"),
        (GEMINI, "MALFORMED_RESPONSE", "malformed"),
        (GEMINI, "MISSING_THOUGHT_SIGNATURE", "malformed"),
    ],
)
def test_an_answer_of_nothing_that_failed_is_an_error(name, finish, cause):
    model = Model(text="", finish=finish)
    error, _ = asking.ask(client(name), asked(name), model=model)
    _, midway, _ = asking.stream(client(name), asked(name), model=model)
    assert error.error_class == midway.error_class == cause
    assert finish in str(error)


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        ({"stopReason": "guardrail_intervened"}, Ending("guardrail_intervened")),
        ({"type": "message_start", "message": {"stop_reason": None}}, None),
        ({"candidates": [{"content": {}}]}, None),
        ({"candidates": []}, None),
        ({"choices": [{"finish_reason": "stop"}]}, None),
        ('{"stop_reason": "end_turn"}', Ending("end_turn")),
        ("first stream response received", None),
        ("[1]", None),
        (None, None),
    ],
)
def test_only_an_ending_that_is_told_is_one(data, ending):
    assert ending_of(data) == ending
