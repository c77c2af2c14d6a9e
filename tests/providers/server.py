"""One server for all providers: it takes requests, fails on demand, and lets a scripted model answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.providers import anthropic, gemini, mistral, openai
from tests.providers.answer import ANSWER, Model

__all__ = ["ANSWER", "Fault", "Model", "Providers", "serving"]


@dataclass
class Fault:
    """What goes wrong with one request: an error answer (`status`), or what `kind` names.

    hang, slow, drop, garbage, huge; in a stream also cut, endless, and broken: `body` as an event within it.
    """

    kind: str = "status"
    status: int = 500
    body: dict[str, Any] | list[Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Providers:
    """All servers in one; `faults` are taken in turn, then each request meets the one in `always`, if any.

    Where nothing fails `model` answers. `requests` are the bodies that came.
    """

    def __init__(self, faults: Sequence[Fault] = (), model: Model | None = None) -> None:
        self.faults = list(faults)
        self.always: Fault | None = None
        self.model = model or Model()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.abandoned = asyncio.Event()
        self.url = ""

    async def openai(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        provider = mistral if "mistral" in body["model"] else openai
        stream = bool(body.get("stream"))
        return await self._answer(request, provider.refusal(body), provider.answered(self.model, body), stream)

    async def anthropic(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        stream = bool(body.get("stream"))
        return await self._answer(
            request,
            anthropic.refusal(body, request.headers.get("anthropic-beta")),
            anthropic.answered(self.model, body),
            stream,
            named=True,
        )

    async def gemini(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        name, _, method = request.match_info["call"].partition(":")
        stream = method == "streamGenerateContent" and request.query.get("alt") == "sse"
        refusal = gemini.refusal(name, body, request.headers.get("x-goog-api-key"))
        return await self._answer(request, refusal, gemini.answered(self.model, name), stream, done=False)

    async def _answer(
        self,
        request: web.Request,
        refusal: dict[str, Any] | None,
        answered: tuple[dict[str, Any], list[dict[str, Any]]],
        stream: bool,
        *,
        named: bool = False,
        done: bool = True,
    ) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else self.always
        if refusal is not None:
            return _error(refusal, 400, {})
        early = await self._fail(request, fault)
        if early is not None:
            return early
        whole, events = answered
        if not stream:
            return web.json_response(whole)
        lines = [json.dumps(event) for event in events] + (["[DONE]"] if done and not named else [])
        return await self._events(request, lines, fault, named=named)

    async def _take(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return body

    async def _fail(self, request: web.Request, fault: Fault | None) -> web.StreamResponse | None:
        if fault is None or fault.kind in {"cut", "endless", "broken"}:
            return None
        if fault.kind == "hang":
            await asyncio.sleep(30)
        if fault.kind == "slow":
            await asyncio.sleep(0.2)
            return None
        if fault.kind == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault.kind == "garbage":
            return web.Response(text="<html>not JSON</html>", content_type="application/json")
        if fault.kind == "huge":
            return web.Response(body=b" " * 200_000, content_type="application/json")
        return _error(fault.body, fault.status, fault.headers)

    async def _events(
        self, request: web.Request, events: list[str], fault: Fault | None, *, named: bool
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        kind = fault.kind if fault is not None else ""
        try:
            for number, event in enumerate(events):
                if kind == "cut" and number == 3:
                    return answer
                if kind == "broken" and number == 3:
                    assert fault is not None
                    name = "event: error\n" if named else ""
                    await answer.write(f"{name}data: {json.dumps(fault.body)}\n\n".encode())
                    return answer
                name = f"event: {json.loads(event)['type']}\n" if named else ""
                await answer.write(f"{name}data: {event}\n\n".encode())
                while kind == "endless" and number == 2:
                    await answer.write(f"{name}data: {event}\n\n".encode())
                    await asyncio.sleep(0.005)
        except ConnectionError:
            self.abandoned.set()
            raise
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        return answer


def _error(body: Any, status: int, headers: dict[str, str]) -> web.Response:
    """Answer with an error, printed over several lines as Google's are."""
    return web.json_response(body, status=status, headers=headers, dumps=lambda data: json.dumps(data, indent=2))


@asynccontextmanager
async def serving(faults: Sequence[Fault] = (), model: Model | None = None) -> AsyncIterator[Providers]:
    """Serve all APIs on a free port of loopback."""
    providers = Providers(faults, model)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", providers.openai)
    app.router.add_post("/openai/v1/chat/completions", providers.openai)  # Azure's
    app.router.add_post("/v1/messages", providers.anthropic)
    app.router.add_post("/models/{call}", providers.gemini)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    providers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield providers
    finally:
        await runner.cleanup()
