"""What came of one request, as the metrics that it counts for."""

from __future__ import annotations

from typing import NamedTuple

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

_MOST_TOKENS, _HIGHEST_COST, _LONGEST_S = 1e9, 1e6, 1e6


class Outcome(NamedTuple):
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

    def values(self) -> list[tuple[str, float]]:
        """Return (metric, value) for all that is known; impossible figures are left out, never guessed.

        A failed request has no tokens and no cost, but the time that it took. `malformed_rate` is the share of answers
        that could not be read, of all that came: a request without any answer, such as a timeout, is none of them.
        """
        found = self._usage() if self.error_class is None else self._failure(self.error_class)
        if self.latency_s is not None and _possible(self.latency_s, _LONGEST_S):
            found.append(("latency", self.latency_s))
        if self.first_token_s is not None and _possible(self.first_token_s, _LONGEST_S):
            found.append(("first_token", self.first_token_s))
        if self.abandoned:
            found.append(("abandoned", 1.0))
        elif self.error_class is None:
            found.append(("malformed_rate", 0.0))
        elif self.error_class == "malformed":
            found.append(("malformed_rate", 1.0))
        if self.finish_reason is not None:
            found.append(("truncated_rate", float(self.finish_reason == "length")))
        for name, answer in (
            ("refusal_rate", self.refused),
            ("tool_call_accuracy", self.tools_valid),
            ("schema_validity", self.schema_valid),
        ):
            if answer is not None:
                found.append((name, 1.0 if answer else 0.0))
        return found

    def _usage(self) -> list[tuple[str, float]]:
        found = [("error_rate", 0.0)]
        if self.tokens is not None and _possible(self.tokens, _MOST_TOKENS):
            found.append(("tokens_per_request", self.tokens))
        if self.cached_tokens is not None and _possible(self.cached_tokens, _MOST_TOKENS):
            found.append(("cached_tokens", self.cached_tokens))
        if self.cost is not None and _possible(self.cost, _HIGHEST_COST):
            found.append(("cost_per_request", self.cost))
        return found

    @staticmethod
    def _failure(error_class: str) -> list[tuple[str, float]]:
        known = error_class if error_class in ERROR_CLASSES else "unknown"
        return [("error_rate", 1.0), (f"error:{known}", 1.0)]


def _possible(figure: object, limit: float) -> bool:
    """Tell whether a figure is a number from 0 to below a limit; one that is not a number is below nothing."""
    return isinstance(figure, (int, float)) and not isinstance(figure, bool) and 0 <= figure < limit
