"""A promptfoo configuration becomes a suite that loads, and what is not in it is said by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.exceptions import DocumentInvalid
from llmmigrate.regression.promptfoo import import_promptfoo
from llmmigrate.regression.promptfoo_assertions import KNOWN
from llmmigrate.regression.suite import read_suite
from llmmigrate.regression.suite_files import ProjectFiles
from llmmigrate.regression.writing import written

CONFIG = """\
description: Pirates
prompts:
  - "Say {{body}} to {{who}}"
  - {label: chat, raw: '[{"role": "system", "content": "Be {{who}}"}, {"role": "user", "content": "{{body}}"}]'}
providers:
  - id: openai:gpt-5-mini
    config: {temperature: 0, apiKey: env, tools: [{type: function, function: {name: shout}}]}
evaluateOptions: {repeat: 2, maxConcurrency: 4}
outputPath: out.csv
defaultTest:
  vars: {who: a pirate}
  assert:
    - {type: not-contains, value: As an AI}
tests:
  - description: exact
    vars: {body: Yes}
    metadata: {area: greeting, deep: {x: 1}}
    assert:
      - {type: equals, value: Yarr}
      - {type: similar, value: Ahoy}
      - $ref: '#/assertionTemplates/noise'
  - vars: {body: [one, two], who: "the {{rank}}", rank: captain}
    assert:
      - {type: javascript, value: output.length > 3}
      - {type: equals, value: '{{body}}', weight: 2, metric: same}
  - vars: {body: x}
    options: {disableDefaultAsserts: true, prefix: "Please: "}
    threshold: 0.5
assertionTemplates:
  noise: {type: icontains, value: arrr}
