"""Every other provider, through LiteLLM's `acompletion`; imported by the first call, which takes some 3 s.

That time is in no latency and no timeout: they are about the provider.

What was sent is seen through `logger_fn`, LiteLLM's own hook of one call (docs.litellm.ai, "local debugging"): it is
given the body as the provider gets it, before the call, without touching the callbacks of the process. It is held
against what was asked (`sent`), so that what LiteLLM drops or rewrites is said in `Completion.dropped`. LiteLLM's
retries are off: tries are ours, by what the provider says.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from copy import deepcopy
from typing import Any

import orjson

from llmmigrate.exceptions import ModelError
from llmmigrate.models import errors
from llmmigrate.models.assembly import Assembly, whole
from llmmigrate.models.base import ChatRequest, Chunk, Completion, ModelClient
from llmmigrate.models.endings import Ending, ending_of
from llmmigrate.models.providers import OPTIONS_OF_CLIENTS
from llmmigrate.models.retry import Budget, with_retries
from llmmigrate.models.sent import changes
from llmmigrate.models.sent_messages import message_changes
from llmmigrate.models.tools import dialect_of, to_provider

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
            return whole(
                answer.model_dump(),
                request.model,
                latency_s=latency_s,
                attempts=attempts,
                dropped=call.dropped(),
                ending=call.ending,
            )
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
                    raise _classed(request.model, error, call.failure) from error
                chunk = assembly.add(piece.model_dump(), time.monotonic())
                if chunk is not None:
                    yield chunk
            if call.was_cut(answer):
                assembly.finish_reason = None
            last = assembly.last(time.monotonic(), attempts=attempts, dropped=call.dropped(), ending=call.ending)
        except ModelError as error:
            error.attempts, error.latency_s = attempts, time.monotonic() - started
            raise
        finally:
            call.release()
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
    """One request as LiteLLM takes it, the body that it made of it, and how the provider ended its answer."""

    def __init__(self, litellm: Any, request: ChatRequest, *, stream: bool = False) -> None:
        self._litellm = litellm
        self._request = request
        asked = request.asked()
        self._asked = {name: value for name, value in asked.items() if name not in OPTIONS_OF_CLIENTS}
        self._refused = tuple(f"{name}: not sent" for name in asked if name in OPTIONS_OF_CLIENTS)
        try:
            tools = to_provider(self._asked.get("tools") or (), dialect_of(request.model))
        except TypeError as error:
            raise ModelError("bad_request", f"{request.model} cannot be asked this: its tools are not JSON") from error
        if tools.tools:
            self._asked["tools"] = tools.tools
        self._tools = tools
        self._stream = stream
        self._events: Any = None
        self._sent: Mapping[str, Any] | None = None
        self.ending: Ending | None = None
        self.failure: Mapping[str, Any] | None = None

    async def make(self, left_s: float) -> Any:
        options: dict[str, Any] = {
            **deepcopy(self._asked),  # LiteLLM writes into the tools that it is given
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
        messages = [_without_nothing(deepcopy(dict(message))) for message in self._request.sent_messages()]
        try:
            async with asyncio.timeout(left_s):
                answer = await self._litellm.acompletion(model=self._request.model, messages=messages, **options)
                if self._stream:
                    await self._begin(answer)
                return answer
        except Exception as error:
            raise errors.explained(_classed(self._request.model, error), self._tools.unsupported) from error

    async def _begin(self, answer: Any) -> None:
        """Send a stream's request now, where LiteLLM would with the first piece, and read its events before it does.

        A failure is then one of this try. LiteLLM's words for how a stream ended are not the provider's: of Gemini's
        pieces it says for each that it is the last.
        """
        if getattr(answer, "completion_stream", self) is None and hasattr(answer, "fetch_stream"):
            await answer.fetch_stream()
        events = getattr(answer, "completion_stream", None)
        parse = getattr(events, "chunk_parser", None)
        if parse is None:
            return

        def parsed(*args: Any, **named: Any) -> Any:
            event = next(iter((*args, *named.values())), None)
            self.ending = ending_of(event) or self.ending
            if isinstance(event, Mapping) and event.get("error"):
                self.failure = dict(event)
            return parse(*args, **named)

        events.chunk_parser = parsed  # type: ignore[union-attr]
        self._events = events

    def release(self) -> None:
        """Let go of a stream: LiteLLM closes Anthropic's connection only when nobody holds it any more."""
        if self._events is not None:
            vars(self._events).pop("chunk_parser", None)
            self._events = None

    def was_cut(self, answer: Any) -> bool:
        """Tell whether a stream ended before its provider ended it: LiteLLM ends it as if it had stopped."""
        if self.ending is not None or getattr(answer, "received_finish_reason", "unknown") is not None:
            return False
        return self._events is not None or getattr(answer, "intermittent_finish_reason", None) is None

    def dropped(self) -> tuple[str, ...]:
        if self._sent is None:
            return (*self._refused, "all: what LiteLLM sent could not be seen")
        asked = {name: value for name, value in self._asked.items() if not name.startswith(_OF_ACCESS)}
        messages = message_changes(self._request.sent_messages(), self._sent)
        return (*self._refused, *self._tools.changed, *changes(asked, self._sent), *messages)

    def _see(self, details: Mapping[str, Any]) -> None:
        if details.get("log_event_type") == "post_api_call":
            self.ending = ending_of(details.get("original_response"))
            return
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


