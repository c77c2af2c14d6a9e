"""Recorded requests of users, as `routing/samples.py` writes them, as cases; each request once, with its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmmigrate.models import ToolCall
from llmmigrate.regression.chat_requests import Leave, asked_of, last_user_text, messages_of, unfit
from llmmigrate.regression.given import Given
from llmmigrate.regression.suite_model import MAX_CASES
from llmmigrate.regression.writing import Ids, Imported, LeftOuts, with_defaults
from llmmigrate.store.telemetry import Sample

CUT_AT = 64 * 1024
"""Characters at which a recorded text is cut (`routing/samples.py`); redaction changes a few more."""
_NEAR = CUT_AT - 2048


@dataclass(frozen=True, slots=True)
class Captured:
    """One request of users: what it asks as the keys of a case, its input type, and the answers it was given."""

    asks: Mapping[str, Any]
    input_type: str
    answers: tuple[Given, ...]

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        return list(self.asks.get("tools", ()))

    @property
    def text(self) -> str:
        """The last words of the user."""
        return last_user_text(messages_of(self.asks))


def captured(samples: Sequence[Sample], *, arm: str | None = "control") -> tuple[list[Captured], LeftOuts]:
    """Return the different requests of samples with the answers of one arm, and what could not be taken.

    None takes the answers of every arm. The order is that of the samples.
    """
    left = LeftOuts()
    found: dict[str, tuple[dict[str, Any], str, list[Given]]] = {}
    for sample in samples:
        if arm is not None and sample.arm != arm:
            continue

        def leave(what: str, where: str = f"sample {sample.id[:8]}") -> None:
            left(where, what)

        try:
            asks = _asks(sample, leave)
            answer = _answer(sample)
        except (json.JSONDecodeError, TypeError, KeyError, AttributeError, RecursionError):
            leave("a sample: it is not as routers write them")
            continue
        except ValueError as error:
            leave(f"a sample: {str(error).splitlines()[0]}")
            continue
        key = json.dumps([sample.input_type, asks], sort_keys=True)
        found.setdefault(key, (asks, sample.input_type, []))[2].append(answer)
    return [Captured(asks, kind, tuple(answers)) for asks, kind, answers in found.values()], left


def import_samples(samples: Sequence[Sample], *, arm: str | None = "control") -> Imported:
    """Return each recorded request as a case that asserts nothing: for the comparison of both models alone."""
    requests, left = captured(samples, arm=arm)
    ids = Ids()
    cases = [case_of(one, ids) for one in requests[:MAX_CASES]]
    if len(requests) > MAX_CASES:
        left("samples", f"{len(requests) - MAX_CASES:,} requests: a suite has at most {MAX_CASES:,} cases")
    return Imported(with_defaults(cases), left.all())


def case_of(request: Captured, ids: Ids, **more: Any) -> dict[str, Any]:
    """Return a request as a case, with an id from its input type and words."""
    words = " ".join(request.text.split()[:8])
    kind = {"input_type": request.input_type} if request.input_type else {}
    return {"id": ids.of(f"{request.input_type} {words}"), **kind, **request.asks, **more}


def _asks(sample: Sample, leave: Leave) -> dict[str, Any]:
    request = json.loads(sample.request)
    if any(len(text) >= _NEAR for text in _texts(request)):
        raise ValueError("a text of it is so long that it may have been cut")
    if request.get("system") is not None:
        leave("the system prompt of the endpoint: it moves with its model")
    asks = asked_of({key: value for key, value in request.items() if key != "system"}, leave)
    wrong = unfit({"id": "a", **asks})
    if wrong is not None:
        raise ValueError(wrong)
    return asks


def _answer(sample: Sample) -> Given:
    answer, facts = json.loads(sample.response), json.loads(sample.facts)
    calls = [
        ToolCall(f"call_{number}", str(name), str(text)) for number, (name, text) in enumerate(answer["tool_calls"])
    ]
    if any(len(text) >= _NEAR for text in (answer["text"], *(call.arguments for call in calls))):
        raise ValueError("its answer is so long that it may have been cut")
    latency = facts.get("latency_s")
    return Given(
        text=answer["text"],
        tool_calls=tuple(calls),
        finish_reason=answer["finish_reason"],
        latency_s=latency if isinstance(latency, (int, float)) else None,
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _texts(item)]
