"""The direct client against servers that hold it to OpenAI's and Mistral's published requests, and fail on demand."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, Completion, Usage
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.models.providers import prepare
from tests import asking
from tests.asking import QUICK
from tests.providers import ANSWER, OVERLOADED, RATE_LIMITED, Fault, Model, openai_error, serving

ASK = ChatRequest("openai/gpt-4o", [{"role": "user", "content": "What is the capital of France?"}])
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef0123")
    monkeypatch.setenv("MISTRAL_API_KEY", "mistral-0123456789abcdef")
    monkeypatch.setenv("AZURE_API_KEY", "azure-0123456789abcdef")


def ask(request: ChatRequest = ASK, *faults: Fault, model: Model | None = None, **options):
    return asking.ask(OpenAICompatibleClient(budget=QUICK, **options), request, *faults, model=model)


def stream(request: ChatRequest = ASK, *faults: Fault, model: Model | None = None):
    return asking.stream(OpenAICompatibleClient(budget=QUICK), request, *faults, model=model)


def test_an_answer_carries_text_usage_cost_and_latency():
    answer, server = ask()
    assert isinstance(answer, Completion)
    assert (answer.text, answer.model, answer.finish_reason) == (ANSWER, "openai/gpt-4o", "stop")
    assert answer.usage == Usage(12, 7, cached_tokens=4, reasoning_tokens=2)
    assert answer.cost_usd == pytest.approx(8 * 2.5e-6 + 4 * 1.25e-6 + 7 * 1e-5)
    assert (answer.attempts, answer.dropped, answer.refusal) == (1, (), None)
    assert 0 < answer.latency_s < 5
    assert server.headers[0]["authorization"] == "Bearer sk-test-0123456789abcdef0123"


def test_a_stream_gives_pieces_then_the_whole_answer_with_usage_and_first_token_time():
    chunks, error, _ = stream()
    assert error is None
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert len(chunks) > 3
    whole = chunks[-1].completion
    assert whole is not None
    assert (whole.text, whole.usage, chunks[-1].usage) == (ANSWER, Usage(12, 7, 4, 2), Usage(12, 7, 4, 2))
    assert whole.first_token_s is not None
    assert 0 < whole.first_token_s <= whole.latency_s


def test_tool_calls_come_as_the_model_wrote_them_whole_and_in_pieces():
    request = replace(ASK, tools=[WEATHER], tool_choice="auto")
    call = ("call_1", "weather", '{"city": "Par')
    answer, server = ask(request, model=Model(tool_calls=(call,)))
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [call]
    assert server.requests[0]["tools"] == [WEATHER]
    chunks, _, _ = stream(request, model=Model(tool_calls=(call,)))
    whole = chunks[-1].completion
    assert [(c.id, c.name, c.arguments) for c in whole.tool_calls] == [call]
    assert whole.finish_reason == "tool_calls"


def test_a_system_prompt_takes_the_place_of_the_leading_system_messages():
    messages = [{"role": "developer", "content": "old"}, {"role": "system", "content": "old"}, *ASK.messages]
    _, server = ask(replace(ASK, messages=messages, system="new"))
    assert server.requests[0]["messages"] == [{"role": "system", "content": "new"}, *ASK.messages]
    _, server = ask(replace(ASK, system="new"))
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "new"}


def test_a_retried_call_is_one_request_with_its_attempts():
    limited = Fault(status=429, body=RATE_LIMITED, headers={"retry-after-ms": "120"})
    answer, server = ask(ASK, limited, Fault(status=529, body=OVERLOADED))
    assert (answer.text, answer.attempts, len(server.requests)) == (ANSWER, 3, 3)
    assert answer.latency_s >= 0.12


def test_a_wait_that_does_not_fit_the_callers_timeout_ends_the_call_at_once():
    started = time.monotonic()
    error, server = ask(
        replace(ASK, timeout_s=19.0), Fault(status=429, body=RATE_LIMITED, headers={"retry-after": "20"})
    )
    assert (error.error_class, error.attempts, len(server.requests)) == ("rate_limit", 1, 1)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("fault", "cause", "tries"),
    [
        (Fault(status=302, headers={"location": "http://127.0.0.1:9/"}), "unknown", 1),
        (Fault("garbage"), "malformed", 1),
        (Fault("drop"), "connection", 3),
    ],
)
def test_failures_below_an_error_body_are_classed_and_tried_again_only_where_that_helps(fault, cause, tries):
    error, server = ask(ASK, *[fault] * 3)
    assert isinstance(error, ModelError)
    assert (error.error_class, error.attempts, len(server.requests)) == (cause, tries, tries)
    assert error.latency_s > 0


def test_a_hanging_server_is_a_timeout_at_the_callers_time():
    started = time.monotonic()
    error, _ = ask(replace(ASK, timeout_s=0.3), Fault("hang"))
    assert error.error_class == "timeout"
    assert 0.25 < time.monotonic() - started < 20  # it hangs for 30


def test_nobody_listening_is_a_connection_error():
    async def run():
        client = OpenAICompatibleClient(budget=QUICK)
        async with serving() as server:
            base = server.url
        with pytest.raises(ModelError) as caught:
            await client.complete(replace(ASK, api_base=f"{base}/v1"))
        await client.close()
        return caught.value

    error = asyncio.run(run())
    assert (error.error_class, error.attempts) == ("connection", 3)


def test_an_answer_without_end_is_refused():
    error, _ = ask(ASK, Fault("huge"), max_answer_bytes=100_000)
    assert error.error_class == "malformed"


def test_a_stream_cut_midway_is_malformed_and_not_an_answer():
    chunks, error, server = stream(ASK, Fault("cut"))
    assert len(chunks) == 3
    assert error is not None
    assert (error.error_class, error.attempts, len(server.requests)) == ("malformed", 1, 1)


def test_a_stream_is_tried_again_before_its_first_piece():
    chunks, error, _ = stream(ASK, Fault(status=503, body={}))
    assert error is None
    assert chunks[-1].completion.attempts == 2


def test_an_abandoned_stream_closes_its_connection():
    async def run():
        async with serving([Fault("endless")]) as server:
            client = OpenAICompatibleClient(budget=QUICK)
            async with aclosing(client.stream(replace(ASK, api_base=f"{server.url}/v1"))) as chunks:
                async for _ in chunks:
                    break
            await asyncio.wait_for(server.abandoned.wait(), 3)
            await client.close()

    asyncio.run(run())


def test_a_key_is_in_no_error(monkeypatch):
    key = "sk-test-0123456789abcdef0123"
    body = openai_error(f"no such model, your key is {key}", "invalid_request_error")
    error, _ = ask(ASK, Fault(status=404, body=body))
    assert key not in f"{error} {error!r} {error.__cause__!r}"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set") as caught:
        prepare(ASK, stream=False)
    assert caught.value.error_class == "auth"


def test_max_tokens_of_a_reasoning_model_is_renamed_on_openai_alone_and_said_so():
    request = replace(ASK, model="openai/gpt-5-mini", params={"max_tokens": 50})
    call = prepare(request, stream=False)
    assert call.url == "https://api.openai.com/v1/chat/completions"
    assert call.body["max_completion_tokens"] == 50
    assert "max_tokens" not in call.body
    assert call.dropped == ("max_tokens: sent as max_completion_tokens",)
    error, _ = ask(request)
    assert (error.error_class, error.status) == ("bad_request", 400)
    assert "max_completion_tokens" in str(error)
    assert prepare(replace(request, model="gpt-4o"), stream=False).dropped == ()


def test_mistral_gets_its_own_names_and_no_stream_options():
    request = replace(ASK, model="mistral/mistral-large-latest", params={"seed": 3, "max_completion_tokens": 9})
    chunks, error, server = stream(request)
    assert error is None
    assert (server.requests[0]["random_seed"], server.requests[0]["max_tokens"]) == (3, 9)
    assert chunks[-1].completion.dropped == ("seed: sent as random_seed", "max_completion_tokens: sent as max_tokens")
    assert chunks[-1].usage == Usage(12, 7, 4, 2)


@pytest.mark.parametrize("model", ["mistral/mistral-large-latest", "azure/gpt-4o"])
def test_another_models_ids_of_tool_calls_are_written_as_the_provider_takes_them_and_said(model):
    function = {"name": "weather", "arguments": "{}"}
    ids = ["call_0fypS1hVX" + "x" * 40, "call_1" + "y" * 40]
    history = [
        *ASK.messages,
        {"role": "assistant", "tool_calls": [{"id": one, "type": "function", "function": function} for one in ids]},
        *({"role": "tool", "tool_call_id": one, "content": "mild"} for one in ids),
    ]
    answer, server = ask(replace(ASK, model=model, messages=history))
    called, *results = server.requests[0]["messages"][1:]
    assert answer.text == ANSWER
    assert [call["id"] for call in called["tool_calls"]] == [result["tool_call_id"] for result in results]
    assert len({result["tool_call_id"] for result in results}) == 2
    provider = "mistral" if "mistral" in model else "openai"
    assert answer.dropped == (f"messages: 2 ids of tool calls sent as {provider} takes them",)
    assert history[1]["tool_calls"][0]["id"] == ids[0]


def test_ids_that_a_provider_takes_and_those_of_a_server_whose_rules_are_not_known_stay():
    message = {"role": "tool", "tool_call_id": "call_" + "x" * 40, "content": "mild"}
    call = prepare(replace(ASK, model="hosted_vllm/m", messages=[message], api_base="http://127.0.0.1"), stream=False)
    assert (call.body["messages"], call.dropped) == ([message], ())
    own = {"role": "tool", "tool_call_id": "abcDEF123", "content": "mild"}
    call = prepare(replace(ASK, model="mistral/mistral-large-latest", messages=[own]), stream=False)
    assert (call.body["messages"], call.dropped) == ([own], ())


def test_an_order_of_turns_that_mistral_does_not_take_is_a_bad_request():
    messages = [*ASK.messages, {"role": "assistant", "content": "It is"}]
    error, _ = ask(replace(ASK, model="mistral/mistral-large-latest", messages=messages))
    assert error.error_class == "bad_request"
    assert "Expected last role User or Tool" in str(error)


def test_options_of_clients_are_not_sent_and_named():
    call = prepare(replace(ASK, params={"timeout": 3, "temperature": 0.5, "drop_params": True}), stream=True)
    assert call.dropped == ("timeout: not sent", "drop_params: not sent")
    assert call.body.keys() == {"model", "messages", "temperature", "stream", "stream_options"}


def test_azure_bases_of_both_kinds_lead_to_chat_completions():
    environ = {"AZURE_API_KEY": "azure-key"}
    request = ChatRequest("azure/my-gpt", [], api_base="https://x.openai.azure.com/")
    call = prepare(request, stream=False, environ=environ)
    assert call.url.startswith("https://x.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=")
    assert call.headers["api-key"] == "azure-key"
    call = prepare(replace(request, api_base="https://x.openai.azure.com/openai/v1"), stream=False, environ=environ)
    assert call.url == "https://x.openai.azure.com/openai/v1/chat/completions"


def test_one_client_serves_many_calls_at_once_and_several_loops():
    client = OpenAICompatibleClient(budget=QUICK)

    async def run():
        async with serving([Fault("slow")] * 20) as server:
            started = time.monotonic()
            answers = await asyncio.gather(
                *(client.complete(replace(ASK, api_base=f"{server.url}/v1")) for _ in range(20))
            )
            await client.close()
            return len(answers), time.monotonic() - started

    for _ in range(2):
        count, took = asyncio.run(run())
        assert count == 20
        assert took < 3


def test_calls_that_hang_take_no_connection_of_another_model(monkeypatch):
    monkeypatch.setattr("llmmigrate.models.openai_compatible.CONNECTIONS", 2)

    async def run():
        async with serving([Fault("hang")] * 2) as server:
            client, there = OpenAICompatibleClient(), replace(ASK, api_base=f"{server.url}/v1")
            hung = [asyncio.create_task(client.complete(there)) for _ in range(2)]
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            answer = await client.complete(replace(there, model="openai/gpt-4.1", timeout_s=5.0))
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)
            await client.close()
            return answer

    assert asyncio.run(run()).model == "openai/gpt-4.1"
