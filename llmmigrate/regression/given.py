"""What a model gave, as assertions see it, what they may ask of others, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmmigrate.models import Completion, ToolCall
from llmmigrate.verdict import Answer as Verdict


@dataclass(frozen=True, slots=True)
class Given:
    """What a model gave, as assertions see it; None is what nobody knows.

    `finish_reason` is OpenAI's word; `refusal` the provider's own signal; `tokens` those of the answer without
    reasoning.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    refusal: str | None = None
    tokens: int | None = None
    latency_s: float | None = None
    cost_usd: float | None = None

    @classmethod
    def of(cls, completion: Completion) -> Given:
        """Take over a client's answer; usage of nothing at all is taken as unknown."""
        usage = completion.usage
        return cls(
            text=completion.text,
            tool_calls=completion.tool_calls,
            finish_reason=completion.finish_reason,
            refusal=completion.refusal,
            tokens=usage.completion_tokens - usage.reasoning_tokens if usage.total_tokens else None,
            latency_s=completion.latency_s,
            cost_usd=completion.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class Hooks:
    """What assertions ask of others, and what they may do.

    `language` names the language of a text (ISO 639-1); None, or a word that is no code, where it cannot tell.
    `declined` tells whether an answer declines, None where it cannot tell. `python` allows functions of the project to
    be imported and called.
    """

    language: Callable[[str], str | None] | None = None
    declined: Callable[[Given], bool | None] | None = None
    python: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one assertion, its kind, and one sentence: what was expected, and what came."""

    verdict: Verdict
    kind: str
    sentence: str
    label: str | None = None


Tools = Sequence[Mapping[str, Any]]
"""The tools that a request offers, OpenAI-shaped."""

NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class Scene:
    """An answer, and what there is to judge it by."""

    given: Given
    tools: Tools = ()
    hooks: Hooks = NO_HOOKS
