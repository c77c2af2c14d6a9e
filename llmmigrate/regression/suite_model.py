"""The regression suite as it is written. Unknown keys are refused, never ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from llmmigrate.document.model import Day, File, Text
from llmmigrate.regression.assertion_model import AlsoWritten, Assertion, FileRef, Strict, TextOrFile, by_shape

MAX_REPETITIONS = 100
MAX_CASES = 5000

Kind = Literal["format", "invariant", "refusal", "failure"]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Var = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
InputType = Annotated[str, Field(min_length=1, max_length=64)]
Repetitions = Annotated[int, Field(ge=1, le=MAX_REPETITIONS)]


class Function(Strict):
    """A function that a model may call; `parameters` is a JSON Schema."""

    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """A tool as OpenAI's chat completions write it."""

    type: Literal["function"]
    function: Function


def _shape_of_tool(value: object) -> str:
    whole = isinstance(value, Tool) or (isinstance(value, dict) and "function" in value)
    return "~tool" if whole else "~function"


WrittenTool = Annotated[
    Annotated[Tool, Tag("~tool")] | Annotated[Function, Tag("~function")], Discriminator(_shape_of_tool)
]
"""A tool in OpenAI's shape, or the function alone."""

Tools = Annotated[
    Annotated[list[WrittenTool], Tag("~inline")] | Annotated[FileRef, Tag("~file")], Discriminator(by_shape)
]
Plain = Annotated[Annotated[dict[str, Any], Tag("~inline")] | Annotated[FileRef, Tag("~file")], Discriminator(by_shape)]


class ToolChoiceFunction(Strict):
    name: Text


class NamedTool(Strict):
    """The tool that must be called."""

    type: Literal["function"]
    function: ToolChoiceFunction


ToolChoice = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag("~word")] | Annotated[NamedTool, Tag("~named")],
    Discriminator(lambda value: "~word" if isinstance(value, str) else "~named"),
]


class CalledFunction(Strict):
    """What a call asks for; `arguments` is the text of a JSON object, as the provider gives it."""

    name: Text
    arguments: str


class Called(Strict):
    """A call that an earlier answer of the conversation made."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ImageAddress(Strict):
    url: Text
    detail: Literal["auto", "low", "high"] | None = None


class ImageUrlPart(Strict):
    """An image by its address, or by a data URL."""

    type: Literal["image_url"]
    image_url: ImageAddress


class ImagePart(Strict):
    """An image of the project, sent as a data URL."""

    type: Literal["image"]
    path: File
    detail: Literal["auto", "low", "high"] | None = None


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: dict[str, Any]


class FilePart(Strict):
    type: Literal["file"]
    file: dict[str, Any]


class RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str


_PARTS = ("text", "image_url", "image", "input_audio", "file", "refusal")


def _part_tag(value: object) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"~{kind}" if kind in _PARTS else None


Part = Annotated[
    Annotated[TextPart, Tag("~text")]
    | Annotated[ImageUrlPart, Tag("~image_url")]
    | Annotated[ImagePart, Tag("~image")]
    | Annotated[AudioPart, Tag("~input_audio")]
    | Annotated[FilePart, Tag("~file")]
    | Annotated[RefusalPart, Tag("~refusal")],
    Discriminator(
        _part_tag,
        custom_error_type="part",
        custom_error_message=f"a part of a message has a type: one of {', '.join(_PARTS)}",
    ),
]
Content = Annotated[
    Annotated[str, Tag("~text")] | Annotated[list[Part], Field(min_length=1), Tag("~parts")],
    Discriminator(lambda value: "~parts" if isinstance(value, list) else "~text"),
]


class Message(Strict):
    """A message of OpenAI's chat completions."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Text | None = None
    tool_calls: list[Called] | None = Field(default=None, min_length=1)
    tool_call_id: Text | None = None
    refusal: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Message:
        if self.role != "assistant" and (self.tool_calls is not None or self.refusal is not None):
            raise ValueError(f"a message of role {self.role} has no tool_calls and no refusal")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("a message of role tool says which call it answers (tool_call_id), and no other does")
        if self.content is None and not (self.role == "assistant" and (self.tool_calls or self.refusal)):
            raise ValueError("has no content")
        return self


def _as_assistant(value: object) -> object:
    return {"role": "assistant", "content": value} if isinstance(value, str) else value


