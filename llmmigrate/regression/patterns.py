"""Regular expressions held against texts of models: bounded in time, since a pattern may take years on some texts.

The standard library's `re` cannot be stopped from outside. `regex` (PyPI, by M. Barnett) reads the same patterns,
avoids most of what explodes, and gives up after a time: an assertion that met the limit is undecided.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

LIMIT_S = 0.5
"""Time that one search may take."""

MAX_PATTERN = 2000
"""Characters of a pattern."""


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


def found(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found anywhere in a text; raises Undecided where it takes longer than the limit."""
    try:
        return _searching(pattern)(text, timeout=LIMIT_S) is not None
    except TimeoutError:
        raise Undecided(f"the pattern took longer than {LIMIT_S:g} s on this text") from None
    except (regex.error, OverflowError, RecursionError) as error:
        raise Undecided(f"the pattern is no regular expression: {error}") from error


@lru_cache(maxsize=512)
def _searching(pattern: str) -> Callable[..., Any]:
    search: Callable[..., Any] = regex.compile(pattern).search
    return search
