"""What the model behind the servers answers; each provider says it in its own form."""

from __future__ import annotations

import re
from dataclasses import dataclass

ANSWER = "Paris is the capital of France."


@dataclass(frozen=True)
class Model:
    """One answer, the same at each provider.

    `finish` is the provider's own word for why the answer ended, where that is not the usual one; `refusal` what the
    model says when it declines; `blocked` why a prompt was not answered at all (Gemini). Cached and written tokens are
    part of `prompt`, reasoning tokens of `completion`.
    """

    text: str = ANSWER
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    finish: str | None = None
    refusal: str | None = None
    blocked: str | None = None
    prompt: int = 12
    completion: int = 7
    cached: int = 4
    written: int = 0
    written_1h: int = 0
    reasoning: int = 2

    @property
    def words(self) -> list[str]:
        return re.findall(r"\S+\s*", self.text)
