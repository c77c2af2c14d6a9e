"""The door for event loops: a router whose calls are awaited, and whose answers may come in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from llmmigrate.clock import Clock
from llmmigrate.models import Chunk, Completion, ModelClient
from llmmigrate.routing.calls import Asked, Caller, closing
from llmmigrate.routing.core import RoutingCore
from llmmigrate.routing.mirror import Mirror
from llmmigrate.routing.samples import Redact
from llmmigrate.settings import RouteSettings
from llmmigrate.store import Store


class AsyncRouter(RoutingCore):
    """Route calls in process, on an event loop.

    `clients` maps a model string, or the part of it before the first slash, to a client of your own that calls it; all
    others are called directly where they speak OpenAI's protocol, and through LiteLLM elsewhere. Or use `assign` and
    `observe` around what you have. The other arguments, and what may be raised, are those of
    `RoutingCore`. Deciding never blocks; polls and flushes run in threads of their own. Close it with `aclose`, or use
    it as an asynchronous context manager, to lose no counts.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        clients: Mapping[str, ModelClient] | None = None,
        clock: Clock | None = None,
        background: bool = True,
        spool: Path | None = None,
        routes: Mapping[str, RouteSettings] | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._caller = Caller(self, clients or {})
        super().__init__(store=store, clock=clock, background=background, spool=spool, routes=routes, redact=redact)

    def _begin(self) -> None:
        self.mirror = Mirror()
        super()._begin()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish mirrored calls, close the clients, flush, and say goodbye to the store."""
        await self.mirror.close()
        await self._caller.close()
        await asyncio.to_thread(self.close)

    async def acompletion(
        self,
        *,
        route: str,
        messages: Sequence[Mapping[str, Any]],
        unit: object = None,
        started_at: datetime | str | None = None,
        input_type: str = "",
        attributes: Mapping[str, object] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Completion:
        """Answer a request with the model that is in force for its unit; see `Router.completion`.

        A cancelled call is counted as abandoned.
        """
        asked = Asked(messages, tools, tool_choice, response_format, params or {}, timeout_s)
        begun = self._caller.begin(
            route,
            asked,
            self.mirror.begin,
            unit=unit,
            started_at=started_at,
            input_type=input_type,
            attributes=attributes,
        )
        return await self._caller.complete(begun)

    async def astream(
        self,
        *,
        route: str,
        messages: Sequence[Mapping[str, Any]],
        unit: object = None,
        started_at: datetime | str | None = None,
        input_type: str = "",
        attributes: Mapping[str, object] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Chunk]:
        """Answer a request in pieces, with the model that is in force for its unit.

        A candidate that fails before its first piece is replaced by control; one that breaks later ends the stream with
        ModelError, as a direct call would. Whoever stops early closes the iterator (`contextlib.aclosing`).
        """
        asked = Asked(messages, tools, tool_choice, response_format, params or {}, timeout_s, in_pieces=True)
        begun = self._caller.begin(
            route,
            asked,
            self.mirror.begin,
            unit=unit,
            started_at=started_at,
            input_type=input_type,
            attributes=attributes,
        )
        async with closing(self._caller.stream(begun)) as pieces:
            async for chunk in pieces:
                yield chunk
