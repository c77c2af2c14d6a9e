"""Limits, prices and retirement dates from the cost map that LiteLLM ships, read without importing LiteLLM.

Importing it takes seconds; the file beside it is read in some 25 ms.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"
_TIER = re.compile(r"(.+)_above_(\d+)k_tokens$")
_PRICES = {
    "input_cost": "input_cost_per_token",
    "output_cost": "output_cost_per_token",
    "cached_input_cost": "cache_read_input_token_cost",
    "cache_write_cost": "cache_creation_input_token_cost",
    "cache_write_1h_cost": "cache_creation_input_token_cost_above_1hr",
    "reasoning_cost": "output_cost_per_reasoning_token",
}


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per token; None where the map does not know. Reasoning is priced as output where it has no own price.

    These are the prices of a plain call at any hour: those of batches, service tiers and off-peak hours are not used.
    """

    input_cost: float | None = None
    output_cost: float | None = None
    cached_input_cost: float | None = None
    cache_write_cost: float | None = None
    cache_write_1h_cost: float | None = None
    reasoning_cost: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts(Prices):
    """What the cost map knows of a model: prices, tokens, and its last day; None where it does not.

    `tiers` are the prices of longer prompts: those of the last one whose tokens a prompt exceeds are the prices of the
    whole call.
    """

    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    retires: date | None = None
    provider: str | None = None
    tiers: tuple[tuple[int, Prices], ...] = ()


@lru_cache(maxsize=1)
def entries() -> dict[str, dict[str, Any]]:
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


@lru_cache(maxsize=4096)
def facts(model: str) -> ModelFacts:
    """Return what is known of a LiteLLM model string; all None for a model that the map does not have.

    The map has many models without their provider; what another provider calls by the same name is not that model.
    """
    provider, _, name = model.partition("/")
    name = name.removeprefix("converse/").removeprefix("invoke/")  # which of Bedrock's interfaces is called
    entry = entries().get(model) or entries().get(name) or {}
    if model not in entries() and not str(entry.get("litellm_provider")).startswith(provider):
        entry = {}
    try:
        retires = date.fromisoformat(str(entry.get("deprecation_date", "")))
    except ValueError:
        retires = None
    tiers = _tiers(entry)
    return ModelFacts(
        **asdict(tiers.pop(0, Prices())),
        max_input_tokens=_tokens(entry, "max_input_tokens"),
        max_output_tokens=_tokens(entry, "max_output_tokens"),
        retires=retires,
        provider=entry.get("litellm_provider"),
        tiers=tuple(sorted(tiers.items(), key=lambda tier: tier[0])),
    )


def _tiers(entry: dict[str, Any]) -> dict[int, Prices]:
    """Return prices by the tokens that a prompt must exceed.

    The map has them as keys (`input_cost_per_token_above_200k_tokens`: what has no key keeps its price) or as a list of
    ranges (`tiered_pricing`).
    """
    plain = _prices(entry)
    tiers = {0: plain}
    above: dict[int, dict[str, Any]] = {}
    for key, value in entry.items():
        found = _TIER.match(key)
        if found is not None and found[1] in _PRICES.values():
            above.setdefault(1000 * int(found[2]), {})[found[1]] = value
    for tokens in sorted(above):
        known = {name: value for name, value in asdict(_prices(above[tokens])).items() if value is not None}
        tiers[tokens] = plain = replace(plain, **known)
    for tier in entry.get("tiered_pricing") or ():
        begins = (tier.get("range") or (None,))[0]
        if isinstance(begins, (int, float)) and "input_cost_per_token" in tier:
            tiers[int(begins)] = _prices(tier)
    return tiers


def _prices(entry: dict[str, Any]) -> Prices:
    return Prices(**{name: _cost(entry, key) for name, key in _PRICES.items()})


def retirement(model: str) -> date | None:
    """Return the day a model is retired by its provider, None where that is not known."""
    return facts(model).retires


def _tokens(entry: dict[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return int(value) if isinstance(value, (int, float)) else None


def _cost(entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    return float(value) if isinstance(value, (int, float)) else None
