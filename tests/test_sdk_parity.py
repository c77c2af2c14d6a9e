"""The direct client beside OpenAI's own, against one server: the same request, answer, usage, tries and errors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from llmmigrate.models import ChatRequest, Usage
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from tests import asking
from tests.asking import QUICK
from tests.providers import NO_CREDIT, RATE_LIMITED, TOO_LONG, Fault, Model, openai_error, serving

KEY = "sk-test-0123456789abcdef0123"
MESSAGES: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Which city?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PARAMS: dict[str, Any] = {"temperature": 0.5, "max_tokens": 50, "seed": 7, "stop": ["END"]}
CALLS = Model(tool_calls=(("call_1", "weather", '{"city": "Paris"}'), ("call_2", "weather", '{"city": "Rome"}')))

pytestmark = pytest.mark.xdist_group("litellm")  # which imports the same package: once


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@dataclass
class Theirs:
    """What OpenAI's client gave, or raised, and what had come to the server."""

    text: str = ""
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    calls: tuple[tuple[str, str, str], ...] = ()
    error: Exception | None = None
    requests: tuple[dict[str, Any], ...] = ()


def theirs(*faults: Fault, stream: bool, model: Model | None = None, retries: int = 2) -> Theirs:
    async def run() -> Theirs:
        told = Theirs()
        async with (
            serving(faults, model) as server,
            openai.AsyncOpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=retries, timeout=5) as client,
        ):
            options = PARAMS | {"stream": True, "stream_options": {"include_usage": True}} if stream else PARAMS
            try:
                answer = await client.chat.completions.create(
                    model="gpt-4o", messages=MESSAGES, tools=[WEATHER], tool_choice="auto", **options
                )
                await (_pieces if stream else _whole)(told, answer)
            except openai.OpenAIError as error:
                told.error = error
            told.requests = tuple(server.requests)
        return told

    return asyncio.run(run())


async def _whole(told: Theirs, answer: Any) -> None:
    [choice] = answer.choices
    told.text, told.refusal = choice.message.content or "", choice.message.refusal
    told.finish_reason, told.usage = choice.finish_reason, _usage(answer.usage)
    told.calls = tuple((c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or [])


async def _pieces(told: Theirs, answer: Any) -> None:
    calls: dict[int, list[str]] = {}
    async for chunk in answer:
        told.usage = _usage(chunk.usage) if chunk.usage else told.usage
        for choice in chunk.choices:
            told.text += choice.delta.content or ""
            told.refusal = (told.refusal or "") + choice.delta.refusal if choice.delta.refusal else told.refusal
            told.finish_reason = choice.finish_reason or told.finish_reason
            for call in choice.delta.tool_calls or []:
                parts = calls.setdefault(call.index, ["", "", ""])
                for position, text in enumerate((call.id, call.function.name, call.function.arguments)):
                    parts[position] += text or ""
    told.calls = tuple((one, name, text) for one, name, text in calls.values())


def _usage(counted: Any) -> Usage:
    return Usage(
        counted.prompt_tokens,
        counted.completion_tokens,
        cached_tokens=counted.prompt_tokens_details.cached_tokens,
        reasoning_tokens=counted.completion_tokens_details.reasoning_tokens,
    )


def ours(*faults: Fault, stream: bool, model: Model | None = None):
    """Return the answer or the error, and the bodies that came."""
    request = ChatRequest("openai/gpt-4o", MESSAGES, PARAMS, tools=[WEATHER], tool_choice="auto")
    client = OpenAICompatibleClient(budget=QUICK)
    if not stream:
        answer, server = asking.ask(client, request, *faults, model=model)
        return answer, tuple(server.requests)
    chunks, error, server = asking.stream(client, request, *faults, model=model)
    return error or chunks[-1].completion, tuple(server.requests)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [Model(), CALLS, Model(refusal="I cannot."), Model(finish="length")])
def test_the_same_request_gives_the_same_answer(model, stream):
    their, (answer, requests) = theirs(stream=stream, model=model), ours(stream=stream, model=model)
    assert requests == their.requests
    assert (answer.text, answer.refusal, answer.finish_reason, answer.usage) == (
        their.text,
        their.refusal,
        their.finish_reason,
        their.usage,
    )
    assert tuple((call.id, call.name, call.arguments) for call in answer.tool_calls) == their.calls


SOON = {"retry-after-ms": "10"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        (Fault(status=429, body=RATE_LIMITED, headers=SOON), openai.RateLimitError, "rate_limit"),
        (Fault(status=500, body={}, headers=SOON), openai.InternalServerError, "overloaded"),
        (Fault(status=503, body={}, headers=SOON), openai.InternalServerError, "overloaded"),
        (Fault(status=500, body={}, headers={"x-should-retry": "false"}), openai.InternalServerError, "overloaded"),
        (Fault(status=409, body={}, headers=SOON), openai.ConflictError, "overloaded"),
        (Fault(status=400, body={}, headers=SOON | {"x-should-retry": "true"}), openai.BadRequestError, "bad_request"),
        (Fault(status=400, body=TOO_LONG), openai.BadRequestError, "context_length"),
        (Fault(status=401, body=openai_error("no", "x", "invalid_api_key")), openai.AuthenticationError, "auth"),
        (Fault(status=403, body=openai_error("no", "x")), openai.PermissionDeniedError, "auth"),
        (Fault(status=404, body=openai_error("no", "x", "model_not_found")), openai.NotFoundError, "bad_request"),
        (Fault(status=422, body={}), openai.UnprocessableEntityError, "bad_request"),
    ],
)
def test_the_same_failure_is_tried_as_often_and_has_the_class_of_its_kind(fault, kind, cause, stream):
    their, (error, requests) = theirs(*[fault] * 3, stream=stream), ours(*[fault] * 3, stream=stream)
    assert (type(their.error), error.error_class) == (kind, cause)
    assert (error.status, len(requests)) == (their.error.status_code, len(their.requests))


def test_an_account_without_credit_is_asked_once_where_openais_client_asks_three_times():
    fault = Fault(status=429, body=NO_CREDIT, headers=SOON)
    their, (error, requests) = theirs(*[fault] * 3, stream=False), ours(*[fault] * 3, stream=False)
    assert (len(their.requests), len(requests)) == (3, 1)
    assert (type(their.error), error.error_class) == (openai.RateLimitError, "auth")


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        (Fault("drop"), openai.APIConnectionError, "connection"),
        (Fault("broken", body=openai_error("The server had an error", "server_error")), openai.APIError, "overloaded"),
    ],
)
def test_a_connection_that_fails_is_one_for_both(fault, kind, cause):
    their, (error, _) = theirs(fault, stream=True, retries=0), ours(*[fault] * 3, stream=True)
    assert (type(their.error), error.error_class) == (kind, cause)


def test_a_stream_that_is_cut_is_an_answer_for_openais_client_and_an_error_here():
    their, (error, _) = theirs(Fault("cut"), stream=True), ours(Fault("cut"), stream=True)
    assert (their.text, their.finish_reason, their.usage, their.error) == ("Paris is the ", None, None, None)
    assert error.error_class == "malformed"
