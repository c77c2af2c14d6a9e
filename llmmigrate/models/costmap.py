"""Limits, prices and retirement dates from the cost map that LiteLLM ships, read without importing LiteLLM.

Importing it takes seconds; the file beside it is read in some 25 ms.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"
_TIER = re.compile(r"(?:in|out)put_cost_per_token_above_(\d+)k_tokens$")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the cost map knows of a model: tokens, US dollars per token, and its last day; None where it does not."""

    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    input_cost: float | None = None
    output_cost: float | None = None
    cached_input_cost: float | None = None
    cache_write_cost: float | None = None
    retires: date | None = None
    provider: str | None = None
    tier_tokens: int | None = None
    """Prompts longer than this many tokens have other prices."""


@lru_cache(maxsize=1)
def _entries() -> dict[str, dict[str, Any]]:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    data: dict[str, dict[str, Any]] = json.loads((Path(spec.origin).parent / _FILE).read_text("utf-8"))
    data.pop("sample_spec", None)
    return data


def source() -> str:
    """Name the cost map that is read, with its version."""
    try:
        return f"LiteLLM {version('litellm')}"
    except PackageNotFoundError:
        return "LiteLLM (not installed)"


def facts(model: str) -> ModelFacts:
    """Return what is known of a LiteLLM model string; all None for a model that the map does not have."""
    entries = _entries()
    entry = entries.get(model) or entries.get(model.partition("/")[2]) or {}
    try:
        retires = date.fromisoformat(str(entry.get("deprecation_date", "")))
    except ValueError:
        retires = None
    return ModelFacts(
        max_input_tokens=_tokens(entry, "max_input_tokens"),
        max_output_tokens=_tokens(entry, "max_output_tokens"),
        input_cost=_cost(entry, "input_cost_per_token"),
        output_cost=_cost(entry, "output_cost_per_token"),
        cached_input_cost=_cost(entry, "cache_read_input_token_cost"),
        cache_write_cost=_cost(entry, "cache_creation_input_token_cost"),
        retires=retires,
        provider=entry.get("litellm_provider"),
        tier_tokens=min(
            (1000 * int(found[1]) for key in entry if (found := _TIER.match(key)) is not None), default=None
        ),
    )


def retirement(model: str) -> date | None:
    """Return the day a model is retired by its provider, None where that is not known."""
    return facts(model).retires


def _tokens(entry: dict[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return int(value) if isinstance(value, (int, float)) else None


def _cost(entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    return float(value) if isinstance(value, (int, float)) else None
