"""The calls behind both doors: control or candidate, the fallback, streams, and what is recorded of each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, Chunk, Clients, Completion, ModelClient
from llmmigrate.routing.agreement import texts_agree, tools_agree
from llmmigrate.routing.core import Decision, RoutingCore
from llmmigrate.routing.mirror import Call
from llmmigrate.routing.shadow import Beside
from llmmigrate.routing.validity import schema_valid, tools_valid

_log = logging.getLogger(__name__)

CANDIDATE_S = 60.0
"""How long a candidate with control behind it may take where the caller names no time; else it is half of that."""

_LONGEST_WAIT_S = 2.0
"""The longest wait that such a candidate may ask for before another try, such as by `retry-after`."""


class Asked(NamedTuple):
    """What a user's request asks, whichever model answers it; `sample` is the id under which its texts are kept.

    A tuple, since every request is copied two or three times on its way, and a tuple's copy is the cheapest.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = MappingProxyType({})
    timeout_s: float | None = None
    in_pieces: bool = False
    sample: str | None = None
    limit_s: float | None = None
    longest_wait_s: float | None = None

    def of_candidate(self) -> Asked:
        """Return what is asked of a candidate with control behind it: an answer or a first piece in half the time."""
        limit_s = CANDIDATE_S if self.timeout_s is None else self.timeout_s / 2
        return self._replace(limit_s=limit_s, longest_wait_s=_LONGEST_WAIT_S)

    def after(self, spent_s: float) -> Asked:
        """Return what is still asked of control after a candidate has failed: the same, in the time that is left."""
        return self if self.timeout_s is None else self._replace(timeout_s=max(0.0, self.timeout_s - spent_s))

    def of(self, decision: Decision) -> ChatRequest:
        """Return the request for a decision's model; the document's parameters win over the caller's.

        A `response_format` among them takes the place of the caller's, so that a model can be moved away from it with
        `{type: text}`.
        """
        params = {**self.params, **decision.params}
        moved = params.pop("response_format") if decision.params.get("response_format") else None
        return ChatRequest(
            model=decision.model,
            messages=self.messages,
            params=params,
            tools=self.tools,
            tool_choice=self.tool_choice,
            response_format=moved or self.response_format,
            system=decision.system,
            api_base=decision.api_base,
            timeout_s=self.timeout_s,
            longest_wait_s=self.longest_wait_s,
        )

    def structure(self, decision: Decision) -> Mapping[str, Any] | None:
        """Return the structure that an answer is judged by: what the caller asked for, whatever was sent.

        Where the caller asked for none, it is what the document asks for of this model.
        """
        asked = self.response_format or self.params.get("response_format") or decision.params.get("response_format")
        return asked if isinstance(asked, Mapping) else None


@dataclass(frozen=True, slots=True)
class Begun:
    """A user's request that was decided on, with what is called beside it."""

    decision: Decision
    asked: Asked
    beside: Beside | None = None

    def tell(self, answer: Completion | None) -> None:
        """Give the user's answer to what is called beside it; None where there is none."""
        if self.beside is not None:
            self.beside.tell(answer)


