"""A first suite from recorded requests: different cases of each input type, with what holds of the answers on record.

It is a proposal. What it asserts was true of the answers that were recorded, which says neither that they were right
nor that it matters: a person reads every case, takes out what does not matter, and adds what would hurt.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llmmigrate.patterns import Undecided
from llmmigrate.regression.assertion_model import Assertion
from llmmigrate.regression.assertions import evaluate
from llmmigrate.regression.captured import Captured, captured, case_of
from llmmigrate.regression.equivalence_power import DEFAULT_CASES
from llmmigrate.regression.given import NO_HOOKS, Given, Hooks
from llmmigrate.regression.inferring import inferred, shape
from llmmigrate.regression.json_answers import embedded_json, read_json
from llmmigrate.regression.writing import Ids, Imported, LeftOut, with_defaults
from llmmigrate.store.telemetry import Sample

POOL = 500
"""Requests of one input type that are chosen from; as many as there are to be cases, where those are more."""

_ASSERTION: TypeAdapter[Assertion] = TypeAdapter(Assertion)
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_NO_WORDS = frozenset({"the", "a", "an", "of", "to", "and", "in", "is", "for", "on", "my", "i", "it", "you"})


@dataclass(frozen=True, slots=True)
class Drafted(Imported):
    """A draft; `requests` are the different ones that it was chosen from."""

    requests: int


def draft(
    samples: Sequence[Sample], *, arm: str | None = "control", most: int = DEFAULT_CASES, hooks: Hooks = NO_HOOKS
) -> Drafted:
    """Return a suite of at most `most` cases, as many of each input type, from samples with the answers of one arm.

    `hooks` tell languages and refusals; without them nothing is proposed about either. Calls the hooks alone.
    """
    requests, left = captured(samples, arm=arm)
    by_type: dict[str, list[Captured]] = {}
    for request in requests:
        by_type.setdefault(request.input_type, []).append(request)
    pools = [some[: max(POOL, most)] for some in by_type.values()]
    chosen = list(islice(_in_turn([diverse(pool) for pool in pools]), most))
    taken = set(map(id, chosen))
    ids = Ids()
    cases = []
    for some in by_type.values():
        for request in some:
            if id(request) in taken:
                kind, assertions = proposed(request, some, hooks)
                more = {"kind": kind, **({"assert": assertions} if assertions else {})}
                cases.append(case_of(request, ids, **more))
    not_taken = _not_taken(requests, pools, len(cases), most)
    return Drafted(with_defaults(cases), (*not_taken, *left.all()), len(requests))


def _not_taken(
    requests: Sequence[Captured], pools: Sequence[Sequence[Captured]], cases: int, most: int
) -> Iterator[LeftOut]:
    """Say how many requests became no case, and why."""
    beyond = len(requests) - sum(map(len, pools))
    rest = len(requests) - cases
    reasons = {f"the suite has the {most:,} cases that it may have": rest}
    if cases < most:
        reasons = {
            "the user's last words are those of another one, but for figures and order": rest - beyond,
            f"no more than {max(POOL, most):,} of one input type are looked at": beyond,
        }
    for words, number in reasons.items():
        if number:
            yield LeftOut("requests", f"{number:,} of {len(requests):,}: {words}")


def _in_turn(ways: Sequence[Iterator[Captured]]) -> Iterator[Captured]:
    """Yield one of each in turn, until none has any left."""
    waiting = deque(ways)
    while waiting:
        one = next(waiting[0], None)
        if one is None:
            waiting.popleft()
        else:
            yield one
            waiting.rotate(-1)


def drafted_text(samples: Sequence[Sample], made: Imported) -> str:
    """Return a draft as YAML below words that say what it is; raises ValueError where it cannot be written."""
    return made.text(
        f"Drafted from {len(samples):,} recorded answers: a proposal.",
        "Each assertion held of every answer on record to its case, which does not show that it matters.",
        "Read every case; take out what does not matter, and add what would hurt.",
    )


def diverse(requests: Sequence[Captured]) -> Iterator[Captured]:
    """Yield requests that differ: the one asked most often, then always the one least like those before (k-centre)."""
    marks = [_marks(request) for request in requests]
    nearest = [math.inf] * len(requests)
    chosen = max(range(len(requests)), key=lambda number: len(requests[number].answers), default=0)
    while any(nearest):
        yield requests[chosen]
        nearest = [min(near, _distance(mark, marks[chosen])) for near, mark in zip(nearest, marks, strict=True)]
        chosen = max(range(len(requests)), key=lambda number: nearest[number])


def _marks(request: Captured) -> frozenset[str]:
    """Return what a request is told from others by: its words, its length, and the form of its answers."""
    words = {_DIGITS.sub("#", word.lower()) for word in _WORD.findall(request.text[:4000])} - _NO_WORDS
    forms = {f"~tool {call.name}" for answer in request.answers for call in answer.tool_calls}
    forms |= {f"~{_form(answer)}" for answer in request.answers}
    return frozenset(words | forms | {f"~length {int(math.log2(len(request.text) + 1))}"})


def _distance(one: frozenset[str], other: frozenset[str]) -> float:
    return 1 - len(one & other) / len(one | other)


def _form(answer: Given) -> str:
    value = _data(answer)
    return f"json {shape(value[0])}" if value is not None else "calls" if answer.tool_calls else "text"


def _data(answer: Given) -> tuple[Any, bool] | None:
    """Return the object or list that an answer is, and whether other text stands around it; None where it is none."""
    for read, embedded in ((read_json, False), (embedded_json, True)):
        try:
            value = read(answer.text)
        except (ValueError, Undecided):
            continue
        if isinstance(value, (dict, list)) and (not embedded or "```" in answer.text):
            return value, embedded
    return None


def proposed(request: Captured, peers: Sequence[Captured], hooks: Hooks) -> tuple[str, list[dict[str, Any]]]:
    """Return the kind of a case, and assertions that hold of every answer on record to it."""
    answers = request.answers
    data = [_data(answer) for answer in answers]
    if all(one is not None for one in data):
        kind, ideas = "format", _about_json(request, peers)
    elif all(answer.tool_calls for answer in answers):
        kind, ideas = "format", list(_about_calls(request))
    else:
        kind, ideas = "invariant", list(_about_text(request, hooks))
    declined = {hooks.declined(answer) for answer in answers} if hooks.declined is not None else {None}
    if declined == {True}:
        kind, ideas = "refusal", [{"refusal": "expected"}]
    elif declined == {False}:
        ideas.append({"refusal": "unexpected"})
    reasons = {answer.finish_reason for answer in answers}
    if len(reasons) == 1 and reasons <= {"stop", "tool_calls"}:
        ideas.append({"finish_reason": reasons.pop()})
    return kind, [idea for idea in ideas if _holds(idea, request, hooks)]


def _holds(idea: dict[str, Any], request: Captured, hooks: Hooks) -> bool:
    try:
        assertion = _ASSERTION.validate_python(idea)
    except ValidationError:
        return False
    outcomes = [evaluate(assertion, answer, tools=request.tools, hooks=hooks) for answer in request.answers]
    return bool(outcomes) and all(outcome.verdict == "pass" for outcome in outcomes)


def _about_json(request: Captured, peers: Sequence[Captured]) -> list[dict[str, Any]]:
    """Propose the schema of all answers of this shape to requests of this input type."""
    own = [found for found in map(_data, request.answers) if found is not None]
    shapes = {shape(value) for value, _ in own}
    alike = [found[0] for peer in peers for found in map(_data, peer.answers) if found and shape(found[0]) in shapes]
    embedded = {"embedded": True} if any(inside for _, inside in own) else {}
    return [{"json_schema": inferred(alike), **embedded}]


def _about_calls(request: Captured) -> Iterator[dict[str, Any]]:
    """Propose the tools that are called, and the arguments that the user's own words say."""
    names = {frozenset(call.name for call in answer.tool_calls) for answer in request.answers}
    if len(names) == 1:
        yield {"tools_called": sorted(next(iter(names)))}
    yield {"tools_valid": True}
    seen = [call for answer in request.answers for call in answer.tool_calls]
    for call in {call.name: call for call in seen}.values():
        grounded = _grounded(call.arguments, request.text)
        if grounded:
            yield {"tool_call": {"name": call.name, "arguments": grounded, "extra": True}}


def _grounded(arguments: str, text: str) -> dict[str, Any]:
    """Return the arguments whose values stand in a text, word for word."""
    try:
        data = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    words = data.items() if isinstance(data, dict) else ()
    return {
        name: value
        for name, value in words
        if isinstance(value, (str, int, float))
        and not isinstance(value, bool)
        and len(str(value)) > 1
        and re.search(rf"(?<![\w-]){re.escape(str(value))}(?![\w-])", text)
    }


def _about_text(request: Captured, hooks: Hooks) -> Iterator[dict[str, Any]]:
    """Propose what prose has in common: a range of lengths, a language, that no tool is called."""
    if request.tools:
        yield {"no_tool_call": True}
    counts = [len(answer.text.split()) for answer in request.answers]
    if min(counts, default=0) >= 1:
        yield {"length": {"words": {"min": max(1, min(counts) // 2), "max": max(10, 2 * max(counts))}}}
    if hooks.language is not None:
        languages = {hooks.language(answer.text) for answer in request.answers}
        if len(languages) == 1 and None not in languages:
            yield {"language": languages.pop()}
