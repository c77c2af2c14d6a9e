"""What a run of a suite came to: the outcomes of every answer, the verdicts on them, and what could not be decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from llmmigrate.regression.asking import RoundAnswer, judged
from llmmigrate.regression.assertion_model import kind_of
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.assertions import Outcome as Judged
from llmmigrate.regression.cases import Case
from llmmigrate.regression.equivalence import (
    CaseOutcomes,
    InvariantVerdict,
    Outcome,
    Rules,
    fewest_that_pass,
    judge,
    passed_on_control,
    verdict_of,
)
from llmmigrate.regression.given import Given
from llmmigrate.regression.observed import Observed, observe
from llmmigrate.regression.suite import Suite
from llmmigrate.regression.watched import PREFIX, Answered, watched
from llmmigrate.verdict import Answer

RunName = Literal["target", "control", "again"]
RUNS: tuple[RunName, ...] = ("target", "control", "again")

TOGETHER = "all assertions together"
"""The invariant that a case holds all that it asserts: it proves what too few cases assert to prove it alone."""

_MAY_STAY_OPEN = "refusal"
"""The kind of assertion of which a share of cases may be undecided: rules cannot tell every refusal."""


@dataclass(slots=True)
class CaseResult:
    """A case with every answer, by run and repetition; None stands for what was not asked, whose outcomes are empty."""

    case: Case
    answers: dict[RunName, list[list[RoundAnswer] | None]]
    outcomes: dict[RunName, list[list[tuple[str, Judged | None]]]] = field(default_factory=dict)


class Undecided(NamedTuple):
    """An assertion that no answer to its case could be held against, of either model: where it stands, and why."""

    case: str
    line: int
    where: str
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run asked for and what that cost.

    `calls` were made, `kept` answers were there already; `cost` is what the calls cost in US dollars, of which
    `unpriced` have no known price. `errors` counts failed calls by class, and `examples` has the words of one of each.
    """

    calls: int
    kept: int
    cost: float
    unpriced: int
    errors: Mapping[str, int]
    examples: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a run of a suite came to.

    `verdicts` are by invariant, failed ones first; `undecided` names assertions that could never be decided; `waived`
    has what was not watched, with the reason; `observed` says what changed. `stopped` says why not all was asked.
    """

    suite: str
    suite_hash: str
    verdict: Answer
    verdicts: tuple[InvariantVerdict, ...]
    undecided: tuple[Undecided, ...]
    cases: tuple[CaseResult, ...]
    waived: Mapping[str, str]
    observed: Observed
    repetitions: int
    spent: Spent
    stopped: str | None = None

    @property
    def reason(self) -> str:
        """One sentence on the verdict."""
        if self.stopped is not None:
            return self.stopped
        asserted = [one for one in self.verdicts if not one.invariant.startswith(PREFIX)]
        if not asserted and self.verdict != "fail":
            return "no case asserts anything: nothing is shown"
        if self.verdict == "pass":
            return f"none of {len(self.verdicts)} invariants got worse"
        told = self.verdicts if self.verdict == "fail" else asserted
        worst = [one for one in told if one.verdict == self.verdict]
        open_ones = self._open_ones if self.verdict == "hold" else ""
        if not worst:
            return open_ones
        number = "1 invariant" if len(worst) == 1 else f"{len(worst)} invariants"
        words = f"{number} of {len(told)}: {worst[0].invariant}: {worst[0].reason}"
        return f"{words}; {open_ones}" if open_ones else words

    def counts(self, wanted: int) -> bool:
        """Tell whether this is evidence where a document asks for so many repetitions: fewer can only fail."""
        return self.repetitions >= wanted or self.verdict == "fail"

    @property
    def _open_ones(self) -> str:
        if not self.undecided:
            return ""
        number = len(dict.fromkeys(one.case for one in self.undecided))
        first = self.undecided[0]
        return f"{'1 case' if number == 1 else f'{number} cases'} could never be decided: {first.case}: {first.why}"


def decide(
    suite: Suite, results: Sequence[CaseResult], spent: Spent, *, repetitions: int, hooks: Hooks, rules: Rules
) -> SuiteResult:
    """Hold all answers against what their cases assert, and decide; fills in `outcomes`."""
    for result in results:
        for run in RUNS:
            found = result.answers[run]
            result.outcomes[run] = [[] if one is None else judged(result.case, one, hooks=hooks) for one in found]
    answered = [_answered(result) for result in results]
    verdicts = _verdicts(results, watched(answered, waived=suite.waived), rules)
    undecided = tuple(_undecided(results))
    proved = verdict_of(one for one in verdicts if not one.invariant.startswith(PREFIX))
    verdict: Answer = "fail" if any(one.verdict == "fail" for one in verdicts) else proved
    missing = sum(found is None for result in results for run in RUNS for found in result.answers[run])
    if verdict == "pass" and (missing or any(one.kind != _MAY_STAY_OPEN for one in undecided)):
        verdict = "hold"
    return SuiteResult(
        suite=suite.name,
        suite_hash=suite.hash,
        verdict=verdict,
        verdicts=tuple(verdicts),
        undecided=undecided,
        cases=tuple(results),
        waived=suite.waived,
        observed=observe(answered),
        repetitions=repetitions,
        spent=spent,
        stopped=_stopped(missing, spent) if missing else None,
    )


def _stopped(missing: int, spent: Spent) -> str:
    why = f"${spent.cost:,.2f} were spent" if spent.cost >= 0.01 else f"${spent.cost:g} were spent"
    if spent.unpriced:
        calls = "1 call has" if spent.unpriced == 1 else f"{spent.unpriced} calls have"
        why = f"{calls} no known price, so that --max-cost cannot be kept to: leave it out where nothing is billed"
    return f"{missing:,} of the suite's answers were not asked for: {why}"


def _verdicts(
    results: Sequence[CaseResult], seen: Mapping[str, list[CaseOutcomes]], rules: Rules
) -> list[InvariantVerdict]:
    """Judge all invariants; what too few cases assert to pass alone passes with all other assertions together.

    That takes that every one of its answers could be decided and that none of its cases flips.
    """
    asserted = _invariants(results)
    enough = fewest_that_pass(rules)
    few = {
        name
        for name, cases in asserted.items()
        if passed_on_control(cases) < enough and not any(case.known_failure for case in cases)
    }
    together = {TOGETHER: _together(results)} if few and len(asserted) > 1 else {}
    verdicts = judge({**asserted, **together, **seen}, rules)
    whole = next((one for one in verdicts if one.invariant == TOGETHER), None)
    return [
        _of_few(one, whole, told=_told(asserted[one.invariant]))
        if one.invariant in few and one.verdict == "hold"
        else one
        for one in verdicts
    ]


def _of_few(one: InvariantVerdict, whole: InvariantVerdict | None, *, told: bool) -> InvariantVerdict:
    """Return the verdict on what few cases assert, given that on all assertions together."""
    if one.flips:
        flips = f"{one.flips[0]}" if len(one.flips) == 1 else f"{len(one.flips)} cases flip, such as {one.flips[0]}"
        return replace(one, reason=f"{flips}; {one.cases} in all are too few to tell it from noise")
    if one.passed_on_control < one.cases:
        asserted = f"control never passes {one.cases - one.passed_on_control} of {one.cases} cases"
        return replace(one, reason=f"{asserted}: look at what they assert")
    if told and whole is not None and whole.verdict == "pass":
        few = "1 case" if one.cases == 1 else f"{one.cases} cases"
        return replace(one, verdict="pass", reason=f"{few} of {whole.cases}, that pass together; none flips")
    return one


def _told(cases: Sequence[CaseOutcomes]) -> bool:
    runs = [run for case in cases for run in (case.target, case.control, case.again)]
    return all(run and set(run) <= {"pass", "fail"} for run in runs)


def _undecided(results: Sequence[CaseResult]) -> Iterator[Undecided]:
    """Name assertions that held for want of evidence in every answer that came; the commonest reason of each."""
    for result in results:
        by_place: dict[str, list[Judged | None]] = {}
        for where, one in (pair for run in RUNS for outcomes in result.outcomes[run] for pair in outcomes):
            by_place.setdefault(where, []).append(one)
        for where, found in by_place.items():
            told = [one for one in found if one is not None]
            if all(one.verdict == "hold" for one in told):
                [(why, _)] = Counter(one.sentence for one in told).most_common(1) or [("no answer came", 0)]
                kind = told[0].kind if told else "assertion"
                yield Undecided(result.case.id, result.case.place[0], where, kind, why)


def _invariants(results: Sequence[CaseResult]) -> dict[str, list[CaseOutcomes]]:
    """Return what came of each case, by what it asserts: all assertions of one kind of a case are one invariant."""
    found: dict[str, list[CaseOutcomes]] = {}
    for result in results:
        names = _names(result.case)
        for name in dict.fromkeys(names.values()):
            own = {where for where, known in names.items() if known == name}
            found.setdefault(name, []).append(_case_outcomes(result, own))
    return found


def _together(results: Sequence[CaseResult]) -> list[CaseOutcomes]:
    """Return what came of each case that asserts anything, by all that it asserts; known failures stand alone."""
    return [
        _case_outcomes(result, set(names))
        for result in results
        if (names := _names(result.case)) and result.case.kind != "failure"
    ]


def _case_outcomes(result: CaseResult, places: set[str]) -> CaseOutcomes:
    target, control, again = (
        tuple(_of_answer(places, outcomes) for outcomes in result.outcomes[run] if outcomes) for run in RUNS
    )
    return CaseOutcomes(result.case.id, target, control, again, known_failure=result.case.kind == "failure")


def _of_answer(places: set[str], outcomes: Sequence[tuple[str, Judged | None]]) -> Outcome:
    """Return what came of one answer for the assertions at these places: the worst of them."""
    own = [judged for where, judged in outcomes if where in places]
    if any(one is not None and one.verdict == "fail" for one in own):
        return "fail"
    if any(one is None for one in own):
        return "error"
    return "hold" if any(one is not None and one.verdict == "hold" for one in own) else "pass"


def _names(case: Case) -> dict[str, str]:
    """Return the invariant of each assertion of a case, by where it stands."""
    return {
        f"{number + 1}.{index + 1}": f"{case.kind}: {assertion.label or kind_of(assertion) or 'assertion'}"
        for number, one in enumerate(case.rounds)
        for index, assertion in enumerate(one.assertions)
    }


def _answered(result: CaseResult) -> Answered:
    """Return the last answers to a case, by run: what comes of the whole conversation."""

    def last(found: list[RoundAnswer]) -> Given | None:
        return found[-1].given if found else None

    target, control, again = ([last(found) for found in result.answers[run] if found is not None] for run in RUNS)
    return Answered(result.case.id, target, control, again, result.case.input_type)


def to_json(result: SuiteResult) -> dict[str, Any]:
    """Return a result as plain data, without the answers."""
    return {
        "suite": result.suite,
        "suite_hash": result.suite_hash,
        "verdict": result.verdict,
        "reason": result.reason,
        "repetitions": result.repetitions,
        "cases": len(result.cases),
        "calls": result.spent.calls,
        "kept": result.spent.kept,
        "cost_usd": result.spent.cost,
        "unpriced": result.spent.unpriced,
        "errors": dict(result.spent.errors),
        "error_examples": dict(result.spent.examples),
        "stopped": result.stopped,
        "invariants": [one.to_json() for one in result.verdicts],
        "undecided": [one._asdict() for one in result.undecided],
        "not_watched": dict(result.waived),
        "changed": result.observed.to_json(),
    }
