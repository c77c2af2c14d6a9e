"""Tools from a request to a provider's server: what is sent is taken, and what became of it on the way is said."""

from __future__ import annotations

import json
import re
from copy import deepcopy

import pytest

from llmmigrate.models import ChatRequest
from llmmigrate.models.litellm_client import LiteLLMClient
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.models.sent import changes
from llmmigrate.models.tools import dialect_of, to_provider
from tests import asking
from tests.asking import QUICK
from tests.providers import ANSWER, Model

FILES = ("simple_python.jsonl", "multiple.jsonl", "parallel.jsonl")
DIRECT = ("azure/gpt-4o", "mistral/mistral-large-latest", "hosted_vllm/llama")
TRANSLATED = ("anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash")
SAID = {"anthropic": r"sent as \w+$", "gemini": r"(format|optional) not sent \(parameters.\w+\)$"}

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC", "GEMINI", "MISTRAL", "AZURE"):
        monkeypatch.setenv(f"{name}_API_KEY", "key-0123456789abcdef0123")


def ask(model: str, *tools: dict[str, object], answer: Model | None = None, **more: object):
    request = ChatRequest(model, [{"role": "user", "content": "Which?"}], {"max_tokens": 50}, tools=tools, **more)
    client = LiteLLMClient(budget=QUICK) if model in TRANSLATED else OpenAICompatibleClient(budget=QUICK)
    return asking.ask(client, request, model=answer)


def tool(name: str, schema: object = None, **more: object) -> dict[str, object]:
    described = {"name": name, "description": "Say it."} | ({} if schema is None else {"parameters": schema})
    return {"type": "function", "function": described | more}


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
    return list({one["function"]["name"]: one for one in tools}.values())


@pytest.mark.parametrize("model", [*DIRECT, *TRANSLATED])
def test_the_leaderboards_tools_are_taken_wherever_nothing_is_named_against_them(data, model):
    dialect = dialect_of(model)
    tools = [one for one in bfcl(data) if not to_provider([one], dialect).unsupported]
    assert len(tools) > 200
    few = tools[:: len(tools) // 100][:100]
    answer, server = ask(model, *few)
    assert answer.text == ANSWER
    names = json.dumps(server.requests[0]["tools"])
    assert all(json.dumps(one["function"]["description"]) in names for one in few)
    said = re.compile(SAID.get(dialect, "nothing"))
    assert [line for line in answer.dropped if not said.search(line)] == []


NASTY = tool(
    "find.it",
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "days": {"type": "integer", "enum": [1, 7], "exclusiveMinimum": 0},
            "kind": {"const": "fast"},
            "mail": {"type": ["string", "null"], "format": "email"},
            "tags": {"type": "array"},
            "who": {"$ref": "#/$defs/Who"},
        },
        "required": ["days"],
        "$defs": {"Who": {"title": "Who", "type": "object", "properties": {"id": {"type": "string", "default": "me"}}}},
    },
    strict=True,
)


def test_gemini_gets_a_schema_that_it_takes_and_what_litellm_takes_out_of_it_is_said():
    before = deepcopy(NASTY)
    answer, server = ask("gemini/gemini-2.5-flash", NASTY)
    assert answer.text == ANSWER
    assert server.requests[0]["tools"][0]["function_declarations"][0]["parameters"]["properties"]["kind"] == {
        "type": "string",
        "enum": ["fast"],
    }
    assert answer.dropped == (
        "tools: find.it: enum told in the description (parameters.days)",
        "tools: find.it: any type sent as string, number, boolean or object (parameters.tags.items)",
        "tools: find.it: strict not sent",
        "tools: find.it: additionalProperties not sent (parameters)",
        "tools: find.it: exclusiveMinimum not sent (parameters.days)",
        "tools: find.it: format not sent (parameters.mail)",
    )
    assert before == NASTY


def test_anthropic_gets_the_schema_whole_and_a_name_that_it_takes_which_comes_back_as_it_was():
    call = Model(tool_calls=(("toolu_1", "find_it", '{"days": 7}'),))
    answer, server = ask("anthropic/claude-sonnet-4-5", NASTY, answer=call)
    [sent] = server.requests[0]["tools"]
    assert (sent["name"], sent["input_schema"]) == ("find_it", NASTY["function"]["parameters"])
    assert [(one.name, one.arguments) for one in answer.tool_calls] == [("find.it", '{"days": 7}')]
    assert answer.dropped == ("tools: find.it sent as find_it", "tools: find.it: strict not sent")


EITHER = tool("get", {"anyOf": [{"type": "object", "properties": {"id": {"type": "string"}}}, {"type": "object"}]})


