"""What a call cost: as LiteLLM reckons it, except that an unknown price makes the whole unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmmigrate.models import ChatRequest, Usage, costmap
from llmmigrate.models.assembly import usage_of
from llmmigrate.models.costmap import Prices
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.pricing import cost_usd
from tests import asking
from tests.asking import QUICK
from tests.providers import Model

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


def test_cached_and_written_tokens_have_their_own_prices():
    usage = Usage(1000, 100, cached_tokens=600, cache_write_tokens=100)
    wanted = 300 * 3e-6 + 600 * 3e-7 + 100 * 3.75e-6 + 100 * 15e-6
    assert cost_usd("anthropic/claude-sonnet-4-5", usage) == pytest.approx(wanted)
    longer = replace(usage, cache_write_1h_tokens=40)
    assert cost_usd("anthropic/claude-sonnet-4-5", longer) == pytest.approx(wanted + 40 * (6e-6 - 3.75e-6))


def test_a_long_prompt_makes_the_whole_call_one_of_its_tier():
    short, long = Usage(200_000, 10, cached_tokens=1000), Usage(200_001, 10, cached_tokens=1000)
    assert cost_usd("gemini/gemini-2.5-pro", short) == pytest.approx(199_000 * 1.25e-6 + 1000 * 1.25e-7 + 10 * 1e-5)
    assert cost_usd("gemini/gemini-2.5-pro", long) == pytest.approx(199_001 * 2.5e-6 + 1000 * 2.5e-7 + 10 * 1.5e-5)


def test_an_unknown_price_is_unknown_and_not_nothing(monkeypatch):
    assert cost_usd("nobody/knows", Usage(1, 1)) is None
    assert cost_usd("nobody/knows", Usage(0, 0)) is None
    dearer = (200_000, Prices(input_cost=2.0))
    known = costmap.ModelFacts(input_cost=1.0, output_cost=2.0, reasoning_cost=3.0, tiers=(dearer,))
    monkeypatch.setattr(costmap, "facts", lambda model: known)
    assert cost_usd("m", Usage(3, 2)) == 7.0
    assert cost_usd("m", Usage(3, 2, reasoning_tokens=2)) == 9.0
    assert cost_usd("m", Usage(3, 2, cached_tokens=1)) is None
    assert cost_usd("m", Usage(3, 2, cache_write_tokens=1)) is None
    assert cost_usd("m", Usage(200_001, 0)) is None


def test_a_server_of_ones_own_has_no_price_though_it_calls_a_model_by_a_name_that_has_one():
    assert costmap.facts("deepseek-chat").input_cost is not None
    assert costmap.facts("hosted_vllm/deepseek-chat") == costmap.ModelFacts()
    for model in (
        "openai/gpt-4o",
        "bedrock/converse/anthropic.claude-haiku-4-5-20251001-v1:0",
        "vertex_ai/gemini-2.5-pro",
    ):
        assert costmap.facts(model).input_cost is not None


def test_facts_are_those_of_the_map():
    assert [tokens for tokens, _ in costmap.facts("gemini/gemini-2.5-pro").tiers] == [200_000]
    assert [tokens for tokens, _ in costmap.facts("dashscope/qwen-flash").tiers] == [256_000]
    assert costmap.facts("gpt-4o").tiers == ()
    assert costmap.facts("gpt-4o").provider == "openai"


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 3}, Usage(5, 2, cached_tokens=3)),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
          "completion_tokens_details": {"reasoning_tokens": 94}}, Usage(32, 103, reasoning_tokens=94)),
        ({"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135,
          "completion_tokens_details": {"reasoning_tokens": 94}}, Usage(32, 103, reasoning_tokens=94)),
        ({"prompt_tokens": 9, "completion_tokens": 1,
          "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4}},
         Usage(9, 1, cached_tokens=2, cache_write_tokens=4)),
        ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, Usage(9, 0)),
    ],
)  # fmt: skip
def test_usage_is_read_as_each_server_counts(data, usage):
    assert usage_of(data) == usage


def test_what_anthropic_wrote_to_its_cache_and_for_how_long_comes_through_litellm(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789abcdef0123")
    request = ChatRequest("anthropic/claude-sonnet-4-5", [{"role": "user", "content": "Which?"}], {"max_tokens": 5})
    written = Model(prompt=100, cached=20, written=50, written_1h=30)
    usage = Usage(100, 7, cached_tokens=20, cache_write_tokens=50, cache_write_1h_tokens=30)
    answer, _ = asking.ask(LiteLLMClient(budget=QUICK), request, model=written)
    chunks, _, _ = asking.stream(LiteLLMClient(budget=QUICK), request, model=written)
    assert answer.usage == chunks[-1].usage == usage
    assert answer.cost_usd == pytest.approx(30 * 3e-6 + 20 * 3e-7 + 20 * 3.75e-6 + 30 * 6e-6 + 7 * 15e-6)


USAGES = [
    Usage(1000, 100),
    Usage(1000, 100, cached_tokens=600),
    Usage(1000, 100, cached_tokens=100, cache_write_tokens=300),
    Usage(1000, 100, cache_write_tokens=300, cache_write_1h_tokens=200),
    Usage(1000, 100, reasoning_tokens=40),
    Usage(150_000, 100),
    Usage(200_000, 10),
    Usage(250_000, 1000, cached_tokens=1000, reasoning_tokens=10),
    Usage(600_000, 1000, cache_write_tokens=5000),
]
_OTHERWISE = {
    "github_copilot", "chatgpt",  # LiteLLM asks them to sign in
    "perplexity",  # LiteLLM leaves their prices of cached tokens aside
    "bedrock_mantle",  # LiteLLM takes the price of another region
}  # fmt: skip


def sample(litellm: Any) -> list[str]:
    """Return 100 models of the cost map that LiteLLM finds in its map, half of them with tiers."""

    def mapped(model: str) -> bool:
        try:
            litellm.get_model_info(model)
        except Exception:  # noqa: BLE001 (LiteLLM raises a plain one)
            return False
        return True

    models = sorted(
        model
        for model, entry in costmap.entries().items()
        if entry.get("mode") in {"chat", "responses"}
        and entry.get("litellm_provider") not in _OTHERWISE
        and "off_peak_pricing" not in entry  # ours is the price of any hour
        and costmap.facts(model).input_cost
        and costmap.facts(model).output_cost
    )
    tiered = [model for model in models if costmap.facts(model).tiers]
    plain = [model for model in models if not costmap.facts(model).tiers]
    return [model for group in (tiered, plain) for model in list(filter(mapped, group[:: len(group) // 55]))[:50]]


def theirs(litellm: Any, model: str, usage: Usage) -> float:
    from litellm.types.utils import (
        CacheCreationTokenDetails,
        CompletionTokensDetailsWrapper,
        ModelResponse,
        PromptTokensDetailsWrapper,
    )
    from litellm.types.utils import Usage as Counted

    prompt = PromptTokensDetailsWrapper(
        cached_tokens=usage.cached_tokens, cache_creation_tokens=usage.cache_write_tokens
    )
    if usage.cache_write_1h_tokens:
        prompt.cache_creation_token_details = CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=usage.cache_write_tokens - usage.cache_write_1h_tokens,
            ephemeral_1h_input_tokens=usage.cache_write_1h_tokens,
        )
    counted = Counted(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=prompt,
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=usage.reasoning_tokens),
    )
    answer = ModelResponse(model=model, usage=counted)
    return float(litellm.completion_cost(completion_response=answer, model=model))


def missing(model: str, usage: Usage) -> bool:
    """Tell whether the map has no price for a kind of token that was used."""
    entry = costmap.entries()[model]
    prices = {
        "cache_read_input_token_cost": usage.cached_tokens,
        "cache_creation_input_token_cost": usage.cache_write_tokens - usage.cache_write_1h_tokens,
        "cache_creation_input_token_cost_above_1hr": usage.cache_write_1h_tokens,
    }
    parts = (entry, *entry.get("tiered_pricing", ()))
    return any(tokens and not any(name in part for part in parts) for name, tokens in prices.items())


def test_prices_are_litellms_own_for_a_sample_of_its_map(monkeypatch):
    from llmmigrate.models.litellm_client import _load

    litellm = _load()
    models = sample(litellm)
    assert len(models) == 100
    known = 0
    for model in models:
        for usage in USAGES:
            ours = cost_usd(model, usage)
            if ours is None:
                assert missing(model, usage), (model, usage)
            else:
                known += 1
                assert ours == pytest.approx(theirs(litellm, model, usage), rel=1e-9), (model, usage)
    assert known > 500
