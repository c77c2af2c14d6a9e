"""What came of one request, as the metrics that it counts for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

ERROR_CLASSES = (
    "rate_limit",
    "overloaded",
    "timeout",
    "connection",
    "context_length",
    "content_filter",
    "auth",
    "bad_request",
    "malformed",
    "schema",
    "tool",
    "unknown",
)
"""How errors are told apart; any other word counts as unknown, so that their number stays small."""

TIMED = frozenset({"latency", "first_token"})
"""The metrics whose whole distribution is kept."""

_LIMITS = {"tokens_per_request": 1e9, "cost_per_request": 1e6, "latency": 1e6, "first_token": 1e6, "cached_tokens": 1e9}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's outcome; None stands for what is not known, and counts for nothing.

    Times are seconds, `cost` is in US dollars. `tools_valid` and `schema_valid` say whether the answer's tool calls and
    its structure were what the request asked for, `refused` whether the model declined, `abandoned` that the user went
    before the answer was whole.
    """

    error_class: str | None = None
    tokens: float | None = None
    cached_tokens: float | None = None
    cost: float | None = None
    latency_s: float | None = None
    first_token_s: float | None = None
    finish_reason: str | None = None
    refused: bool | None = None
    tools_valid: bool | None = None
    schema_valid: bool | None = None
    abandoned: bool = False

    def values(self) -> Iterator[tuple[str, float]]:
        """Yield (metric, value) for all that is known; impossible figures are left out, never guessed.

        A failed request has no tokens and no cost, but the time that it took. `malformed_rate` is the share of answers
        that could not be read, of all that came: a request without any answer, such as a timeout, is none of them.
        """
        failed = self.error_class is not None
        yield "error_rate", float(failed)
        if failed:
            yield f"error:{self.error_class if self.error_class in ERROR_CLASSES else 'unknown'}", 1.0
        figures: tuple[tuple[str, float | None], ...] = (
            ("latency", self.latency_s),
            ("first_token", self.first_token_s),
            ("tokens_per_request", None if failed else self.tokens),
            ("cached_tokens", None if failed else self.cached_tokens),
            ("cost_per_request", None if failed else self.cost),
        )
        for name, figure in figures:
            if figure is not None and _possible(figure, _LIMITS[name]):
                yield name, float(figure)
        if self.abandoned:
            yield "abandoned", 1.0
        elif not failed or self.error_class == "malformed":
            yield "malformed_rate", float(failed)
        if self.finish_reason is not None:
            yield "truncated_rate", float(self.finish_reason == "length")
        answers = (
            ("refusal_rate", self.refused),
            ("tool_call_accuracy", self.tools_valid),
            ("schema_validity", self.schema_valid),
        )
        for name, answer in answers:
            if answer is not None:
                yield name, float(bool(answer))


def _possible(figure: object, limit: float) -> bool:
    return (
        isinstance(figure, (int, float))
        and not isinstance(figure, bool)
        and math.isfinite(figure)
        and 0 <= figure < limit
    )
