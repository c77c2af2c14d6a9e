"""A client that gives recorded answers: for demonstrations, tests and replays, without keys or network.

A recording is JSON Lines, one object an answer: `{"prompt": str, "answer": str, "latency_s": float,
"prompt_tokens": int, "completion_tokens": int}`, or `{"prompt": str, "error": CLASS, "latency_s": float}` for a call
that failed. Several lines with one prompt are given in turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from llmmigrate.exceptions import ModelError
from llmmigrate.models.base import ChatRequest, Completion, ModelClient, Usage


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One line of a recording; `error` is a class of ModelError, or None for an answer."""

    prompt: str
    answer: str
    latency_s: float
    prompt_tokens: int
    completion_tokens: int
    error: str | None = None


class RecordedClient(ModelClient):
    """Answer the last user message from a recording, at once, reporting the recorded latency."""

    def __init__(self, answers: Iterable[RecordedAnswer]) -> None:
        self._answers: dict[str, list[RecordedAnswer]] = {}
        for answer in answers:
            self._answers.setdefault(answer.prompt, []).append(answer)
        self._turns = {prompt: count() for prompt, several in self._answers.items() if len(several) > 1}

    @classmethod
    def load(cls, file: Path) -> RecordedClient:
        """Read a recording; ValueError names the line that is not one."""
        answers = []
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        answers.append(_parse(json.loads(line)))
                    except (ValueError, KeyError, TypeError) as error:
                        raise ValueError(f"{file}:{number}: not a recorded answer: {error}") from error
        return cls(answers)

    async def complete(self, request: ChatRequest) -> Completion:
        prompt = next((str(m["content"]) for m in reversed(request.messages) if m.get("role") == "user"), "")
        several = self._answers.get(prompt)
        if several is None:
            raise ModelError("bad_request", "this prompt is not in the recording")
        answer = several[next(self._turns[prompt]) % len(several)] if len(several) > 1 else several[0]
        if answer.error is not None:
            raise ModelError(answer.error, "the recorded call failed", latency_s=answer.latency_s)
        return Completion(
            model=request.model,
            text=answer.answer,
            usage=Usage(answer.prompt_tokens, answer.completion_tokens),
            latency_s=answer.latency_s,
        )


def _parse(data: Mapping[str, Any]) -> RecordedAnswer:
    error = data.get("error")
    return RecordedAnswer(
        prompt=str(data["prompt"]),
        answer=str(data["answer"]) if error is None else "",
        latency_s=float(data["latency_s"]),
        prompt_tokens=int(data["prompt_tokens"]) if error is None else 0,
        completion_tokens=int(data["completion_tokens"]) if error is None else 0,
        error=str(error) if error is not None else None,
    )
