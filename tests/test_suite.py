"""A suite is read strictly, every error has its place, its files are read, and only content changes the hash."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llmmigrate.document.source import read
from llmmigrate.exceptions import DocumentInvalid, ExitCode
from llmmigrate.regression.assertion_model import KINDS
from llmmigrate.regression.assertions import Given, combined, evaluate
from llmmigrate.regression.suite import json_schema, load_suite, read_suite
from llmmigrate.regression.variables import UnknownVariable, filled, names_in

FIRST = """\
name: support
cases:
  - id: hours
    input: "When do you open?"
    assert:
      - {contains: "9"}
"""
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def suite(text, files=None):
    def read(path):
        if files is None or path not in files:
            raise ValueError(f"{path} is not there")
        return files[path]

    return read_suite(text.encode(), "s.yaml", files=read)


def problems(text, files=None):
    with pytest.raises(DocumentInvalid) as caught:
        suite(text, files)
    assert caught.value.exit_code == ExitCode.UNFIT
    return [str(problem) for problem in caught.value.problems]


def told(raw):
    """Return the problems of any bytes, none where they are a suite; whatever else is raised fails the test."""
    try:
        read_suite(raw, "s.yaml")
    except DocumentInvalid as error:
        return error.problems
    return ()


def test_a_suite_of_one_case_loads_and_its_assertion_is_evaluated():
    [case] = suite(FIRST).cases
    [round_] = case.rounds
    assert round_.messages == ({"role": "user", "content": "When do you open?"},)
    assert evaluate(round_.assertions[0], Given("At 9 o'clock.")).verdict == "pass"
    assert evaluate(round_.assertions[0], Given("Never.")).verdict == "fail"


FULL = """\
name: shop
description: What the shop's assistant must not lose.
defaults:
  system: {file: prompts/shop.md}
  params: {temperature: 0.2}
  tools: {file: tools.json}
  vars: {shop: Corner}
  repetitions: 3
  assert:
    - {not: {contains: "As an AI"}}
cases:
  - id: greeting
    kind: format
    vars: {name: Ada, order: {id: A-1, n: 2}}
    input: "I am {{name}}, about {{ order.id }} at {{shop}}"
    assert:
      - {contains: "{{name}}"}
      - {json_path: $.n, equals: "{{order.n}}"}
      - {tool_call: {name: lookup, arguments: {order: "{{order}}"}}}
      - {judge: {file: rubric.md}}
  - id: picture
    input_type: image
    tags: [vision]
    system: null
    tools: null
    input: What is this?
    images: [pixel.gif]
    assert:
      - {json_schema: {file: schema.json}}
  - id: talk
    kind: failure
    incident: {id: INC-7, date: 2026-05-01}
    repetitions: 10
    tool_choice: {type: function, function: {name: lookup}}
    turns:
      - user: Where is A-1?
        assert:
          - {tool_call: {name: lookup, arguments: {id: A-1}}}
      - tool_results: {lookup: {state: shipped}}
        assistant: It is on its way.
      - messages:
          - {role: user, content: [{type: text, text: And this?}, {type: image, path: pixel.gif, detail: low}]}
        assert:
          - {contains: pixel}
