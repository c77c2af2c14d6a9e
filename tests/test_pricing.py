"""What a call cost: known prices add up, an unknown one makes the whole unknown."""

from __future__ import annotations

import pytest

from llmmigrate.models import Usage, costmap
from llmmigrate.models.pricing import cost_usd


def test_cached_and_written_tokens_have_their_own_prices():
    usage = Usage(1000, 100, cached_tokens=600, cache_write_tokens=100)
    wanted = 300 * 3e-6 + 600 * 3e-7 + 100 * 3.75e-6 + 100 * 15e-6
    assert cost_usd("anthropic/claude-sonnet-4-5", usage) == pytest.approx(wanted)


def test_an_unknown_price_is_unknown_and_not_nothing(monkeypatch):
    assert cost_usd("nobody/knows", Usage(1, 1)) is None
    assert cost_usd("nobody/knows", Usage(0, 0)) is None
    known = costmap.ModelFacts(input_cost=1.0, output_cost=2.0, tier_tokens=200_000)
    monkeypatch.setattr(costmap, "facts", lambda model: known)
    assert cost_usd("m", Usage(3, 2)) == 7.0
    assert cost_usd("m", Usage(3, 2, cached_tokens=1)) is None
    assert cost_usd("m", Usage(200_001, 0)) is None


def test_a_dearer_tier_is_read_from_the_cost_map():
    assert costmap.facts("gemini/gemini-2.5-pro").tier_tokens == 200_000
    assert costmap.facts("gpt-4o").tier_tokens is None
    assert costmap.facts("gpt-4o").provider == "openai"
