"""Running a suite: every case several times on the target, on control, and on control again, and what that shows.

Calls of all three are interleaved, so that what changes while a suite runs changes for all of them. Answers are kept as
they come, by all that they depend on: a run that was interrupted goes on where it was. Nothing is asked beyond a cost.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ModelClient
from llmmigrate.regression.asking import RoundAnswer, Side, answer_key, ask, asked_rounds, judged
from llmmigrate.regression.assertion_model import kind_of
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.assertions import Outcome as Judged
from llmmigrate.regression.cases import Case
from llmmigrate.regression.equivalence import RULES, CaseOutcomes, InvariantVerdict, Outcome, Rules, judge, verdict_of
from llmmigrate.regression.given import Given
from llmmigrate.regression.observed import Observed, observe
from llmmigrate.regression.pacing import Pace, PacedClient
from llmmigrate.regression.suite import Suite
from llmmigrate.regression.watched import PREFIX, Answered, watched
from llmmigrate.verdict import Answer

RunName = Literal["target", "control", "again"]
RUNS: tuple[RunName, ...] = ("target", "control", "again")

AT_ONCE = 8
"""Calls to one model at the same time; halved whenever it says that they are too many."""

_TOO_MANY = frozenset({"rate_limit", "overloaded"})


class Answers(Protocol):
    """Where answers are kept between runs, as text, by `asking.answer_key`; `store.evidence.KeptAnswers` is one."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, text: str) -> None: ...


class Clients(Protocol):
    """What calls models; `models.Clients` is one."""

    def client_for(self, model: str) -> ModelClient: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is: answers that are there, of all; of them kept ones; the cost so far in US dollars."""

    done: int
    total: int
    kept: int
    cost: float


@dataclass(slots=True)
class CaseResult:
    """A case with every answer, by run and repetition; None stands for what was not asked."""

    case: Case
    answers: dict[RunName, list[list[RoundAnswer] | None]]
    outcomes: dict[RunName, list[list[tuple[str, Judged | None]]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a run of a suite came to.

    `verdicts` are by invariant, failed ones first; `waived` has what was not watched, with the reason; `observed` says
    what changed. `calls` were made, `kept` answers were there already; `cost` is what
    the calls cost in US dollars, of which `unpriced` have no known price. `errors` counts failed calls by class, and
    `examples` has the words of one of each. `stopped` says why not all was asked.
    """

    suite: str
    suite_hash: str
    verdict: Answer
    verdicts: tuple[InvariantVerdict, ...]
    cases: tuple[CaseResult, ...]
    waived: Mapping[str, str]
    observed: Observed
    repetitions: int
    calls: int
    kept: int
    cost: float
    unpriced: int
    errors: Mapping[str, int]
    examples: Mapping[str, str]
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
        worst = [one for one in (self.verdicts if self.verdict == "fail" else asserted) if one.verdict == self.verdict]
        number = "1 invariant" if len(worst) == 1 else f"{len(worst)} invariants"
        return f"{number} of {len(self.verdicts)}: {worst[0].invariant}: {worst[0].reason}"


def kept_answers(answers: Answers | None, key: str) -> list[RoundAnswer] | None:
    """Return what was answered before; what cannot be read is asked again."""
    text = answers.get(key) if answers is not None else None
    try:
        return [RoundAnswer.from_json(one) for one in json.loads(text)] if text is not None else None
    except (ValueError, KeyError, TypeError):
        return None


async def run_suite(
    suite: Suite,
    *,
    control: Side,
    target: Side,
    clients: Clients,
    repetitions: int,
    answers: Answers | None = None,
    at_once: int = AT_ONCE,
    max_cost: float | None = None,
    hooks: Hooks,
    rules: Rules = RULES,
    watch: Callable[[Moment], None] | None = None,
) -> SuiteResult:
    """Ask every case of both models, and decide. Raises nothing for what models or their providers do.

    Where `max_cost` is reached, or calls have no known price to hold against it, nothing more is asked and the verdict
    holds.
    """
    sides: dict[RunName, Side] = {"target": target, "control": control, "again": control}
    running = _Running(suite, sides, clients, answers, watch, repetitions=repetitions, max_cost=max_cost)
    await running.all(at_once)
    return running.result(hooks, rules)


