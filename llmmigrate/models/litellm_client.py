"""Every other provider, through LiteLLM's `acompletion`; imported by the first call, which takes some 3 s.

That time is in no latency and no timeout: they are about the provider.

What was sent is seen through `logger_fn`, LiteLLM's own hook of one call (docs.litellm.ai, "local debugging"): it is
given the body as the provider gets it, before the call, without touching the callbacks of the process. It is held
against what was asked (`sent`), so that what LiteLLM drops or rewrites is said in `Completion.dropped`. LiteLLM's
retries are off: tries are ours, by what the provider says.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from llmmigrate.exceptions import ModelError
from llmmigrate.models import errors
from llmmigrate.models.assembly import Assembly, whole
from llmmigrate.models.base import ChatRequest, Chunk, Completion, ModelClient
from llmmigrate.models.providers import OPTIONS_OF_CLIENTS
from llmmigrate.models.retry import Budget, with_retries
from llmmigrate.models.sent import changes

_LOCAL = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS")
"""LiteLLM fetches these from GitHub unless they are set."""

_OF_ACCESS = ("aws_", "vertex_", "azure_", "api_", "extra_", "litellm_", "metadata")
"""Parameters that say how to reach a model, not what to ask it."""


class LiteLLMClient(ModelClient):
    """Call any provider that LiteLLM knows; its keys are read from the environment, by LiteLLM's names."""

    def __init__(self, *, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._litellm: Any = None

    async def complete(self, request: ChatRequest) -> Completion:
        call = _Call(await self._loaded(), request)
        started = time.monotonic()
        answer, attempts = await with_retries(
            call.make, self._budget, timeout_s=request.timeout_s, longest_wait_s=request.longest_wait_s
        )
        latency_s = time.monotonic() - started
        try:
            data = answer.model_dump()
            return whole(data, request.model, latency_s=latency_s, attempts=attempts, dropped=call.dropped())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                "malformed", f"{request.model}'s answer is no chat completion", latency_s=latency_s, attempts=attempts
            ) from error

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Give the answer in pieces; tries again only before the first. An abandoned stream is closed."""
        call = _Call(await self._loaded(), request, stream=True)
        started = time.monotonic()
        total_s = self._budget.total_s if request.timeout_s is None else min(self._budget.total_s, request.timeout_s)
        answer, attempts = await with_retries(
            call.make, self._budget, timeout_s=request.timeout_s, longest_wait_s=request.longest_wait_s
        )
        assembly = Assembly(request.model, started)
        pieces = aiter(answer)
        try:
            while True:
                try:
                    left_s = max(0.0, started + total_s - time.monotonic())
                    piece = await asyncio.wait_for(anext(pieces), left_s)
                except StopAsyncIteration:
                    break
                except Exception as error:
                    raise _classed(request.model, error) from error
                chunk = assembly.add(piece.model_dump(), time.monotonic())
                if chunk is not None:
                    yield chunk
            if getattr(answer, "received_finish_reason", "unknown") is None:
                assembly.finish_reason = None  # LiteLLM ends a stream that was cut as if it had stopped
            last = assembly.last(time.monotonic(), attempts=attempts, dropped=call.dropped())
        except ModelError as error:
            error.attempts, error.latency_s = attempts, time.monotonic() - started
            raise
        finally:
            await _end(answer)
        yield last

    async def close(self) -> None:
        """Close the connections that LiteLLM holds for this process, if this client called it."""
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()

    async def _loaded(self) -> Any:
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_load)
        return self._litellm


class _Call:
    """One request as LiteLLM takes it, and the body that it made of it."""

    def __init__(self, litellm: Any, request: ChatRequest, *, stream: bool = False) -> None:
        self._litellm = litellm
        self._request = request
        asked = request.asked()
        self._asked = {name: value for name, value in asked.items() if name not in OPTIONS_OF_CLIENTS}
        self._refused = tuple(f"{name}: not sent" for name in asked if name in OPTIONS_OF_CLIENTS)
        self._stream = stream
        self._sent: Mapping[str, Any] | None = None

    async def make(self, left_s: float) -> Any:
        options: dict[str, Any] = {
            **self._asked,
            "drop_params": False,
            "num_retries": 0,
            "max_retries": 0,
            "timeout": max(left_s, 0.001),
            "logger_fn": self._see,
            # without this, a call with tools imports the proxy's MCP gateway, which needs packages of `litellm[proxy]`
            "_skip_mcp_handler": True,
        }
        if self._stream:
            options |= {"stream": True, "stream_options": {"include_usage": True}}
        if self._request.api_base is not None:
            options["api_base"] = self._request.api_base
        messages = [dict(message) for message in self._request.sent_messages()]
        try:
            async with asyncio.timeout(left_s):
                return await self._litellm.acompletion(model=self._request.model, messages=messages, **options)
        except Exception as error:
            raise _classed(self._request.model, error) from error

    def dropped(self) -> tuple[str, ...]:
        if self._sent is None:
            return (*self._refused, "all: what LiteLLM sent could not be seen")
        asked = {name: value for name, value in self._asked.items() if not name.startswith(_OF_ACCESS)}
        return self._refused + changes(asked, self._sent)

    def _see(self, details: Mapping[str, Any]) -> None:
        body = (details.get("additional_args") or {}).get("complete_input_dict")
        if isinstance(body, (str, bytes)):
            try:
                body = orjson.loads(body)
            except orjson.JSONDecodeError:
                return
        if isinstance(body, Mapping):
            self._sent = dict(body)


def _load() -> Any:
    for variable in _LOCAL:
        os.environ.setdefault(variable, "True")
    import litellm

    litellm.suppress_debug_info = True  # it prints to the terminal
    litellm.telemetry = False
    return litellm


async def _end(answer: Any) -> None:
    close = getattr(answer, "aclose", None) or getattr(getattr(answer, "completion_stream", None), "aclose", None)
    if close is not None:
        await close()


def _classed(model: str, error: Exception) -> ModelError:
    """Class what LiteLLM raised, by the provider's body within its message: it changes some statuses (529, 413)."""
    if isinstance(error, ModelError):
        return error
    kind = type(error).__name__
    if isinstance(error, TimeoutError) or kind == "Timeout":
        return ModelError("timeout", f"{model} did not answer in time", retryable=True)
    text = str(error)
    body = _body_in(text)
    if body is None and any(sign in text for sign in _UNREACHED):
        return ModelError("connection", f"{model} cannot be reached: {kind}", retryable=True)
    if body is None and kind == "APIConnectionError":
        return ModelError("malformed", f"{model}'s answer could not be read by LiteLLM")
    if body is None:
        words = {"message": text.partition("\n")[0], "code": _OWN[kind]} if kind in _OWN else {}
        body = {"error": {"type": kind, **words}}
    headers = getattr(error, "litellm_response_headers", None) or {}
    status = int(getattr(error, "status_code", None) or 0)
    return errors.from_answer(model, status, {str(k).lower(): str(v) for k, v in headers.items()}, body)


_UNREACHED = ("Cannot connect", "Connection error", "Server disconnected")
_OWN = {
    "UnsupportedParamsError": "unsupported_parameter",
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
    "LiteLLMUnknownProvider": "unknown_provider",
}
"""Errors whose words are LiteLLM's own."""


def _body_in(text: str) -> dict[str, Any] | None:
    """Return the provider's error body that LiteLLM wrote into its message, None where there is none."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    return found if isinstance(found, dict) and ("error" in found or "message" in found) else None
