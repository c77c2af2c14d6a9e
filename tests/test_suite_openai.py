"""OpenAI-shaped lines become a suite that loads: requests, batches, fine-tuning sets; the rest is said by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.regression.openai_jsonl import import_openai
from llmmigrate.regression.suite import read_suite

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


def imported(*lines, **options):
    raw = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return import_openai(raw.encode(), "r.jsonl", **options)


def load(found):
    return read_suite(found.text().encode(), "s.yaml")


def user(text):
    return {"role": "user", "content": text}


def test_a_request_becomes_a_case_with_all_that_it_asks():
    request = {
        "model": "gpt-5",
        "messages": [{"role": "system", "content": "Be brief."}, user("Where is A-1?")],
        "tools": [TOOL],
        "tool_choice": "required",
        "temperature": 0.5,
        "max_tokens": 100,
        "stream": True,
    }
    found = imported(request)
    [case] = load(found).cases
    assert case.id == "where-is-a-1"
    assert list(case.rounds[0].messages) == request["messages"]
    assert (list(case.tools), case.tool_choice) == ([TOOL], "required")
    assert case.params == {"temperature": 0.5, "max_tokens": 100}
    assert [str(one) for one in found.left_out] == [
        "r.jsonl:1: the model: it is that of the migration document",
        "r.jsonl:1: stream: how answers are read is not in a suite",
    ]


def test_a_request_of_a_batch_keeps_its_id_and_its_last_assistant_message():
    body = {"messages": [user("Hi"), {"role": "assistant", "content": "{"}]}
    line = {"custom_id": "Task 7", "method": "POST", "url": "/v1/chat/completions", "body": body, "expected": "{}"}
    found = imported(line, {**line, "url": "/v1/embeddings"})
    [case] = load(found).cases
    bare = imported({"custom_id": "b", "body": body}).data["cases"][0]
    assert (bare["messages"], "assert" in bare) == (body["messages"], False)
    assert (case.id, list(case.rounds[0].messages)) == ("task-7", body["messages"])
    assert case.rounds[0].assertions[0].equals == "{}"
    assert [str(one) for one in found.left_out] == [
        "r.jsonl:2: a line: a request of '/v1/embeddings', not of chat completions"
    ]


def test_the_last_message_of_a_conversation_is_the_expected_answer():
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"id": "A-1"}'}}
    found = imported(
        {"messages": [user("Capital?"), {"role": "assistant", "content": "Rome"}]},
        {"messages": [user("Where?"), {"role": "assistant", "content": None, "tool_calls": [call]}], "tools": [TOOL]},
        {"messages": [user("Skip"), {"role": "assistant", "content": "x", "weight": 0}]},
    )
    load(found)
    assert [case.get("assert") for case in found.data["cases"]] == [
        [{"equals": "Rome"}],
        [{"tool_calls": [{"name": "lookup", "arguments": {"id": "A-1"}}]}],
        None,
    ]
    assert [one.what for one in found.left_out] == ["an expected answer of weight 0"]


@pytest.mark.parametrize(
    ("expected", "expect", "asserted"),
    [
        ("Rome", "equals", [{"equals": "Rome"}]),
        ("Rome", "contains", [{"contains": "Rome"}]),
        ("Rome", "nothing", None),
        (["Rome", "Roma"], "equals", [{"any_of": [{"equals": "Rome"}, {"equals": "Roma"}]}]),
        (["Rome", "Roma"], "contains", [{"contains_any": ["Rome", "Roma"]}]),
        (["Rome"], "equals", [{"equals": "Rome"}]),
        ({"city": "Rome"}, "equals", [{"equals": {"city": "Rome"}}]),
        (42, "equals", [{"equals": 42}]),
        (None, "equals", None),
    ],
)
def test_an_expected_answer_is_asserted(expected, expect, asserted):
    for key in ("expected", "ideal"):
        found = imported({"messages": [user("x")], key: expected}, expect=expect)
        load(found)
        assert found.data["cases"][0].get("assert") == asserted


def test_functions_of_old_requests_are_tools():
    request = {"messages": [user("x")], "functions": [TOOL["function"]], "function_call": {"name": "lookup"}}
    [case] = load(imported(request)).cases
    assert (list(case.tools), case.tool_choice) == ([TOOL], {"type": "function", "function": {"name": "lookup"}})


def test_what_an_sdk_adds_to_a_message_is_left_out():
    answer = {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": None,
    }
    found = imported({"messages": [user("a"), {**answer, "reasoning_content": "hm"}, user("b")]})
    [case] = load(found).cases
    assert case.rounds[0].messages[1] == {"role": "assistant", "content": "Hi"}
    assert [one.what for one in found.left_out] == ["reasoning_content of a message"]


def test_what_all_cases_ask_alike_is_said_once():
    found = imported(*({"messages": [user(f"q{n}")], "tools": [TOOL], "temperature": 0} for n in range(3)))
    assert found.data["defaults"] == {"tools": [TOOL], "params": {"temperature": 0}}
    assert [sorted(case) for case in found.data["cases"]] == [["id", "input"]] * 3
    assert all(case.params == {"temperature": 0} for case in load(found).cases)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "a line: it is no JSON from column 2 on"),
        ("[]", "a line: it is no object"),
        ('{"prompt": "x"}', "a line: it has no messages"),
        ('{"messages": []}', "a line: it has no messages"),
        ('{"messages": [{"role": "function", "name": "f", "content": "x"}]}', "a line: messages[0].role"),
        ('{"messages": [{"role": "user", "content": [{"type": "video"}]}]}', "a part of a message has a type"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "too deep, too large, or not plain text"),
        ('{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "not plain text"),
        ('{"messages": ' + "[" * 5000 + "]" * 5000 + "}", "a line: "),
        ('{"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "mcp"}]}', "a line: tools[0]"),
        ('{"messages": [{"role": "user", "content": "x"}], "category": "billing"}', "category: it is no part of what"),
    ],
)
def test_a_line_that_is_no_case_is_left_out_by_name(line, what):
    found = imported(line, {"messages": [user("good")]})
    assert any(what in one.what for one in found.left_out), found.left_out
    load(found)


def test_a_thing_that_is_left_out_of_many_lines_is_said_once():
    found = imported(*({"messages": [user("x")], "model": "m"} for _ in range(5)))
    assert [str(one) for one in found.left_out] == [
        "r.jsonl:1: the model: it is that of the migration document (and 4 more)"
    ]
    assert [case.id for case in load(found).cases] == ["x", "x-2", "x-3", "x-4", "x-5"]


def test_a_suite_that_would_be_too_large_is_not_written():
    found = imported(*({"messages": [user("word " * 4000 + str(n))]} for n in range(60)))
    with pytest.raises(ValueError, match=r"larger than 1,000,000 bytes"):
        found.text()


_TEXTS = st.text(max_size=20)
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": _TEXTS | st.none()},
    optional={
        "tool_call_id": _TEXTS,
        "tool_calls": st.lists(st.just({"id": "c", "function": {"name": "f", "arguments": "{}"}})),
    },
)
_REQUEST = st.fixed_dictionaries(
    {"messages": st.lists(_MESSAGE, min_size=1, max_size=4)},
    optional={
        "expected": _TEXTS | st.lists(_TEXTS) | st.integers(),
        "temperature": st.floats(0, 2),
        "custom_id": _TEXTS,
    },
)


@given(st.lists(_REQUEST, min_size=1, max_size=4))
def test_any_requests_become_a_suite_that_says_the_same(requests):
    found = imported(*requests)
    if not found.data["cases"]:
        return
    texts = [message["content"] for request in requests for message in request["messages"]]
    for case in load(found).cases:
        for message in case.rounds[0].messages:
            assert message["content"] in texts


@given(st.binary(max_size=100) | st.lists(st.text(max_size=30)).map(lambda lines: "\n".join(lines).encode()))
def test_any_bytes_are_read_without_an_error(raw):
    import_openai(raw, "r.jsonl")


@pytest.mark.parametrize(
    "more",
    [
        {"functions": 5, "expected": "b"},
        {"messages": [user("a"), {"role": "assistant", "content": "b", "tool_calls": 5}]},
    ],
)
def test_calls_and_functions_that_are_no_list_are_passed_over(more):
    found = imported({"messages": [user("a")], **more})
    assert [case["assert"] for case in found.data["cases"]] == [[{"equals": "b"}]]