def _assistant(message: Message) -> Message:
    if message.role != "assistant":
        raise ValueError("the fixed answer of a turn has the role assistant")
    return message


FixedAnswer = Annotated[Message, BeforeValidator(_as_assistant), AfterValidator(_assistant), AlsoWritten(type="string")]


class Turn(Strict):
    """A turn of a conversation: what is sent, then an answer: asked of the model, or fixed by `assistant`.

    `tool_results` answer the calls of the turn before, by the name of the tool: what a tool would have returned.
    `assert` is about this turn's answer.
    """

    user: Content | None = None
    images: list[File] = Field(default_factory=list)
    messages: list[Message] | None = Field(default=None, min_length=1)
    tool_results: dict[Text, Any] | None = Field(default=None, min_length=1)
    assistant: FixedAnswer | None = None
    assert_: list[Assertion] = Field(default_factory=list, alias="assert")

    @model_validator(mode="after")
    def _one(self) -> Turn:
        if sum(sent is not None for sent in (self.user, self.messages, self.tool_results)) != 1:
            raise ValueError("a turn sends exactly one of user, messages, tool_results")
        if self.images and self.user is None:
            raise ValueError("images go with user")
        if self.assistant is not None and self.assert_:
            raise ValueError("a fixed answer is not asserted about")
        return self


class Incident(Strict):
    """Where a known failure was seen."""

    id: Text
    date: Day | None = None


_NO_PARAMETERS = {"model", "messages", "tools", "tool_choice", "response_format", "stream", "n"}


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    wrong = sorted(value.keys() & _NO_PARAMETERS)
    if wrong:
        raise ValueError(f"{wrong[0]} is no parameter of a suite: it has its own key, or is decided by the run")
    return value


class Asked(Strict):
    """What is asked beside the messages. In `defaults` it holds for every case that does not say it.

    Left out, the prompt and the parameters are those of the endpoint that is tested: they move with its model.
    """

    system: TextOrFile | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    response_format: Plain | None = None
    params: Annotated[dict[str, Any], AfterValidator(_parameters)] = Field(default_factory=dict)
    vars: dict[Var, Any] = Field(default_factory=dict)
    repetitions: Repetitions | None = None
    assert_: list[Assertion] = Field(default_factory=list, alias="assert")


class Defaults(Asked):
    """What holds for every case; its assertions stand before those of the case, and are about the last answer."""


class WrittenCase(Asked):
    """One case: a request, or a conversation, and what must hold of the answer."""

    id: Id
    description: Text | None = None
    kind: Kind = "invariant"
    input_type: InputType | None = None
    tags: list[Text] = Field(default_factory=list)
    incident: Incident | None = None
    input: Text | None = None
    images: list[File] = Field(default_factory=list)
    messages: list[Message] | None = Field(default=None, min_length=1)
    turns: list[Turn] | None = Field(default=None, min_length=1, max_length=50)

    @model_validator(mode="after")
    def _whole(self) -> WrittenCase:
        if sum(sent is not None for sent in (self.input, self.messages, self.turns)) != 1:
            raise ValueError("a case sends exactly one of input, messages, turns")
        if self.images and self.input is None:
            raise ValueError("images go with input; in messages, write parts of type image")
        if self.turns is not None and self.assert_:
            raise ValueError("in a case with turns, assertions stand in the turns")
        if self.turns is not None and self.turns[-1].assistant is not None:
            raise ValueError("the last turn asks the model: it has no fixed answer")
        if self.turns is not None and self.turns[0].tool_results is not None:
            raise ValueError("the first turn has no calls before it that tool_results could answer")
        if self.kind == "failure" and self.incident is None:
            raise ValueError("a known failure names its incident: incident: {id: …, date: …}")
        return self


class NotWatched(Strict):
    """Why something that is watched of every answer does not matter here."""

    waived: Text


class WrittenSuite(Strict):
    """A regression suite: what an application depends on, said as cases.

    `watch` takes out, with a reason, what is otherwise watched of every answer, whatever cases assert.
    """

    name: Text | None = None
    description: Text | None = None
    watch: dict[Literal["form", "keys", "values", "language", "declining"], NotWatched] = Field(default_factory=dict)
    defaults: Defaults = Field(default_factory=Defaults)
    cases: list[WrittenCase] = Field(min_length=1, max_length=MAX_CASES)
