"""Answers: the form that is asked for, and how long they and their prompts may be (RF-01, CTX-01)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmmigrate.models.anything import mapping, strings
from llmmigrate.preflight.case import MAX_TOKENS, Case, Hit, Path, Rule, Way
from llmmigrate.preflight.finding import RuleInfo
from llmmigrate.preflight.toolbox import schemas

_LIMITS = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "minContains", "maxContains", "minProperties", "maxProperties",
}  # fmt: skip
_AT = ("params", "response_format")


def _forms(case: Case) -> Iterator[Hit]:
    asked = mapping(case.given("response_format"))
    kind, to = asked.get("type"), case.to
    if kind == "json_object":
        yield from _json_object(case)
    if kind != "json_schema" or to.dialect == "other":
        return
    wanted = mapping(asked.get("json_schema"))
    schema = mapping(wanted.get("schema"))
    if to.dialect == "openai":
        if to.entry is not None and to.flag("supports_response_schema") is not True:
            yield Hit("a JSON schema is refused with 400: the model has JSON mode at most", _AT)
        elif wanted.get("strict") is True:
            yield from _strict(schema)
    elif to.dialect == "anthropic":
        yield from _claude(case, schema)


def _json_object(case: Case) -> Iterator[Hit]:
    if case.to.dialect == "anthropic" and case.to.flag("supports_native_structured_output"):
        yield Hit("JSON mode without a schema is not sent: the answer may be any text", _AT, "warning")
    told = case.to.dialect != "openai" or case.asked is None
    if not told and not any("json" in text.lower() for text in _texts(case.messages)):
        yield Hit("JSON mode is refused with 400 where no message has the word JSON", _AT)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, Mapping):
        yield from _texts(value.get("content"))
        yield from _texts(value.get("text"))


def _strict(schema: Mapping[str, Any]) -> Iterator[Hit]:
    for path, part in schemas(schema, ("json_schema", "schema")):
        properties = mapping(part.get("properties"))
        if part.get("type") != "object" and not properties:
            continue
        if part.get("additionalProperties") is not False:
            yield Hit("a strict schema is refused with 400 without additionalProperties: false", (*_AT, *path))
        optional = sorted(set(properties) - set(strings(part.get("required"))))
        if optional:
            words = f"a strict schema is refused with 400 where {', '.join(map(str, optional[:3]))} is not required"
            yield Hit(words, (*_AT, *path))


def _claude(case: Case, schema: Mapping[str, Any]) -> Iterator[Hit]:
    native = case.to.flag("supports_native_structured_output")
    if case.to.entry is None:
        yield Hit(
            "it is not known whether it takes a JSON schema: the cost map does not have this model", _AT, "warning"
        )
    elif not native:
        how = "a tool that it must call"
        thinks = mapping(case.given("thinking")).get("type") in ("enabled", "adaptive")
        if thinks or case.to.flag("supports_forced_tool_use") is False:
            how = "a tool that it may leave uncalled"
        yield Hit(f"the schema is asked for by {how}: tool_choice and other tools are affected", _AT, "warning")
        return
    limits: dict[str, Path] = {}
    for path, part in schemas(schema, ("json_schema", "schema")):
        for key in _LIMITS & part.keys():
            limits.setdefault(key, path)
    for key, path in sorted(limits.items()):
        yield Hit(f"{key} is told in the description only, and not kept to", (*_AT, *path, key), "warning")


def _longest(case: Case) -> Iterator[Hit]:
    most = case.to.number("max_output_tokens")
    name = next((one for one in MAX_TOKENS if case.given(one) is not None), None)
    if name is None or case.max_tokens is None:
        return
    if most is not None and case.max_tokens > most:
        yield Hit(f"{name} {case.max_tokens:,} is more than it can write: {most:,.0f}", ("params", name))


def _window(way: Way) -> Iterator[Hit]:
    before, now = way.before.number("max_input_tokens"), way.to.number("max_input_tokens")
    if before is None:
        return
    if now is None:
        words = f"how long a prompt may be is not known; {way.before.name} takes {before:,.0f} tokens"
        yield Hit(words, ("model",), "note")
    elif now < before:
        words = (
            f"a prompt may have {now:,.0f} tokens, {before:,.0f} with {way.before.name}: prompts are not counted here"
        )
        yield Hit(words, ("model",), "warning" if way.direction == "there" else "note")


RULES = (
    Rule(
        RuleInfo(
            "CTX-01",
            "error",
            "more tokens than the model takes or writes",
            "A max_tokens above what a model can write is refused (400), and so is a prompt that is too long. Here "
            "only declared figures are compared: prompts are not counted.",
            "Lower max_tokens; count the prompts with the target's tokenizer where its window is smaller.",
            "LiteLLM's cost map, max_input_tokens and max_output_tokens",
        ),
        of_way=_window,
        of_case=_longest,
    ),
    Rule(
        RuleInfo(
            "RF-01",
            "error",
            "a form of answer that is not the same everywhere",
            "OpenAI's strict schemas have every property required and additionalProperties: false; Anthropic keeps to "
            "no limits of numbers, lengths or counts; a model without structured answers gets a tool instead.",
            "Require every property (with null for what may be absent), forbid others, and check limits yourself.",
            "platform.openai.com/docs/guides/structured-outputs#supported-schemas; "
            "litellm.llms.anthropic.chat.transformation, AnthropicConfig.filter_anthropic_output_schema; "
            "LiteLLM's cost map, supports_response_schema and supports_native_structured_output",
        ),
        of_case=_forms,
    ),
)
