"""Text of others made visible: what does not print, moves a terminal's cursor or turns the direction of writing."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # controls but tab and line feed: escape sequences, backspaces, bells
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks that turn the direction of writing
    r"|[\u00ad\u200b\u2028\u2029\u2060\ufeff]"  # what has no width, and other ends of lines
    r"|[\ud800-\udfff]"  # halves of surrogate pairs
)


def visible(text: str) -> str:
    r"""Return a text with escapes such as \x1b and \u202e for all that would not be seen; lines and tabs stay."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)
