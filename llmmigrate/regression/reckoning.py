"""What a run of a suite asks for and costs at most, before anything is asked; answers that are kept cost nothing.

A bound, not an estimate, and made without a tokenizer: a token is at least one byte of what is sent (byte-level BPE,
and SentencePiece with bytes to fall back on), nothing longer than the model's context is answered, and no answer is
longer than `max_tokens`, or than the model can write. What has no bound is said to have none. Tries after a failure are
not reckoned: providers bill answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmmigrate.models import costmap, pricing
from llmmigrate.models.base import ChatRequest, Usage, longest_answer
from llmmigrate.models.image_tokens import image_tokens
from llmmigrate.models.images import attachments, without_attachments
from llmmigrate.regression.asking import Side, answer_key, asked_rounds, request_of, results_of
from llmmigrate.regression.cases import Case, Round
from llmmigrate.regression.pacing import Pace
from llmmigrate.regression.results import RUNS, RunName
from llmmigrate.regression.running import Answers, kept_answers
from llmmigrate.regression.suite import Suite

FRAME_TOKENS = 1024
"""What a provider adds to a request at most: its frames of messages, and the prompt that tells a model of tools.

The longest that is published is Claude 3 Opus's, 530 tokens (docs.anthropic.com/en/docs/tool-use-pricing-and-tokens).
"""

CALLS = 8
"""Tools that an answer calls at most, where their results are sent on: assumed, and said where it counts."""

_CACHED = '"cache_control'
_ID = "call_" + "x" * 59
"""The longest id of a call that OpenAI takes: 64 characters."""


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What is asked of one model at most: `calls` answers for `cost_usd`, beside `kept` ones.

    `unknown` are reasons with the calls whose cost has no bound for it; they are not in `cost_usd`. `priced` says
    whether the cost map has a price of the model at all, `open_ended` in how many calls no `max_tokens` bounds the
    answer, so that it is reckoned as long as the model can write.
    """

    model: str
    calls: int
    kept: int
    cost_usd: float
    unknown: Mapping[str, int]
    priced: bool
    open_ended: int


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A whole run: both models, and whether the bound supposes that an answer calls no more than `CALLS` tools.

    `least_s` are the seconds that it takes at least beneath the limits that are declared; 0 without any.
    """

    target: Reckoned
    control: Reckoned
    calls_tools: bool
    least_s: float

    @property
    def open_ended(self) -> int:
        """How many answers no `max_tokens` bounds."""
        return self.target.open_ended + self.control.open_ended

    @property
    def calls(self) -> int:
        return self.target.calls + self.control.calls

    @property
    def kept(self) -> int:
        return self.target.kept + self.control.kept

    @property
    def known_usd(self) -> float:
        """What the calls whose cost has a bound come to at most."""
        return self.target.cost_usd + self.control.cost_usd

    @property
    def unknown(self) -> list[str]:
        """Say what has no bound, in sentences."""
        return [
            f"what {calls:,} of the calls of {side.model} cost is not known: {why}"
            for side in (self.target, self.control)
            for why, calls in side.unknown.items()
        ]

    @property
    def unpriced(self) -> bool:
        """Whether there are calls whose cost will not be known when they are answered either."""
        return any(side.calls and not side.priced for side in (self.target, self.control))

    @property
    def at_most_usd(self) -> float | None:
        """What the run costs at most, None where a part of it has no bound."""
        return self.known_usd if not self.unknown else None

    def to_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "kept": self.kept,
            "cost_at_most_usd": self.at_most_usd,
            "unknown": self.unknown,
            "tool_calls_at_most": CALLS if self.calls_tools else None,
            "calls_without_max_tokens": self.open_ended,
            "seconds_at_least": self.least_s,
        }


def reckon(suite: Suite, *, control: Side, target: Side, repetitions: int, answers: Answers | None = None) -> Reckoning:
    """Reckon a run as `run_suite` would make it with the same arguments; reads kept answers, asks nothing."""
    of_target, of_control = _Sum(target), _Sum(control)
    sums: dict[RunName, _Sum] = {"target": of_target, "control": of_control, "again": of_control}
    for case in suite.cases:
        rounds = asked_rounds(case)
        if not rounds:
            continue
        for one in (of_target, of_control):
            one.most = _most(case, one.side) if one.priced else f"the cost map of {costmap.source()} has no price of it"
            one.open_ended = longest_answer(request_of(case, one.side, []).params) is None
        for run in RUNS:
            for repetition in range(case.repetitions or repetitions):
                key = answer_key(case, sums[run].side, run, repetition)
                sums[run].add(rounds, kept=kept_answers(answers, key) is not None)
    asked = of_target.reckoned(), of_control.reckoned()
    return Reckoning(
        *asked,
        least_s=_least_s([(side, one.calls) for side, one in zip((target, control), asked, strict=True)]),
        calls_tools=any(_sends_results_on(case, side) for case in suite.cases for side in (target, control)),
    )


def _least_s(calls: Sequence[tuple[Side, int]]) -> float:
    """Return how long calls take at least, which share a pace where they are of one model."""
    models = {side.model for side, _ in calls}
    return max(
        Pace.of(side.limits for side, _ in calls if side.model == model).least_s(
            sum(number for side, number in calls if side.model == model)
        )
        for model in models
    )


class _Sum:
    """What comes together for one side; `most` is the cost of the case that is added, or why it has no bound.

    `open_ended` says that no `max_tokens` bounds its answers.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self.priced = pricing.cost(costmap.facts(side.model), Usage(1, 1)) is not None
        self.most: float | str = 0.0
        self.open_ended = False
        self._calls = self._kept = self._open_ended = 0
        self._cost = 0.0
        self._unknown: dict[str, int] = {}

    def add(self, rounds: int, *, kept: bool) -> None:
        if kept:
            self._kept += rounds
            return
        self._calls += rounds
        self._open_ended += rounds * self.open_ended
        if isinstance(self.most, str):
            self._unknown[self.most] = self._unknown.get(self.most, 0) + rounds
        else:
            self._cost += self.most

    def reckoned(self) -> Reckoned:
        return Reckoned(
            self.side.model, self._calls, self._kept, self._cost, self._unknown, self.priced, self._open_ended
        )