class Caller:
    """Calls models for a core. Its coroutines belong to one event loop at a time."""

    def __init__(self, core: RoutingCore, clients: Mapping[str, ModelClient]) -> None:
        self._core = core
        self._clients = Clients(clients)
        self._clients_beside = Clients(clients)

    def begin(
        self,
        route: str,
        asked: Asked,
        mirror: Callable[[Call], bool],
        *,
        unit: object,
        started_at: datetime | str | None,
        input_type: str,
        attributes: Mapping[str, object] | None,
    ) -> Begun:
        """Decide on a user's request and begin what is called beside it; raises TargetNotFound."""
        if not input_type:
            input_type = self._core.input_type(route, messages=asked.messages, tools=asked.tools, attributes=attributes)
        asked = asked._replace(sample=self._core.samples.draw(route))
        decision = self._core.assign(
            route, unit=unit, started_at=started_at, input_type=input_type, attributes=attributes
        )
        if decision.mirror is None:
            return Begun(decision, asked)
        beside = Beside(decision.mirror, decision.again, asked)
        if mirror(lambda: self._call_beside(beside)):
            return Begun(decision, asked, beside)
        self._core.dropped(decision.mirror)
        return Begun(decision, asked)

    async def complete(self, begun: Begun) -> Completion:
        """Answer a user's request; where the candidate fails, control answers. Raises ModelError."""
        answer: Completion | None = None
        try:
            answer = await self._complete(begun.decision, begun.asked)
            return answer
        finally:
            begun.tell(answer)

    async def _complete(self, decision: Decision, asked: Asked) -> Completion:
        safe = self._core.safe(decision)
        if safe is None:
            return await self._recorded(decision, asked, self._clients)
        began = time.monotonic()
        try:
            return await self._recorded(decision, asked.of_candidate(), self._clients)
        except ModelError:
            left = asked.after(_since(began))
        return await self._guarded(safe, left, self._clients)

    async def _call_beside(self, beside: Beside) -> None:
        """Call the candidate beside a user's request, and control again where that is asked; compare with the user's.

        Whatever comes of it is recorded, and nothing raised. The calls have connections and a budget of retries of
        their own, so that a hanging candidate takes nothing from users; the candidate is asked as it would be for one.
        """
        asked, answers = beside.asked, []
        call = self._recorded_in_pieces if asked.in_pieces else self._recorded
        try:
            answers.append((beside.mirror, await call(beside.mirror, asked.of_candidate(), self._clients_beside)))
        except ModelError as error:
            _log.debug("a mirrored call failed and is counted: %s", error)
        if beside.again is not None:
            try:
                repeat = await self._guarded(beside.again, asked, self._clients_beside)
            except ModelError as error:
                _log.debug("control could not be called again: %s", error)
            else:
                self._core.repeated(beside.again, repeat.usage, repeat.cost_usd)
                answers.append((beside.again, repeat))
        users = await beside.users()
        if users is not None:
            for decision, answer in answers:
                self._core.compare(decision, tools=tools_agree(answer, users), text=texts_agree(answer, users))

    async def _recorded(self, decision: Decision, asked: Asked, clients: Clients) -> Completion:
        """Call a decision's model and record what came of it; raises ModelError."""
        began = time.monotonic()
        try:
            completion = await self._guarded(decision, asked, clients)
        except ModelError as error:
            self._core.observe(decision, error_class=error.error_class, latency_s=error.latency_s or _since(began))
            raise
        except asyncio.CancelledError:
            self._core.observe(decision, abandoned=True)
            raise
        self.record(decision, asked, completion)
        return completion

    async def _recorded_in_pieces(self, decision: Decision, asked: Asked, clients: Clients) -> Completion:
        """Do the same by a stream that nobody reads."""
        completion: Completion | None = None
        async with closing(self._watched(decision, asked, clients)) as pieces:
            async for chunk in pieces:
                completion = chunk.completion or completion
        assert completion is not None, "a stream without its whole answer is an error"
        return completion

    def record(self, decision: Decision, asked: Asked, completion: Completion) -> None:
        """Record a whole answer, with its texts where the request was sampled.

        What cannot be judged of it, such as by a schema that is none, counts for nothing.
        """
        if asked.sample is not None:
            self._core.keep(asked.sample, decision, asked, completion)
        tools = schema = None
        try:
            tools = tools_valid(completion.tool_calls, asked.tools)
            schema = schema_valid(completion.text, asked.structure(decision), completion.tool_calls)
        except Exception:  # noqa: BLE001 (the user has an answer; it is logged)
            _log.exception("an answer could not be judged by the tools and the structure that were asked")
        self._core.observe(
            decision,
            usage=completion.usage,
            latency_s=completion.latency_s,
            first_token_s=completion.first_token_s,
            cost=completion.cost_usd,
            finish_reason=completion.finish_reason,
            refused=completion.refusal is not None or completion.finish_reason == "content_filter",
            tools_valid=tools,
            schema_valid=schema,
        )

    async def _guarded(self, decision: Decision, asked: Asked, clients: Clients) -> Completion:
        try:
            async with asyncio.timeout(asked.limit_s):
                return await clients.client_for(decision.model).complete(asked.of(decision))
        except ModelError:
            raise
        except Exception as error:
            raise _broken(decision.model, error) from error

    async def stream(self, begun: Begun) -> AsyncIterator[Chunk]:
        """Answer a user's request in pieces.

        A candidate that fails before its first piece is replaced by control, and the user notices nothing; one that
        breaks later ends the stream with ModelError, as a direct call would. A stream that its reader leaves is counted
        as abandoned.
        """
        answer: Completion | None = None
        try:
            async with closing(self._stream(begun.decision, begun.asked)) as pieces:
                async for chunk in pieces:
                    answer = chunk.completion or answer
                    yield chunk
        finally:
            begun.tell(answer)

    async def _stream(self, decision: Decision, asked: Asked) -> AsyncIterator[Chunk]:
        safe = self._core.safe(decision)
        began, started = time.monotonic(), False
        try:
            watched = self._watched(decision, asked.of_candidate() if safe is not None else asked, self._clients)
            async with closing(watched) as pieces:
                async for chunk in pieces:
                    started = True
                    yield chunk
                return
        except ModelError:
            if started or safe is None:
                raise
        async with closing(self._pieces(safe, asked.after(_since(began)), self._clients)) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _watched(self, decision: Decision, asked: Asked, clients: Clients) -> AsyncIterator[Chunk]:
        """Give a model's pieces and record what comes of them, once, however the stream ends."""
        began = time.monotonic()
        first: float | None = None
        completion: Completion | None = None
        error: ModelError | None = None
        try:
            async with closing(self._pieces(decision, asked, clients)) as pieces:
                async for chunk in pieces:
                    if first is None and (chunk.text or chunk.tool_calls):
                        first = _since(began)
                    completion = chunk.completion or completion
                    yield chunk
            if completion is None:
                raise ModelError("malformed", f"the stream of {decision.model} broke off")  # noqa: TRY301 (recorded below)
        except ModelError as caught:
            error = caught
            raise
        finally:
            if completion is not None:
                self.record(decision, asked, completion)
            elif error is not None:
                self._core.observe(
                    decision, error_class=error.error_class, latency_s=_since(began), first_token_s=first
                )
            else:
                self._core.observe(decision, abandoned=True, first_token_s=first)

    async def _pieces(self, decision: Decision, asked: Asked, clients: Clients) -> AsyncIterator[Chunk]:
        try:
            async with closing(clients.client_for(decision.model).stream(asked.of(decision))) as pieces:
                source = aiter(pieces)
                async with asyncio.timeout(asked.limit_s):
                    chunk = await anext(source, None)
                while chunk is not None:
                    yield chunk
                    chunk = await anext(source, None)
        except ModelError:
            raise
        except Exception as error:
            raise _broken(decision.model, error) from error

    async def close(self) -> None:
        """Close the connections that were opened on this event loop; the clients may be used again."""
        for clients in (self._clients_beside, self._clients):
            try:
                await clients.close()
            except Exception:  # noqa: BLE001 (a router must close; it is logged)
                _log.exception("a client could not be closed")


@asynccontextmanager
async def closing(pieces: AsyncIterator[Chunk]) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Close a stream when it is left, where it can be closed: that ends the call behind it."""
    try:
        yield pieces
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _since(began: float) -> float:
    return time.monotonic() - began


def _broken(model: str, error: Exception) -> ModelError:
    if isinstance(error, TimeoutError):
        return ModelError("timeout", f"{model} did not answer in time")
    return ModelError("unknown", f"the client of {model} failed: {type(error).__name__}")
