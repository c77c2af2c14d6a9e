"""A case of a regression suite, ready to be asked: files read, variables filled in, defaults applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmmigrate.regression.assertion_model import Assertion
from llmmigrate.regression.suite_model import Incident, Kind


@dataclass(frozen=True, slots=True)
class Round:
    """One exchange of a case: what is sent, the answer where it is fixed, and what must hold of the one asked for.

    `messages` are OpenAI-shaped. `tool_results` answer the calls of the round before, by tool.
    """

    messages: tuple[Mapping[str, Any], ...]
    tool_results: Mapping[str, Any] | None
    answer: Mapping[str, Any] | None
    assertions: tuple[Assertion, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One case, ready to be asked. `system` is None where the endpoint's own prompt is meant; `place` is its line.

    A case without assertions is asked for the comparison of both models alone; it never passes by itself.
    """

    id: str
    kind: Kind
    description: str | None
    input_type: str | None
    tags: tuple[str, ...]
    incident: Incident | None
    repetitions: int | None
    system: str | None
    params: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...]
    tool_choice: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    rounds: tuple[Round, ...]
    place: tuple[int, int]
