"""ERR-01 and ERR-02: what each provider answers when a call fails, what that is, and how often it is tried."""

from __future__ import annotations

from typing import Any

import pytest

from llmmigrate.models import ChatRequest, ModelClient
from llmmigrate.models.choose import is_direct
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from tests import asking
from tests.asking import QUICK
from tests.providers import (
    NO_CREDIT,
    OVERLOADED,
    RATE_LIMITED,
    TOO_LONG,
    Fault,
    anthropic_error,
    gemini_error,
    mistral_error,
    openai_error,
)

KEY = "key-0123456789abcdef0123456789"
OPENAI, AZURE = "openai/gpt-4o", "azure/gpt-4o"
MISTRAL, VLLM, DEEPSEEK, OPENROUTER, GROQ = (
    "mistral/mistral-small",
    "hosted_vllm/m",
    "deepseek/m",
    "openrouter/m",
    "groq/m",
)
ANTHROPIC, GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "AZURE", "MISTRAL", "HOSTED_VLLM", "DEEPSEEK", "OPENROUTER", "GROQ", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)


def client(model: str) -> ModelClient:
    return OpenAICompatibleClient(budget=QUICK) if is_direct(model) else LiteLLMClient(budget=QUICK)


def invalid(message: str, code: str | None = None) -> dict[str, Any]:
    return openai_error(message, "invalid_request_error", code)


def google(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


TOO_MANY = "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 30601."
FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
    }
}
QUOTA = "You exceeded your current quota, please check your plan and billing details."
SOON = [google("RetryInfo", retryDelay="0.05s")]
A_DAY = [
    google("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]),
    google("RetryInfo", retryDelay="0.05s"),
]
NO_KEY = [google("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")]
MILLIS = {"retry-after-ms": "20"}


@pytest.mark.parametrize(
    ("model", "status", "body", "headers", "cause", "tries"),
    [
        (OPENAI, 429, RATE_LIMITED, MILLIS, "rate_limit", 3),
        (OPENAI, 429, NO_CREDIT, {"x-should-retry": "true"}, "auth", 1),
        (OPENAI, 429, openai_error("inactive", "billing_not_active", "billing_not_active"), {}, "auth", 1),
        (OPENAI, 429, openai_error(TOO_MANY, "tokens", "rate_limit_exceeded"), {}, "rate_limit", 1),
        (OPENAI, 400, invalid("limit", "billing_hard_limit_reached"), {}, "auth", 1),
        (OPENAI, 401, invalid(f"Incorrect API key provided: {KEY}", "invalid_api_key"), {}, "auth", 1),
        (OPENAI, 403, openai_error("Country not supported", "request_forbidden"), {}, "auth", 1),
        (OPENAI, 404, invalid("The model does not exist", "model_not_found"), {}, "bad_request", 1),
        (OPENAI, 400, TOO_LONG, {}, "context_length", 1),
        (OPENAI, 400, invalid("flagged", "invalid_prompt"), {}, "content_filter", 1),
        (OPENAI, 400, invalid("odd"), {"x-should-retry": "true"}, "bad_request", 3),
        (OPENAI, 408, {}, {}, "timeout", 3),
        (OPENAI, 409, {}, {}, "overloaded", 3),
        (OPENAI, 500, openai_error("The server had an error", "server_error"), {}, "overloaded", 3),
        (OPENAI, 500, {}, {"x-should-retry": "false"}, "overloaded", 1),
        (OPENAI, 503, openai_error("Slow down", "service_unavailable"), {}, "overloaded", 3),
        (AZURE, 400, FILTERED, {}, "content_filter", 1),
        (AZURE, 429, {"error": {"code": "429", "message": "Please retry after 86400 seconds."}},
         {"retry-after": "86400"}, "rate_limit", 1),
        (AZURE, 404, {"error": {"code": "DeploymentNotFound", "message": "No deployment"}}, {}, "bad_request", 1),
        (MISTRAL, 429, mistral_error("Rate limit exceeded", "rate_limited", "1300"), {}, "rate_limit", 3),
        (MISTRAL, 429, mistral_error("Service tier capacity exceeded", "service_tier_capacity_exceeded", "3505"), {},
         "rate_limit", 3),
        (MISTRAL, 401, {"message": "Unauthorized", "request_id": "1"}, {}, "auth", 1),
        (MISTRAL, 422, mistral_error("odd", "invalid_request_error"), {}, "bad_request", 1),
        (MISTRAL, 400, mistral_error("too large for model with 32768 maximum context length"), {}, "context_length", 1),
        (MISTRAL, 400, mistral_error("Unexpected role 'user'", "invalid_request_message_order", "3230"), {},
         "bad_request", 1),
        (VLLM, 400, {"object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400}, {},
         "context_length", 1),
        (VLLM, 400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "m"}}, {},
         "context_length", 1),
        (DEEPSEEK, 402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, {}, "auth", 1),
        (OPENROUTER, 402, {"error": {"message": "Insufficient credits", "code": 402}}, {}, "auth", 1),
        (GROQ, 413, RATE_LIMITED, {}, "rate_limit", 1),
        (ANTHROPIC, 529, OVERLOADED, {"retry-after": "0"}, "overloaded", 3),
        (ANTHROPIC, 529, OVERLOADED, {"x-should-retry": "false"}, "overloaded", 1),
        (ANTHROPIC, 429, anthropic_error("rate_limit_error", "limit"), {"retry-after": "0"}, "rate_limit", 3),
        (ANTHROPIC, 500, anthropic_error("api_error", "Internal server error"), {}, "overloaded", 3),
        (ANTHROPIC, 504, anthropic_error("timeout_error", "timed out"), {}, "timeout", 3),
        (ANTHROPIC, 413, anthropic_error("request_too_large", "too large"), {"x-should-retry": "true"},
         "context_length", 1),
        (ANTHROPIC, 400, anthropic_error("invalid_request_error", "prompt is too long: 2 > 1"), {},
         "context_length", 1),
        (ANTHROPIC, 400, anthropic_error("invalid_request_error", "Your credit balance is too low"), {}, "auth", 1),
        (ANTHROPIC, 402, anthropic_error("billing_error", "billing"), {}, "auth", 1),
        (ANTHROPIC, 401, anthropic_error("authentication_error", f"invalid {KEY}"), {}, "auth", 1),
        (ANTHROPIC, 403, anthropic_error("permission_error", "no"), {}, "auth", 1),
        (ANTHROPIC, 404, anthropic_error("not_found_error", "model: x"), {}, "bad_request", 1),
        (GEMINI, 429, gemini_error(429, "RESOURCE_EXHAUSTED", QUOTA, SOON), {}, "rate_limit", 3),
        (GEMINI, 429, gemini_error(429, "RESOURCE_EXHAUSTED", QUOTA, A_DAY), {}, "rate_limit", 1),
        (GEMINI, 503, gemini_error(503, "UNAVAILABLE", "The model is overloaded."), {}, "overloaded", 3),
        (GEMINI, 500, gemini_error(500, "INTERNAL", "An internal error has occurred."), {}, "overloaded", 3),
        (GEMINI, 504, gemini_error(504, "DEADLINE_EXCEEDED", "Deadline expired"), {}, "timeout", 3),
        (GEMINI, 400, gemini_error(400, "INVALID_ARGUMENT", "API key not valid.", NO_KEY), {}, "auth", 1),
        (GEMINI, 400, gemini_error(400, "FAILED_PRECONDITION", "User location is not supported"), {}, "auth", 1),
        (GEMINI, 403, gemini_error(403, "PERMISSION_DENIED", "no"), {}, "auth", 1),
        (GEMINI, 404, gemini_error(404, "NOT_FOUND", "models/x is not found"), {}, "bad_request", 1),
        (GEMINI, 400, gemini_error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"), {},
         "context_length", 1),
        (GEMINI, 400, [gemini_error(400, "INVALID_ARGUMENT", "odd")], {}, "bad_request", 1),
    ],
)  # fmt: skip
def test_a_failed_call_is_classed_and_tried_as_its_provider_says(model, status, body, headers, cause, tries):
    request = ChatRequest(model, [{"role": "user", "content": "Which?"}], {"max_tokens": 5})
    faults = [Fault(status=status, body=body, headers=headers)] * 3
    error, server = asking.ask(client(model), request, *faults)
    assert (error.error_class, error.attempts, len(server.requests)) == (cause, tries, tries)
    assert KEY not in f"{error} {error!r}"
    chunks, error, server = asking.stream(client(model), request, *faults)
    assert (chunks, error.error_class, error.attempts, len(server.requests)) == ([], cause, tries, tries)
    assert KEY not in f"{error} {error!r}"