class _Gate:
    """Let so many calls of one model be under way, at its pace; fewer once it says that they are too many."""

    def __init__(self, limit: int, pace: Pace) -> None:
        self.pace = pace
        self._limit = limit
        self._active = 0
        self._free = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self._active < self._limit)
            self._active += 1

    async def __aexit__(self, *_exc: object) -> None:
        async with self._free:
            self._active -= 1
            self._free.notify_all()

    def fewer(self) -> None:
        self._limit = max(1, self._limit // 2)


class _Running:
    """One run of a suite: what was asked, what came, and what it cost."""

    def __init__(
        self,
        suite: Suite,
        sides: Mapping[RunName, Side],
        clients: Clients,
        kept: Answers | None,
        watch: Callable[[Moment], None] | None,
        *,
        repetitions: int,
        max_cost: float | None,
    ) -> None:
        self._suite = suite
        self._repetitions = repetitions
        self._max_cost = max_cost
        self._sides = sides
        self._clients = clients
        self._answers = kept
        self._watch = watch or (lambda _moment: None)
        self._results: list[CaseResult] = []
        self._done = self._total = self._kept = self._calls = self._unpriced = 0
        self._cost = 0.0
        self._errors: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    async def all(self, at_once: int) -> None:
        """Ask everything; all repetitions of a round of cases before the next."""
        for case in self._suite.cases:
            times = case.repetitions or self._repetitions
            self._results.append(CaseResult(case, {run: [None] * times for run in RUNS}))
            self._total += asked_rounds(case) * times * len(RUNS)
        sides = self._sides.values()
        limits = {side.model: [one.limits for one in sides if one.model == side.model] for side in sides}
        gates = {model: _Gate(at_once, Pace.of(declared)) for model, declared in limits.items()}
        async with asyncio.TaskGroup() as group:
            limit = asyncio.Semaphore(at_once * len(gates))
            for result, run, repetition in self._jobs():
                await limit.acquire()
                if self._spent:
                    limit.release()
                    break
                task = group.create_task(self._one(result, run, repetition, gates[self._sides[run].model]))
                task.add_done_callback(lambda _task: limit.release())

    @property
    def _spent(self) -> bool:
        """Whether no more may be asked: what is allowed is spent, or nobody can tell."""
        return self._max_cost is not None and (self._cost >= self._max_cost or self._unpriced > 0)

    def _jobs(self) -> Iterator[tuple[CaseResult, RunName, int]]:
        most = max((len(result.answers["target"]) for result in self._results), default=0)
        for repetition in range(most):
            for result in self._results:
                for run in RUNS:
                    if repetition < len(result.answers[run]):
                        yield result, run, repetition

    async def _one(self, result: CaseResult, run: RunName, repetition: int, gate: _Gate) -> None:
        side = self._sides[run]
        key = answer_key(result.case, side, run, repetition)
        found = kept_answers(self._answers, key)
        if found is None:
            async with gate:
                try:
                    client = PacedClient(self._clients.client_for(side.model), gate.pace)
                    found = await ask(client, result.case, side)
                except ModelError as error:  # there is no client of it
                    found = [RoundAnswer(0, None, error.error_class, error.message)]
            self._calls += len(found)
            self._count(found, gate)
            if self._answers is not None and all(one.error is None for one in found):
                self._answers.put(key, json.dumps([one.to_json() for one in found], ensure_ascii=False))
        else:
            self._kept += len(found)
        result.answers[run][repetition] = found
        self._done += asked_rounds(result.case)
        self._watch(Moment(self._done, self._total, self._kept, self._cost))

    def _count(self, found: Sequence[RoundAnswer], gate: _Gate) -> None:
        for one in found:
            if one.error is not None:
                self._errors[one.error] = self._errors.get(one.error, 0) + 1
                self._examples.setdefault(one.error, one.detail)
                if one.error in _TOO_MANY:
                    gate.fewer()
            elif one.given is not None and one.given.cost_usd is None:
                self._unpriced += 1
            elif one.given is not None and one.given.cost_usd is not None:
                self._cost += one.given.cost_usd

    def result(self, hooks: Hooks, rules: Rules) -> SuiteResult:
        """Hold everything that came against the cases' assertions, and decide."""
        for result in self._results:
            for run in RUNS:
                result.outcomes[run] = [judged(result.case, found or (), hooks=hooks) for found in result.answers[run]]
        answered = [_answered(result) for result in self._results]
        asserted, seen = _invariants(self._results), watched(answered, waived=self._suite.waived)
        verdicts = judge({**asserted, **seen}, rules)
        proved = verdict_of(one for one in verdicts if one.invariant in asserted)
        verdict: Answer = "fail" if any(one.verdict == "fail" for one in verdicts) else proved
        missing = sum(found is None for result in self._results for run in RUNS for found in result.answers[run])
        stopped = None
        if missing:
            why = f"${self._cost:,.2f} were spent"
            if self._unpriced:
                why = f"{self._unpriced} calls have no known price, so that a cost cannot be kept to"
            stopped = f"{missing} of the suite's answers were not asked for: {why}"
            verdict = "fail" if verdict == "fail" else "hold"
        return SuiteResult(
            suite=self._suite.name,
            suite_hash=self._suite.hash,
            verdict=verdict,
            verdicts=tuple(verdicts),
            cases=tuple(self._results),
            waived=self._suite.waived,
            observed=observe(answered),
            repetitions=self._repetitions,
            calls=self._calls,
            kept=self._kept,
            cost=self._cost,
            unpriced=self._unpriced,
            errors=dict(sorted(self._errors.items())),
            examples=dict(self._examples),
            stopped=stopped,
        )


def _invariants(results: Sequence[CaseResult]) -> dict[str, list[CaseOutcomes]]:
    """Return what came of each case, by what it asserts: all assertions of one kind of a case are one invariant."""
    found: dict[str, list[CaseOutcomes]] = {}
    for result in results:
        names = _names(result.case)
        for name in dict.fromkeys(names.values()):
            by_run: dict[RunName, tuple[Outcome, ...]] = {
                run: tuple(_of_answer(name, names, outcomes) for outcomes in result.outcomes[run]) for run in RUNS
            }
            found.setdefault(name, []).append(
                CaseOutcomes(
                    result.case.id,
                    by_run["target"],
                    by_run["control"],
                    by_run["again"],
                    known_failure=result.case.kind == "failure",
                )
            )
    return found


def _answered(result: CaseResult) -> Answered:
    """Return the last answers to a case, by run: what comes of the whole conversation."""

    def last(found: list[RoundAnswer] | None) -> Given | None:
        return found[-1].given if found else None

    target, control, again = ([last(found) for found in result.answers[run]] for run in RUNS)
    return Answered(result.case.id, target, control, again, result.case.input_type)


def _names(case: Case) -> dict[str, str]:
    """Return the invariant of each assertion of a case, by where it stands."""
    return {
        f"{number + 1}.{index + 1}": f"{case.kind}: {assertion.label or kind_of(assertion) or 'assertion'}"
        for number, one in enumerate(case.rounds)
        for index, assertion in enumerate(one.assertions)
    }


def _of_answer(name: str, names: Mapping[str, str], outcomes: Sequence[tuple[str, Judged | None]]) -> Outcome:
    """Return what came of one answer for an invariant: the worst of its assertions."""
    own = [judged for where, judged in outcomes if names[where] == name]
    if any(one is not None and one.verdict == "fail" for one in own):
        return "fail"
    if any(one is None for one in own):
        return "error"
    return "hold" if any(one is not None and one.verdict == "hold" for one in own) else "pass"


def to_json(result: SuiteResult) -> dict[str, Any]:
    """Return a result as plain data, without the answers."""
    return {
        "suite": result.suite,
        "suite_hash": result.suite_hash,
        "verdict": result.verdict,
        "reason": result.reason,
        "repetitions": result.repetitions,
        "cases": len(result.cases),
        "calls": result.calls,
        "kept": result.kept,
        "cost_usd": result.cost,
        "unpriced": result.unpriced,
        "errors": dict(result.errors),
        "error_examples": dict(result.examples),
        "stopped": result.stopped,
        "invariants": [one.to_json() for one in result.verdicts],
        "not_watched": dict(result.waived),
        "changed": result.observed.to_json(),
    }
