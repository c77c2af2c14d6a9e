"""The boundary to models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider counted them."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call: OpenAI-shaped messages for a model, with the parameters that move with it."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: `latency_s` is the whole call as the client measured it."""

    model: str
    text: str
    usage: Usage
    latency_s: float
    finish_reason: str = "stop"


class ModelClient(ABC):
    """Call models. Implementations are safe to use from several threads."""

    @abstractmethod
    def complete(self, request: ChatRequest) -> Completion:
        """Return the model's answer; raises ModelError, and nothing else, where the call fails."""