def _most(case: Case, side: Side) -> float | str:
    """Return what asking a case once costs at most in US dollars, or why that has no bound."""
    request = request_of(case, side, [])
    facts = costmap.facts(side.model)
    answer = longest_answer(request.params) or facts.max_output_tokens
    if answer is None:
        return "no max_tokens bounds its answers"
    several = request.params.get("n")
    written = answer * several if isinstance(several, int) and several > 1 else answer
    frame = json.dumps([request.system, request.asked()], ensure_ascii=False, default=dict)
    sent = FRAME_TOKENS + _bytes(frame)
    total = 0.0
    called: Sequence[Mapping[str, Any]] | None = ()
    for one in case.rounds:
        messages = [*one.messages, *([one.answer] if one.answer is not None else [])]
        try:
            sent += sum(_image(side.model, part) for part in attachments(messages))
        except ValueError as error:
            return str(error)
        text = json.dumps(
            [*map(without_attachments, messages), *_results(one, called, request)], ensure_ascii=False, default=dict
        )
        sent += _bytes(text)
        if one.answer is not None:
            called = one.answer.get("tool_calls") or ()
            continue
        total += _price(facts, min(sent, facts.max_input_tokens or sent), written, cached=_CACHED in frame)
        sent += answer
        called = None
    return total


def _results(
    one: Round, called: Sequence[Mapping[str, Any]] | None, request: ChatRequest
) -> Sequence[Mapping[str, Any]]:
    """Return the results that are sent: of known calls theirs; of calls that are not known yet, the longest ones."""
    if called is not None:
        return results_of(one, called)
    if not request.asked().get("tools"):
        return []
    calls = ({"id": _ID, "function": {"name": name}} for name in [*(one.tool_results or ()), ""])
    return max((results_of(one, [call]) for call in calls), key=lambda found: len(str(found))) * CALLS


def _price(facts: costmap.ModelFacts, sent: int, written: int, *, cached: bool) -> float:
    """Return the dearest price of a call; where a cache is told to keep the prompt, with that."""
    usages = [Usage(sent, written), Usage(sent, written, reasoning_tokens=written)]
    if cached:
        usages += [Usage(sent, written, cache_write_tokens=sent)]
        usages += [Usage(sent, written, cache_write_tokens=sent, cache_write_1h_tokens=sent)]
    return max(price for usage in usages if (price := pricing.cost(facts, usage)) is not None)


def _image(model: str, part: Mapping[str, Any]) -> int:
    """Return an image's tokens where they are published; ValueError where nothing bounds them beforehand."""
    provider, _, name = model.rpartition("/")
    if provider not in ("", "openai"):
        raise ValueError("its tokens for images and files are not known before it counts them")
    return image_tokens(name, part)


def _sends_results_on(case: Case, side: Side) -> bool:
    """Tell whether a round follows on an answer that may call tools."""
    return bool(request_of(case, side, []).asked().get("tools")) and any(one.answer is None for one in case.rounds[:-1])


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
