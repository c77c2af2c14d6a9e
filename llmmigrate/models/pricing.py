"""What a call cost, from the tokens that the provider counted and the prices of the cost map."""

from __future__ import annotations

from llmmigrate.models import costmap
from llmmigrate.models.base import Usage
from llmmigrate.models.costmap import ModelFacts


def cost_usd(model: str, usage: Usage) -> float | None:
    """Return the price of a call to a model in US dollars, None where a price that it needs is not known."""
    return cost(costmap.facts(model), usage)


def cost(known: ModelFacts, usage: Usage) -> float | None:
    """Return the price of a call by what is known of its model, None where a price that it needs is not.

    Cached tokens are charged at their own prices, never at a guess. A prompt in a dearer tier is None: the map's tiers
    are not one rule for all providers.
    """
    if known.tier_tokens is not None and usage.prompt_tokens > known.tier_tokens:
        return None
    if known.input_cost is None or known.output_cost is None:
        return None
    plain = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
    total = plain * known.input_cost + usage.completion_tokens * known.output_cost
    for tokens, price in (
        (usage.cached_tokens, known.cached_input_cost),
        (usage.cache_write_tokens, known.cache_write_cost),
    ):
        if tokens:
            if price is None:
                return None
            total += tokens * price
    return total
