"""The LiteLLM client against a server that holds it to Anthropic's published requests; what LiteLLM changes is said."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, RecordedClient, Usage, default_clients
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.models.sent import changes
from tests import asking
from tests.asking import QUICK
from tests.providers import ANSWER, Fault, Model, serving

ASK = ChatRequest("anthropic/claude-sonnet-4-5", [{"role": "user", "content": "Which city?"}], {"max_tokens": 50})
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
KEY = "sk-ant-0123456789abcdef0123"

pytestmark = [
    pytest.mark.xdist_group("litellm"),  # its import takes seconds: once
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),  # LiteLLM's types on pydantic
]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def ask(request: ChatRequest = ASK, *faults: Fault, model: Model | None = None):
    return asking.ask(LiteLLMClient(budget=QUICK), request, *faults, model=model)


def stream(*faults: Fault):
    chunks, error, _ = asking.stream(LiteLLMClient(budget=QUICK), ASK, *faults)
    return chunks, error


def test_an_answer_of_another_provider_has_the_same_shape():
    answer, server = ask(replace(ASK, system="Be short."))
    assert (answer.text, answer.finish_reason, answer.attempts) == (ANSWER, "stop", 1)
    assert answer.usage == Usage(12, 7, cached_tokens=4)
    assert answer.cost_usd == pytest.approx(8 * 3e-6 + 4 * 3e-7 + 7 * 15e-6)
    assert answer.dropped == ()
    assert server.requests[0]["system"][0]["text"] == "Be short."


def test_what_litellm_adds_on_its_own_is_said():
    answer, server = ask(replace(ASK, params={}))
    assert server.requests[0]["max_tokens"] == 64000
    assert answer.dropped == ("max_tokens: added, 64000",)


def test_what_litellm_rewrites_is_said_and_what_it_refuses_is_a_bad_request():
    answer, _ = ask(replace(ASK, params={"max_tokens": 2000, "reasoning_effort": "low"}))
    [said] = answer.dropped
    assert said.startswith('reasoning_effort: sent as thinking {"type":"enabled"')
    error, server = ask(replace(ASK, params={"seed": 3, "drop_params": True}))
    assert (error.error_class, server.requests) == ("bad_request", [])
    assert "seed" in str(error)


def test_tools_and_their_calls_are_translated_both_ways():
    request = replace(ASK, tools=[WEATHER], tool_choice="required")
    answer, server = ask(request, model=Model(tool_calls=(("toolu_1", "weather", '{"city": "Paris"}'),)))
    assert server.requests[0]["tools"][0]["name"] == "weather"
    assert server.requests[0]["tool_choice"] == {"type": "any"}
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("toolu_1", "weather", '{"city": "Paris"}')]
    assert (answer.finish_reason, answer.dropped) == ("tool_calls", ())


def test_a_stream_ends_with_the_whole_answer():
    chunks, error = stream()
    assert error is None
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert len(chunks) > 3
    whole = chunks[-1].completion
    assert (whole.text, whole.usage, whole.finish_reason) == (ANSWER, Usage(12, 7, 4), "stop")
    assert 0 < whole.first_token_s <= whole.latency_s


def test_a_stream_cut_midway_is_malformed_though_litellm_calls_it_finished():
    chunks, error = stream(Fault("cut"))
    assert chunks
    assert error is not None
    assert error.error_class == "malformed"


def test_an_abandoned_stream_closes_its_connection():
    async def run():
        async with serving([Fault("endless")]) as server:
            client = LiteLLMClient(budget=QUICK)
            async with aclosing(client.stream(replace(ASK, api_base=server.url))) as chunks:
                async for _ in chunks:
                    break
            await asyncio.wait_for(server.abandoned.wait(), 3)
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "cause", "tries"), [(Fault("garbage"), "malformed", 1), (Fault("drop"), "connection", 3)]
)
def test_failures_below_an_error_body_are_classed(fault, cause, tries):
    error, server = ask(ASK, *[fault] * 3)
    assert (error.error_class, error.attempts, len(server.requests)) == (cause, tries, tries)


def test_a_hanging_provider_is_a_timeout_at_the_callers_time():
    error, _ = ask(replace(ASK, timeout_s=0.5), Fault("hang"))
    assert error.error_class == "timeout"


def test_a_provider_that_is_not_there_is_a_connection_error():
    async def run():
        async with serving() as server:
            base = server.url
        client = LiteLLMClient(budget=QUICK)
        with pytest.raises(ModelError) as caught:
            await client.complete(replace(ASK, api_base=base))
        await client.close()
        return caught.value.error_class

    assert asyncio.run(run()) == "connection"


GEMINI = {
    "contents": [],
    "generationConfig": {"temperature": 0.2, "stop_sequences": ["a"], "max_output_tokens": 5},
    "tools": [{"function_declarations": [{"name": "weather", "parameters": {"type": "OBJECT"}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
}


@pytest.mark.parametrize(
    ("asked", "sent", "said"),
    [
        ({"temperature": 0.2, "stop": "a", "max_tokens": 5, "tools": [WEATHER]}, GEMINI, ()),
        ({"temperature": 0.7, "stop": ["a"], "max_tokens": 5, "tools": [WEATHER]}, GEMINI,
         ("temperature: sent as 0.2",)),
        ({"stop": "a", "max_tokens": 5, "tools": [WEATHER], "temperature": 0.2, "seed": 1}, GEMINI,
         ("seed: not sent",)),
        ({"tools": [WEATHER], "tool_choice": "required"},
         {"tools": [{"name": "weather", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}},
         ("tool_choice: required sent as auto",)),
        ({"tools": [WEATHER]}, {}, ("tools: weather not sent",)),
        ({"response_format": {"type": "json_object"}}, {"tools": [{"name": "json_tool_call"}]},
         ("tools: json_tool_call added",)),
        ({}, {"inferenceConfig": {"topP": 0.9}}, ("top_p: added, 0.9",)),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}, ()),
    ],
)  # fmt: skip
def test_changes_are_found_whatever_a_provider_calls_things(asked, sent, said):
    assert changes(asked, sent) == said


def test_each_model_has_the_client_that_its_provider_needs(tmp_path):
    (tmp_path / "day.jsonl").write_text(
        '{"prompt": "p", "answer": "a", "latency_s": 1, "prompt_tokens": 1, "completion_tokens": 1}\n'
    )
    own = LiteLLMClient()
    clients = default_clients({"mine": own}, recordings=tmp_path)
    for model in ("openai/gpt-4o", "gpt-4o", "mistral/mistral-small", "hosted_vllm/x/y", "azure/z"):
        assert isinstance(clients.client_for(model), OpenAICompatibleClient)
    for model in ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "bedrock/a", "gemini/gemini-2.5-pro"):
        assert isinstance(clients.client_for(model), LiteLLMClient)
    assert isinstance(clients.client_for("recorded/day"), RecordedClient)
    assert clients.client_for("mine/x") is own
    with pytest.raises(ModelError, match="no recording 'night'"):
        clients.client_for("recorded/night")
    asyncio.run(clients.close())
