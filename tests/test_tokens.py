"""A model's tokens are counted by its own tokenizer, or they are not known; never by another model's."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import tiktoken
from aiohttp import web

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest
from llmmigrate.models.tokens import ProviderCounter, ServerCounter, TiktokenCounter, Unknown, counter_for
from tests.providers import refused
from tests.providers.gemini import _spelled

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]

SAID = [{"role": "user", "content": "Where is my order 1234, please? Größe M, naïve café."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALLED = [
    {"role": "user", "content": "Is it warm in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
]
KEYS = {"ANTHROPIC_API_KEY": "sk-ant-test", "GEMINI_API_KEY": "AIzaTest"}


class Servers:
    """Count as providers and self-hosted servers do, one token a word; `requests` are what came, by path."""

    def __init__(self, status=200, answer=None):
        self.status, self.answer = status, answer
        self.requests = []
        self.headers = []

    async def handle(self, request):
        body = await request.json()
        self.requests.append((request.path, body))
        self.headers.append(request.headers)
        if self.status != 200 or self.answer is not None:
            return web.Response(status=self.status, text=self.answer or "{}", content_type="application/json")
        if request.path == "/v1/messages/count_tokens":
            wrong = refused("anthropic", "CountMessageTokensParams", body)
            return web.json_response({"error": wrong} if wrong else {"input_tokens": 42}, status=400 if wrong else 200)
        if request.path.endswith(":countTokens"):
            wrong = refused("gemini", "CountTokensRequest", _spelled(body))
            return web.json_response({"error": wrong} if wrong else {"totalTokens": 43}, status=400 if wrong else 200)
        if request.path == "/vllm/tokenize":
            words = " ".join(message["content"] for message in body["messages"]).split()
            return web.json_response({"count": len(words), "max_model_len": 4096, "tokens": [1] * len(words)})
        if request.path == "/llama/apply-template":
            return web.json_response({"prompt": "".join(f"<|im_start|>{m['content']}" for m in body["messages"])})
        return web.json_response({"tokens": [7] * len(body.get("content", "").split())})


@asynccontextmanager
async def serving(servers):
    app = web.Application()
    app.router.add_post("/{rest:.*}", servers.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def counted(make, request, servers=None):
    """Count a request by the counter that `make` makes for a server's address."""
    servers = servers or Servers()

    async def run():
        async with serving(servers) as url:
            counter = make(url)
            try:
                return await counter.count(request)
            finally:
                await counter.close()

    return asyncio.run(run()), servers


@pytest.mark.parametrize(
    ("model", "encoding"),
    [("gpt-4o", "o200k_base"), ("openai/gpt-5", "o200k_base"), ("openai/gpt-4", "cl100k_base"), ("o3", "o200k_base")],
)
def test_openai_s_tokenizers_are_local_and_each_model_has_its_own(model, encoding):
    counter = counter_for(model, environ={})
    assert isinstance(counter, TiktokenCounter)
    assert counter.source == f"tiktoken {encoding}"
    text = len(tiktoken.get_encoding(encoding).encode(SAID[0]["content"]))
    # three around a message, one for its role, three before the answer (OpenAI, "How to count tokens with tiktoken")
    assert asyncio.run(counter.count(ChatRequest(model, SAID))) == text + 3 + 1 + 3
    assert asyncio.run(counter.count(ChatRequest(model, SAID, tools=[WEATHER]))) > text + 7
    longer = ChatRequest(model, [{"role": "system", "content": "Old."}, *SAID], system="Be brief, and be kind.")
    alone = ChatRequest(model, [{"role": "system", "content": "Be brief, and be kind."}, *SAID])
    assert asyncio.run(counter.count(longer)) == asyncio.run(counter.count(alone))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai/gpt-9-ultra", "tiktoken does not know"),
        ("mistral/mistral-large-latest", "no tokenizer of"),
        ("bedrock/anthropic.claude-3", "no tokenizer of"),
        ("recorded/aster-1", "no tokenizer of"),
        ("anthropic/claude-3-7-sonnet-20250219", "ANTHROPIC_API_KEY is not set"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY is not set"),
    ],
)
def test_without_a_tokenizer_of_its_own_a_model_s_tokens_are_not_known(model, words):
    found = counter_for(model, environ={})
    assert isinstance(found, Unknown)
    assert words in found.why


@pytest.mark.parametrize("said", [SAID, CALLED])
@pytest.mark.parametrize(
    ("model", "tokens"), [("anthropic/claude-3-7-sonnet-20250219", 42), ("gemini/gemini-2.5-flash", 43)]
)
def test_providers_count_the_request_that_would_be_sent(model, tokens, said):
    request = ChatRequest(model, said, tools=[WEATHER], system="Be brief.")
    found, servers = counted(lambda url: ProviderCounter(model, api_base=url, environ=KEYS), request)
    assert found == tokens
    assert "Be brief." in json.dumps(servers.requests[0][1])
    assert "weather" in json.dumps(servers.requests[0][1])
    assert set(servers.headers[0].values()) & set(KEYS.values())


@pytest.mark.parametrize(
    "servers", [Servers(status=400), Servers(status=429), Servers(answer="<html>"), Servers(answer='{"x": 1}')]
)
@pytest.mark.parametrize("model", ["anthropic/claude-3-7-sonnet-20250219", "gemini/gemini-2.5-flash"])
def test_a_provider_that_does_not_count_is_an_error_and_no_other_tokenizer_steps_in(model, servers):
    with pytest.raises(ModelError) as refusal:
        counted(lambda url: ProviderCounter(model, api_base=url, environ=KEYS), ChatRequest(model, SAID), servers)
    assert not set(KEYS.values()) & set(str(refusal.value).split())


def test_a_server_of_one_s_own_counts_for_its_model():
    request = ChatRequest("hosted_vllm/own", SAID, system="Be very brief.")
    found, servers = counted(lambda url: counter_for("hosted_vllm/own", api_base=f"{url}/vllm/v1"), request)
    assert found == 13
    assert servers.requests[0][1]["model"] == "own"
    found, servers = counted(lambda url: counter_for("openai/own", api_base=f"{url}/llama/v1/"), request)
    assert found == 12  # of the template that llama.cpp fills in
    assert [path for path, _ in servers.requests] == ["/llama/tokenize", "/llama/apply-template", "/llama/tokenize"]


@pytest.mark.parametrize("answer", ['{"count": -1}', '{"count": "9"}', "[]", "nothing", '{"tokens": 9}'])
def test_a_server_that_counts_nonsense_has_not_counted(answer):
    with pytest.raises(ModelError):
        counted(lambda url: ServerCounter("own", f"{url}/v1"), ChatRequest("openai/own", SAID), Servers(answer=answer))


def test_providers_addresses_are_no_servers_of_one_s_own():
    base = "https://eu.api.openai.com/v1"
    assert isinstance(counter_for("openai/gpt-4o", api_base=base, environ={}), TiktokenCounter)
    assert isinstance(counter_for("openai/own", api_base="http://vllm.internal/v1", environ={}), ServerCounter)
