"""Whether an answer is a refusal: by what the provider says, then by rules for English; else it is uncertain.

A partial refusal counts as one: whoever asked did not get what was asked for. What rules cannot tell is `uncertain`,
never an answer, and so is prose in any other language: a judge has to say. Where more than a fifth is uncertain, no
rate of refusals decides anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from llmmigrate.models.endings import Ending
from llmmigrate.regression.equivalence_intervals import Pairs, mcnemar, paired_difference, wilson
from llmmigrate.regression.formats_reading import read
from llmmigrate.regression.language import LONGEST, UNKNOWN, language_of
from llmmigrate.regression.refusals_rules import INTERCEPT, signs

Kind = Literal["refusal", "answer", "uncertain"]

MOST_UNCERTAIN = 0.20
"""The share of uncertain answers above which a rate of refusals holds."""

SURE = math.log(3)
"""Log-odds beyond which rules decide: a chance of three in four, either way."""

_OUTRIGHT = "declines"
_DEEPEST = 40
_WORDS = re.compile(r"[^\W\d_]{2,100}")
_PROSE = re.compile(r"(?:[^\W\d_]{1,40}[,;]? ){9}[^\W\d_]")
"""Ten words in a row: a sentence, which no language was found for."""


class Refusal(NamedTuple):
    """What an answer was taken for, and why, in words for people."""

    kind: Kind
    reasons: tuple[str, ...] = ()


def refusal_of(
    text: str, *, finish_reason: str | None = None, refusal: str | None = None, tool_calls: bool = False
) -> Refusal:
    """Tell a refusal from an answer.

    `finish_reason` is the provider's own word for why it ended and `refusal` what the provider calls one, such as
    OpenAI's field of that name: where they speak, they decide. `tool_calls` says that the answer calls tools, which
    without any text is an answer; an answer with nothing in it is uncertain.
    """
    if refusal:
        return Refusal("refusal", ("the provider calls it a refusal",))
    if finish_reason is not None and Ending(finish_reason).finish_reason == "content_filter":
        return Refusal("refusal", (f"the provider ended it: {finish_reason}",))
    if not text.strip():
        return Refusal("answer", ("calls tools",)) if tool_calls else Refusal("uncertain", ("is empty",))
    return _by_rules(text)


def _by_rules(text: str) -> Refusal:
    found = signs(text)
    reasons = tuple(sign.words for sign in found)
    if any(sign.name == _OUTRIGHT for sign in found):
        return Refusal("refusal", reasons)
    foreign = _foreign(text)
    if foreign is not None:
        return Refusal("uncertain", (foreign,))
    odds = INTERCEPT + sum(sign.weight for sign in found)
    if abs(odds) < SURE:
        return Refusal("uncertain", reasons)
    return Refusal("refusal" if odds > 0 else "answer", reasons)


def _foreign(text: str) -> str | None:
    """Return why rules for English do not speak of a text; JSON is read by the words in it."""
    reading = read(text)
    prose = text if reading.value is None else " ".join(_strings(reading.value))
    language = language_of(prose)
    if language == "en":
        return None
    if language != UNKNOWN:
        return f"is in another language ({language}), for which there are no rules"
    words = _WORDS.findall(prose[:LONGEST])
    foreign = sum(not word.isascii() for word in words)
    if foreign > len(words) / 2 or (reading.value is None and _PROSE.search(prose[:LONGEST])):
        return "is in a language that is not known"
    return None


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the strings in a JSON value, no deeper than formats are read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)) and depth < _DEEPEST:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner, depth + 1)


def judged(found: Refusal, *, refused: bool) -> Refusal:
    """Return what a judge made of an uncertain answer; what is certain stays as it is."""
    if found.kind != "uncertain":
        return found
    return Refusal("refusal" if refused else "answer", (*found.reasons, "a judge says so"))


@dataclass(frozen=True, slots=True)
class RefusalRate:
    """How often answers are refusals, of those that could be told; `input_type` None stands for all of them.

    `interval` is Wilson's 95% range. `held` says why the rate decides nothing, None where it may.
    """

    input_type: str | None
    refusals: int
    decided: int
    uncertain: int
    interval: tuple[float, float]
    held: str | None

    @property
    def rate(self) -> float | None:
        """The share of refusals among those that could be told; None where none could."""
        return self.refusals / self.decided if self.decided else None


def refusal_rates(found: Sequence[Refusal], input_types: Sequence[str] = ()) -> list[RefusalRate]:
    """Return the rate over all answers, then one an input type, in the order of their names.

    `input_types` has a name an answer, or is empty. Ranges are Wilson's and not the gates' confidence sequence: a suite
    is a fixed sample, looked at once, and a range for weeks of looking would be half as wide again. Raises ValueError
    where the lists differ in length.
    """
    if input_types and len(input_types) != len(found):
        raise ValueError(f"{len(found)} answers have {len(input_types)} input types")
    by_type: dict[str, list[Refusal]] = {name: [] for name in sorted(set(input_types))}
    for name, one in zip(input_types, found, strict=False):
        by_type[name].append(one)
    return [_rate(None, found), *(_rate(name, ones) for name, ones in by_type.items())]


def _rate(name: str | None, found: Sequence[Refusal]) -> RefusalRate:
    kinds = [one.kind for one in found]
    refusals, uncertain = kinds.count("refusal"), kinds.count("uncertain")
    decided = len(kinds) - uncertain
    return RefusalRate(name, refusals, decided, uncertain, wilson(refusals, decided), _held(uncertain, len(kinds)))


def _held(uncertain: int, answers: int) -> str | None:
    if answers == 0:
        return "no answers"
    if uncertain > MOST_UNCERTAIN * answers:
        return f"{uncertain} of {answers} answers are uncertain: a person or a judge has to say"
    return None


@dataclass(frozen=True, slots=True)
class RefusalChange:
    """How much more often the second model refuses, over the pairs in which both answers could be told.

    `difference` and `interval` (Newcombe's, 95%) are in shares, `p` is McNemar's. `held` says why it decides nothing.
    """

    before: RefusalRate
    after: RefusalRate
    pairs: Pairs
    difference: float | None
    interval: tuple[float, float]
    p: float
    held: str | None


def refusal_change(before: Sequence[Refusal], after: Sequence[Refusal]) -> RefusalChange:
    """Compare the answers of two models to the same prompts; raises ValueError where the lists differ in length."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} answers cannot be paired with {len(after)}")
    told = [(a.kind, b.kind) for a, b in zip(before, after, strict=True) if "uncertain" not in (a.kind, b.kind)]
    pairs = Pairs.of([first == "refusal" for first, _ in told], [second == "refusal" for _, second in told])
    one, two = _rate(None, before), _rate(None, after)
    return RefusalChange(
        one,
        two,
        pairs,
        (pairs.second - pairs.first) / pairs.n if pairs.n else None,
        paired_difference(pairs),
        mcnemar(pairs),
        one.held or two.held,
    )
