"""What a rule looks at: one way of a migration, and one request as the model at its end would be asked it.

A migration has two ways: there, to the target, and back, to the current model, which must work too. Requests have
OpenAI's form; a document's parameters win over theirs, and its prompt takes the place of theirs, as a router does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import orjson

from llmmigrate.document import Document
from llmmigrate.models.anything import items, mapping
from llmmigrate.models.base import SYSTEM_ROLES, ChatRequest
from llmmigrate.models.providers import is_openai
from llmmigrate.models.tools import dialect_of
from llmmigrate.preflight.capability import entry_of
from llmmigrate.preflight.finding import Direction, RuleInfo, Severity

if TYPE_CHECKING:
    from llmmigrate.document import Limits

Path = tuple[str | int, ...]
Side = Literal["current", "target"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands: file and line, counted from 1, and the name that it has there."""

    file: str
    line: int = 1
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an application makes it, before a document's parameters and prompt; and where it stands.

    `response` is what was captured beside it, in whatever form.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    place: Place = Place("")
    response: Any = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no request, and why."""

    place: Place
    words: str
    column: int = 1


@dataclass(frozen=True)
class Model:
    """One side of a document: a model with what moves with it, and the limits that are declared of the account."""

    name: str
    side: Side
    params: Mapping[str, Any]
    system: str | None
    api_base: str | None
    limits: Limits | None = None

    @cached_property
    def dialect(self) -> str:
        """Whose rules it follows (`models.tools.DIALECTS`); "other" where they are not known."""
        dialect = dialect_of(self.name)
        foreign = self.api_base is not None and not is_openai(self.api_base)
        return "other" if dialect == "openai" and self.provider != "azure" and foreign else dialect

    @cached_property
    def provider(self) -> str:
        provider, slash, _ = self.name.partition("/")
        return provider if slash else str(mapping(self.entry).get("litellm_provider") or "")

    @cached_property
    def bare(self) -> str:
        """The provider's own name, without what stands before the last slash, in lower case."""
        return self.name.rpartition("/")[2].lower()

    @cached_property
    def entry(self) -> Mapping[str, Any] | None:
        """What the cost map has of it, None where it does not have it."""
        return entry_of(self.name)

    @property
    def is_claude(self) -> bool:
        return self.dialect in {"anthropic", "bedrock"} and "claude" in self.bare

    def flag(self, key: str) -> bool | None:
        """Return what the cost map says, None where it says nothing."""
        value = mapping(self.entry).get(key)
        return value if isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        value = mapping(self.entry).get(key)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a migration: from the model that answered before to the one that answers then.

    `per_second` is the traffic of the route in requests/s, None where nobody said.
    """

    direction: Literal["there", "back"]
    before: Model
    to: Model
    document: Document
    per_second: float | None = None


def ways(document: Document, *, per_second: float | None = None) -> tuple[Way, Way]:
    """Return both ways of a document: there, and back."""
    current, target = (_model(document, "current"), _model(document, "target"))
    return Way("there", current, target, document, per_second), Way("back", target, current, document, per_second)


def _model(document: Document, side: Side) -> Model:
    endpoint = getattr(document.migration, side)
    return Model(endpoint.model, side, endpoint.params, document.system(side), endpoint.api_base, endpoint.limits)


class Case:
    """One request on one way; without a request, what the document alone makes of every request."""

    def __init__(self, way: Way, asked: Asked | None = None) -> None:
        self.way = way
        self.asked = asked
        own = asked or Asked(())
        moved = way.to.params.get("response_format")
        request = ChatRequest(
            model=way.to.name,
            messages=own.messages,
            params={**own.params, **way.to.params},
            tools=own.tools,
            tool_choice=own.tool_choice,
            response_format=moved or own.response_format,
            system=way.to.system,
        )
        self.params: dict[str, Any] = request.asked()
        self.messages: list[Mapping[str, Any]] = request.sent_messages()
        self.leading = 0
        if way.to.system is not None:
            roles = [message.get("role") in SYSTEM_ROLES for message in own.messages]
            self.leading = roles.index(False) if False in roles else len(roles)

    @property
    def to(self) -> Model:
        return self.way.to

    @cached_property
    def tools(self) -> list[Any]:
        return items(self.params.get("tools"))

    @cached_property
    def tools_text(self) -> bytes:
        """The tools as JSON: requests of a route offer the same ones, and what is known of a text is kept."""
        return orjson.dumps(self.tools, default=dict) if self.tools else b"[]"

    def given(self, name: str) -> Any:
        """Return a parameter that is set to something, None where it is not."""
        return self.params.get(name)

    @property
    def max_tokens(self) -> int | None:
        """How long the answer may be at most, None where nobody said."""
        return next((int(one) for one in map(self.given, MAX_TOKENS) if _is_count(one)), None)

    @property
    def effort(self) -> str | None:
        """The reasoning effort that is asked for, in either of its forms."""
        value = self.given("reasoning_effort")
        value = value.get("effort") if isinstance(value, Mapping) else value
        return value if isinstance(value, str) else None

    @property
    def forced(self) -> str | None:
        """Tell how a tool is forced: `required`, or `named`; None where none is."""
        choice = self.given("tool_choice")
        if isinstance(choice, Mapping):
            kind = choice.get("type")
            named = kind in ("function", "tool", "custom") or "function" in choice
            return "named" if named else "required" if kind in ("any", "required") else None
        return "required" if choice in ("required", "any") else None

    def in_document(self, name: str) -> bool:
        """Tell whether a parameter is the document's, and not the request's."""
        own = self.asked is not None and name in {"tools", "tool_choice"} and getattr(self.asked, name)
        return name in self.to.params and not own


MAX_TOKENS = ("max_completion_tokens", "max_tokens")


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**53


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule found: in words, and where.

    `at` begins with `params`, `messages`, `tools` (by the tool's name) or `limits`, or is `("model",)`; empty, it is
    the request. `severity` is the rule's own where it is None.
    """

    words: str
    at: Path = ()
    severity: Severity | None = None
    direction: Direction | None = None


def _never(_: object) -> Iterable[Hit]:
    return ()


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A fact as a rule: what it says, on which ways it can be broken, and two looks.

    `of_way` looks at a way once, `of_case` at every request, and at the document alone where there are none.
    """

    info: RuleInfo
    concerns: Callable[[Way], bool] = _always
    of_way: Callable[[Way], Iterable[Hit]] = _never
    of_case: Callable[[Case], Iterable[Hit]] = _never


def unknown(what: str, at: Path) -> Hit:
    """Say that the cost map does not have the model that a rule depends on."""
    return Hit(f"it is not known whether it takes {what}: the cost map does not have this model", at, "warning")