def test_the_wait_that_a_body_names_is_a_lower_bound():
    body = gemini_error(429, "RESOURCE_EXHAUSTED", QUOTA, [google("RetryInfo", retryDelay="0.3s")])
    request = ChatRequest(GEMINI, [{"role": "user", "content": "Which?"}])
    answer, server = asking.ask(client(GEMINI), request, Fault(status=429, body=body))
    assert (answer.attempts, len(server.requests)) == (2, 2)
    assert answer.latency_s >= 0.3


@pytest.mark.parametrize(
    ("model", "body", "cause"),
    [
        (OPENAI, openai_error("The server had an error", "server_error"), "overloaded"),
        (VLLM, {"error": {"message": "slow down", "code": 429}}, "rate_limit"),
        (ANTHROPIC, OVERLOADED, "overloaded"),
        (ANTHROPIC, anthropic_error("rate_limit_error", "limit"), "rate_limit"),
        (GEMINI, gemini_error(503, "UNAVAILABLE", "The model is overloaded."), "overloaded"),
        (GEMINI, gemini_error(429, "RESOURCE_EXHAUSTED", QUOTA), "rate_limit"),
    ],
)
def test_an_error_within_a_stream_has_its_class_and_ends_the_answer(model, body, cause):
    request = ChatRequest(model, [{"role": "user", "content": "Which?"}], {"max_tokens": 5})
    chunks, error, server = asking.stream(client(model), request, Fault("broken", body=body))
    assert chunks
    assert (error.error_class, error.attempts, len(server.requests)) == (cause, 1, 1)