def _without_nothing(message: dict[str, Any]) -> dict[str, Any]:
    """Leave out an empty text beside calls of tools: for Anthropic, LiteLLM would write a note into its place."""
    return message | {"content": None} if message.get("tool_calls") and message.get("content") == "" else message


async def _end(answer: Any) -> None:
    close = getattr(answer, "aclose", None) or getattr(getattr(answer, "completion_stream", None), "aclose", None)
    if close is not None:
        await close()


def _classed(model: str, error: Exception, said: Mapping[str, Any] | None = None) -> ModelError:
    """Class what LiteLLM raised, by the provider's own body: LiteLLM changes some statuses (529, 413).

    `said` is the error that came within a stream; without it the body is looked for in LiteLLM's message.
    """
    if isinstance(error, ModelError):
        return error
    kind = type(error).__name__
    if isinstance(error, TimeoutError) or kind == "Timeout":
        return ModelError("timeout", f"{model} did not answer in time", retryable=True)
    if said is not None:
        return errors.from_answer(model, 0, {}, said)
    text = str(error)
    body = _body_in(text)
    if body is None and any(sign in text for sign in _UNREACHED):
        return ModelError("connection", f"{model} cannot be reached: {kind}", retryable=True)
    if body is None and (kind == "APIConnectionError" or any(sign in text for sign in _UNREAD)):
        return ModelError("malformed", f"{model}'s answer could not be read by LiteLLM")
    if body is None:
        words = {"message": text.partition("\n")[0], "code": _OWN[kind]} if kind in _OWN else {}
        body = {"error": {"type": kind, **words}}
    headers = getattr(error, "litellm_response_headers", None) or getattr(error, "headers", None) or {}
    status = int(getattr(error, "status_code", None) or 0)
    return errors.from_answer(model, status, {str(k).lower(): str(v) for k, v in headers.items()}, body)


_UNREACHED = ("Cannot connect", "Connection error", "Server disconnected")
_UNREAD = ("Error converting to valid response block", "Unable to get json response")
_OWN = {
    "UnsupportedParamsError": "unsupported_parameter",
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
    "LiteLLMUnknownProvider": "unknown_provider",
}
"""Errors whose words are LiteLLM's own."""

_LITERAL = re.compile(r"""b'\s*[\[{](?:[^'\\]|\\.)*'|b"\s*[\[{](?:[^"\\]|\\.)*\"""")


def _body_in(text: str) -> dict[str, Any] | None:
    """Return the provider's error body that LiteLLM wrote into its message, None where there is none.

    Of streams it writes the bytes as Python does (`b'{...}'`).
    """
    literal = _LITERAL.search(text)
    if literal is not None:
        try:
            text = ast.literal_eval(literal[0]).decode("utf-8", "replace")
        except (ValueError, SyntaxError):
            return None
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    return found if isinstance(found, dict) and ("error" in found or "message" in found) else None
