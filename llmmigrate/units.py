"""Amounts with their unit, as a reviewer writes them: `5%`, `5pp`, `200ms`, `6h`, `6h..48h`, `$500`, `$50/day`.

Every parser raises ValueError with a sentence that says what would be right. A bare number is refused where its unit
would have to be guessed.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

AmountUnit = Literal["%", "pp", "s", "$"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PER = {"hour": 3600.0, "day": 86400.0, "week": 604800.0, "month": 30 * 86400.0}
_NUMBER = r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,12})?)"
_AMOUNT = re.compile(_NUMBER + r" ?(?P<unit>%|pp|ms|s|m|h|d|w)")
_MONEY = re.compile(r"\$ ?" + _NUMBER)
_NEGATIVE = re.compile(r"(?:\$ ?-|- ?\$?) ?[0-9.]")


class Amount(NamedTuple):
    """A number and its unit: `%` and `pp` as fractions (5% is 0.05), times in seconds, money in US dollars."""

    value: float
    unit: AmountUnit

    def __str__(self) -> str:
        if self.unit == "s":
            return f"{self.value * 1000:.6g}ms" if self.value < 1 else f"{self.value:.6g}s"
        if self.unit == "$":
            return f"${self.value:.6g}"
        return f"{self.value * 100:.6g}{self.unit}"


class HoldRange(NamedTuple):
    """How long a canary step lasts, in seconds: it may be left from `minimum` on and asks a person at `maximum`."""

    minimum: float
    maximum: float


def _split(value: object, expected: str) -> tuple[float, str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected {expected}")
    text = str(value).strip()
    money = _MONEY.fullmatch(text)
    if money is not None:
        return float(money["number"]), "$"
    match = _AMOUNT.fullmatch(text)
    if _NEGATIVE.match(text):
        raise ValueError(f"{shown(value)} is below zero; write {expected}")
    if match is None and text.startswith("$"):
        raise ValueError(f"{shown(value)} is no amount of money; write {expected}")
    if match is None:
        raise ValueError(f"{shown(value)} has no unit that fits here; write {expected}")
    return float(match["number"]), match["unit"]


def shown(value: object) -> str:
    """Repeat a value that somebody wrote, in a message: quoted, and never more than a few words of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}...{text[0]}"


def parse_share(value: object) -> float:
    """Read a percentage between 0% and 100% as a fraction."""
    number, unit = _split(value, "a percentage such as 5%")
    if unit != "%":
        raise ValueError(f"{shown(value)} is not a percentage; write it such as 5%")
    if number > 100:
        raise ValueError(f"{shown(value)} is more than 100%")
    return number / 100


def parse_amount(value: object) -> Amount:
    """Read an amount of any kind: a percentage, percentage points, a time or money."""
    number, unit = _split(value, "an amount with its unit, such as 5%, 5pp, 200ms or $0.02")
    if unit in ("%", "pp"):
        return Amount(number / 100, "pp" if unit == "pp" else "%")
    if unit == "$":
        return Amount(number, "$")
    return Amount(number * _SECONDS[unit], "s")


def parse_duration(value: object) -> float:
    """Read a duration (`200ms`, `90s`, `30m`, `6h`, `14d`, `2w`) as seconds."""
    number, unit = _split(value, "a duration such as 6h or 14d")
    if unit not in _SECONDS:
        raise ValueError(f"{shown(value)} is not a duration; write it such as 6h or 14d")
    return number * _SECONDS[unit]


def parse_hold(value: object) -> HoldRange:
    """Read `6h..48h`, or `6h`, which asks a person after eight times as long."""
    low, dots, high = str(value).partition("..")
    minimum = parse_duration(low)
    maximum = parse_duration(high) if dots else 8 * minimum
    if maximum < minimum:
        raise ValueError(f"{shown(value)}: the longest hold is shorter than the shortest")
    return HoldRange(minimum, maximum)


def parse_money(value: object) -> float:
    """Read an amount of money such as `$500` in US dollars."""
    number, unit = _split(value, "an amount of money such as $500")
    if unit != "$":
        raise ValueError(f"{shown(value)} is not an amount of money; write it such as $500")
    return number


def parse_spending(value: object) -> float:
    """Read a rate of spending such as `$50/day` in US dollars a second."""
    amount, slash, per = str(value).partition("/")
    if not slash or per.strip() not in _PER:
        raise ValueError(f"{shown(value)} is not a rate of spending; write it such as $50/day")
    return parse_money(amount) / _PER[per.strip()]


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
