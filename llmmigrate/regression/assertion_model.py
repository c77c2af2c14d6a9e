"""What a case asserts of an answer, as it is written: one key says what, others beside it say how.

Tags of unions begin with `~`, so that the place of an error can be told from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    WithJsonSchema,
    model_validator,
)

from llmmigrate.document.model import Duration, File, Money, Text
from llmmigrate.patterns import readable_pattern
from llmmigrate.regression.json_answers import path_steps
from llmmigrate.regression.language import NAMED
from llmmigrate.schemas import check_schema


class Strict(BaseModel):
    """Refuse unknown keys, and values of another type: "5" is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class FileRef(Strict):
    """A text that stands in a file, by its path inside the project."""

    file: File


def _as_text(value: object) -> object:
    """Read a number as the text of it: `contains: 42`."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _as_word(value: object) -> object:
    """Explain what YAML makes of a bare `no`."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this as true or false: put it in quotes")
    return value


def _told(value: str) -> str:
    if value not in NAMED:
        raise ValueError(f"{value!r:.20} is no language that is told of answers: {', '.join(sorted(NAMED))}")
    return value


def _as_range(value: object) -> object:
    """Read a bare number as exactly that many."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return {"min": value, "max": value} if number else value


def _path(value: str) -> str:
    path_steps(value)
    return value


def _checked_schema(value: dict[str, Any]) -> dict[str, Any]:
    check_schema(value)
    return value


class AlsoWritten:
    """Tell editors of another way to write a value."""

    def __init__(self, **schema: Any) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self._schema, handler(core)]}


def by_shape(value: object) -> str:
    """Tell a reference to a file from what stands in the suite itself."""
    file = isinstance(value, FileRef) or (isinstance(value, dict) and value.keys() == {"file"})
    return "~file" if file else "~inline"


Sought = Annotated[Text, BeforeValidator(_as_text), BeforeValidator(_as_word), AlsoWritten(type="number")]
SoughtList = Annotated[list[Sought], Field(min_length=1)]
Word = Annotated[Text, BeforeValidator(_as_word)]
Pattern = Annotated[str, AfterValidator(readable_pattern)]
JsonPath = Annotated[str, AfterValidator(_path)]
TextOrFile = Annotated[Annotated[Text, Tag("~inline")] | Annotated[FileRef, Tag("~file")], Discriminator(by_shape)]
"""A text, or the file that it stands in: `{file: prompts/support.md}`."""

SchemaOrFile = Annotated[
    Annotated[dict[str, Any], AfterValidator(_checked_schema), Tag("~inline")] | Annotated[FileRef, Tag("~file")],
    Discriminator(by_shape),
]


class Range(Strict):
    """From `min` to `max`, both included; one may be left out."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _some(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("say min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Count(Range):
    """A range of whole numbers; a bare number is exactly that many."""

    min: Annotated[int, Field(ge=0)] | None = None
    max: Annotated[int, Field(ge=0)] | None = None


CountOf = Annotated[Count, BeforeValidator(_as_range), AlsoWritten(type="integer", minimum=0)]


class _Assertion(Strict):
    """`label` names an assertion in reports."""

    label: Text | None = None


class Equals(_Assertion):
    """The answer is this text, to the character; or, where it is no text, JSON that is equal to it."""

    equals: Any


class Contains(_Assertion):
    contains: Sought


class IContains(_Assertion):
    icontains: Sought


class ContainsAny(_Assertion):
    contains_any: SoughtList


class ContainsAll(_Assertion):
    contains_all: SoughtList


class IContainsAny(_Assertion):
    icontains_any: SoughtList


class IContainsAll(_Assertion):
    icontains_all: SoughtList


class StartsWith(_Assertion):
    starts_with: Sought


class EndsWith(_Assertion):
    ends_with: Sought


class Regex(_Assertion):
    """The pattern is found somewhere in the answer; `(?i)` at its head ignores case, `^` and `$` are its ends."""

    regex: Pattern


class _OfJson(_Assertion):
    """`embedded` takes the first object or list that stands anywhere in the answer, such as in a code fence."""

    embedded: bool = False


