"""The direct client for servers that speak OpenAI's chat completions: aiohttp and orjson, 0.1 ms a call.

Connections are pooled per event loop and model, so that calls to a model that hangs take none of another's, with
TCP_NODELAY as aiohttp sets it on every one; redirects are not followed, so that a key goes nowhere but to the address
that was configured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import orjson

from llmmigrate.exceptions import ModelError
from llmmigrate.models import errors
from llmmigrate.models.assembly import Assembly, whole
from llmmigrate.models.base import ChatRequest, Chunk, Completion, ModelClient
from llmmigrate.models.providers import Call, prepare
from llmmigrate.models.retry import Budget, with_retries
from llmmigrate.models.sse import EventReader

CONNECT_S = 5.0
CONNECTIONS = 200
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""No answer is longer: a million tokens are some 4 MB."""


class OpenAICompatibleClient(ModelClient):
    """Call an OpenAI-compatible server; which one, `providers` says. Each event loop and model has its own pool."""

    def __init__(
        self, *, budget: Budget | None = None, connect_s: float = CONNECT_S, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._budget = budget or Budget()
        self._connect_s = connect_s
        self._max_bytes = max_answer_bytes
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, aiohttp.ClientSession]]
        self._sessions = WeakKeyDictionary()

    async def complete(self, request: ChatRequest) -> Completion:
        started = time.monotonic()
        call = prepare(request, stream=False)

        async def attempt(left_s: float) -> dict[str, Any]:
            answer = await self._open(call, request.model, left_s)
            try:
                return _parsed(request.model, await self._body(answer, request.model))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _broken(request.model, error) from error
            finally:
                answer.close() if not answer.content.is_eof() else answer.release()

        data, attempts = await with_retries(
            attempt, self._budget, timeout_s=request.timeout_s, longest_wait_s=request.longest_wait_s
        )
        latency_s = time.monotonic() - started
        try:
            return whole(data, request.model, latency_s=latency_s, attempts=attempts, dropped=call.dropped)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                "malformed", f"{request.model}'s answer is no chat completion", latency_s=latency_s, attempts=attempts
            ) from error

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Give the answer in pieces; tries again only before the first. An abandoned stream closes its connection."""
        started = time.monotonic()
        call = prepare(request, stream=True)
        answer, attempts = await with_retries(
            lambda left_s: self._open(call, request.model, left_s),
            self._budget,
            timeout_s=request.timeout_s,
            longest_wait_s=request.longest_wait_s,
        )
        assembly = Assembly(request.model, started)
        try:
            async for data in self._events(answer, request.model):
                chunk = assembly.add(data, time.monotonic())
                if chunk is not None:
                    yield chunk
            last = assembly.last(time.monotonic(), attempts=attempts, dropped=call.dropped)
        except ModelError as error:
            error.attempts, error.latency_s = attempts, time.monotonic() - started
            raise
        finally:
            answer.close()
        yield last

    async def close(self) -> None:
        for session in self._sessions.pop(asyncio.get_running_loop(), {}).values():
            await session.close()

    def _session(self, model: str) -> aiohttp.ClientSession:
        sessions = self._sessions.setdefault(asyncio.get_running_loop(), {})
        session = sessions.get(model)
        if session is None or session.closed:
            session = sessions[model] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
            )
        return session

    async def _open(self, call: Call, model: str, left_s: float) -> aiohttp.ClientResponse:
        """Send the call; return the answer once its head is there and says 200. The time covers the body too."""
        timeout = aiohttp.ClientTimeout(total=max(left_s, 0.001), sock_connect=self._connect_s)
        try:
            answer = await self._session(model).post(
                call.url,
                data=orjson.dumps(call.body, default=dict),
                headers=call.headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError) as error:
            raise _broken(model, error) from error
        if answer.status == 200:
            return answer
        try:
            body = await self._body(answer, model)
        except (aiohttp.ClientError, TimeoutError, OSError):
            body = b""
        finally:
            answer.close()
        said = {name.lower(): value for name, value in answer.headers.items()}
        raise errors.explained(errors.from_answer(model, answer.status, said, body), call.unsupported)

    async def _body(self, answer: aiohttp.ClientResponse, model: str) -> bytes:
        parts = []
        size = 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > self._max_bytes:
                answer.close()
                raise ModelError("malformed", f"{model}'s answer is longer than {self._max_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    async def _events(self, answer: aiohttp.ClientResponse, model: str) -> AsyncIterator[dict[str, Any]]:
        """Read the stream's events up to `[DONE]` or its end."""
        reader = EventReader()
        size = 0
        try:
            async for piece in answer.content.iter_any():
                size += len(piece)
                if size > self._max_bytes:
                    raise ModelError("malformed", f"{model}'s answer is longer than {self._max_bytes} bytes")
                for event in reader.feed(piece):
                    if event == b"[DONE]":
                        return
                    yield _parsed(model, event)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _broken(model, error) from error


def _parsed(model: str, body: bytes) -> dict[str, Any]:
    """Read a JSON object; an error in an answer of status 200 (vLLM, llama.cpp, OpenRouter) is raised as one."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ModelError("malformed", f"{model} did not answer in JSON", status=200) from error
    if not isinstance(data, dict):
        raise ModelError("malformed", f"{model} did not answer with a JSON object", status=200)
    if data.get("error"):
        raise errors.from_answer(model, 0, {}, data)
    return data


def _broken(model: str, error: Exception) -> ModelError:
    """Class a failure of the connection; its own words may hold the address, and are left out."""
    if isinstance(error, TimeoutError):
        return ModelError("timeout", f"{model} did not answer in time", retryable=True)
    if isinstance(error, (aiohttp.InvalidURL, ValueError, TypeError)):
        return ModelError("bad_request", f"{model} cannot be asked this: {type(error).__name__}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return ModelError("malformed", f"{model}'s answer ended midway")
    return ModelError("connection", f"{model} cannot be reached: {type(error).__name__}", retryable=True)
