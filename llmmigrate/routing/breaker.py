"""A local breaker: after candidate failures in a row this replica serves control, without waiting for anybody."""

from __future__ import annotations

from threading import Lock

FAILURES = 10
"""Candidate failures in a row after which it is left alone: enough for the controller to roll back on them alone."""

REST_S = 30.0
"""How long it is left alone before one request tries it again."""

CALLERS_FAULT = frozenset({"bad_request", "context_length", "content_filter", "schema", "tool"})
"""Error classes that say nothing of whether the model can be reached."""


class Breaker:
    """The breaker of one route under one generation. Methods are safe to use from several threads."""

    def __init__(self, *, failures: int = FAILURES, rest_s: float = REST_S) -> None:
        self._failures = failures
        self._rest_s = rest_s
        self._lock = Lock()
        self._in_a_row = 0
        self._until: float | None = None
        self.opened = 0

    def allows(self, now: float) -> bool:
        """Tell whether the candidate may be called at a monotonic time; after a rest one caller at a time tries it."""
        until = self._until
        if until is None:
            return True
        with self._lock:
            if self._until is None:
                return True
            if now < self._until:
                return False
            self._until = now + self._rest_s
            return True

    @property
    def resting(self) -> bool:
        """Whether the candidate is left alone, but for a request that tries it."""
        return self._until is not None

    def note(self, error_class: str | None, now: float) -> bool:
        """Note what came of a candidate call; True where it opens the breaker."""
        if error_class in CALLERS_FAULT:
            return False
        with self._lock:
            if error_class is None:
                self._in_a_row, self._until = 0, None
                return False
            self._in_a_row += 1
            if self._in_a_row < self._failures:
                return False
            opens = self._until is None
            self._until = now + self._rest_s
            self.opened += opens
            return opens
