"""Amounts with their unit, as a reviewer writes them: `5%`, `5pp`, `6h`, `6h..48h`.

Every parser raises ValueError with a sentence that says what would be right. A bare number is refused where its unit
would have to be guessed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AMOUNT = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>%|pp|ms|s|m|h|d|w)")


class HoldRange(NamedTuple):
    """How long a canary step lasts, in seconds: it may be left from `minimum` on and asks a person at `maximum`."""

    minimum: float
    maximum: float


def _split(value: object, expected: str) -> tuple[float, str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected {expected}")
    match = _AMOUNT.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} has no unit that fits here; write {expected}")
    return float(match["number"]), match["unit"]


def parse_share(value: object) -> float:
    """Read a percentage between 0% and 100% as a fraction."""
    number, unit = _split(value, "a percentage such as 5%")
    if unit != "%":
        raise ValueError(f"{value!r} is not a percentage; write it such as 5%")
    if number > 100:
        raise ValueError(f"{value!r} is more than 100%")
    return number / 100


def parse_increase(value: object) -> float:
    """Read a relative change such as 20% as a fraction; it may be more than 100%."""
    number, unit = _split(value, "a relative change such as 20%")
    if unit != "%":
        raise ValueError(f"{value!r} is not a relative change; write it such as 20%")
    return number / 100


def parse_duration(value: object) -> float:
    """Read a duration (`90s`, `30m`, `6h`, `14d`, `2w`) as seconds."""
    number, unit = _split(value, "a duration such as 6h or 14d")
    if unit not in _SECONDS:
        raise ValueError(f"{value!r} is not a duration; write it such as 6h or 14d")
    return number * _SECONDS[unit]


def parse_hold(value: object) -> HoldRange:
    """Read `6h..48h`, or `6h`, which asks a person after eight times as long."""
    low, dots, high = str(value).partition("..")
    minimum = parse_duration(low)
    maximum = parse_duration(high) if dots else 8 * minimum
    if maximum < minimum:
        raise ValueError(f"{value!r}: the longest hold is shorter than the shortest")
    return HoldRange(minimum, maximum)


def format_share(fraction: float) -> str:
    """Write a fraction as a percentage with no more digits than it has."""
    return f"{fraction * 100:.6g}%"


def format_duration(seconds: float) -> str:
    """Write seconds for people, in at most two units: `2 d 4 h`, `51 m`, `12 s`."""
    rest = max(0, round(seconds))
    parts = []
    for size, name in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
