"""What is compared of every answer, whatever a case asserts: its form, its keys, its language, whether it is one.

These are watched: where the target is worse beyond control's own noise the suite fails, and nobody has to have written
an assertion for it. They prove nothing, so that few JSON cases among many others keep no suite from passing. A case
counts for what control itself is sure of: an answer in a language that cannot be told has no language to keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmmigrate.regression.equivalence import CaseOutcomes, Outcome
from llmmigrate.regression.formats_kinds import kind_of
from llmmigrate.regression.formats_reading import read
from llmmigrate.regression.given import Given, Hooks
from llmmigrate.regression.language import UNKNOWN, language_of
from llmmigrate.regression.refusals import refusal_of

PREFIX = "every answer: "
_JSON = frozenset({"json", "fenced", "in prose"})
_DEEPEST = 20


def hooks(*, python: bool) -> Hooks:
    """Return what assertions ask of others: the language of a text, and whether an answer declines."""

    def language(text: str) -> str | None:
        found = language_of(text)
        return None if found == UNKNOWN else found

    return Hooks(language=language, declined=declines, python=python)


def declines(given: Given) -> bool | None:
    """Tell whether an answer declines, None where rules cannot tell."""
    kind = refusal_of(
        given.text, finish_reason=given.finish_reason, refusal=given.refusal, tool_calls=bool(given.tool_calls)
    ).kind
    return {"refusal": True, "answer": False}.get(kind)


class Answered(NamedTuple):
    """The answers to a case, by run, one a repetition; None for a failed call, whose class does not matter here."""

    case: str
    target: Sequence[Given | None]
    control: Sequence[Given | None]
    again: Sequence[Given | None]


def watched(cases: Sequence[Answered]) -> dict[str, list[CaseOutcomes]]:
    """Return what came of each case by each thing that is watched; cases that control is not sure of are left out."""
    found: dict[str, list[CaseOutcomes]] = {}
    for case in cases:
        for name, outcomes in _of_case(case):
            found.setdefault(f"{PREFIX}{name}", []).append(outcomes)
    return found


def _of_case(case: Answered) -> Iterator[tuple[str, CaseOutcomes]]:
    own = [one for one in (*case.control, *case.again) if one is not None]
    if not own:
        return
    if all(declines(one) is False for one in own):
        yield "does not decline", _held(case, lambda given: _of(declines(given), worse=True))
    languages = Counter(language_of(one.text) for one in own)
    usual, _ = languages.most_common(1)[0]
    if usual != UNKNOWN and UNKNOWN not in languages:
        yield "language", _held(case, lambda given: _same(language_of(given.text), usual, UNKNOWN))
    forms = Counter(read(one.text).form for one in own)
    form, times = forms.most_common(1)[0]
    if form in _JSON and times * 2 > len(own):
        yield "form", _held(case, lambda given: "pass" if read(given.text).form == form else "fail")
        yield "keys and kinds", _keys(case)


def _held(case: Answered, outcome: Callable[[Given], Outcome]) -> CaseOutcomes:
    def all_of(run: Sequence[Given | None]) -> tuple[Outcome, ...]:
        return tuple("error" if one is None else outcome(one) for one in run)

    return CaseOutcomes(case.case, all_of(case.target), all_of(case.control), all_of(case.again))


def _of(found: bool | None, *, worse: bool) -> Outcome:
    return "hold" if found is None else "fail" if found is worse else "pass"


def _same(found: str, usual: str, unknown: str) -> Outcome:
    return "hold" if found == unknown else "pass" if found == usual else "fail"


def _keys(case: Answered) -> CaseOutcomes:
    """Hold the keys of an answer, and the kinds of their values, against those of control's other answers."""
    shapes = {
        name: [None if one is None else shape(one.text) for one in run]
        for name, run in (("target", case.target), ("control", case.control), ("again", case.again))
    }
    known = Counter(one for name in ("control", "again") for one in shapes[name] if one is not None)

    def outcome(one: frozenset[str] | None, *, own: bool) -> Outcome:
        if one is None:
            return "error"
        return "pass" if known[one] > own else "fail"

    runs = {name: tuple(outcome(one, own=name != "target") for one in some) for name, some in shapes.items()}
    return CaseOutcomes(case.case, runs["target"], runs["control"], runs["again"])


def shape(text: str) -> frozenset[str]:
    """Return the paths of a JSON answer with the kinds of what stands there; items of a list are one path."""
    reading = read(text)
    if reading.value is None:
        return frozenset({reading.form})
    return frozenset(_paths(reading.value, "$", 0))


def _paths(value: Any, path: str, depth: int) -> Iterator[str]:
    yield f"{path} {kind_of(value)}"
    if depth >= _DEEPEST:
        return
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _paths(part, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _paths(part, f"{path}[]", depth + 1)
