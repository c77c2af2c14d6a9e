"""Tools as each provider takes them: what fits a schema as it was given fits what is sent, and nothing ever fails."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llmmigrate.models.tools import DIALECTS, dialect_of, to_provider


def tool(name: str = "weather", **properties: dict[str, object]) -> dict[str, object]:
    return with_schema({"type": "object", "properties": properties}, name)


def with_schema(schema: object, name: str = "f") -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "description": "Say it.", "parameters": schema}}


def sent(schema: object, dialect: str) -> Any:
    return to_provider([with_schema(schema)], dialect).tools[0]["function"].get("parameters")


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("openai/gpt-4o", "openai"),
        ("gpt-4o", "openai"),
        ("azure/prod", "openai"),
        ("anthropic/claude-sonnet-4-5", "anthropic"),
        ("claude-sonnet-4-5", "anthropic"),
        ("vertex_ai/claude-sonnet-4-5", "anthropic"),
        ("bedrock/anthropic.claude-3-haiku", "bedrock"),
        ("gemini/gemini-2.5-pro", "gemini"),
        ("vertex_ai/gemini-2.5-pro", "gemini"),
        ("mistral/mistral-large-latest", "mistral"),
        ("hosted_vllm/meta/llama", "other"),
        ("cohere_chat/command-r-plus", "other"),
    ],
)
def test_each_model_has_the_rules_of_its_provider(model, dialect):
    assert dialect_of(model) == dialect


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_plain_tool_is_sent_as_it_is_and_is_not_changed_in_place(dialect):
    one = tool(city={"type": "string", "enum": ["Paris", "Rome"]}, days={"type": "integer", "minimum": 1})
    before = deepcopy(one)
    made = to_provider([one, {"type": "web_search"}], dialect)
    assert (made.tools, made.changed, made.unsupported) == ([one, {"type": "web_search"}], (), ())
    assert one == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool_without_parameters_takes_none_in_every_dialect(dialect):
    for one in ({"name": "now"}, {"name": "now", "parameters": {}}, {"name": "now", "parameters": None}):
        made = to_provider([{"type": "function", "function": one}], dialect)
        wanted = (
            {"name": "now"}
            if dialect == "gemini"
            else {"name": "now", "parameters": {"type": "object", "properties": {}}}
        )
        assert made.tools[0]["function"] == wanted
        assert (made.changed, made.unsupported) == ((), ())


TEXT = {"type": "string"}
EITHER = {
    "anyOf": [
        {"type": "object", "properties": {"id": TEXT, "at": TEXT}, "required": ["id", "at"]},
        {"$ref": "#/$defs/ByName"},
    ],
    "$defs": {"ByName": {"properties": {"name": TEXT, "at": TEXT}, "required": ["name", "at"]}},
}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "bedrock", "gemini"])
def test_a_choice_at_the_top_becomes_one_object_with_all_properties_and_is_said(dialect):
    made = to_provider([with_schema(EITHER)], dialect)
    schema = made.tools[0]["function"]["parameters"]
    assert (schema["type"], schema["properties"].keys(), schema["required"]) == ("object", {"id", "at", "name"}, ["at"])
    assert "anyOf" not in schema
    assert made.changed == ("tools: f: anyOf at the top sent as one object (parameters)",)
    for other in ("mistral", "other"):
        assert sent(EITHER, other) == EITHER


def test_alternatives_that_differ_in_a_property_leave_it_open():
    kinds = [{"type": "object", "properties": {"kind": {"const": one}}, "required": ["kind"]} for one in "abc"]
    assert sent({"oneOf": kinds}, "openai") == {
        "type": "object",
        "properties": {"kind": {"anyOf": [{"const": "a"}, {"const": "b"}, {"const": "c"}]}},
        "required": ["kind"],
    }


def test_openai_is_told_of_items_and_properties_that_may_be_anything():
    schema = {"type": "object", "properties": {"a": {"type": ["array", "null"]}, "b": {"anyOf": [{"type": "array"}]}}}
    made = to_provider([with_schema(schema)], "openai")
    assert made.changed == ()
    assert made.tools[0]["function"]["parameters"]["properties"] == {
        "a": {"type": ["array", "null"], "items": {}},
        "b": {"anyOf": [{"type": "array", "items": {}}]},
    }
    assert sent({"type": "object"}, "openai") == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("given", "written", "said"),
    [
        ({"type": ["string", "null"], "pattern": "^a"}, {"type": "string", "pattern": "^a", "nullable": True}, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}, None),
        ({"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}, {"type": "string", "nullable": True}, None),
        ({"const": "z"}, {"type": "string", "enum": ["z"]}, None),
        ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}, None),
        ({"allOf": [{"$ref": "#/$defs/P"}], "description": "d"}, {"type": "string", "description": "d"}, None),
        ({"type": "integer", "enum": [1, 2], "description": "Days."},
         {"type": "integer", "description": "Days. One of: 1, 2."}, "enum told in the description"),
        ({"type": "string", "enum": ["", "a"]},
         {"type": "string", "description": 'One of: "", "a".'}, "enum told in the description"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "d"},
         {"anyOf": [{"type": "string", "description": "d"}, {"type": "integer", "description": "d"}]},
         "oneOf sent as anyOf"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
         {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}}, "prefixItems sent as items"),
        ({"type": "object", "properties": {"x": TEXT}, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
         {"type": "object", "properties": {"x": TEXT}}, "anyOf sent as one object"),
        ({"type": "object", "properties": {"x": TEXT}, "required": ["x", "y"]},
         {"type": "object", "properties": {"x": TEXT}, "required": ["x"]}, "required y not sent"),
        ({"$ref": "#/$defs/Tree"},
         {"type": "object", "properties": {"left": {"type": "object"}}}, "cut: it stands in itself"),
    ],
)  # fmt: skip
def test_gemini_gets_the_nearest_thing_that_it_takes(given, written, said):
    schema = {
        "type": "object",
        "properties": {"p": given},
        "$defs": {
            "P": {"type": "string"},
            "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}},
        },
    }
    made = to_provider([with_schema(schema)], "gemini")
    assert made.tools[0]["function"]["parameters"]["properties"]["p"] == written
    assert [line.removeprefix("tools: f: ").partition(" (parameters.p")[0] for line in made.changed] == [said] * bool(
        said
    )


def test_a_value_of_any_type_is_one_of_those_that_gemini_has_a_word_for():
    made = to_provider([tool(a={}, b={"type": "array"})], "gemini")
    some = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "object"}]}
    properties = made.tools[0]["function"]["parameters"]["properties"]
    assert properties == {"a": some, "b": {"type": "array", "items": some}}
    assert made.changed == (
        "tools: weather: any type sent as string, number, boolean or object (parameters.a, parameters.b.items)",
    )


@pytest.mark.parametrize(
    ("one", "dialect", "said"),
    [
        (tool("a" * 65), "mistral", "no name of a tool that mistral takes"),
        (tool("a.b"), "openai", "no name of a tool that openai takes"),
        (tool("1st", n={"type": "string"}), "gemini", "no name of a tool that gemini takes"),
        (tool(**{"p" * 65: {"type": "string"}}), "gemini", "no name of a parameter that gemini takes"),
        (tool(größe=TEXT), "anthropic", "parameters.größe: no name of a parameter that anthropic takes"),
        (tool(n={"anyOf": [{"type": "dict"}]}), "openai", "parameters.n.anyOf[0]: 'dict' is no type of JSON Schema"),
        (with_schema({"type": "string"}), "openai", "its parameters are no object"),
        (with_schema([1]), "other", "its parameters are no object"),
    ],
)
def test_what_a_provider_cannot_take_is_sent_and_named(one, dialect, said):
    made = to_provider([one], dialect)
    assert len(made.unsupported) == 1
    assert said in made.unsupported[0]
    assert made.tools[0]["function"]["name"] == one["function"]["name"]


def test_a_small_schema_that_unfolds_without_end_is_cut():
    fan = {
        f"D{n}": {"type": "object", "properties": {x: {"$ref": f"#/$defs/D{n + 1}"} for x in "abcd"}} for n in range(40)
    }
    schema = {"type": "object", "properties": {"p": {"$ref": "#/$defs/D0"}}, "$defs": fan}
    made = to_provider([with_schema(schema)], "gemini")
    assert any("the schema is too large" in line for line in made.changed)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.just(1.5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "required", "$ref", "$defs",
             "definitions", "prefixItems", "nullable", "description", "additionalProperties", "x"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(anything, st.sampled_from(sorted(DIALECTS)))
def test_no_parameters_whatsoever_make_it_fail(parameters, dialect):
    within = {"type": "object", "properties": {"p": parameters}}
    made = to_provider([with_schema(parameters), with_schema(within)], dialect)
    json.dumps(made.tools)


PLAIN: list[tuple[dict[str, Any], list[Any]]] = [
    ({"type": "string"}, ["", "a"]),
    ({"type": "integer", "minimum": 1}, [1, 7]),
    ({"type": ["string", "null"], "minLength": 1}, ["a", None]),
    ({"type": ["boolean", "integer"]}, [True, 3]),
    ({"enum": ["a", "b"]}, ["a", "b"]),
    ({"enum": ["", "a", None]}, ["", "a", None]),
    ({"type": "integer", "enum": [1, 2]}, [1, 2]),
    ({"enum": ["a", 1]}, ["a", 1]),
    ({"const": "a"}, ["a"]),
    ({"const": 2}, [2]),
    ({"type": "null"}, [None]),
]


@st.composite
def fitting(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], Any]:
    """Draw a schema, and a value that it was made for."""
    kind = draw(st.sampled_from(["plain", "array", "object", "anyOf", "oneOf", "allOf"] if depth else ["plain"]))
    if kind == "plain":
        schema, values = draw(st.sampled_from(PLAIN))
        return schema, draw(st.sampled_from(values))
    parts = draw(st.lists(fitting(depth - 1), min_size=1, max_size=3))
    if kind == "array":
        return {"type": "array", "items": parts[0][0]}, [parts[0][1]]
    if kind == "object":
        there = {name: value for name, (_, value) in zip("xyz", parts, strict=False) if draw(st.booleans())}
        properties = {name: schema for name, (schema, _) in zip("xyz", parts, strict=False)}
        closed = {"additionalProperties": False}  # an alternative that takes what it does not know is not followed
        return {"type": "object", "properties": properties, "required": sorted(there), **closed}, there
    return {kind: [schema for schema, _ in parts]}, draw(st.sampled_from([value for _, value in parts]))


def as_json_schema(part: Any) -> Any:
    """Write OpenAPI's nullable as JSON Schema has it."""
    if isinstance(part, list):
        return [as_json_schema(one) for one in part]
    if not isinstance(part, dict):
        return part
    rest = {key: as_json_schema(value) for key, value in part.items() if key != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if part.get("nullable") is True else rest


@settings(max_examples=300)
@given(fitting(), st.just("gemini") | st.sampled_from(sorted(DIALECTS)))
def test_what_fits_a_schema_as_it_was_given_fits_what_is_sent(pair, dialect):
    schema, value = pair
    assume(Draft202012Validator(schema).is_valid(value))
    within = sent({"type": "object", "properties": {"p": schema}}, dialect)
    assert Draft202012Validator(as_json_schema(within)).is_valid({"p": value})
    if isinstance(value, dict):
        on_top = sent(schema, dialect) or {}
        assert Draft202012Validator(as_json_schema(on_top)).is_valid(value)
