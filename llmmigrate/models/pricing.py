"""What a call cost, from the tokens that the provider counted and the prices of the cost map."""

from __future__ import annotations

from llmmigrate.models import costmap
from llmmigrate.models.base import Usage
from llmmigrate.models.costmap import ModelFacts, Prices

_FROM = {"xai"}
"""Providers whose dearer tier begins with its tokens, not above them."""


def cost_usd(model: str, usage: Usage) -> float | None:
    """Return the price of a call to a model in US dollars, None where a price that it needs is not known."""
    return cost(costmap.facts(model), usage)


def cost(known: ModelFacts, usage: Usage) -> float | None:
    """Return the price of a call by what is known of its model, None where a price that it needs is not.

    Cached tokens are charged at their own prices, never at a guess. A prompt that exceeds a tier's tokens makes the
    whole call one of that tier (Google and OpenAI say so of theirs; LiteLLM holds it for all).
    """
    prices: Prices = known
    for above, tier in known.tiers:
        if usage.prompt_tokens > above or (usage.prompt_tokens == above and known.provider in _FROM):
            prices = tier
    if prices.input_cost is None or prices.output_cost is None:
        return None
    plain = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
    total = plain * prices.input_cost + usage.completion_tokens * prices.output_cost
    if usage.reasoning_tokens and prices.reasoning_cost is not None:
        total += usage.reasoning_tokens * (prices.reasoning_cost - prices.output_cost)
    for tokens, price in (
        (usage.cached_tokens, prices.cached_input_cost),
        (usage.cache_write_tokens - usage.cache_write_1h_tokens, prices.cache_write_cost),
        (usage.cache_write_1h_tokens, prices.cache_write_1h_cost),
    ):
        if tokens:
            if price is None:
                return None
            total += tokens * price
    return total
