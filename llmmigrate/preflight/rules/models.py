"""Whether there is such a model, and a server that has it (MAP-01, SRV-01)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

from llmmigrate.models.costmap import entries, source
from llmmigrate.models.providers import PROVIDERS
from llmmigrate.preflight.case import Hit, Model, Rule, Way
from llmmigrate.preflight.finding import RuleInfo

_LISTED = frozenset({"anthropic", "deepseek", "gemini", "groq", "mistral", "openai", "xai"})
"""Providers whose models the cost map lists; elsewhere names are a user's own (deployments, servers, endpoints)."""

_OF_ONE_S_OWN = {
    **{name: one.base_variables[0] for name, one in PROVIDERS.items() if one.base is None},
    "litellm_proxy": "LITELLM_PROXY_API_BASE",
}
"""Providers that have no address of their own, each with the variable that LiteLLM reads it from."""

_NEAR, _ALIKE = 3, 0.5


def _unknown(way: Way) -> Iterator[Hit]:
    model = way.to
    provider, slash, name = model.name.partition("/")
    listed = provider in _LISTED if slash else True
    if not listed or model.entry is not None or model.api_base is not None or name.startswith("ft:"):
        return
    near = _nearest(model.name)
    end = f"A typing error? Near it: {', '.join(near)}" if near else "A typing error, or newer than the map?"
    yield Hit(f"the cost map ({source()}) does not have this model. {end}", ("model",))


@lru_cache(maxsize=256)
def _nearest(model: str) -> tuple[str, ...]:
    """Return the models of a provider that are called most alike; of all listed ones for a name without provider."""
    provider, slash, name = model.partition("/")
    wanted = {provider} if slash else _LISTED
    known = {
        f"{of}/{key.removeprefix(f'{of}/')}": None
        for key, entry in entries().items()
        if (of := str(entry.get("litellm_provider"))) in wanted and entry.get("mode") in ("chat", "responses")
    }
    names = {one.partition("/")[2].lower(): one for one in known}
    return tuple(names[one] for one in get_close_matches((name or model).lower(), names, _NEAR, _ALIKE))


def _serverless(way: Way) -> Iterator[Hit]:
    model = way.to
    variable = _OF_ONE_S_OWN.get(_provider(model))
    if variable is not None and model.api_base is None and not os.environ.get(variable):
        words = f"it has no server: {model.side}.api_base is not written, and {variable} is not set here"
        yield Hit(words, ("model",))


def _provider(model: Model) -> str:
    return model.name.partition("/")[0]


RULES = (
    Rule(
        RuleInfo(
            "MAP-01",
            "warning",
            "LiteLLM's cost map does not have the model",
            "A mistyped name is refused at its first call. Without an entry neither prices, nor limits, nor what the "
            "model refuses are known.",
            "Correct the name; for a model that is newer than the map, take a newer LiteLLM.",
            "LiteLLM's cost map",
        ),
        of_way=_unknown,
    ),
    Rule(
        RuleInfo(
            "SRV-01",
            "warning",
            "the model has no server",
            "Such a provider has no address that everybody shares: without one every call fails, on every router.",
            "Write api_base: http://HOST/v1 on that side; or set the variable wherever routers run, and here.",
            "llmmigrate.models.providers; litellm.litellm_core_utils.get_llm_provider_logic",
        ),
        of_way=_serverless,
    ),
)
