"""The door for event loops: a router whose calls are awaited, and whose answers may come in pieces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from llmmigrate.clock import Clock
from llmmigrate.models import Chunk, Completion, ModelClient
from llmmigrate.routing.calls import Asked, Caller, closing
from llmmigrate.routing.core import Decision, RoutingCore
from llmmigrate.store import Store

_log = logging.getLogger(__name__)

MIRRORED_AT_ONCE = 64
"""Mirrored calls under way at once; what does not fit is dropped and counted, and the user's call goes on."""

_PATIENCE_S = 5.0


class AsyncMirror:
    """Calls the candidate beside the users' calls, never awaited by them."""

    def __init__(self, *, at_once: int = MIRRORED_AT_ONCE) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = at_once
        self.dropped = 0

    def submit(self, caller: Caller, decision: Decision, asked: Asked) -> None:
        """Begin a call and return at once."""
        if len(self._tasks) >= self._at_once:
            self.dropped += 1
            return
        task = asyncio.get_running_loop().create_task(caller.quietly(decision, asked))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a mirrored call failed in llmmigrate itself", exc_info=task.exception())

    async def wait(self) -> None:
        """Wait until all that was begun has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self, *, patience_s: float = _PATIENCE_S) -> None:
        """Give mirrored calls a while, then cancel them; they count as abandoned."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


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
    ) -> None:
        self._caller = Caller(self, clients or {})
        super().__init__(store=store, clock=clock, background=background, spool=spool)

    def _begin(self) -> None:
        self.mirror = AsyncMirror()
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
        decision = self.assign(route, unit=unit, started_at=started_at, input_type=input_type, attributes=attributes)
        asked = Asked(messages, tools, tool_choice, response_format, params or {}, timeout_s)
        if decision.mirror is not None:
            self.mirror.submit(self._caller, decision.mirror, asked)
        return await self._caller.complete(decision, asked)

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
        decision = self.assign(route, unit=unit, started_at=started_at, input_type=input_type, attributes=attributes)
        asked = Asked(messages, tools, tool_choice, response_format, params or {}, timeout_s)
        if decision.mirror is not None:
            self.mirror.submit(self._caller, decision.mirror, asked)
        async with closing(self._caller.stream(decision, asked)) as pieces:
            async for chunk in pieces:
                yield chunk