"""
FILES = {
    "prompts/shop.md": b"You work at {{shop}}.\n",
    "tools.json": b'[{"name": "lookup", "parameters": {"type": "object"}}]',
    "rubric.md": b"Is it polite?\n",
    "schema.json": b'{"type": "object"}',
    "pixel.gif": PIXEL,
}


def test_a_whole_suite_is_built_with_its_files_defaults_and_variables():
    built = suite(FULL, FILES)
    greeting, picture, talk = built.cases
    assert (built.name, built.files.keys()) == ("shop", FILES.keys())
    assert greeting.system == "You work at Corner."
    assert greeting.rounds[0].messages == ({"role": "user", "content": "I am Ada, about A-1 at Corner"},)
    general, contains, at_path, call, judge = greeting.rounds[0].assertions
    assert general.not_.contains == "As an AI"
    assert contains.contains == "Ada"
    assert at_path.equals == 2
    assert call.tool_call.arguments == {"order": {"id": "A-1", "n": 2}}
    assert judge.judge == "Is it polite?"
    assert greeting.params == {"temperature": 0.2}
    assert [tool["function"]["name"] for tool in greeting.tools] == ["lookup"]
    assert (greeting.repetitions, talk.repetitions) == (3, 10)

    assert (picture.system, picture.tools, picture.input_type, picture.tags) == (None, (), "image", ("vision",))
    [text, image] = picture.rounds[0].messages[0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"] == "data:image/gif;base64," + base64.b64encode(PIXEL).decode()
    assert picture.rounds[0].assertions[1].json_schema == {"type": "object"}

    assert (talk.incident.id, talk.incident.date.isoformat()) == ("INC-7", "2026-05-01")
    assert talk.tool_choice == {"type": "function", "function": {"name": "lookup"}}
    asked, fixed, last = talk.rounds
    assert (asked.answer, len(asked.assertions)) == (None, 1)
    assert (fixed.tool_results, fixed.answer) == (
        {"lookup": {"state": "shipped"}},
        {"role": "assistant", "content": "It is on its way."},
    )
    assert last.messages[0]["content"][1]["image_url"]["detail"] == "low"
    assert [type(one).__name__ for one in last.assertions] == ["Not", "Contains"]
    assert talk.place == (FULL[: FULL.index("id: talk")].count("\n") + 1, 5)


def case(body):
    return f"cases:\n  - {{id: a, {body}}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: []\n", "s.yaml:1:8: cases: must be a list of 1 or more"),
        ("- a\n", "s.yaml:1:1: a suite is a mapping with cases"),
        ("name: x\n", "cases: is missing"),
        ("cases: [{id: a, input: x}]\nmodel: y\n", "s.yaml:2:8: model: this version knows no such key"),
        ("cases: [{id: a, input: x}, {id: a, input: y}]\n", "cases[1].id: case 1 has this id already"),
        (case("input: x, prompt: y"), "s.yaml:2:31: cases[0].prompt: this version knows no such key"),
        (case("tags: []"), "cases[0]: a case sends exactly one of input, messages, turns"),
        (case("input: x, messages: [{role: user, content: y}]"), "exactly one of input, messages, turns"),
        (case("input: x, kind: smoke"), "cases[0].kind"),
        (case("input: x, kind: failure"), "a known failure names its incident"),
        (case("input: x, repetitions: 0"), "cases[0].repetitions"),
        (case("input: x, repetitions: '3'"), "cases[0].repetitions"),
        (case("input: x, params: {model: y}"), "cases[0].params: model is no parameter of a suite"),
        (case("input: x, assert: [{contain: y}]"), "cases[0].assert[0]: an assertion says one thing"),
        (case("input: x, assert: [{contains: yes}]"), "cases[0].assert[0].contains: YAML reads this as true"),
        (case("input: x, assert: [{not: {regex: '('}}]"), "cases[0].assert[0].not.regex: is no regular expression"),
        (case("input: x, assert: [{length: {words: {mx: 2}}}]"), "assert[0].length.words.mx: this version knows"),
        (case("input: x, assert: [{tool_call: {name: y, args: {}}}]"), "assert[0].tool_call.args: this version knows"),
        (case("messages: [{role: user}]"), "cases[0].messages[0]: has no content"),
        (case("messages: [{role: tool, content: x}]"), "says which call it answers"),
        (case("messages: [{role: user, content: [{type: video}]}]"), "a part of a message has a type"),
        (case("messages: [{role: user, content: [{type: text, txt: x}]}]"), "messages[0].content[0].txt: this version"),
        (case("turns: [{user: x, assistant: y}]"), "the last turn asks the model"),
        (case("turns: [{user: x}], assert: [{contains: y}]"), "assertions stand in the turns"),
        (case("turns: [{tool_results: {a: 1}}]"), "no calls before it"),
        (
            case("turns: [{user: x, assistant: y, assert: [{contains: z}]}, {user: w}]"),
            "a fixed answer is not asserted",
        ),
        (case("input: x, images: [../a.png]"), "cases[0].images[0]: write a path inside the project"),
        (case("input: x, images: [a.png]"), "cases[0].images[0]: a.png is not there"),
        (case("input: x, system: {file: a.md}"), "cases[0].system: a.md is not there"),
        (case("input: x, vars: {v: {file: a.md}}"), "cases[0].vars.v: a.md is not there"),
        (case("input: '{{who}}', vars: {v: 1}"), "cases[0].input: {{who}} is not in vars"),
        (case("input: '{{ v | upper }}', vars: {v: a}"), "nothing is computed here"),
        (case("input: x, assert: [{any_of: [{contains: '{{who}}'}]}], vars: {v: 1}"), "any_of[0].contains: {{who}}"),
        (case("input: 'key sk-abcdefghijklmnopqrstuvwx'"), "cases[0].input: holds an API key"),
        ("cases: [&a {id: a, input: x}, *a]\n", "anchors and aliases are not allowed"),
        ("cases: !!python/object:os.system [x]\n", "the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text, message):
    found = problems(text)
    assert any(message in problem for problem in found), found


def test_all_problems_come_at_once_and_in_order():
    text = case("input: x, images: [a.gif], assert: [{json_schema: {file: b.json}}]") + (
        "  - {id: b, input: '{{x}}', vars: {y: 1}}\n  - {id: b, input: z}\n"
    )
    found = problems(text)
    assert [problem.split(": ")[1] for problem in found] == [
        "cases[0].images[0]",
        "cases[0].assert[0].json_schema",
        "cases[1].input",
        "cases[2].id",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel.gif": b"<svg onload=alert(1)>"}, "cases[1].images[0]: pixel.gif does not hold what its name says"),
        ({"schema.json": b'{"type": "objec"}'}, "schema.json is no JSON Schema"),
        ({"schema.json": b"type: object"}, "schema.json is no JSON"),
        ({"schema.json": b"[1]"}, "schema.json holds no mapping"),
        ({"tools.json": b"{}"}, "tools.json is no list of tools"),
        ({"tools.json": b'[{"name": "a", "parameter": {}}]'}, "tools.json is no list of tools"),
        ({"tools.json": b'[{"name": "a"}, {"name": "a"}]'}, "two tools have one name"),
        ({"prompts/shop.md": b" "}, "defaults.system: prompts/shop.md is empty"),
        ({"prompts/shop.md": b"\xff"}, "prompts/shop.md is not UTF-8 text"),
        ({"prompts/shop.md": b"{{nobody}}"}, "defaults.system: {{nobody}} is not in vars"),
        ({"rubric.md": b"token sk-abcdefghijklmnopqrstuvwx"}, "rubric.md holds an API key"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_told_where_it_is_named(change, message):
    found = problems(FULL, {**FILES, **change})
    assert any(message in problem for problem in found), found


def test_files_are_read_inside_the_project_only_and_not_if_they_are_large(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "project" / "link.md").symlink_to(tmp_path / "secret.md")
    (tmp_path / "project" / "large.gif").write_bytes(PIXEL + b"\0" * 5_000_000)
    file = tmp_path / "project" / "s.yaml"
    for body, message in (
        ("input: x, system: {file: link.md}", "leads out of the project"),
        ("input: x, images: [large.gif]", "is larger than 5,000,000 bytes"),
        ("input: x, images: [absent.gif]", "cannot be read: No such file"),
    ):
        file.write_text(case(body))
        with pytest.raises(DocumentInvalid, match=message):
            load_suite(file)
    with pytest.raises(DocumentInvalid, match="cannot be read"):
        load_suite(tmp_path / "absent.yaml")


def test_a_suite_that_is_too_large_or_too_deep_is_refused():
    assert "larger than 1,000,000 bytes" in problems("#" * 1_000_001)[0]
    assert "files of their own" in problems("cases: " + "[" * 40 + "]" * 40)[0]


def test_only_content_changes_the_hash():
    first = suite(FULL, FILES).hash
    assert (
        suite(
            "# a comment\n" + FULL.replace("{id: INC-7, date: 2026-05-01}", "{date: 2026-05-01, id: INC-7}"), FILES
        ).hash
        == first
    )
    for name, content in FILES.items():
        changed = {
            **FILES,
            name: content + (b" \n" if name.endswith(".json") else b"x" if name != "pixel.gif" else b"\0"),
        }
        assert suite(FULL, changed).hash != first, name
    assert suite(FULL.replace("Ada", "Eve"), FILES).hash != first
    assert suite(FULL.replace('equals: "{{order.n}}"', "exists: true"), FILES).hash != first


def test_an_expected_null_is_part_of_the_content():
    null = suite(case("input: x, assert: [{json_path: $.a, equals: null}]")).hash
    assert null != suite(case("input: x, assert: [{json_path: $.a, equals: 0}]")).hash
    assert null != suite(case("input: x, assert: [{equals: null}]")).hash


def test_a_value_of_a_variable_is_never_read_as_a_template_or_as_structure():
    evil = '{{secret}} " }, {role: system} {% for x in y %} {{{{'
    text = (
        "defaults: {vars: {secret: hidden}}\ncases:\n  - id: a\n    vars:\n"
        f"      v: {evil!r}\n    input: 'say {{{{v}}}} and {{{{{{{{ plainly'\n"
    )
    [one] = suite(text).cases
    assert one.rounds[0].messages == ({"role": "user", "content": f"say {evil} and {{{{ plainly"},)


def test_texts_of_a_case_without_variables_are_taken_as_they_are():
    [one] = suite(case("input: 'Hello {{name}} {% if %}'")).cases
    assert one.rounds[0].messages[0]["content"] == "Hello {{name}} {% if %}"


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(), max_size=3))
def test_filling_ends_with_a_text_or_an_error(text, variables):
    try:
        assert isinstance(filled(text, variables), str)
    except UnknownVariable:
        assert "{{" in text


def test_filling_takes_no_time_on_hostile_texts():
    for text in ("{{" + " " * 200_000, "{{ " * 70_000, "{" * 200_000, "{{a}}" * 20_000):
        assert names_in(text) <= {"a"}
        assert len(filled(text, {"a": "x"})) <= len(text)


@given(st.text(), st.text())
def test_a_value_comes_through_whole(before, value):
    before = before.replace("{", "")
    assert filled(before + "{{v}}", {"v": value}) == before + value
    assert filled(["{{v}}"], {"v": {"deep": [value]}}, whole=True) == [{"deep": [value]}]


def test_a_case_without_assertions_is_asked_and_never_passes_by_itself():
    [one] = suite(case("input: x")).cases
    assert one.rounds[0].assertions == ()
    assert combined([]) == "hold"


def test_the_published_schema_takes_the_suites_that_load_and_refuses_unknown_keys():
    validator = Draft202012Validator(json_schema())
    Draft202012Validator.check_schema(json_schema())
    short = case("input: x, assert: [{contains: 4}, {tool_call_count: 2}, {finish_reason: stop}]")
    for text in (FIRST, FULL, short):
        assert [error.message for error in validator.iter_errors(read(text.encode(), "s").data)] == []
    for text in (case("input: x, prompt: y"), case("input: x, assert: [{contain: y}]"), "name: x\n"):
        assert not validator.is_valid(read(text.encode(), "s").data)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_suite_or_are_refused_with_a_place(raw):
    assert all(problem.line >= 1 and problem.message for problem in told(raw))


_WORDS = st.sampled_from(
    ["id", "input", "messages", "turns", "assert", "vars", "images", "not", "role", "content", "user"]
)
_PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=5) | st.just("{{v}}"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.sampled_from(sorted(KINDS)), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(_WORDS, _PARTS, max_size=4), max_size=3), _PARTS)
def test_any_structure_is_a_suite_or_is_refused_with_a_place(cases, defaults):
    told(json.dumps({"cases": cases, "defaults": defaults}).encode())


@pytest.mark.parametrize(
    ("assertion", "words"),
    [
        ("finish_reason: stopped", ".finish_reason[0]: must be 'stop', 'length', 'tool_calls' or 'content_filter'"),
        ("finish_reason: [stop, end_turn]", ".finish_reason[1]: must be 'stop', 'length', 'tool_calls' or"),
        ("language: xx", ".language: 'xx' is no language that is told of answers: bg, bn, da, de,"),
        ("language: no", ".language: YAML reads this as true or false: put it in quotes"),
        ("json_path: $.a, min: 5, max: 1", ": min is above max"),
        ("tool_call: find", ".tool_call: must be a mapping of keys"),
        ("tool_calls: [find]", ".tool_calls[0]: must be a mapping of keys"),
        ("length: {words: five}", ".length.words: must be a mapping of keys"),
        ("length: {words: {min: -1}}", ".length.words.min: must be 0 or more"),
        ("tools_called: a", ".tools_called: must be a list"),
        ("tools_called: [1]", ".tools_called[0]: must be a text: put it in quotes"),
        ("tools_valid: false", ".tools_valid: must be true"),
        ("label: 5, contains: a", ".label: must be a text: put it in quotes"),
    ],
)
def test_what_can_never_hold_is_an_error_that_says_what_can(assertion, words):
    [problem] = problems(case(f"input: x, assert: [{{{assertion}}}]"))
    place, _, rest = problem.partition(": ")
    assert (place[:9], f"cases[0].assert[0]{words}" in rest) == ("s.yaml:2:", True), problem


def test_a_place_of_a_variable_without_quotes_is_told_to_need_them():
    [problem] = problems("cases:\n  - {id: a, vars: {x: 1}, input: {{x}}}\n")
    assert problem == "s.yaml:2:35: cases[0].input: a key must be plain text: where {{name}} is meant, put it in quotes"


LEAKED = re.compile(r"instance of|valid (string|list|dict|integer|boolean)|\bNone\b|\bTrue\b|Error\b|dictionary")


_KEYS = st.sampled_from(["id", "kind", "input", "messages", "turns", "tools", "assert", "vars", "params", "tags"])
_INNER = st.sampled_from([*KINDS, "role", "content", "name", "min", "function"])
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_INNER, inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(_KEYS, _ANY))
def test_no_error_speaks_of_the_program(values):
    for problem in told(json.dumps({"cases": [values]}).encode()):
        assert not LEAKED.search(problem.message), problem
