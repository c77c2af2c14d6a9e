"""Every assertion passes where it holds, fails where it does not, and holds where nobody can say."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from llmmigrate import patterns
from llmmigrate.models import Completion, ToolCall, Usage
from llmmigrate.patterns import Undecided, found
from llmmigrate.regression.assertion_model import KINDS, Assertion, kind_of
from llmmigrate.regression.assertions import Given, Hooks, combined, evaluate
from llmmigrate.regression.checks import CHECKS
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.json_answers import embedded_json, path_steps, read_json, same, values_at
from llmmigrate.schemas import misfit

ADAPTER = TypeAdapter(Assertion)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "order",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["id"],
                "additionalProperties": False,
            },
        },
    }
]


def tool(name="order", **arguments):
    return ToolCall("c", name, json.dumps(arguments))


def outcome(assertion, answer="", hooks=None, **facts):
    one = Given(answer, **facts) if isinstance(answer, str) else Given("", tuple(answer), **facts)
    return evaluate(ADAPTER.validate_python(assertion), one, tools=TOOLS, hooks=hooks or Hooks())


def verdict(assertion, answer="", hooks=None, **facts):
    return outcome(assertion, answer, hooks, **facts).verdict


HELLO = "Hello World"
ORDER = '{"order": {"id": "A-1", "items": [{"n": 1}, {"n": 2}], "open": true, "note": null}}'
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}

TABLE = [
    ({"equals": HELLO}, HELLO, "Hello World "),
    ({"equals": {"a": 1}}, '{"a": 1.0}', '{"a": true}'),
    ({"equals": None}, "null", "none"),
    ({"equals": True}, " true", "1"),
    ({"contains": "World"}, HELLO, "hello world"),
    ({"contains": 42}, "it is 42", "it is 43"),
    ({"icontains": "WORLD"}, HELLO, "Word"),
    ({"icontains": "STRASSE"}, "Straße", "Strase"),
    ({"contains_any": ["x", "World"]}, HELLO, "hello"),
    ({"contains_all": ["Hello", "World"]}, HELLO, "Hello"),
    ({"icontains_any": ["x", "WORLD"]}, HELLO, "Hello"),
    ({"icontains_all": ["HELLO", "WORLD"]}, HELLO, "World"),
    ({"starts_with": "Hello"}, HELLO, "World"),
    ({"ends_with": "World"}, HELLO, "World!"),
    ({"regex": r"^\w+ \w+$"}, HELLO, "Hello"),
    ({"regex": "(?i)WORLD"}, HELLO, "Hello"),
    ({"json": "any"}, "[1]", "{'a': 1}"),
    ({"json": "any"}, "1", "NaN"),
    ({"json": "object"}, "{}", "[]"),
    ({"json": "list"}, "[]", "{}"),
    ({"json": "object", "embedded": True}, 'Here:\n```json\n{"a": 1}\n```', "no JSON {here}"),
    ({"json_schema": SCHEMA}, '{"a": 1}', '{"a": 1, "b": 2}'),
    ({"json_schema": SCHEMA}, '{"a": 1}', '{"a": "1"}'),
    ({"json_schema": SCHEMA}, '{"a": 1}', "not JSON"),
    ({"json_schema": SCHEMA, "embedded": True}, 'Sure: {"a": 1}!', '{"b": 1} and {"a": 1}'),
    ({"json_path": "$.order.id", "equals": "A-1"}, ORDER, '{"order": {}}'),
    ({"json_path": "$.order.note", "equals": None}, ORDER, '{"order": {}}'),
    ({"json_path": "$.order.open", "equals": True}, ORDER, '{"order": {"open": 1}}'),
    ({"json_path": "$.order.items[*].n", "one_of": [1, 2]}, ORDER, '{"order": {"items": [{"n": 1}, {"n": 3}]}}'),
    ({"json_path": "$..n", "max": 2}, ORDER, '{"n": 3}'),
    ({"json_path": "$..n", "min": 1, "max": 2}, ORDER, '{"n": "1"}'),
    ({"json_path": "$.order.id", "contains": "A"}, ORDER, '{"order": {"id": "B"}}'),
    ({"json_path": "$.order.id", "regex": r"^A-\d$"}, ORDER, '{"order": {"id": 1}}'),
    ({"json_path": "$.order.items[2]", "exists": False}, ORDER, '{"order": {"items": [1, 2, 3]}}'),
    ({"json_path": "$['order']['items'][-1]", "exists": True}, ORDER, '{"order": {"items": []}}'),
    ({"tool_call": {"name": "order", "arguments": {"id": "A"}}}, [tool(id="A"), tool("x")], [tool(id="B")]),
    ({"tool_call": {"name": "order", "any_of": {"id": ["A", "B"]}}}, [tool(id="B")], [tool(id="C")]),
    ({"tool_call": {"name": "order", "extra": True}}, [tool(id="B")], [tool("x", id="B")]),
    (
        {"tool_call": {"name": "order", "arguments": {"id": "A", "n": 1}, "optional": ["n"]}},
        [tool(id="A")],
        [tool(id="A", n=2)],
    ),
    (
        {"tool_call": {"name": "order", "arguments": {"id": "a 1"}, "text": "loose"}},
        [tool(id="A-1")],
        [tool(id="A-2")],
    ),
    (
        {"tool_calls": [{"name": "order", "arguments": {"id": "A"}}, {"name": "order", "arguments": {"id": "B"}}]},
        [tool(id="B"), tool(id="A")],
        [tool(id="A"), tool(id="B"), tool(id="A")],
    ),
    (
        {"tool_calls": [{"name": "order", "extra": True}, {"name": "x"}], "ordered": True, "others": "allowed"},
        [tool(id="A"), tool("y"), tool("x")],
        [tool("x"), tool(id="A")],
    ),
    ({"tools_called": ["order", "x"]}, [tool("x"), tool(), tool()], [tool()]),
    ({"tools_valid": True}, [tool(id="A", n=1)], [tool(id="A", n="1")]),
    ({"tools_valid": True}, [tool(id="A")], [tool("other")]),
    ({"tools_valid": True}, [tool(id="A")], [ToolCall("c", "order", "{")]),
    ({"tools_valid": True}, [tool(id="A")], "no call"),
    ({"no_tool_call": True}, HELLO, [tool()]),
    ({"tool_call_count": 2}, [tool(), tool()], [tool()]),
    ({"tool_call_count": {"max": 1}}, [tool()], [tool(), tool()]),
    ({"length": {"chars": {"max": 11}}}, HELLO, HELLO + "!"),
    ({"length": {"words": 2}}, HELLO, "Hello"),
    ({"length": {"words": {"min": 2}, "chars": {"max": 20}}}, HELLO, "Hello to the whole wide world"),
    ({"not": {"contains": "AI"}}, HELLO, "As an AI"),
    ({"not": {"not": {"contains": "AI"}}}, "As an AI", HELLO),
    ({"not": {"tool_call": {"name": "order", "extra": True}}}, HELLO, [tool(id="A")]),
    ({"all_of": [{"contains": "Hello"}, {"contains": "World"}]}, HELLO, "Hello"),
    ({"any_of": [{"contains": "Hello"}, {"contains": "World"}]}, "World", "nobody"),
]


@pytest.mark.parametrize(("assertion", "good", "bad"), TABLE)
def test_an_assertion_passes_where_it_holds_and_fails_where_it_does_not(assertion, good, bad):
    assert outcome(assertion, good).verdict == "pass", outcome(assertion, good)
    assert outcome(assertion, bad).verdict == "fail", outcome(assertion, bad)


@pytest.mark.parametrize(("assertion", "good", "bad"), TABLE)
def test_not_turns_a_verdict_around(assertion, good, bad):
    assert verdict({"not": assertion}, good) == "fail"
    assert verdict({"not": assertion}, bad) == "pass"


FIGURES = [
    ({"latency": "2s"}, {"latency_s": 2.0}, {"latency_s": 2.1}),
    ({"cost": "$0.01"}, {"cost_usd": 0.01}, {"cost_usd": 0.011}),
    ({"finish_reason": "stop"}, {"finish_reason": "stop"}, {"finish_reason": "length"}),
    ({"finish_reason": ["stop", "length"]}, {"finish_reason": "length"}, {"finish_reason": "content_filter"}),
    ({"length": {"tokens": {"max": 5}}}, {"tokens": 5}, {"tokens": 6}),
]


@pytest.mark.parametrize(("assertion", "good", "bad"), FIGURES)
def test_a_figure_that_nobody_knows_holds(assertion, good, bad):
    assert verdict(assertion, HELLO, **good) == "pass"
    assert verdict(assertion, HELLO, **bad) == "fail"
    assert verdict(assertion, HELLO) == "hold"
    assert verdict({"not": assertion}, HELLO) == "hold"


def test_a_language_is_told_by_the_hook_and_holds_without_it():
    french = {"language": "fr"}
    assert verdict(french, "Bonjour") == "hold"
    assert verdict(french, "Bonjour", Hooks(language=lambda text: "fr")) == "pass"
    assert verdict(french, "Hello", Hooks(language=lambda text: "en")) == "fail"
    assert verdict(french, "42", Hooks(language=lambda text: None)) == "hold"
    assert verdict(french, "42", Hooks(language=lambda text: "unknown")) == "hold"
    assert verdict({"not": french}, "42", Hooks(language=lambda text: "unknown")) == "hold"
    assert verdict(french, " ", Hooks(language=lambda text: "fr")) == "hold"


def test_a_refusal_is_told_by_the_provider_or_the_hook_and_holds_without_both():
    for wanted, declined, answered in (("expected", "pass", "fail"), ("unexpected", "fail", "pass")):
        refusal = {"refusal": wanted}
        assert verdict(refusal, "", refusal="I cannot") == declined
        assert verdict(refusal, "", finish_reason="content_filter") == declined
        assert verdict(refusal, [tool()]) == answered
        assert verdict(refusal, "Sorry, no.") == "hold"
        assert verdict(refusal, "Sorry, no.", Hooks(declined=lambda given: True)) == declined
        assert verdict(refusal, "Of course.", Hooks(declined=lambda given: False)) == answered
        assert verdict(refusal, "Hm.", Hooks(declined=lambda given: None)) == "hold"
        assert verdict(refusal, "", Hooks(declined=lambda given: False)) == "hold"


def test_a_judge_that_nobody_configured_holds():
    found = outcome({"judge": "is polite"}, HELLO)
    assert (found.verdict, found.sentence) == ("hold", "cannot be evaluated: no judge is configured")


def agrees(given):
    return given.text == HELLO


def explains(given):
    return given.text == HELLO, "because"


def shrugs(given):
    return None


def stops(given):
    raise SystemExit(0)


def test_a_function_of_the_project_runs_only_where_that_is_allowed():
    allowed = Hooks(python=True)
    for name in ("agrees", "explains"):
        assert verdict({"python": f"{__name__}:{name}"}, HELLO) == "hold"
        assert verdict({"python": f"{__name__}:{name}"}, HELLO, allowed) == "pass"
        assert verdict({"python": f"{__name__}:{name}"}, "Hi", allowed) == "fail"
    for name in ("shrugs", "stops", "absent", "TABLE"):
        assert verdict({"python": f"{__name__}:{name}"}, HELLO, allowed) == "hold"
        assert verdict({"not": {"python": f"{__name__}:{name}"}}, HELLO, allowed) == "hold"
    assert verdict({"python": "no.such.module:f"}, HELLO, allowed) == "hold"


@pytest.mark.parametrize("name", ["os.system", "os:system()", "../x:f", "a b:c", "a:b:c", ":f", "a:"])
def test_a_function_is_named_by_module_and_name_alone(name):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python({"python": name})


NEGATIVE = [
    {"not": {"contains": "AI"}},
    {"not": {"any_of": [{"contains": "AI"}, {"regex": "x"}]}},
    {"not": {"all_of": [{"json": "any"}, {"tool_call": {"name": "order"}}]}},
    {"not": {"not": {"not": {"equals": "x"}}}},
    {"not": {"tool_call_count": 2}},
    {"no_tool_call": True},
    {"length": {"words": {"max": 10}}},
    {"refusal": "unexpected"},
]


@pytest.mark.parametrize("assertion", NEGATIVE)
@pytest.mark.parametrize("answer", ["", " \n"])
def test_an_empty_answer_shows_nothing_about_what_is_left_out(assertion, answer):
    assert verdict(assertion, answer, Hooks(declined=lambda given: False)) == "hold"


def test_no_assertion_is_no_pass():
    assert combined([]) == "hold"
    good, bad, open_ = (outcome(one, HELLO) for one in ({"contains": "H"}, {"contains": "x"}, {"judge": "x"}))
    assert combined([good, good]) == "pass"
    assert combined([good, open_]) == "hold"
    assert combined([good, open_, bad]) == "fail"


def test_what_is_undecided_decides_neither_all_nor_any():
    open_ = {"judge": "x"}
    assert verdict({"all_of": [{"contains": "H"}, open_]}, HELLO) == "hold"
    assert verdict({"all_of": [{"contains": "x"}, open_]}, HELLO) == "fail"
    assert verdict({"any_of": [{"contains": "x"}, open_]}, HELLO) == "hold"
    assert verdict({"any_of": [{"contains": "H"}, open_]}, HELLO) == "pass"
    assert verdict({"not": open_}, HELLO) == "hold"


EXPLOSIVE = [r"(a+)+$", r"(a|a)*$", r"^(\w+\s?)*$", r"(.*a){25}$", r"(?:a?){30}a{30}b", r"(.*)(.*)(.*)(.*)\1\2\3x\4$"]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_a_pattern_that_explodes_ends_within_its_limit(pattern, monkeypatch):
    monkeypatch.setattr(patterns, "LIMIT_S", 0.1)
    began = time.monotonic()
    assert outcome({"regex": pattern}, "a" * 3000 + "!").verdict in ("pass", "fail", "hold")
    schema = {"properties": {"x": {"pattern": pattern}}, "patternProperties": {pattern: True}}
    assert outcome({"json_schema": schema}, json.dumps({"x": "a" * 3000 + "!"})).verdict in ("pass", "fail", "hold")
    texts = json.dumps(["a" * 300 + "!"] * 1000)
    assert outcome({"json_path": "$[*]", "regex": pattern}, texts).verdict in ("pass", "fail", "hold")
    assert time.monotonic() - began < 2


def test_a_pattern_that_meets_its_limit_holds(monkeypatch):
    monkeypatch.setattr(patterns, "LIMIT_S", 0.02)
    pattern, text = r"(a|a)*$", "a" * 3000 + "!"
    with pytest.raises(Undecided):
        found(pattern, text)
    schema = {"additionalProperties": False, "patternProperties": {pattern: True}}
    for assertion, answer in (
        ({"regex": pattern}, text),
        ({"not": {"regex": pattern}}, text),
        ({"json_schema": {"pattern": pattern}}, json.dumps(text)),
        ({"json_schema": schema}, json.dumps({text: 1})),
        ({"json_path": "$.x", "regex": pattern}, json.dumps({"x": text})),
    ):
        found_ = outcome(assertion, answer)
        assert found_.verdict == "hold", found_
        assert "longer than" in found_.sentence


def test_a_schema_of_another_place_is_never_fetched(tmp_path):
    asked = []

    class Serving(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments):
            pass

    (tmp_path / "schema.json").write_text("{}")
    with HTTPServer(("127.0.0.1", 0), Serving) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for address in (f"http://127.0.0.1:{server.server_port}/schema.json", (tmp_path / "schema.json").as_uri()):
            found_ = outcome({"json_schema": {"$ref": address}}, "{}")
            assert found_.verdict == "hold", found_
            assert "not part of it" in found_.sentence
        server.shutdown()
    assert asked == []


def test_a_schema_whose_reference_is_unknown_holds():
    for schema in ({"$ref": "other.json"}, {"$ref": "#/absent"}):
        found_ = outcome({"json_schema": schema}, "{}")
        assert found_.verdict == "hold", found_
        assert "not part of it" in found_.sentence
    inside = {"$defs": {"a": {"type": "integer"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}
    assert verdict({"json_schema": inside}, '{"x": 1}') == "pass"
    assert verdict({"json_schema": inside}, '{"x": ""}') == "fail"
    assert verdict({"json_schema": {"unevaluatedProperties": False}}, '{"x": 1}') == "hold"


def test_what_is_too_deep_or_too_long_holds():
    deep = "[" * 100_000 + "]" * 100_000
    for assertion in (
        {"json": "any"},
        {"json": "list", "embedded": True},
        {"equals": []},
        {"json_path": "$..a", "max": 1},
    ):
        assert verdict(assertion, deep) == "hold"
        assert verdict({"not": assertion}, deep) == "hold"
    assert verdict({"json": "any"}, '"' + "a" * 2_000_001 + '"') == "hold"
    assert verdict({"json": "any", "embedded": True}, "{ " * 500) == "hold"


def test_patterns_of_schemas_say_where_an_answer_is_wrong():
    schema = {"properties": {"id": {"pattern": "^A-"}}, "patternProperties": {"^n_": {"type": "integer"}}}
    assert misfit({"id": "B"}, schema) == '$.id breaks pattern: "^A-"'
    assert misfit({"n_a": "x"}, schema) == '$.n_a breaks type: "integer"'
    assert misfit({"id": "A-1", "n_a": 1}, schema) is None
    assert misfit({"x": 1}, {"additionalProperties": False}) == "$.x breaks additionalProperties: false"
    assert (
        misfit({"x": 1, "n_1": 1}, {**schema, "additionalProperties": {"type": "string"}})
        == '$.x breaks type: "string"'
    )


def test_items_that_stand_twice_are_found_without_comparing_each_with_each():
    unique = {"uniqueItems": True}
    assert misfit([1, 1.0], unique) == "$ breaks uniqueItems: true"
    assert misfit([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], unique) is not None
    assert misfit([1, True, "1", None, [1], {"a": 1}], unique) is None
    began = time.monotonic()
    assert misfit([{"n": number} for number in range(20_000)], unique) is None
    assert time.monotonic() - began < 2


def test_a_sentence_shows_what_was_expected_and_what_came():
    assert outcome({"contains": "AI"}, "x" * 500).sentence == (f'expected a text that contains "AI", got "{"x" * 79}…"')
    assert outcome({"json_path": "$.a", "equals": 1}, '{"a": 2}').sentence == "expected 1 at $.a, got 2"
    assert outcome({"tool_calls": [{"name": "order"}]}, HELLO).sentence == (
        "expected just the call order, as written, got no tool call: 0 calls came, not 1"
    )
    assert outcome({"equals": "a"}, "a\n").sentence == (
        'expected "a", got "a\\n" (they differ in white space at the ends alone)'
    )
    assert outcome({"not": {"contains": "a"}}, "a").sentence == (
        'expected the opposite of: expected a text that contains "a", got "a"'
    )


HOSTILE = "\x1b[2J\x1b]0;title\x07 \u202egnp.exe\n\r\0\ud800 [red]x[/red]" + "y" * 1000


@pytest.mark.parametrize("assertion", [one for one, _, _ in TABLE] + [one for one, _, _ in FIGURES])
def test_no_sentence_lets_a_models_text_reach_a_terminal(assertion):
    calls = (ToolCall("c", HOSTILE, HOSTILE), tool(HOSTILE, **{HOSTILE: HOSTILE}), tool(id=HOSTILE))
    hooks = Hooks(language=lambda text: HOSTILE, declined=lambda given: True)
    for one in (Given(HOSTILE, finish_reason=HOSTILE), Given(json.dumps({HOSTILE: HOSTILE})), Given("", calls)):
        sentence = evaluate(ADAPTER.validate_python(assertion), one, tools=TOOLS, hooks=hooks).sentence
        assert sentence.isprintable(), sentence
        assert len(sentence) < 1500


@given(st.text())
@example(HOSTILE)
def test_an_excerpt_is_short_and_prints(text):
    found_ = excerpt(text)
    assert found_.isprintable()
    assert len(found_) <= 12 * 82
    assert found_.startswith('"')


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"contain": "x"},
        {"contains": "x", "regex": "y"},
        {"contains": ""},
        {"contains": True},
        {"contains_any": []},
        {"regex": "("},
        {"regex": "a" * 2001},
        {"json": "text"},
        {"json_schema": {"type": "objec"}},
        {"json_path": "$.a"},
        {"json_path": "a", "exists": True},
        {"json_path": "$.a", "equals": 1, "max": 2},
        {"json_path": "$.a", "min": 1, "max": None},
        {"tool_call": {"arguments": {}}},
        {"tool_call": {"name": "x", "optional": ["y"]}},
        {"tool_call": {"name": "x", "arguments": {"a": 1}, "any_of": {"a": [1]}}},
        {"tool_calls": []},
        {"no_tool_call": False},
        {"tool_call_count": -1},
        {"tool_call_count": {}},
        {"length": {}},
        {"length": {"words": {"min": 3, "max": 2}}},
        {"length": {"words": "3"}},
        {"language": False},
        {"language": "French"},
        {"latency": 2},
        {"cost": "1 EUR"},
        {"refusal": True},
        {"not": {"contains": "x", "more": 1}},
        {"any_of": []},
    ],
)
def test_what_is_no_assertion_is_refused(wrong):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(wrong)


def test_every_kind_can_be_written_and_checked():
    assert KINDS.keys() - {"not", "all_of", "any_of"} == CHECKS.keys()
    shown = {kind_of(one) for one, *_ in (*TABLE, *FIGURES)} | {"language", "refusal", "judge", "python"}
    assert shown == KINDS.keys()


def test_an_answer_of_a_client_is_taken_over_with_what_is_known():
    usage = Usage(10, 30, reasoning_tokens=20)
    one = Given.of(Completion("m", HELLO, usage, 1.5, cost_usd=0.1))
    assert (one.text, one.tokens, one.latency_s, one.cost_usd) == (HELLO, 10, 1.5, 0.1)
    assert Given.of(Completion("m", HELLO, Usage(0, 0), 1.5)).tokens is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_any_json_equals_itself_and_is_found_again(value):
    text = json.dumps(value)
    assert same(read_json(text), value)
    assert verdict({"equals": value}, value if isinstance(value, str) else text) == "pass"
    if isinstance(value, (dict, list)):
        assert same(embedded_json(f"Here it is: {text} – done {{"), value)


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), st.lists(st.integers(), min_size=1), min_size=1)
)
def test_a_path_finds_what_stands_there(data):
    for key, numbers in data.items():
        assert values_at(data, f"$.{key}[*]") == numbers
        assert values_at(data, f"$['{key}'][0]") == numbers[:1]
        assert values_at(data, f"$.{key}[-1]") == numbers[-1:]
        assert values_at({"-": [data]}, f"$..{key}") == [numbers]
    assert values_at(data, "$.*") == list(data.values())
    assert values_at(data, "$") == [data]


@given(st.text(max_size=20))
def test_a_path_is_read_or_refused(text):
    try:
        path_steps(text)
    except ValueError:
        return
    assert text.startswith("$")