@pytest.mark.parametrize("model", ["azure/gpt-4o", *TRANSLATED])
def test_a_choice_at_the_top_arrives_with_its_properties(model):
    answer, server = ask(model, EITHER)
    assert answer.text == ANSWER
    assert '"properties": {"id": {"type": "string"}}' in json.dumps(server.requests[0]["tools"])
    assert answer.dropped == ("tools: get: anyOf at the top sent as one object (parameters)",)


def test_a_server_whose_rules_are_not_known_gets_tools_as_they_are():
    answer, server = ask("hosted_vllm/llama", EITHER, NASTY)
    assert (answer.text, answer.dropped, server.requests[0]["tools"]) == (ANSWER, (), [EITHER, NASTY])


@pytest.mark.parametrize("model", [*DIRECT, *TRANSLATED])
def test_a_tool_without_parameters_is_taken_and_nothing_is_said(model):
    answer, _ = ask(model, tool("now"), tool("then", {"type": "object"}), tool_choice="auto")
    assert (answer.text, answer.dropped) == (ANSWER, ())


@pytest.mark.parametrize(
    ("model", "one", "theirs", "ours"),
    [
        ("azure/gpt-4o", tool("a.b"), "does not match pattern", "a.b: no name of a tool that openai takes"),
        ("mistral/mistral-large-latest", tool("a.b"), "Function name was a.b", "a.b: no name of a tool that mistral"),
        ("gemini/gemini-2.5-flash", tool("1st"), "Invalid function name", "1st: no name of a tool that gemini takes"),
        (
            "anthropic/claude-sonnet-4-5",
            tool("f", {"type": "object", "properties": {"größe": {"type": "string"}}}),
            "Property keys should match",
            "parameters.größe: no name of a parameter that anthropic takes",
        ),
    ],
)
def test_what_cannot_be_written_otherwise_is_the_providers_refusal_with_our_word_for_it(model, one, theirs, ours):
    error, server = ask(model, one)
    assert (error.error_class, error.attempts, len(server.requests)) == ("bad_request", 1, 1)
    assert theirs in str(error)
    assert ours in str(error)


def test_a_tool_of_the_providers_own_that_litellm_leaves_out_is_said():
    answer, _ = ask("gemini/gemini-2.5-flash", tool("now"), {"type": "web_search"})
    assert answer.dropped == ("tools: web_search not sent",)
    answer, _ = ask("gemini/gemini-2.5-flash", {"type": "web_search"})
    assert answer.dropped == ("tools: web_search sent as googleSearch",)


@pytest.mark.parametrize(
    ("model", "choice", "said"),
    [
        ("gemini/gemini-2.5-flash", "none", ()),
        ("gemini/gemini-2.5-flash", {"type": "function", "function": {"name": "now"}}, ()),
        ("anthropic/claude-sonnet-4-5", {"type": "function", "function": {"name": "now"}}, ()),
        ("anthropic/claude-sonnet-4-5", "none", ()),
        ("mistral/mistral-large-latest", "required", ()),
    ],
)
def test_a_choice_of_tool_arrives(model, choice, said):
    answer, _ = ask(model, tool("now"), tool_choice=choice)
    assert (answer.text, answer.dropped) == (ANSWER, said)


def test_tools_that_are_not_json_are_a_bad_request_and_not_a_crash():
    for model in ("azure/gpt-4o", *TRANSLATED):
        error, server = ask(model, tool("f", {"type": object()}))
        assert (error.error_class, server.requests) == ("bad_request", [])


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}


def test_what_becomes_of_the_schema_of_a_response_format_is_said():
    newer, server = ask("gemini/gemini-2.5-flash", response_format=FORMAT)
    assert server.requests[0]["generationConfig"]["response_json_schema"] == SCHEMA
    assert newer.dropped == ()
    answer, _ = ask("anthropic/claude-sonnet-4-5", response_format=FORMAT)
    assert answer.dropped == (
        "response_format: minLength not sent (schema.name)",
        'response_format: description "Note: minimum length: 2." added (schema.name)',
        "response_format: minimum not sent (schema.age)",
        'response_format: description "Note: minimum value: 0." added (schema.age)',
    )


@pytest.mark.parametrize(
    "sent",
    [
        {"tools": [{"name": "f", "description": "Say it.", "input_schema": {"type": "object"}}]},
        {"tools": [{"functionDeclarations": [
            {"name": "f", "description": "Say it.", "parameters": {"type": "OBJECT"}}
        ]}]},
        {"toolConfig": {"tools": [
            {"toolSpec": {"name": "f", "description": "Say it.", "inputSchema": {"json": {"type": "object"}}}}
        ]}},
    ],
)  # fmt: skip
def test_a_parameter_that_is_lost_is_found_in_each_shape_of_a_body(sent):
    asked = {"tools": [tool("f", {"type": "object", "properties": {"a": {"type": "string"}}})]}
    assert changes(asked, sent) == ("tools: f: not sent (parameters.a)",)
