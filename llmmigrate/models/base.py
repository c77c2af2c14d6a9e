"""The boundary to models: one small base class, what it is asked, and what it answers.

Shapes are OpenAI's chat completions, the field's common tongue; a client translates where its provider speaks another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYSTEM_ROLES = ("system", "developer")
_MAX_TOKENS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def longest_answer(params: Mapping[str, Any]) -> int | None:
    """Return the most tokens that an answer may have by its parameters, None where they do not say."""
    given = (params.get(name) for name in _MAX_TOKENS)
    return next((one for one in given if isinstance(one, int) and not isinstance(one, bool) and one > 0), None)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider counted them.

    `cached_tokens` (read from the provider's prompt cache) and `cache_write_tokens` (written to it) are part of
    `prompt_tokens`; `cache_write_1h_tokens` (kept for an hour: Anthropic) are part of those written, `reasoning_tokens`
    of `completion_tokens`.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is the text it wrote, JSON or not."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call in a stream: pieces with one `index` are one call, and their texts are joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call: OpenAI-shaped messages for a LiteLLM model string, with the parameters that move with it.

    `system` takes the place of the leading system messages. `api_base` is the address of the server where it is not the
    provider's own. `timeout_s` bounds the whole call, retries included; None leaves it to the client. A provider that
    names a wait longer than `longest_wait_s` is not waited for: the call fails at once.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    system: str | None = None
    api_base: str | None = None
    timeout_s: float | None = None
    longest_wait_s: float | None = None

    def sent_messages(self) -> list[Mapping[str, Any]]:
        """Return the messages with `system` in its place."""
        if self.system is None:
            return list(self.messages)
        lead = next((i for i, m in enumerate(self.messages) if m.get("role") not in SYSTEM_ROLES), len(self.messages))
        return [{"role": "system", "content": self.system}, *self.messages[lead:]]

    def asked(self) -> dict[str, Any]:
        """Return all that is asked beside model and messages, by its OpenAI name; what is not set is absent."""
        beside = {
            "tools": list(self.tools) or None,
            "tool_choice": self.tool_choice,
            "response_format": self.response_format,
        }
        return {**self.params, **{name: value for name, value in beside.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    `latency_s` is the whole call as the client measured it, retries and their waits included; `first_token_s` the time
    to the first text or tool call of a stream. `attempts` counts the tries that this answer took. `refusal` is the
    provider's own signal that the model declined. `dropped` names what was asked and was not sent, or was rewritten or
    added on the way. `cost_usd` is None where a price is not known.
    """

    model: str
    text: str
    usage: Usage
    latency_s: float
    finish_reason: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    first_token_s: float | None = None
    attempts: int = 1
    refusal: str | None = None
    dropped: tuple[str, ...] = ()
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer as it comes: text, pieces of tool calls.

    The last chunk has the finish reason, the usage, and the whole answer as `completion`.
    """

    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    completion: Completion | None = None


class ModelClient(ABC):
    """Call models. A client may be used by many calls at once on one event loop at a time; after `close`, anew."""

    @abstractmethod
    async def complete(self, request: ChatRequest) -> Completion:
        """Return the model's answer; raises ModelError, and nothing else, where the call fails."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Give the answer in pieces; whoever stops early closes the iterator (`aclosing`), which ends the call.

        Raises ModelError, and nothing else, also midway. A client that cannot stream gives one piece.
        """
        completion = await self.complete(request)
        yield Chunk(
            text=completion.text,
            tool_calls=tuple(
                ToolCallDelta(index, call.id, call.name, call.arguments)
                for index, call in enumerate(completion.tool_calls)
            ),
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            completion=completion,
        )

    async def close(self) -> None:  # noqa: B027 (a client without connections has nothing to close)
        """Close the connections that were opened on this event loop."""
