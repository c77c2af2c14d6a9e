"""What the cost map says of a model beside limits and prices: what it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llmmigrate.models.costmap import _entries
from llmmigrate.models.providers import _COUNTS_REASONING, _is_openai


@lru_cache(maxsize=4096)
def entry_of(model: str) -> Mapping[str, Any] | None:
    """Return the entry of a LiteLLM model string in the cost map that LiteLLM ships, None for a model it has not.

    It is found as `costmap.facts` finds it: what another provider calls by the same name is not that model.
    """
    entries = _entries()
    if model in entries:
        return entries[model]
    provider, _, name = model.partition("/")
    name = name.removeprefix("converse/").removeprefix("invoke/")
    entry = entries.get(name)
    return entry if entry is not None and str(entry.get("litellm_provider")).startswith(provider) else None


def is_openai(address: str) -> bool:
    """Tell whether an address is OpenAI's own, whose rules are known."""
    return _is_openai(address)


def counts_reasoning(name: str) -> bool:
    """Tell OpenAI's o-series and GPT-5 and later, which count reasoning as output."""
    return _COUNTS_REASONING.match(name) is not None
