"""What is compared of every answer, whatever a case asserts: its form, keys, values, language, whether it is one.

These are watched: where the target is worse beyond control's own noise the suite fails, and nobody has to have written
an assertion for it. They prove nothing, so that few JSON cases among many others keep no suite from passing. A suite
may waive any of them, by the name that `WATCHED` gives it.

Each run of a case is held against the other two, the target's against control's and each of control's against the
target's and its other. So whoever exchanges the runs of a case exchanges what came of them, which is what the test of
`equivalence_exact` rests on: to hold the target against control, and control against itself, fails models for being as
noisy as control. What counts as a case is told from all three runs for the same reason, of which any two are enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from llmmigrate.regression.equivalence import CaseOutcomes, Outcome
from llmmigrate.regression.formats import few_and_repeated, profile
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

_OF_KIND: dict[str, Outcome] = {"refusal": "fail", "answer": "pass", "uncertain": "hold"}
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
    def runs(self) -> tuple[Sequence[Given | None], ...]:
        """The three runs, the target's first."""
        return self.target, self.control, self.again


Strings = frozenset[tuple[str, str]]
"""The strings of an answer, each with its path."""

_Fact = TypeVar("_Fact")


def watched(cases: Sequence[Answered], *, waived: Collection[str] = ()) -> dict[str, list[CaseOutcomes]]:
    """Return what came of each case by each thing that is watched.

    `waived` are names of `WATCHED`. Declining is watched over all cases, and in each input type that has enough. A case
    that has no answer in one of its runs, as one without a second run of control, is left out.
    """
    found: dict[str, list[CaseOutcomes]] = {}
    whole = [case for case in cases if all(any(one is not None for one in run) for run in case.runs)]
    for name, case, outcomes in _outcomes(whole):
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


def _outcomes(cases: Sequence[Answered]) -> Iterator[tuple[str, Answered, CaseOutcomes]]:
    strings = [_facts(case, lambda given: _strings(given.text)) for case in cases]
    sets = _FixedSets(strings)
    for case, of_case in zip(cases, strings, strict=True):
        for name, outcomes in _of_case(case):
            yield name, case, outcomes
        if any(sets.at(one) for run in of_case for one in run if one is not None):
            yield "values", case, _held(case, of_case, sets.hold(of_case))


def _of_case(case: Answered) -> Iterator[tuple[str, CaseOutcomes]]:
    kinds = _facts(case, lambda given: refusal_in(given).kind)
    if _any_two("uncertain" not in run for run in kinds):
        yield "declining", _held(case, kinds, lambda kind, _: _OF_KIND[kind])
    languages = _facts(case, lambda given: language_of(given.text))
    if _any_two(UNKNOWN not in run for run in languages):
        yield "language", _held(case, languages, _usual)
    forms = _facts(case, lambda given: read(given.text).form)
    if _any_two(_mostly_json(run) for run in forms):
        yield "form", _held(case, forms, _usual)
        yield "keys", _held(case, _facts(case, lambda given: shape(given.text)), _known)


def _facts(case: Answered, fact: Callable[[Given], _Fact]) -> list[list[_Fact | None]]:
    """Return what there is to say of each answer, by run; None for a failed call."""
    return [[None if one is None else fact(one) for one in run] for run in case.runs]


def _held(
    case: Answered,
    facts: Sequence[Sequence[_Fact | None]],
    outcome: Callable[[_Fact, Sequence[Sequence[_Fact]]], Outcome],
) -> CaseOutcomes:
    """Hold each answer of each run against the answers of the other two runs."""
    told = [[one for one in run if one is not None] for run in facts]

    def all_of(number: int) -> tuple[Outcome, ...]:
        others = told[:number] + told[number + 1 :]
        return tuple("error" if one is None else outcome(one, others) for one in facts[number])

    return CaseOutcomes(case.case, all_of(0), all_of(1), all_of(2))


def _any_two(so: Iterable[bool]) -> bool:
    return sum(so) >= 2


def _usual(fact: str, others: Sequence[Sequence[str]]) -> Outcome:
    """Hold an answer against what is commonest in either of the other runs; `UNKNOWN` is nothing to hold it against."""
    if fact == UNKNOWN:
        return "hold"
    usual = {one for run in others for one in _commonest([one for one in run if one != UNKNOWN])}
    return "hold" if not usual else "pass" if fact in usual else "fail"


def _commonest(facts: Sequence[str]) -> list[str]:
    times = Counter(facts)
    return [one for one, often in times.items() if often == max(times.values())]


def _known(fact: frozenset[str], others: Sequence[Sequence[frozenset[str]]]) -> Outcome:
    """Hold an answer against all that the other runs have."""
    return "pass" if any(fact in run for run in others) else "fail"


def _mostly_json(forms: Sequence[str | None]) -> bool:
    told = [form for form in forms if form is not None]
    return 2 * sum(form in _JSON for form in told) > len(told)


class _FixedSets:
    """The paths with but a few strings over all cases, and the strings there.

    A string is settled in a case where two of its three runs have it: that stays so whichever run is whose. What only
    the target has is settled in no case, however often it has it.
    """

    def __init__(self, cases: Sequence[Sequence[Sequence[Strings | None]]]) -> None:
        self._settled: Counter[tuple[str, str]] = Counter()
        seen: Counter[str] = Counter()
        for case in cases:
            self._settled.update(_settled(case))
            seen.update({path for run in case for one in run for path, _ in one or ()})
        by_path: dict[str, dict[str, int]] = {}
        for (path, value), times in self._settled.items():
            by_path.setdefault(path, {})[value] = times
        self._paths = frozenset(
            path
            for path, values in by_path.items()
            if few_and_repeated(values) and 2 * sum(values.values()) >= seen[path]
        )

    def at(self, strings: Strings) -> Strings:
        """Return those of an answer's strings that are one of a fixed set."""
        return frozenset(place for place in strings if place[0] in self._paths)

    def hold(
        self, case: Sequence[Sequence[Strings | None]]
    ) -> Callable[[Strings, Sequence[Sequence[Strings]]], Outcome]:
        """Return how an answer to a case is held: by what the case's other runs have, or what is settled elsewhere."""
        own = _settled(case)

        def outcome(strings: Strings, others: Sequence[Sequence[Strings]]) -> Outcome:
            there = {place for run in others for one in run for place in one}
            known = (place in there or self._settled[place] > (place in own) for place in self.at(strings))
            return "pass" if all(known) else "fail"

        return outcome


def _settled(case: Sequence[Sequence[Strings | None]]) -> frozenset[tuple[str, str]]:
    """Return what two of a case's runs have."""
    times = Counter(place for run in case for place in {place for one in run for place in one or ()})
    return frozenset(place for place, runs in times.items() if runs >= 2)


def _strings(text: str) -> Strings:
    """Return the short strings of a JSON answer, as (path, string)."""
    return frozenset((path, value) for path, about, value in profile([text]).found if about == "value")


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
