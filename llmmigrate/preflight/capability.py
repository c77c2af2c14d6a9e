"""What the cost map says of a model beside limits and prices: what it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llmmigrate.models.costmap import entries


@lru_cache(maxsize=4096)
def entry_of(model: str) -> Mapping[str, Any] | None:
    """Return the entry of a LiteLLM model string in the cost map that LiteLLM ships, None for a model it has not.

    It is found as `costmap.facts` finds it: what another provider calls by the same name is not that model.
    """
    known = entries()
    if model in known:
        return known[model]
    provider, _, name = model.partition("/")
    name = name.removeprefix("converse/").removeprefix("invoke/")
    entry = known.get(name)
    return entry if entry is not None and str(entry.get("litellm_provider")).startswith(provider) else None
