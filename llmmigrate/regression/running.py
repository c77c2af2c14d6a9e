"""Running a suite: every case several times on the target, on control, and on control again, and what that shows.

Calls of all three are interleaved, so that what changes while a suite runs changes for all of them. Answers are kept as
they come, by all that they depend on: a run that was interrupted goes on where it was. Nothing is asked beyond a cost.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmmigrate.exceptions import LlmmigrateError, ModelError
from llmmigrate.models import ModelClient
from llmmigrate.regression.asking import OF_NO_MODEL, RoundAnswer, Side, answer_key, ask, asked_rounds
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.equivalence import RULES, Rules
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.pacing import Pace, PacedClient
from llmmigrate.regression.results import RUNS, CaseResult, RunName, Spent, SuiteResult, decide
from llmmigrate.regression.suite import Suite

AT_ONCE = 8
"""Calls to one model at the same time; halved whenever it says that they are too many."""

SILENT = 8
"""Calls of a model that may fail before its first answer, for no reason of its own and not for being too many."""

SILENT_BUSY = 40
"""As many may fail where some of them were too many: that passes, as a rule, once fewer are made at a time."""

_TOO_MANY = frozenset({"rate_limit", "overloaded"})
_HINTS = {
    "auth": "the key of its provider is read from the environment; nothing was recorded",
    "not_found": "the model's name, its account, or api_base is not right; nothing was recorded",
    "connection": "its server is not there; nothing was recorded",
}


class Answers(Protocol):
    """Where answers are kept between runs, as text, by `asking.answer_key`; `store.evidence.KeptAnswers` is one."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, text: str) -> None: ...


class Clients(Protocol):
    """What calls models; `models.Clients` is one."""

    def client_for(self, model: str) -> ModelClient: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is: answers that are there, of all; of them kept ones, failed calls; the cost in US dollars."""

    done: int
    total: int
    kept: int
    failed: int
    cost: float


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
    """Ask every case of both models, and decide.

    Raises LlmmigrateError where a model does not answer at all: no key, no server, no such model. Whatever else models
    and their providers do is part of the result.

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
        self._answered = False
        self._silence: list[RoundAnswer] = []

    async def __aenter__(self) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self._active < self._limit)
            self._active += 1

    async def __aexit__(self, *_exc: object) -> None:
        async with self._free:
            self._active -= 1
            self._free.notify_all()

    def came(self, found: Sequence[RoundAnswer]) -> None:
        """Take note of a call's end: fewer at once where they were too many, none where a model says nothing at all."""
        last = found[-1]
        if last.error in _TOO_MANY:
            self._limit = max(1, self._limit // 2)
        if last.error not in OF_NO_MODEL:
            self._answered = True
        elif not self._answered:
            self._silence.append(last)

    @property
    def silent(self) -> RoundAnswer | None:
        """Return the last error of a model that was asked often enough, and never said anything."""
        if self._answered or len(self._silence) < SILENT:
            return None
        busy = any(one.error in _TOO_MANY for one in self._silence)
        return self._silence[-1] if not busy or len(self._silence) >= SILENT_BUSY else None

    @property
    def unanswered(self) -> int:
        """How many calls failed before the first answer."""
        return len(self._silence)


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
        await self._ask(gates, at_once)
        for model, gate in gates.items():
            if gate.silent is not None:
                raise _silent(model, gate.silent, gate.unanswered)

    async def _ask(self, gates: Mapping[str, _Gate], at_once: int) -> None:
        async with asyncio.TaskGroup() as group:
            limit = asyncio.Semaphore(at_once * len(gates))
            for result, run, repetition in self._jobs():
                await limit.acquire()
                if self._spent or any(gate.silent for gate in gates.values()):
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
            self._count(found)
            gate.came(found)
            if self._answers is not None and all(one.error is None for one in found):
                self._answers.put(key, json.dumps([one.to_json() for one in found], ensure_ascii=False))
        else:
            self._kept += len(found)
            gate.came(found)
        result.answers[run][repetition] = found
        self._done += asked_rounds(result.case)
        self._watch(Moment(self._done, self._total, self._kept, sum(self._errors.values()), self._cost))

    def _count(self, found: Sequence[RoundAnswer]) -> None:
        for one in found:
            if one.error is not None:
                self._errors[one.error] = self._errors.get(one.error, 0) + 1
                self._examples.setdefault(one.error, one.detail)
            elif one.given is not None and one.given.cost_usd is None:
                self._unpriced += 1
            elif one.given is not None and one.given.cost_usd is not None:
                self._cost += one.given.cost_usd

    def result(self, hooks: Hooks, rules: Rules) -> SuiteResult:
        """Hold everything that came against the cases' assertions, and decide."""
        spent = Spent(
            self._calls,
            self._kept,
            self._cost,
            self._unpriced,
            errors=dict(sorted(self._errors.items())),
            examples=dict(self._examples),
        )
        return decide(self._suite, self._results, spent, repetitions=self._repetitions, hooks=hooks, rules=rules)


def _silent(model: str, last: RoundAnswer, calls: int) -> LlmmigrateError:
    words = f"{model} answered none of {calls} calls: {last.error}: {excerpt(last.detail, 200)}"
    return LlmmigrateError(words, hint=_HINTS.get(str(last.error), "try again later; nothing was recorded"))
