"""The door for threads: a router whose calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from llmmigrate.clock import Clock
from llmmigrate.models import Completion, ModelClient
from llmmigrate.routing.calls import Asked, Caller
from llmmigrate.routing.core import RoutingCore
from llmmigrate.routing.loop import LoopThread
from llmmigrate.routing.mirror import BlockingMirror
from llmmigrate.routing.samples import Redact
from llmmigrate.settings import RouteSettings
from llmmigrate.store import Store


class Router(RoutingCore):
    """Route calls in process, from threads.

    `clients` maps a model string, or the part of it before the first slash, to a client of your own that calls it; all
    others are called directly where they speak OpenAI's protocol, and through LiteLLM elsewhere. Or use `assign` and
    `observe` around what you have. The other arguments, and what may be raised, are those of `RoutingCore`. Close the
    router, or use it as a context manager, to lose no counts.
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
        self._loop = LoopThread()
        self.mirror = BlockingMirror(self._loop)
        super()._begin()

    def _finish(self) -> None:
        self.mirror.close()
        self._loop.run(self._caller.close())
        self._loop.close()

    def completion(
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
        """Answer a request with the model that is in force for its unit.

        `unit` is what sticks to one arm (the conversation or user id; a request without one stands alone),
        `started_at` when it began. Messages, tools, tool_choice and response_format are OpenAI-shaped; the document's
        parameters win over `params`. Where the candidate fails, control answers instead (unless the document says
        `surface`) and the failure is booked on the candidate, which has half of `timeout_s` for its answer, or a minute
        where that is None. Raises ModelError where the call failed, TargetNotFound for a route that was never upgraded.
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
        return self._loop.run(self._caller.complete(begun))
