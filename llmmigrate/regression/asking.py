"""Asking a case: its rounds in order, each answer carried into the next, and what is sent the same for both models.

A failed call is no answer. Where its cause is no model's (a rate limit, a timeout) nothing is known of the case; where
the model or its provider refuses the request itself, that is what users would get.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, Completion, ModelClient
from llmmigrate.regression.assertions import Hooks, Outcome, evaluate
from llmmigrate.regression.cases import Case, Round
from llmmigrate.regression.given import Given

if TYPE_CHECKING:
    from llmmigrate.document import Limits

NOT_FOUND = "not_found"
"""What a suite calls status 404: there is no such model, or not for this account."""

OF_NO_MODEL = frozenset(
    {"rate_limit", "overloaded", "timeout", "connection", "auth", "malformed", "unknown", NOT_FOUND}
)
"""Error classes that say nothing of how a model answers."""

TIMEOUT_S = 120.0
_NO_RESULT = '{"error": "the suite has no result of this tool"}'


@dataclass(frozen=True, slots=True)
class Side:
    """A model as it is asked: with its parameters and prompt, which win over a case's own, as in a router.

    `limits` are what the account may ask of it a minute; no answer depends on them.
    """

    model: str
    params: Mapping[str, Any]
    api_base: str | None = None
    system: str | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class RoundAnswer:
    """What came of a round that was asked: an answer, or the class of the error; and what must hold of it."""

    round: int
    given: Given | None
    error: str | None = None
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        plain = None
        if self.given is not None:
            plain = {name: getattr(self.given, name) for name in Given.__slots__}
            plain["tool_calls"] = [[call.id, call.name, call.arguments] for call in self.given.tool_calls]
        return {"round": self.round, "given": plain, "error": self.error, "detail": self.detail}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundAnswer:
        """Read what `to_json` gave; ValueError, KeyError or TypeError for anything else."""
        from llmmigrate.models import ToolCall

        plain = data["given"]
        given = None
        if plain is not None:
            given = Given(**{**plain, "tool_calls": tuple(ToolCall(*call) for call in plain["tool_calls"])})
        return cls(int(data["round"]), given, data["error"], str(data["detail"]))


def asked_rounds(case: Case) -> int:
    """Return how many answers a case asks for."""
    return sum(one.answer is None for one in case.rounds)


def first_messages(case: Case) -> list[Mapping[str, Any]]:
    """Return the messages of the first answer that a case asks for: all of its history that is fixed."""
    messages: list[Mapping[str, Any]] = []
    called: Sequence[Mapping[str, Any]] = ()
    for one in case.rounds:
        messages += [*results_of(one, called), *one.messages]
        if one.answer is None:
            break
        messages.append(one.answer)
        called = one.answer.get("tool_calls") or ()
    return messages


def answer_key(case: Case, side: Side, run: str, repetition: int) -> str:
    """Return under which key the answers to a case are kept: the SHA-256 of all that they depend on.

    `run` is target, control or again: a model is asked anew for each, so that its noise is its own.
    """
    content = {
        "model": side.model,
        "params": dict(side.params),
        "api_base": side.api_base,
        "system": side.system if case.system is None else case.system,
        "case": {
            "params": dict(case.params),
            "tools": list(case.tools),
            "tool_choice": case.tool_choice,
            "response_format": case.response_format,
            "rounds": [[list(one.messages), one.tool_results, one.answer] for one in case.rounds],
        },
        "run": run,
        "repetition": repetition,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def ask(client: ModelClient, case: Case, side: Side, *, timeout_s: float = TIMEOUT_S) -> list[RoundAnswer]:
    """Ask a case of a model; the rounds after a failed one are not asked. Raises nothing but what a client's bug does.

    A tool that was called and for which the case has no result gets a result that says so.
    """
    messages: list[Mapping[str, Any]] = []
    answers: list[RoundAnswer] = []
    called: Sequence[Mapping[str, Any]] = ()
    for number, one in enumerate(case.rounds):
        messages += [*results_of(one, called), *one.messages]
        if one.answer is not None:
            messages.append(one.answer)
            called = one.answer.get("tool_calls") or ()
            continue
        try:
            completion = await client.complete(request_of(case, side, messages, timeout_s=timeout_s))
        except ModelError as error:
            if error.error_class == "content_filter":
                answers.append(RoundAnswer(number, Given("", finish_reason="content_filter", refusal=error.message)))
            else:
                kind = NOT_FOUND if error.status == HTTPStatus.NOT_FOUND else error.error_class
                answers.append(RoundAnswer(number, None, kind, error.message))
            break
        answers.append(RoundAnswer(number, Given.of(completion)))
        message = _as_message(completion)
        messages.append(message)
        called = message.get("tool_calls") or ()
    return answers


def request_of(
    case: Case, side: Side, messages: Sequence[Mapping[str, Any]], *, timeout_s: float | None = None
) -> ChatRequest:
    """Return the request of a case for a model, as an application behind a router would make it."""
    params = {**case.params, **side.params}
    moved = params.pop("response_format") if side.params.get("response_format") else None
    return ChatRequest(
        model=side.model,
        messages=list(messages),
        params=params,
        tools=case.tools,
        tool_choice=case.tool_choice,
        response_format=moved or case.response_format,
        system=side.system if case.system is None else case.system,
        api_base=side.api_base,
        timeout_s=timeout_s,
    )


def judged(case: Case, answers: Sequence[RoundAnswer], *, hooks: Hooks) -> list[tuple[str, Outcome | None]]:
    """Hold a case's assertions against its answers: (where, outcome), None where an error of no model came instead.

    A request that the model's side refuses fails everything that was to hold of its answer.
    """
    by_round = {answer.round: answer for answer in answers}
    failed = next((answer for answer in answers if answer.given is None), None)
    found: list[tuple[str, Outcome | None]] = []
    for number, one in enumerate(case.rounds):
        for index, assertion in enumerate(one.assertions):
            where = f"{number + 1}.{index + 1}"
            answer = by_round.get(number)
            if answer is not None and answer.given is not None:
                found.append((where, evaluate(assertion, answer.given, tools=case.tools, hooks=hooks)))
            elif failed is None or failed.error in OF_NO_MODEL:
                found.append((where, None))
            else:
                words = f"expected an answer; the request was refused: {failed.error}: {failed.detail}"
                found.append((where, Outcome("fail", "answer", words)))
    return found


def results_of(one: Round, called: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the messages that answer the calls of the round before; a tool without a result gets one that says so."""
    if not called:
        return []
    known = one.tool_results or {}
    found: list[Mapping[str, Any]] = []
    for call in called:
        name = call["function"]["name"]
        result = known.get(name, _NO_RESULT)
        content = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=dict)
        found.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return found


def _as_message(completion: Completion) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.text or None}
    if completion.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in completion.tool_calls
        ]
    elif not completion.text:
        message["content"] = ""
    return message
