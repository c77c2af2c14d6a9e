"""What form an answer has: JSON, JSON in a fence or in prose, JSON that does not parse, text, or nothing."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

Form = Literal["json", "fenced", "in prose", "invalid", "text", "empty"]

_FENCE = re.compile(r"```[ \t]{0,9}([A-Za-z0-9_+-]{0,20})[ \t]{0,9}\r?\n(.*?)(?:\n[ \t]*```|```|\Z)", re.DOTALL)
_STARTS = re.compile(r"[{\[]")
_TRIES = 5
_LONGEST = 200_000
_CODE = {"", "json", "jsonc", "json5"}


class Written(float):
    """A number as it was written, so that its decimals are known."""

    text: str

    def __new__(cls, text: str) -> Written:
        """Keep the text beside the value."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class Reading(NamedTuple):
    """One answer as it was read: its form, the value where there is one, and what stands around it."""

    form: Form
    value: Any = None
    leading: bool = False
    trailing: bool = False


def read(text: str) -> Reading:
    """Read an answer; an object or a list is JSON, a bare word or number is text.

    Takes the first value of several; never raises. An answer longer than 200,000 characters is text.
    """
    bare = text.strip().removeprefix("\ufeff")
    if not bare:
        return Reading("empty")
    if len(bare) > _LONGEST:
        return Reading("text")
    if bare[0] in "{[":
        found = _first(bare)
        if found is not None:
            value, end = found
            return Reading("json", value, trailing=bool(bare[end:].strip()))
    return _inside(bare)


def _inside(bare: str) -> Reading:
    fence = _FENCE.search(bare)
    if fence is not None and fence[1].lower() in _CODE:
        body = fence[2].strip()
        leading, trailing = bool(bare[: fence.start()].strip()), bool(bare[fence.end() :].strip())
        if body[:1] in ("{", "["):
            found = _first(body)
            if found is None:
                return Reading("invalid", None, leading, trailing)
            return Reading("fenced", found[0], leading, trailing)
    if bare[0] == "{" or bare.startswith(("[{", '["')):
        return Reading("invalid")
    for number, start in enumerate(_STARTS.finditer(bare)):
        if number == _TRIES:
            break
        found = _first(bare[start.start() :])
        if found is not None and _telling(found[0]):
            return Reading("in prose", found[0], leading=True, trailing=bool(bare[start.start() + found[1] :].strip()))
    return Reading("text")


def _telling(value: Any) -> bool:
    """Tell whether a value in prose is meant as one: a footnote such as [1] and a placeholder such as {} are not."""
    return bool(value) and (isinstance(value, dict) or any(isinstance(one, dict) for one in value))


def _first(text: str) -> tuple[Any, int] | None:
    """Return the first JSON value of a text and where it ends; NaN and the like are no JSON (RFC 8259)."""
    try:
        return _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_float=Written, parse_constant=_refuse)