"""


def load(imported, files=None):
    def read(path):
        return (files or {})[path].encode()

    return read_suite(imported.text("From promptfoo.").encode(), "s.yaml", files=read)


def imported(text, files=None):
    def read(path):
        if path not in (files or {}):
            raise ValueError(f"{path} is not there")
        return files[path].encode()

    return import_promptfoo(text.encode(), "p.yaml", files=read)


def config(**assertion):
    return json.dumps({"prompts": ["{{q}}"], "tests": [{"vars": {"q": "x"}, "assert": [assertion]}]})


def test_prompts_and_tests_become_cases():
    found = imported(CONFIG)
    suite = load(found)
    assert found.data["defaults"]["repetitions"] == 2
    assert [case.id for case in suite.cases] == [
        "p1-exact", "chat-exact", "p1-one", "chat-one", "p1-two", "chat-two", "p1-x",
    ]  # fmt: skip
    assert suite.cases[0].rounds[0].messages[0]["content"] == "Say Yes to a pirate"
    assert suite.cases[1].rounds[0].messages[0] == {"role": "system", "content": "Be a pirate"}
    assert suite.cases[2].rounds[0].messages[0]["content"] == "Say one to the captain"
    assert suite.cases[6].rounds[0].messages[0]["content"] == "Please: Say x to a pirate"
    assert suite.cases[0].tags == ("area=greeting",)
    assert suite.cases[0].params == {"temperature": 0}
    assert [tool["function"]["name"] for tool in suite.cases[0].tools] == ["shout"]
    kinds = [
        [one["label"] if "label" in one else next(iter(one)) for one in case.get("assert", [])]
        for case in found.data["cases"]
    ]
    assert kinds == [["not", "equals", "icontains"]] * 2 + [["not", "same"]] * 4 + [[]]


def test_what_is_not_taken_is_said_by_name_and_place():
    left = [str(one) for one in imported(CONFIG).left_out]
    for where, what in (
        ("p.yaml:6:3", "the models: they are those of the migration document"),
        ("p.yaml:6:3", "apiKey of the provider's configuration"),
        ("p.yaml:8:", "evaluateOptions.maxConcurrency: how calls are made is not in a suite"),
        ("p.yaml:9:13", "outputPath has no counterpart in a suite"),
        ("p.yaml:15:5", "similar, which has no counterpart"),
        ("p.yaml:15:5", "metadata.deep of a test"),
        ("p.yaml:22:5", "javascript, which has no counterpart"),
        ("p.yaml:22:5", "the weight of equals: here every assertion must hold"),
        ("p.yaml:26:5", "the threshold of a test: here every assertion must hold"),
        ("p.yaml:26:5", "options.prefix and suffix of a prompt that is a chat"),
    ):
        assert any(one.endswith(what) for one in left), (what, left)
        assert any(one.startswith(where) and one.endswith(what) for one in left), (where, what, left)
    assert all(f"# - {one}" in imported(CONFIG).text() for one in left)


TABLE = [
    ({"type": "equals", "value": "a"}, {"equals": "a"}),
    ({"type": "equals", "value": 5}, {"equals": "5"}),
    ({"type": "equals", "value": {"a": 1}}, {"equals": {"a": 1}}),
    ({"type": "contains", "value": 0}, {"contains": "0"}),
    ({"type": "not-icontains", "value": "a"}, {"not": {"icontains": "a"}}),
    ({"type": "contains-any", "value": ["a", 1]}, {"contains_any": ["a", "1"]}),
    ({"type": "contains-all", "value": ["a"]}, {"contains_all": ["a"]}),
    ({"type": "icontains-any", "value": ["a"]}, {"icontains_any": ["a"]}),
    ({"type": "not-icontains-all", "value": ["a"]}, {"not": {"icontains_all": ["a"]}}),
    ({"type": "starts-with", "value": "a"}, {"starts_with": "a"}),
    ({"type": "regex", "value": r"\d{4}"}, {"regex": r"\d{4}"}),
    ({"type": "is-json"}, {"json": "any"}),
    ({"type": "is-json", "value": {"type": "object"}}, {"json_schema": {"type": "object"}}),
    ({"type": "is-json", "value": "file://s.json"}, {"json_schema": {"type": "array"}}),
    ({"type": "contains-json"}, {"json": "any", "embedded": True}),
    ({"type": "not-contains-json"}, {"not": {"json": "any", "embedded": True}}),
    ({"type": "is-refusal"}, {"refusal": "expected"}),
    ({"type": "not-is-refusal"}, {"refusal": "unexpected"}),
    ({"type": "latency", "threshold": 1500}, {"latency": "1500ms"}),
    ({"type": "latency", "threshold": 0.5}, {"latency": "0.5ms"}),
    ({"type": "cost", "threshold": 0.001}, {"cost": "$0.001"}),
    ({"type": "cost", "threshold": 2}, {"cost": "$2"}),
    ({"type": "finish-reason", "value": "Stop"}, {"finish_reason": "stop"}),
    ({"type": "word-count", "value": 5}, {"length": {"words": 5}}),
    ({"type": "word-count", "value": {"min": 1, "max": 5}}, {"length": {"words": {"min": 1, "max": 5}}}),
    ({"type": "is-valid-openai-tools-call"}, {"tools_valid": True}),
    ({"type": "is-valid-function-call"}, {"tools_valid": True}),
    ({"type": "is-valid-openai-function-call"}, {"tools_valid": True}),
    ({"type": "tool-call-f1", "value": "a, b"}, {"tools_called": ["a", "b"]}),
    ({"type": "tool-call-f1", "value": ["a"], "threshold": 1}, {"tools_called": ["a"]}),
    ({"type": "llm-rubric", "value": "is polite"}, {"judge": "is polite"}),
    ({"type": "contains", "value": "file://t.txt"}, {"contains": "the text"}),
    ({"type": "assert-set", "assert": [{"type": "is-json"}]}, {"all_of": [{"json": "any"}]}),
    (
        {"type": "assert-set", "threshold": 0.5, "assert": [{"type": "is-json"}, {"type": "contains", "value": "a"}]},
        {"any_of": [{"json": "any"}, {"contains": "a"}]},
    ),
    ({"type": "contains", "value": "a", "metric": "tone"}, {"contains": "a", "label": "tone"}),
]


@pytest.mark.parametrize(("theirs", "ours"), TABLE)
def test_an_assertion_becomes_ours(theirs, ours):
    files = {"s.json": '{"type": "array"}', "t.txt": "the text\n"}
    found = imported(config(**theirs), files)
    assert found.data["cases"][0]["assert"] == [ours]
    assert found.left_out == ()
    load(found)


def test_every_type_of_the_table_is_shown():
    assert {one["type"].removeprefix("not-") for one, _ in TABLE} == set(KNOWN)


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        ({"type": "javascript", "value": "1"}, "javascript, which has no counterpart"),
        ({"type": "not-similar", "value": "x"}, "not-similar, which has no counterpart"),
        ({"type": "levenshtein", "value": "x", "threshold": 5}, "levenshtein, which has no counterpart"),
        ({"type": "equals", "value": "x", "transform": "output.a"}, "equals of a transformed answer"),
        ({"type": "equals", "value": "x", "weight": 0}, "equals with weight 0, which always passes"),
        ({"type": "equals"}, "equals without a value"),
        ({"type": "contains", "value": "file://x.js"}, "contains by the program x.js"),
        ({"type": "contains", "value": "file://absent.txt"}, "contains: absent.txt is not there"),
        ({"type": "contains-any", "value": "a,b"}, "contains-any without a list"),
        ({"type": "regex", "value": "("}, "regex '(': is no regular expression"),
        ({"type": "is-json", "value": {"type": "objec"}}, "a schema that is no JSON Schema"),
        ({"type": "cost"}, "cost without a threshold"),
        ({"type": "latency", "threshold": True}, "latency without a threshold"),
        ({"type": "word-count", "value": {"min": 5, "max": 1}}, "word-count without whole numbers"),
        ({"type": "tool-call-f1", "value": ["a"], "threshold": 0.5}, "tool-call-f1 with the threshold 0.5"),
        ({"type": "llm-rubric", "value": "x", "threshold": 0.5}, "llm-rubric with a threshold"),
        (
            {"type": "assert-set", "threshold": 0.9, "assert": [{"type": "is-json"}] * 2},
            "assert-set with the threshold 0.9",
        ),
        ({"type": "assert-set", "assert": [{"type": "python", "value": "1"}]}, "python, which has no counterpart"),
        ({"type": "contains", "value": "{{ q | upper }}"}, "contains whose value has filters, conditions or env"),
        ({"type": "contains", "value": "{{nobody}}"}, "an assertion: {{nobody}} is not in vars"),
        ({"$ref": "#/assertionTemplates/absent"}, "an assertion that is no mapping"),
        ({"value": "x"}, "an assertion without a type"),
    ],
)
def test_an_assertion_without_a_counterpart_is_left_out_by_name(theirs, what):
    found = imported(config(**theirs))
    assert "assert" not in found.data["cases"][0]
    assert any(what in str(one) for one in found.left_out), found.left_out
    load(found)


def test_what_is_kept_of_an_assertion_in_part_is_said():
    found = imported(config(type="llm-rubric", value="polite", provider="openai:gpt-5", rubricPrompt="x"))
    assert [one.what for one in found.left_out] == ["provider of llm-rubric", "rubricPrompt of llm-rubric"]
    found = imported(config(type="contains-json", value={"type": "object"}))
    assert "at the first object or list" in found.left_out[0].what


FILES = {
    "a.txt": "One {{q}}\n---\nTwo {{q}}\n",
    "chat.json": '[{"role": "user", "content": "{{q}}?"}]',
    "logic.txt": "{% if q %}x{% endif %}",
    "t.csv": (
        "\ufeffq,__expected,__description,__metadata:area\n"
        '"What, now?","contains-any: ""a,b"", c",first,x\n'
        "zwei,Paris,,\ndrei,grade: is nice,,\nvier,fn:output,,\n"
    ),
    "t.jsonl": '{"vars": {"q": "x"}, "assert": [{"type": "equals", "value": "8"}]}\n\n{"vars": {"q": "y"}}\n',
    "t.json": '[{"vars": {"q": "x"}}]',
    "t.yaml": "- vars: {q: no}\n",
    "long.txt": "A long {{text}}",
}


def cases_of(found):
    return [case.rounds[0].messages[0]["content"] for case in load(found, FILES).cases]


def test_prompts_and_tests_are_read_from_files():
    text = "prompts: [file://a.txt, ./chat.json]\ntests: file://{}\n"
    assert cases_of(imported(text.format("t.yaml"), FILES)) == ["One no", "Two no", "no?"]
    assert cases_of(imported(text.format("t.json"), FILES)) == ["One x", "Two x", "x?"]
    assert cases_of(imported("prompts: '{{q}}'\ntests: t.jsonl\n", FILES)) == ["x", "y"]
    found = imported("prompts: '{{q}}'\ntests: [file://t.csv]\n", FILES)
    assert cases_of(found) == ["What, now?", "zwei", "drei", "vier"]
    assert [case.get("assert") for case in found.data["cases"]] == [
        [{"contains_any": ["a,b", "c"]}],
        [{"equals": "Paris"}],
        [{"judge": "is nice"}],
        None,
    ]
    assert (found.data["cases"][0]["id"], found.data["cases"][0]["tags"]) == ("first", ["area=x"])
    assert [one.what for one in found.left_out] == ["javascript, which has no counterpart"]


VARS = {
    "v.yaml": "order: A-1\nagree: yes\nwho: [Ann, Bob]\n",
    "sub/w.json": '{"order": "B-2"}',
    "sub/t.yaml": "vars: w.json\n",
    "sub/d.yaml": "vars: {order: C-3}\nassert: [{type: is-json}]\n",
    "list.yaml": "- a\n",
    "broken.yaml": "a: 1\nb: [\n",
    "tagged.yaml": "a: !!python/object:os.system x\n",
    "named.yaml": "order: 'file://long.txt'\n",
    **FILES,
}
ORDER = "prompts: 'Order {{order}}'\n"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("tests: [{vars: v.yaml}]", ["A-1"] * 2),
        ("tests: [{vars: 'file://v.yaml'}]", ["A-1"] * 2),
        ("tests: [{vars: [v.yaml, ./sub/w.json]}]", ["B-2"] * 2),
        ("tests: file://sub/t.yaml", ["B-2"]),
        ("tests: [file://sub/t.yaml, {vars: {order: D}}]", ["B-2", "D"]),
        ("defaultTest: {vars: v.yaml}\ntests: [{}, {vars: {order: D, who: x}}]", ["A-1", "A-1", "D"]),
        ("defaultTest: file://sub/d.yaml\ntests: [{}]", ["C-3"]),
        ("tests: [{vars: named.yaml}]", ["A long {{text}}"]),
    ],
)
def test_variables_are_read_from_files(text, asked):
    found = imported(f"{ORDER}{text}\n", VARS)
    assert [case.rounds[0].messages[0]["content"] for case in load(found, VARS).cases] == [f"Order {x}" for x in asked]
    assert found.left_out == ()


def test_a_file_of_variables_is_read_as_yaml_1_2():
    found = imported("prompts: '{{agree}}, {{order}}'\ntests: [{vars: v.yaml}]\n", VARS)
    assert cases_of(found) == ["yes, A-1"] * 2


@pytest.mark.parametrize(
    ("vars_", "what"),
    [
        ("absent.yaml", "absent.yaml is not there"),
        ("'*.yaml'", "*.yaml: only single YAML and JSON files are read"),
        ("v.js", "v.js: only single YAML and JSON files are read"),
        ("list.yaml", "list.yaml holds no mapping"),
        ("broken.yaml", "broken.yaml:3:1: not valid YAML"),
        ("tagged.yaml", "tagged.yaml:1:4: the tag"),
        ("[v.yaml, 5]", "neither a mapping nor the path of a file"),
        ("7", "neither a mapping nor the path of a file"),
    ],
)
def test_variables_that_cannot_be_read_leave_their_test_out_at_its_line_and_are_no_empty_text(vars_, what):
    found = imported(f"{ORDER}tests:\n  - description: one\n    vars: {vars_}\n", VARS)
    assert found.data["cases"] == []
    [left] = found.left_out
    assert (left.where, what in left.what) == ("p.yaml:4:11", True), left
    by_default = imported(f"{ORDER}defaultTest:\n  vars: {vars_}\ntests: [{{}}, {{vars: {{order: A}}}}]\n", VARS)
    assert cases_of(by_default) == ["Order A"]
    assert [str(one)[:13] for one in by_default.left_out] == ["p.yaml:3:9: w", "p.yaml:4:9: a"]
    assert what in by_default.left_out[0].what
    assert "order may stand in defaultTest, which could not be read" in by_default.left_out[1].what


def test_paths_begin_at_the_folder_of_the_configuration_and_files_outside_are_not_read(tmp_path):
    for name, text in {"a/p/b/x.txt": "Text", "a/p/v.yaml": "order: 1\n", "a/out.yaml": "order: secret\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    files = ProjectFiles(tmp_path / "a" / "p")

    def found(vars_, folder):
        return import_promptfoo(f"{ORDER}tests: [{{vars: {vars_}}}]\n".encode(), "p.yaml", files=files, folder=folder)

    assert found("../v.yaml", "b").data["cases"][0]["vars"] == {"order": 1}
    assert found("{order: 'file://x.txt'}", "b").data["cases"][0]["vars"] == {"order": {"file": "b/x.txt"}}
    assert found("{order: 'file://b/x.txt'}", None).data["cases"][0]["vars"] == {"order": "Text"}
    for outside in ("../../out.yaml", str(tmp_path / "a" / "out.yaml")):
        made = found(outside, "b")
        assert (made.data["cases"], "leads out of the project" in made.left_out[0].what) == ([], True)


def test_a_variable_in_a_file_stays_there():
    found = imported("prompts: 'Sum up: {{v}}'\ntests: [{vars: {v: 'file://long.txt'}}]\n", FILES)
    assert found.data["cases"][0]["vars"] == {"v": {"file": "long.txt"}}
    assert cases_of(found) == ["Sum up: A long {{text}}"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prompts: [file://x.py]\ntests: []\n", "made by a program, or kept elsewhere"),
        ("prompts: ['exec:./x']\ntests: []\n", "made by a program, or kept elsewhere"),
        ("prompts: ['langfuse://x:1']\ntests: []\n", "made by a program, or kept elsewhere"),
        ("prompts: [file://prompts/*.txt]\ntests: []\n", "patterns of file names"),
        ("prompts: [file://logic.txt]\ntests: []\n", "filters, conditions and env"),
        ("prompts: ['{{ env.X }}']\ntests: []\n", "filters, conditions and env"),
        ("prompts: [file://absent.txt]\ntests: []\n", "absent.txt is not there"),
        ("prompts: [x]\ntests: file://t.js\n", "only single YAML, JSON, JSONL and CSV"),
        ("prompts: [x]\ntests: [{path: 'gen.py:f', config: {}}]\n", "only single YAML, JSON, JSONL and CSV"),
        ("prompts: ['{{q}}']\ntests: [{vars: {q: 'file://x.pdf'}}]\n", "only single text files are taken"),
        ("prompts: ['{{q}}']\ntests: [{vars: {q: '{{ z | dump }}'}}]\n", "q has filters, conditions or env"),
        ("prompts: ['{{q+1}}']\ntests: [{vars: {q: x}}]\n", "a prompt that computes"),
        ("prompts: ['{{q.a}}']\ntests: [{vars: {q: {b: 1}}}]\n", "{{q.a}} is not in vars"),
        ("prompts: ['{{q}} {{r}}']\ntests: [{vars: {q: x}}]\n", "r is in no vars, and empty in promptfoo"),
        (
            "prompts: [x]\ntests: [{options: {transform: 'output.a'}, assert: [{type: is-json}]}]\n",
            "a transformed answer",
        ),
        ("prompts: [x]\ntests: [{provider: 'openai:x'}]\n", "provider of a test"),
        ('prompts: [\'[{"role": "robot", "content": "x"}]\']\ntests: [{}]\n', "a test that is no case here"),
        ("prompts: [x]\nscenarios: []\ntests: [{}]\n", "scenarios has no counterpart"),
        ("prompts: [x]\ndefaultTest: file://d.yaml\ntests: [{}]\n", "what is in defaultTest: d.yaml is not there"),
        (
            "prompts: [x]\nproviders: [{id: a, config: {tools: [{type: f, definition: {}}]}}]\ntests: [{}]\n",
            "tools of the provider",
        ),
        ("prompts: [x]\nproviders: [{id: a, config: {temperature: 1}}, b]\ntests: [{}]\n", "configurations of several"),
    ],
)
def test_what_has_no_counterpart_is_left_out_by_name(text, what):
    found = imported(text, FILES)
    assert any(what in one.what for one in found.left_out), found.left_out
    if found.data["cases"]:
        load(found)


def test_an_unreadable_configuration_is_told_at_its_place():
    with pytest.raises(DocumentInvalid, match=r"p\.yaml:1:8: anchors and aliases"):
        imported("tests: &a []\nprompts: *a\n")


_WORDS = st.sampled_from([
    "prompts", "tests", "vars", "assert", "type", "value", "threshold", "options", "prefix", "raw", "label", "$ref",
    "metadata", "description", "defaultTest", "providers", "config", "tools", "evaluateOptions", "repeat",
])  # fmt: skip
_TEXTS = st.sampled_from(
    ["{{q}}", "x", "equals", "is-json", "file://a.txt", "assert-set", '[{"role": "user"}]', "", "t.csv"]
)
_VALUES = st.recursive(
    _TEXTS | st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=15,
)


_TEST = st.fixed_dictionaries(
    {"vars": st.dictionaries(st.sampled_from(["q", "r"]), _VALUES), "assert": st.lists(_VALUES)}
)


@given(
    st.dictionaries(_WORDS, _VALUES, max_size=6) | st.fixed_dictionaries({"prompts": _VALUES, "tests": st.lists(_TEST)})
)
def test_any_configuration_becomes_a_suite_that_loads(data):
    found = imported(written(data), FILES)
    if found.data["cases"]:
        load(found, FILES)
