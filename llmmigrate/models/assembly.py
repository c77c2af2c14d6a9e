"""An answer put together from the pieces of its stream, and usage as OpenAI-shaped answers give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmmigrate.exceptions import ModelError
from llmmigrate.models.base import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from llmmigrate.models.endings import Ending
from llmmigrate.models.pricing import cost_usd


class Assembly:
    """Collect what a stream gives of its one choice; times are monotonic, in seconds."""

    def __init__(self, model: str, started: float) -> None:
        self._model = model
        self._started = started
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.first_token_s: float | None = None

    def add(self, data: Mapping[str, Any], now: float) -> Chunk | None:
        """Take one `chat.completion.chunk`; return what a reader sees of it, None where that is nothing."""
        usage = data.get("usage")
        if isinstance(usage, Mapping):
            self.usage = usage_of(usage)
        choices = data.get("choices") or []
        if not choices:
            return None
        delta = choices[0].get("delta") or {}
        self.finish_reason = choices[0].get("finish_reason") or self.finish_reason
        text = text_of(delta.get("content"))
        if delta.get("refusal"):
            self._refusal.append(str(delta["refusal"]))
        deltas = tuple(_delta(position, call) for position, call in enumerate(delta.get("tool_calls") or []))
        if not text and not deltas:
            return None
        if self.first_token_s is None:
            self.first_token_s = now - self._started
        if text:
            self._text.append(text)
        for piece in deltas:
            parts = self._calls.setdefault(piece.index, ["", "", ""])
            for position, value in enumerate((piece.id, piece.name)):
                parts[position] = parts[position] or value
            parts[2] += piece.arguments
        return Chunk(text=text, tool_calls=deltas)

    def last(self, now: float, *, attempts: int, dropped: tuple[str, ...], ending: Ending | None = None) -> Chunk:
        """Return the last piece, with the whole answer; raises ModelError for a stream that was cut, or holds nothing.

        `ending` is the provider's own, where a translation on the way may have changed it.
        """
        latency_s = now - self._started
        if self.finish_reason is None:
            raise ModelError(
                "malformed", f"{self._model}'s stream ended midway", latency_s=latency_s, attempts=attempts
            )
        completion = _completion(
            self._model,
            "".join(self._text),
            tuple(ToolCall(*parts) for _, parts in sorted(self._calls.items())),
            self.usage,
            finish_reason=self.finish_reason,
            ending=ending,
            refusal="".join(self._refusal) or None,
            latency_s=latency_s,
            first_token_s=self.first_token_s,
            attempts=attempts,
            dropped=dropped,
        )
        return Chunk(finish_reason=completion.finish_reason, usage=completion.usage, completion=completion)


def whole(
    data: Mapping[str, Any],
    model: str,
    *,
    latency_s: float,
    attempts: int,
    dropped: tuple[str, ...],
    ending: Ending | None = None,
) -> Completion:
    """Read a `chat.completion`; raises KeyError, IndexError, TypeError or ValueError where it is not one.

    Raises ModelError where it holds nothing because the provider failed.
    """
    choice = data["choices"][0]
    message = choice["message"]
    counted = data.get("usage")
    return _completion(
        model,
        text_of(message.get("content")),
        tuple(
            ToolCall(
                str(call.get("id") or ""), str(call["function"]["name"]), str(call["function"].get("arguments", ""))
            )
            for call in message.get("tool_calls") or []
        ),
        usage_of(counted) if isinstance(counted, Mapping) else None,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        ending=ending,
        refusal=message.get("refusal"),
        latency_s=latency_s,
        first_token_s=None,
        attempts=attempts,
        dropped=dropped,
    )


def _completion(
    model: str,
    text: str,
    calls: tuple[ToolCall, ...],
    usage: Usage | None,
    *,
    finish_reason: str,
    ending: Ending | None,
    refusal: str | None,
    latency_s: float,
    first_token_s: float | None,
    attempts: int,
    dropped: tuple[str, ...],
) -> Completion:
    """Put an answer together; the provider's own ending decides where it was not a plain stop."""
    if ending is None or ending.finish_reason in {"stop", "tool_calls"}:
        ending = Ending(finish_reason)
    if ending.failure is not None and not text and not calls:
        raise ModelError(
            ending.failure, f"{model} ended with {ending.reason}, and no answer", latency_s=latency_s, attempts=attempts
        )
    return Completion(
        model=model,
        text=text,
        usage=usage or Usage(0, 0),
        latency_s=latency_s,
        finish_reason=ending.finish_reason,
        tool_calls=calls,
        first_token_s=first_token_s,
        attempts=attempts,
        refusal=refusal or ending.refusal,
        dropped=dropped if usage is not None else (*dropped, "usage: not given by the server"),
        cost_usd=cost_usd(model, usage) if usage is not None else None,
    )


def text_of(content: object) -> str:
    """Return the text of a message; some servers (Mistral's reasoning models) answer in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return str(content or "")


def usage_of(data: Mapping[str, Any]) -> Usage:
    """Read OpenAI-shaped usage.

    DeepSeek names cached tokens itself; OpenRouter, LiteLLM and OpenAI's newer models add those written to the cache;
    xAI counts reasoning beside the completion (its total is the sum of all three), and here it is part of it.
    """
    prompt = data.get("prompt_tokens_details") or {}
    completion = data.get("completion_tokens_details") or {}
    kept = prompt.get("cache_creation_token_details") or {}
    asked, told = int(data["prompt_tokens"]), int(data.get("completion_tokens") or 0)
    reasoning = int(completion.get("reasoning_tokens") or 0)
    if reasoning and data.get("total_tokens") == asked + told + reasoning:
        told += reasoning
    return Usage(
        prompt_tokens=asked,
        completion_tokens=told,
        cached_tokens=int(prompt.get("cached_tokens") or data.get("prompt_cache_hit_tokens") or 0),
        reasoning_tokens=reasoning,
        cache_write_tokens=int(data.get("cache_creation_input_tokens") or prompt.get("cache_write_tokens") or 0),
        cache_write_1h_tokens=int(kept.get("ephemeral_1h_input_tokens") or 0),
    )


def _delta(position: int, call: Mapping[str, Any]) -> ToolCallDelta:
    function = call.get("function") or {}
    index = call.get("index")
    return ToolCallDelta(
        index=position if index is None else int(index),
        id=call.get("id") or "",
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
    )