class Json(_OfJson):
    """The answer is JSON: of any kind, an object, or a list."""

    json_: Literal["any", "object", "list"] = Field(alias="json")


class JsonSchema(_OfJson):
    """The answer is JSON that fits a JSON Schema (2020-12)."""

    json_schema: SchemaOrFile


class AtPath(_OfJson):
    """Every value that the path finds is as said, and it finds one; `exists: false` wants that it finds none."""

    json_path: JsonPath
    exists: bool | None = None
    equals: Any = None
    one_of: list[Any] | None = Field(default=None, min_length=1)
    contains: Sought | None = None
    regex: Pattern | None = None
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one(self) -> AtPath:
        given = self.model_fields_set - {"json_path", "label", "embedded"}
        empty = any(getattr(self, name) is None for name in given - {"equals"})
        if empty or (len(given) != 1 and given != {"min", "max"}):
            raise ValueError("beside json_path stands one of exists, equals, one_of, contains, regex, or min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Call(Strict):
    """A tool call that is expected.

    `arguments` are exact; `any_of` gives a list of acceptable values to an argument; those in `optional` may be left
    out; `extra` allows arguments that are not named here. `text: loose` compares texts without case, spaces and
    , . / - _ * ^.
    """

    name: Text
    arguments: dict[str, Any] = Field(default_factory=dict)
    any_of: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    optional: list[Text] = Field(default_factory=list)
    extra: bool = False
    text: Literal["exact", "loose"] = "exact"

    @model_validator(mode="after")
    def _known(self) -> Call:
        twice = self.arguments.keys() & self.any_of.keys()
        if twice:
            raise ValueError(f"{min(twice)} stands in both arguments and any_of")
        unknown = set(self.optional) - self.arguments.keys() - self.any_of.keys()
        if unknown:
            raise ValueError(f"optional names {min(unknown)}, whose values stand in neither arguments nor any_of")
        return self


class ToolCalled(_Assertion):
    """One of the calls is this one; others may stand beside it."""

    tool_call: Call


class ToolCalls(_Assertion):
    """The calls are these, each once, in any order unless `ordered`, and no others unless they are allowed."""

    tool_calls: list[Call] = Field(min_length=1)
    ordered: bool = False
    others: Literal["refused", "allowed"] = "refused"


class ToolsCalled(_Assertion):
    """The tools that are called, as a set of names; how often does not matter."""

    tools_called: list[Text] = Field(min_length=1)


class ToolsValid(_Assertion):
    """Every call names a tool that was offered, with arguments that fit its schema; there is at least one call."""

    tools_valid: Literal[True]


class NoToolCall(_Assertion):
    no_tool_call: Literal[True]


class ToolCallCount(_Assertion):
    tool_call_count: CountOf


class Length(Strict):
    """How long the text of an answer is. `tokens` are those that the provider counted, without reasoning."""

    chars: CountOf | None = None
    words: CountOf | None = None
    tokens: CountOf | None = None

    @model_validator(mode="after")
    def _some(self) -> Length:
        if self.chars is None and self.words is None and self.tokens is None:
            raise ValueError("say chars, words or tokens")
        return self


class LengthIs(_Assertion):
    length: Length


class Language(_Assertion):
    """The language of the answer, as an ISO 639-1 code: one of those that are told."""

    language: Annotated[
        str, BeforeValidator(_as_word), AfterValidator(_told), WithJsonSchema({"enum": sorted(NAMED), "type": "string"})
    ]


class Latency(_Assertion):
    """The whole call takes at most this long."""

    latency: Duration


class Cost(_Assertion):
    """The call costs at most this much."""

    cost: Money


class FinishReason(_Assertion):
    """Why the answer ended, in OpenAI's words: stop, length, tool_calls, content_filter; one of several."""

    finish_reason: Annotated[
        list[Literal["stop", "length", "tool_calls", "content_filter"]],
        Field(min_length=1),
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        AlsoWritten(type="string"),
    ]


class Refusal(_Assertion):
    """Whether the model is expected to decline."""

    refusal: Literal["expected", "unexpected"]


class Python(_Assertion):
    """A function of the project, called with the answer; it returns True, False, or (bool, why)."""

    python: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$")]


class Judge(_Assertion):
    """A rubric by which a judge grades the answer."""

    judge: TextOrFile


class Not(_Assertion):
    """The opposite; what cannot be evaluated stays undecided."""

    not_: Assertion = Field(alias="not")


class AllOf(_Assertion):
    all_of: list[Assertion] = Field(min_length=1)


class AnyOf(_Assertion):
    any_of: list[Assertion] = Field(min_length=1)


KINDS: dict[str, type[_Assertion]] = {
    "json_path": AtPath, "equals": Equals, "contains": Contains, "icontains": IContains, "contains_any": ContainsAny,
    "contains_all": ContainsAll, "icontains_any": IContainsAny, "icontains_all": IContainsAll,
    "starts_with": StartsWith, "ends_with": EndsWith, "regex": Regex, "json": Json, "json_schema": JsonSchema,
    "tool_call": ToolCalled, "tool_calls": ToolCalls, "tools_called": ToolsCalled, "tools_valid": ToolsValid,
    "no_tool_call": NoToolCall, "tool_call_count": ToolCallCount, "length": LengthIs, "language": Language,
    "latency": Latency, "cost": Cost, "finish_reason": FinishReason, "refusal": Refusal, "python": Python,
    "judge": Judge, "not": Not, "all_of": AllOf, "any_of": AnyOf,
}  # fmt: skip
"""The kinds of assertion by the key that each is written with."""


def kind_of(value: object) -> str | None:
    """Return the kind of a written or read assertion, None where it is of none or of several."""
    if isinstance(value, _Assertion):
        return next((name for name, model in KINDS.items() if type(value) is model), None)
    if not isinstance(value, dict):
        return None
    if "json_path" in value:
        return "json_path"
    kinds = [name for name in KINDS if name in value]
    return kinds[0] if len(kinds) == 1 else None


def _tag(value: object) -> str | None:
    kind = kind_of(value)
    return f"~{kind}" if kind is not None else None


Assertion = Annotated[
    Annotated[AtPath, Tag("~json_path")]
    | Annotated[Equals, Tag("~equals")]
    | Annotated[Contains, Tag("~contains")]
    | Annotated[IContains, Tag("~icontains")]
    | Annotated[ContainsAny, Tag("~contains_any")]
    | Annotated[ContainsAll, Tag("~contains_all")]
    | Annotated[IContainsAny, Tag("~icontains_any")]
    | Annotated[IContainsAll, Tag("~icontains_all")]
    | Annotated[StartsWith, Tag("~starts_with")]
    | Annotated[EndsWith, Tag("~ends_with")]
    | Annotated[Regex, Tag("~regex")]
    | Annotated[Json, Tag("~json")]
    | Annotated[JsonSchema, Tag("~json_schema")]
    | Annotated[ToolCalled, Tag("~tool_call")]
    | Annotated[ToolCalls, Tag("~tool_calls")]
    | Annotated[ToolsCalled, Tag("~tools_called")]
    | Annotated[ToolsValid, Tag("~tools_valid")]
    | Annotated[NoToolCall, Tag("~no_tool_call")]
    | Annotated[ToolCallCount, Tag("~tool_call_count")]
    | Annotated[LengthIs, Tag("~length")]
    | Annotated[Language, Tag("~language")]
    | Annotated[Latency, Tag("~latency")]
    | Annotated[Cost, Tag("~cost")]
    | Annotated[FinishReason, Tag("~finish_reason")]
    | Annotated[Refusal, Tag("~refusal")]
    | Annotated[Python, Tag("~python")]
    | Annotated[Judge, Tag("~judge")]
    | Annotated[Not, Tag("~not")]
    | Annotated[AllOf, Tag("~all_of")]
    | Annotated[AnyOf, Tag("~any_of")],
    Discriminator(
        _tag,
        custom_error_type="assertion",
        custom_error_message=f"an assertion says one thing, by one of these keys: {', '.join(sorted(KINDS))}",
    ),
]
