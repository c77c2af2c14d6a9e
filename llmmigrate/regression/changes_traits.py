"""Traits of an answer that people notice: how long it is, how it is laid out, how it begins and ends."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from llmmigrate.regression.formats_reading import read
from llmmigrate.regression.language import language_of
from llmmigrate.regression.refusals import Refusal, refusal_of

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BOLD = re.compile(r"\*\*[^*\n]{1,300}\*\*")
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]{0,12}\d{1,3}[.)] ", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]{0,12}[-*+•] ", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]{0,12}\|?[ \t]{0,12}:?-{2,100}:?[ \t]{0,12}\|", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]{0,30}(?:\.\d{1,20})?")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]")
_OPENING_WORDS = 2
_RUN, _TIMES, _PART = 5, 6, 0.2


class Traits(NamedTuple):
    """What was measured of one answer; counts are of the whole answer, signs say whether it has any.

    `opening` is its first two words in lower case, `language` an ISO 639-1 code or `unknown`.
    """

    counts: dict[str, float]
    signs: dict[str, bool]
    opening: str
    language: str
    refusal: Refusal


COUNTS = ("words", "list items", "bold passages", "numbers")
"""What is counted, as said of answers in the plural."""

SIGNS = {
    "numbered list": "have a numbered list",
    "bullets": "have bullets",
    "heading": "have a heading",
    "bold": "have bold text",
    "table": "have a table",
    "fence": "have a code block",
    "json": "are JSON",
    "emoji": "have an emoji",
    "question": "end with a question",
    "exclamation": "open with an exclamation",
    "repeats": "go round in circles (the same five words, over and over)",
    "empty": "are empty",
}
"""Signs, as said of answers in the plural."""


def traits(text: str) -> Traits:
    """Measure one answer; marks inside code blocks are no layout."""
    prose = _FENCE.sub("\n", text)
    numbered, bullets, bold = (len(one.findall(prose)) for one in (_NUMBERED, _BULLET, _BOLD))
    words = text.split()
    counts = {
        "words": float(len(words)),
        "list items": float(numbered + bullets),
        "bold passages": float(bold),
        "numbers": float(len(_NUMBER.findall(_NUMBERED.sub("", prose)))),
    }
    signs = {
        "numbered list": numbered > 1,
        "bullets": bullets > 1,
        "heading": _HEADING.search(prose) is not None,
        "bold": bold > 0,
        "table": _TABLE.search(prose) is not None,
        "fence": "```" in text,
        "json": _is_json(text),
        "emoji": _EMOJI.search(prose) is not None,
        "question": prose.rstrip().rstrip("*_\"')").endswith("?"),
        "exclamation": _first_sentence_end(prose) == "!",
        "repeats": _repeats(words),
        "empty": not words,
    }
    opening = " ".join(word.strip("*#_:,.!\"'“”").lower() for word in words[:_OPENING_WORDS]).strip()
    return Traits(counts, signs, opening, language_of(text), refusal_of(text))


def _is_json(text: str) -> bool:
    """Tell whether an answer is JSON with nothing around it but a fence."""
    reading = read(text)
    return reading.form in ("json", "fenced") and not reading.leading and not reading.trailing


def _first_sentence_end(prose: str) -> str:
    found = re.search(r"[.!?:\n]", prose.strip()[:400])
    return found[0] if found else ""


def _repeats(words: list[str]) -> bool:
    """Tell whether the same five words make up a fifth of an answer, as they do in one that has lost its way."""
    spoken = [word for word in words if any(character.isalpha() for character in word)]
    runs = Counter(zip(*(spoken[start:] for start in range(_RUN)), strict=False))
    times = max(runs.values(), default=0)
    return times >= _TIMES and _RUN * times >= _PART * len(spoken)
