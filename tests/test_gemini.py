"""Gemini through LiteLLM, against a server that holds it to Google's published requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmmigrate.models import ChatRequest, Usage
from llmmigrate.models.litellm_client import LiteLLMClient
from tests import asking
from tests.asking import QUICK
from tests.providers import ANSWER, Fault, Model, gemini_error, refused
from tests.providers.gemini import NOT_CHECKED, SIGNED, answered

ASK = ChatRequest("gemini/gemini-2.5-flash", [{"role": "user", "content": "Which city?"}], {"max_tokens": 50})
NEW = replace(ASK, model="gemini/gemini-3-pro-preview")
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TWO = Model(tool_calls=(("w1", "weather", '{"city": "Paris"}'), ("w2", "weather", '{"city": "Rome"}')))

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "AIzaSyTest0123456789abcdef0123456789")


def ask(request: ChatRequest = ASK, *faults: Fault, model: Model | None = None):
    return asking.ask(LiteLLMClient(budget=QUICK), request, *faults, model=model)


def stream(request: ChatRequest = ASK, *faults: Fault, model: Model | None = None):
    return asking.stream(LiteLLMClient(budget=QUICK), request, *faults, model=model)


@pytest.mark.parametrize("model", [Model(), TWO, Model(blocked="SAFETY"), Model(text="", finish="SPII")])
def test_the_server_answers_as_google_describes_it(model):
    whole, events = answered(model, "gemini-3-pro-preview")
    for body in (whole, *events):
        assert refused("gemini", "GenerateContentResponse", body) is None


def test_an_answer_and_its_stream_are_the_same():
    answer, server = ask(replace(ASK, system="Be short."))
    assert (answer.text, answer.finish_reason, answer.attempts, answer.dropped) == (ANSWER, "stop", 1, ())
    assert answer.usage == Usage(12, 7, cached_tokens=4, reasoning_tokens=2)
    assert answer.cost_usd == pytest.approx(8 * 3e-7 + 4 * 3e-8 + 7 * 2.5e-6)
    assert server.requests[0]["system_instruction"] == {"parts": [{"text": "Be short."}]}
    chunks, error, _ = stream()
    whole = chunks[-1].completion
    assert error is None
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert (whole.text, whole.usage, whole.finish_reason, whole.dropped) == (ANSWER, answer.usage, "stop", ())
    assert 0 < whole.first_token_s <= whole.latency_s


def test_calls_of_tools_come_back_whole_and_in_pieces():
    for asked in (ASK, NEW):
        request = replace(asked, tools=[WEATHER], tool_choice="required")
        answer, server = ask(request, model=TWO)
        chunks, _, _ = stream(request, model=TWO)
        for one in (answer, chunks[-1].completion):
            assert [(call.name, call.arguments) for call in one.tool_calls] == [
                ("weather", '{"city": "Paris"}'),
                ("weather", '{"city": "Rome"}'),
            ]
            assert one.finish_reason == "tool_calls"
            assert len({call.id for call in one.tool_calls}) == 2
        assert server.requests[0]["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def history(call_id: str) -> list[dict[str, object]]:
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    return [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "mild"},
    ]


def test_a_conversation_goes_on_with_its_own_signature_and_with_another_models_calls():
    answer, _ = ask(replace(NEW, tools=[WEATHER]), model=TWO)
    own, server = ask(replace(NEW, tools=[WEATHER], messages=history(answer.tool_calls[0].id)))
    assert own.text == ANSWER
    assert server.requests[0]["contents"][1]["parts"][0]["thoughtSignature"] == SIGNED
    other, server = ask(replace(NEW, tools=[WEATHER], messages=history("call_0fypS1hVX")))
    assert other.text == ANSWER
    assert server.requests[0]["contents"][1]["parts"][0]["thoughtSignature"] == NOT_CHECKED


def test_a_foreign_signature_and_a_missing_result_are_bad_requests():
    foreign, _ = ask(replace(NEW, tools=[WEATHER], messages=history("w1__thought__Zm9yZWlnbg==")))
    assert foreign.error_class == "bad_request"
    assert "Thought signature is not valid" in str(foreign)
    unanswered, _ = ask(replace(NEW, messages=[*history("w1")[:2], {"role": "user", "content": "And?"}]))
    assert unanswered.error_class == "bad_request"
    assert "number of function response parts" in str(unanswered)


def test_a_stream_cut_midway_is_malformed_though_litellm_calls_each_piece_the_last():
    chunks, error, _ = stream(ASK, Fault("cut"))
    assert len(chunks) == 3
    assert (error.error_class, error.attempts) == ("malformed", 1)


def test_a_stream_is_tried_again_before_its_first_piece():
    busy = Fault(status=503, body=gemini_error(503, "UNAVAILABLE", "The model is overloaded."))
    chunks, error, server = stream(ASK, busy)
    assert error is None
    assert chunks[-1].completion.attempts == len(server.requests) == 2


def test_an_error_within_a_stream_has_its_class():
    spent = gemini_error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted")
    chunks, error, _ = stream(ASK, Fault("broken", body=spent))
    assert len(chunks) == 3
    assert error.error_class == "rate_limit"
    assert "RESOURCE_EXHAUSTED" in str(error)


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_an_answer_that_failed_is_an_error_though_litellm_calls_it_stopped(finish):
    error, _ = ask(model=Model(text="", finish=finish))
    _, midway, _ = stream(model=Model(text="", finish=finish))
    assert error.error_class == midway.error_class == "malformed"
    assert finish in str(error)
    answer, _ = ask(model=Model(finish=finish))
    assert (answer.text, answer.finish_reason) == (ANSWER, finish.lower())


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temperature": 0.2, "top_p": 0.5, "top_k": 3, "seed": 1, "stop": ["a"], "n": 1, "max_tokens": 5}, ()),
        ({"parallel_tool_calls": True}, ("parallel_tool_calls: not sent",)),
        ({"parallel_tool_calls": False}, ("parallel_tool_calls: not sent",)),
        ({"service_tier": "flex"}, ()),
        ({"reasoning_effort": "low"},
         ('reasoning_effort: sent as thinkingconfig {"thinkingBudget":1024,"includeThoughts":true}',)),
        ({"response_format": {"type": "json_object"}}, ()),
    ],
)  # fmt: skip
def test_what_litellm_drops_or_rewrites_on_the_way_is_said(params, said):
    answer, _ = ask(replace(ASK, params=params))
    assert (answer.text, answer.dropped) == (ANSWER, said)


def test_what_litellm_adds_for_a_newer_model_is_said():
    assert ask(NEW)[0].dropped == ("temperature: added, 1.0",)
    effort = replace(NEW, params={"temperature": 1, "reasoning_effort": "none"})
    assert ask(effort)[0].dropped == (
        'reasoning_effort: sent as thinkingconfig {"thinkingLevel":"low","includeThoughts":false}',
    )
    penalty = replace(NEW, params={"temperature": 1, "frequency_penalty": 1, "presence_penalty": 1})
    assert ask(penalty)[0].dropped == ("frequency_penalty: not sent", "presence_penalty: not sent")
