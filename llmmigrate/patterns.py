"""Regular expressions held against texts of models: bounded in time, since a pattern may take years on some texts.

The standard library's `re` cannot be stopped from outside. `regex` (PyPI, by M. Barnett) reads the same patterns,
avoids most of what explodes, and gives up after a time: an assertion that met the limit is undecided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

LIMIT_S = 0.5
"""Time that all searches of one assertion may take together."""

MAX_PATTERN = 2000
"""Characters of a pattern."""


_left: ContextVar[list[float] | None] = ContextVar("_left", default=None)


class Undecided(Exception):
    """Say why an assertion cannot be evaluated."""


def readable_pattern(pattern: str) -> str:
    """Return a pattern that compiles; raises ValueError with the reason and the place in the pattern."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN:,} characters")
    try:
        _searching(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return pattern


@contextmanager
def one_limit(limit_s: float | None = None) -> Iterator[None]:
    """Let all searches inside share one limit of time: so many seconds, by default `LIMIT_S`."""
    token = _left.set([LIMIT_S if limit_s is None else limit_s])
    try:
        yield
    finally:
        _left.reset(token)


def found(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found anywhere in a text; raises Undecided where the limit of time is met."""
    left = _left.get() or [LIMIT_S]
    began = time.monotonic()
    try:
        return _searching(pattern)(text, timeout=max(left[0], 1e-6)) is not None
    except TimeoutError:
        raise Undecided(f"the pattern {pattern[:60]!r} takes longer than {LIMIT_S:g} s on this answer") from None
    except (regex.error, OverflowError, RecursionError) as error:
        raise Undecided(f"the pattern is no regular expression: {error}") from error
    finally:
        left[0] -= time.monotonic() - began


@lru_cache(maxsize=512)
def _searching(pattern: str) -> Callable[..., Any]:
    search: Callable[..., Any] = regex.compile(pattern).search
    return search
