"""What kind of value a place of a JSON answer holds, in words for people; every value is of exactly one kind."""

from __future__ import annotations

import re
from typing import Any

from llmmigrate.regression.formats_reading import Written

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_TIME = r"\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_AMOUNT = r"[-+]?\d[\d,.]{0,29}"
_TEXTS = (
    ("a string that says true or false", re.compile(r"true|false", re.IGNORECASE)),
    ("a string that says null or none", re.compile(r"null|none|n/a|nil|undefined", re.IGNORECASE)),
    (
        "a string that is a number",
        re.compile(r"[-+]?(?:\d{1,30}|\d{1,3}(?:,\d{3}){1,8})(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?"),
    ),
    (
        "a string that is a number with its unit",
        re.compile(rf"(?:[$€£¥]|[A-Z]{{3}}) ?{_AMOUNT}|{_AMOUNT} ?(?:[$€£¥%]|[A-Z]{{3}})"),
    ),
    ("a date like 2026-11-28", re.compile(r"\d{4}-\d{2}-\d{2}")),
    ("a time like 2026-11-28T09:30:00Z", re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}T{_TIME}Z")),
    ("a time like 2026-11-28T09:30:00+01:00", re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}T{_TIME}[+-]\d{{2}}:?\d{{2}}")),
    ("a time like 2026-11-28T09:30:00, without a zone", re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}T{_TIME}")),
    ("a time like 2026-11-28 09:30:00", re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}} {_TIME}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?")),
    ("a date like 28/11/2026 or 11/28/2026", re.compile(r"\d{1,2}/\d{1,2}/\d{2,4}")),
    ("a date like 28.11.2026", re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}")),
    ("a date like 28-11-2026", re.compile(r"\d{1,2}-\d{1,2}-\d{4}")),
    ("a date like November 28, 2026", re.compile(rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}")),
    ("a date like 28 November 2026", re.compile(rf"\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}")),
)
_LONGEST = 60


def kind_of(value: Any) -> str:
    """Return the kind of a value: absent places have none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return _number(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return "a whole number"
    text = value.text if isinstance(value, Written) else repr(value)
    if "e" in text.lower():
        return "a number with an exponent"
    decimals = len(text.partition(".")[2])
    if decimals > 3:
        return "a number with many decimals"
    return f"a number with {decimals} decimal{'s' if decimals > 1 else ''}"


def _text(value: str) -> str:
    bare = value.strip()
    if not bare:
        return "an empty string" if not value else "a string of blanks"
    if len(bare) > _LONGEST:
        return "a string"
    return next((name for name, pattern in _TEXTS if pattern.fullmatch(bare)), "a string")
