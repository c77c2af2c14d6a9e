"""A few words of what a model wrote, fit for a terminal, a log and a report: it is untrusted text."""

from __future__ import annotations

import json

LONGEST = 80
"""Characters of an excerpt, before escapes."""


def excerpt(value: object, longest: int = LONGEST) -> str:
    """Return the beginning of a text in quotes, or of other plain data as JSON, on one line.

    What does not print stands as its escape: control characters, terminal sequences, marks that turn the direction of
    writing, halves of surrogate pairs.
    """
    if isinstance(value, str):
        short = value if len(value) <= longest else f"{value[: longest - 1]}…"
        return _printable(json.dumps(short, ensure_ascii=False))
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        text = type(value).__name__
    return _printable(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _printable(text: str) -> str:
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in text
    )
