"""What is compared of every answer, whatever a case asserts: its form, keys, values, language, whether it is one.

These are watched: where the target is worse beyond control's own noise the suite fails, and nobody has to have written
an assertion for it. They prove nothing, so that few JSON cases among many others keep no suite from passing. A case
counts for what control itself is sure of: an answer in a language that cannot be told has no language to keep. A suite
may waive any of them, by the name that `WATCHED` gives it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmmigrate.regression.equivalence import CaseOutcomes, Outcome
from llmmigrate.regression.formats import profile
from llmmigrate.regression.formats_kinds import kind_of
from llmmigrate.regression.formats_reading import read
from llmmigrate.regression.given import Given, Hooks
from llmmigrate.regression.language import UNKNOWN, language_of
from llmmigrate.regression.refusals import Refusal, refusal_of

PREFIX = "every answer: "

WATCHED = {
    "form": "form",
    "keys": "keys and kinds",
    "values": "values of fixed sets",
    "language": "language",
    "declining": "does not decline",
}
"""What is watched, by the name that a suite waives it by, with the words that reports have for it."""

TYPE_CASES = 20
"""Cases of one input type from which declining is watched in that type by itself as well."""

_JSON = frozenset({"json", "fenced", "in prose"})
_DEEPEST = 20


def hooks(*, python: bool) -> Hooks:
    """Return what assertions ask of others: the language of a text, and whether an answer declines."""

    def language(text: str) -> str | None:
        found = language_of(text)
        return None if found == UNKNOWN else found

    return Hooks(language=language, declined=declines, python=python)


def refusal_in(given: Given) -> Refusal:
    """Tell a refusal from an answer, by what the provider says of it and by its text."""
    return refusal_of(
        given.text, finish_reason=given.finish_reason, refusal=given.refusal, tool_calls=bool(given.tool_calls)
    )


def declines(given: Given) -> bool | None:
    """Tell whether an answer declines, None where rules cannot tell."""
    return {"refusal": True, "answer": False}.get(refusal_in(given).kind)


class Answered(NamedTuple):
    """The answers to a case, by run, one a repetition; None for a failed call, whose class does not matter here."""

    case: str
    target: Sequence[Given | None]
    control: Sequence[Given | None]
    again: Sequence[Given | None]
    input_type: str | None = None

    @property
    def own(self) -> list[Given]:
        """Control's answers in both of its runs."""
        return [one for one in (*self.control, *self.again) if one is not None]


def watched(cases: Sequence[Answered], *, waived: Collection[str] = ()) -> dict[str, list[CaseOutcomes]]:
    """Return what came of each case by each thing that is watched; cases that control is not sure of are left out.

    `waived` are names of `WATCHED`. Declining is watched over all cases, and in each input type that has enough.
    """
    found: dict[str, list[CaseOutcomes]] = {}
    sets = _fixed_sets(cases)
    for case in cases:
        for name, outcomes in (*_of_case(case), *_values(case, sets)):
            if name in waived:
                continue
            found.setdefault(f"{PREFIX}{WATCHED[name]}", []).append(outcomes)
            if name == "declining" and case.input_type is not None:
                found.setdefault(f"{PREFIX}{WATCHED[name]}, {case.input_type}", []).append(outcomes)
    general = {f"{PREFIX}{words}" for words in WATCHED.values()}
    everything = len(found.get(f"{PREFIX}{WATCHED['declining']}", ()))
    return {
        name: outcomes
        for name, outcomes in found.items()
        if name in general or TYPE_CASES <= len(outcomes) < everything
    }


def _of_case(case: Answered) -> Iterator[tuple[str, CaseOutcomes]]:
    own = case.own
    if not own:
        return
    if all(declines(one) is False for one in own):
        yield "declining", _held(case, lambda given: _of(declines(given), worse=True))
    languages = Counter(language_of(one.text) for one in own)
    usual, _ = languages.most_common(1)[0]
    if usual != UNKNOWN and UNKNOWN not in languages:
        yield "language", _held(case, lambda given: _same(language_of(given.text), usual, UNKNOWN))
    forms = Counter(read(one.text).form for one in own)
    form, times = forms.most_common(1)[0]
    if form in _JSON and times * 2 > len(own):
        yield "form", _held(case, lambda given: "pass" if read(given.text).form == form else "fail")
        yield "keys", _keys(case)


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


class _Sets(NamedTuple):
    """The strings that control has at places where it has but a few: how often each, over all of its answers."""

    times: Counter[tuple[str, str]]
    paths: frozenset[str]


def _fixed_sets(cases: Sequence[Answered]) -> _Sets:
    """Find the places with few strings, by one answer a case: what one case repeats is no set of values."""
    first = [next((one.text for one in case.control if one is not None), "") for case in cases]
    paths = frozenset(profile(text for text in first if text).enumerations())
    times: Counter[tuple[str, str]] = Counter()
    if paths:
        times.update(place for case in cases for one in case.own for place in _strings_at(one.text, paths))
    return _Sets(times, paths)


def _strings_at(text: str, paths: Collection[str]) -> frozenset[tuple[str, str]]:
    """Return the strings of an answer at some places, as (place, string)."""
    found = profile([text]).found
    return frozenset((path, value) for path, about, value in found if about == "value" and path in paths)


def _values(case: Answered, sets: _Sets) -> Iterator[tuple[str, CaseOutcomes]]:
    """Hold strings at places where control has but a few against all that control has there in its other answers."""
    if not sets.paths or not any(_strings_at(one.text, sets.paths) for one in case.own):
        return

    def outcomes(run: Sequence[Given | None], *, own: bool) -> tuple[Outcome, ...]:
        return tuple(
            "error"
            if one is None
            else "pass"
            if all(sets.times[place] > own for place in _strings_at(one.text, sets.paths))
            else "fail"
            for one in run
        )

    yield (
        "values",
        CaseOutcomes(
            case.case,
            outcomes(case.target, own=False),
            outcomes(case.control, own=True),
            outcomes(case.again, own=True),
        ),
    )


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
