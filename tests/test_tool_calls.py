"""Tool calls are compared as the leaderboard does: acceptable sets, any order, no wrong type, and nothing too much."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bfcl
from llmmigrate.models import ToolCall
from llmmigrate.regression.tool_calls import Accepted, ExpectedCall, Members, calls_mismatch, mismatch

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "limit": {"type": "number"},
        "units": {"type": "string", "default": "metric"},
    },
    "required": ["city"],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]


def call(name="weather", /, **arguments):
    return ToolCall("c1", name, json.dumps(arguments))


def expected(name="weather", /, *, extra=False, loose=False, **arguments):
    accepted = {key: one if isinstance(one, Accepted) else Accepted((one,)) for key, one in arguments.items()}
    return ExpectedCall(name, accepted, extra=extra, loose=loose)


def why(made, wanted, schema=WEATHER):
    return mismatch(made, wanted, schema)


def test_one_of_several_acceptable_values_is_enough():
    wanted = expected(city=Accepted(("Rome", "Roma")))
    assert why(call(city="Roma"), wanted) is None
    assert why(call(city="Milan"), wanted) == 'city is "Milan", not "Rome" or "Roma"'


def test_an_optional_argument_may_be_left_out_unless_the_schema_requires_it():
    wanted = expected(city=Accepted(("Rome",), optional=True), days=Accepted((3,), optional=True))
    assert why(call(city="Rome"), wanted) is None
    assert why(call(days=3), wanted) == "city is missing"
    assert why(call(days=3), wanted, {}) is None


def test_a_default_of_the_schema_may_be_said_or_not():
    assert why(call(city="Rome"), expected(city="Rome", units="metric")) is None
    assert why(call(city="Rome", units="metric"), expected(city="Rome")) is None
    assert why(call(city="Rome", units="imperial"), expected(city="Rome")) == '"units" is not expected ("imperial")'
    assert why(call(city="Rome"), expected(city="Rome", units="imperial")) == "units is missing"


@pytest.mark.parametrize(
    ("argument", "given_value", "wanted_value", "fits"),
    [
        ("limit", 5, 5.0, True),
        ("limit", 5.0, 5, True),
        ("days", 5, 5, True),
        ("days", 5.0, 5, False),
        ("days", "5", 5, False),
        ("days", True, 1, False),
        ("limit", "5.5", 5.5, False),
        ("unknown", 5, 5.0, True),
        ("unknown", 5.0, 5, False),
        ("unknown", 1, True, False),
        ("unknown", None, None, True),
        ("unknown", 0, None, False),
    ],
)
def test_an_integer_stands_for_a_float_and_nothing_else_for_a_number(argument, given_value, wanted_value, fits):
    made = call(**{"city": "Rome", argument: given_value})
    assert (why(made, expected(city="Rome", **{argument: wanted_value})) is None) is fits


def test_texts_are_equal_to_the_letter_unless_loose():
    assert why(call(city="new york"), expected(city="New York")) is not None
    assert why(call(city="new-york"), expected(city="New York", loose=True)) is None
    assert why(call(city="New York!"), expected(city="New York", loose=True)) is not None


def test_lists_and_objects_are_equal_at_any_depth():
    wanted = expected(where={"at": [1, {"deep": ["a"]}]})
    assert why(call(where={"at": [1, {"deep": ["a"]}]}), wanted, {}) is None
    for other in ({"at": [1, {"deep": ["b"]}]}, {"at": [{"deep": ["a"]}, 1]}, {"at": [1]}, {"at": [1, {}]}, [], "x"):
        assert why(call(where=other), wanted, {}) is not None


def test_members_of_an_object_have_acceptable_values_of_their_own():
    members = Members({"low": Accepted((1, 2)), "high": Accepted((9,), optional=True)})
    wanted = expected(budget=members)
    assert why(call(budget={"low": 2}), wanted, {}) is None
    assert why(call(budget={"low": 2, "high": 9}), wanted, {}) is None
    for other in ({"low": 3}, {"high": 9}, {"low": 1, "more": 1}, 2):
        assert why(call(budget=other), wanted, {}) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{'city': 'Rome'}", "[" * 100_000])
def test_arguments_that_are_no_object_are_no_match(text):
    made = ToolCall("c1", "weather", text)
    assert mismatch(made, expected(city="Rome"), WEATHER) is not None


def test_parallel_calls_have_no_order_and_each_is_taken_once():
    wanted = [expected(city="Rome"), expected(city="Oslo")]
    rome, oslo = call(city="Rome"), call(city="Oslo")
    assert calls_mismatch([oslo, rome], wanted, TOOLS) is None
    assert calls_mismatch([rome, rome], wanted, TOOLS) is not None
    assert calls_mismatch([oslo, rome], wanted, TOOLS, ordered=True) is not None
    assert calls_mismatch([rome, oslo], wanted, TOOLS, ordered=True) is None
    assert calls_mismatch([rome, oslo, oslo], wanted, TOOLS) is not None
    assert calls_mismatch([rome, call("other"), oslo], wanted, TOOLS, others=True) is None
    assert calls_mismatch([rome], wanted, TOOLS, others=True) is not None
    assert calls_mismatch([], wanted, TOOLS) == "0 calls came, not 2"


@given(st.lists(st.sets(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=5), st.randoms())
def test_calls_are_matched_wherever_any_assignment_exists(choices, random):
    """Which expected call takes which is found as trying every order would: the first that fits may be another's."""
    made = [call(city=str(random.randrange(5))) for _ in choices]
    wanted = [expected(city=Accepted(tuple(str(one) for one in some))) for some in choices]
    possible = any(
        all(mismatch(one, want) is None for one, want in zip(order, wanted, strict=True))
        for order in itertools.permutations(made)
    )
    assert (calls_mismatch(made, wanted) is None) is possible


@pytest.mark.parametrize("category", bfcl.CATEGORIES)
def test_the_leaderboards_answers_are_taken_and_broken_ones_refused(data, category):
    items = bfcl.load(data / "bfcl", category)[::4]
    assert len(items) >= 50
    right, wrong = bfcl.measure(items)
    assert (right.taken, right.example) == (right.n, "")
    assert right.n > 150
    for way, tally in wrong.items():
        assert tally.taken <= 0.005 * tally.n, f"{way}: {tally.example}"
    assert {
        "required argument dropped",
        "wrong type",
        "wrong name",
        "extra call",
        "value outside the set",
    } <= wrong.keys()
