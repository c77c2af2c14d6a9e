"""Which client calls which model: recordings, OpenAI-compatible servers directly, all others through LiteLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from llmmigrate.exceptions import ModelError
from llmmigrate.models import costmap
from llmmigrate.models.base import ModelClient
from llmmigrate.models.providers import PROVIDERS
from llmmigrate.models.recorded import RecordedClient
from llmmigrate.models.retry import Budget

RECORDED = "recorded"


class Clients:
    """The clients of a process, one of each kind, made when a model first needs it.

    `own` maps a model string, or its provider, to a client that takes precedence. `recordings` is the folder where
    `recorded/NAME` is `NAME.jsonl`.
    """

    def __init__(
        self,
        own: Mapping[str, ModelClient] | None = None,
        *,
        recordings: Path | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._own = dict(own or {})
        self._recordings = recordings
        self._budget = budget
        self._made: dict[str, ModelClient] = {}

    def client_for(self, model: str) -> ModelClient:
        """Return the client that calls a model; raises ModelError for a recording that is not there."""
        provider = model.partition("/")[0]
        own = self._own.get(model) or self._own.get(provider)
        if own is not None:
            return own
        kind = model if provider == RECORDED else "direct" if is_direct(model) else "litellm"
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    async def close(self) -> None:
        """Close the connections of all clients on this event loop; one that fails keeps none of the others open."""
        ended = await asyncio.gather(
            *(client.close() for client in {*self._own.values(), *self._made.values()}), return_exceptions=True
        )
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure

    def _make(self, kind: str) -> ModelClient:
        if kind == "direct":
            from llmmigrate.models.openai_compatible import OpenAICompatibleClient

            return OpenAICompatibleClient(budget=self._budget)
        if kind == "litellm":
            from llmmigrate.models.litellm_client import LiteLLMClient

            return LiteLLMClient(budget=self._budget)
        name = kind.partition("/")[2]
        try:
            if self._recordings is None:
                raise FileNotFoundError(name)
            return RecordedClient.load(self._recordings / f"{name}.jsonl")
        except (OSError, ValueError) as error:
            raise ModelError("bad_request", f"there is no recording {name!r}: {type(error).__name__}") from error


def default_clients(own: Mapping[str, ModelClient] | None = None, *, recordings: Path | None = None) -> Clients:
    """Return clients for every model; `own` take precedence."""
    return Clients(own, recordings=recordings)


def is_direct(model: str) -> bool:
    """Tell whether a model is called without LiteLLM; a bare name is one of OpenAI's where the cost map says so."""
    provider, slash, _ = model.partition("/")
    return provider in PROVIDERS if slash else costmap.facts(model).provider == "openai"
