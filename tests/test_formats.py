"""Profiles of answers count what is there, and their differences say what a reader of the answers would trip over."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.exceptions import SchemaError

from llmmigrate.regression.equivalence_intervals import fisher
from llmmigrate.regression.formats import ABSENT, PRESENT, ROOT, Count, Feature, profile
from llmmigrate.regression.formats_changes import compare
from llmmigrate.regression.formats_kinds import kind_of
from llmmigrate.regression.formats_reading import Written, read


def answers(number=120, seed=1, edit=None):
    """Return JSON answers of a support bot; `edit` changes an answer's data, given their number."""
    chance = random.Random(seed)
    found = []
    for place in range(number):
        data = {
            "status": chance.choice(["open", "closed"]),
            "refund": {"amount": 12.5, "reason": None if place % 3 == 0 else f"late by {chance.randint(1, 999)} days"},
            "items": [{"id": chance.randint(1, 99)} for _ in range(chance.randint(1, 3))],
            "at": "2026-11-28",
        }
        found.append(json.dumps(data if edit is None else edit(place, data)))
    return found


def told(target, control=None, again=None, **options):
    before = control if control is not None else answers()
    second = again if again is not None else answers(seed=2)
    found = compare(profile(before, **options), profile(target, **options), profile(second, **options))
    return [one.sentence for one in found if one.beyond_chance]


def test_the_same_bot_again_has_no_difference_beyond_chance():
    assert told(answers(seed=3)) == []


def test_null_that_becomes_absent_is_said_with_counts():
    def drop(_, data):
        if data["refund"]["reason"] is None:
            del data["refund"]["reason"]
        return data

    assert told(answers(seed=3, edit=drop)) == ["`refund.reason` is absent in 40 of 120 answers; control never"]
    found = compare(profile(answers()), profile(answers(edit=drop)), profile(answers(seed=2)))
    assert found[0].examples == (0, 3, 6)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is an empty string"),
        (None, "is null"),
        ([], "is an empty list"),
        ({}, "is an empty object"),
        ("12.50", "is a string that is a number"),
        ("$12.50", "is a string that is a number with its unit"),
        (12, "is a whole number"),
        (12.125, "is a number with 3 decimals"),
        (True, "is true or false"),
        ("n/a", "is a string that says null or none"),
        ([1], "is a list"),
    ],
)
def test_each_kind_of_value_is_told_from_the_others(value, words):
    def put(_, data):
        data["refund"]["amount"] = value
        return data

    assert f"`refund.amount` {words} in 120 of 120 answers; control never" in told(answers(seed=3, edit=put))


def test_a_renamed_key_is_told_as_one_and_not_as_two_differences():
    def rename(_, data):
        data["refund"]["cause"] = data["refund"].pop("reason")
        return data

    assert told(answers(seed=3, edit=rename)) == [
        "`refund.cause` stands for `refund.reason` in 120 of 120 answers; control never"
    ]


def test_keys_in_lists_are_counted_by_place():
    def rename(_, data):
        data["items"] = [{"no": one["id"]} for one in data["items"]]
        return data

    (sentence,) = told(answers(seed=3, edit=rename))
    assert sentence.startswith("`items[].no` stands for `items[].id` in ")
    assert sentence.endswith("places; control never")


def test_a_word_that_control_never_says_is_told_where_words_are_few():
    def shout(place, data):
        data["status"] = "OPEN" if place < 30 else data["status"]
        return data

    assert told(answers(seed=3, edit=shout)) == ['`status` is "OPEN" in 30 of 120 answers; control never']


def test_dates_and_the_order_of_keys_are_told():
    def turn(_, data):
        return dict(reversed((data | {"at": "11/28/2026"}).items()))

    assert told(answers(seed=3, edit=turn)) == [
        "`at` is a date like 28/11/2026 or 11/28/2026 in 120 of 120 answers; control never",
        "the answer has its keys in another order in 120 of 120 answers; control never",
    ]


def test_fences_and_prose_around_json_are_told_and_the_json_in_them_is_read():
    fenced = [f"Sure!\n```json\n{one}\n```" if n % 4 == 0 else one for n, one in enumerate(answers(seed=3))]
    assert told(fenced) == [
        "30 of 120 answers are JSON in a code fence; control never",
        "30 of 120 answers have prose before their JSON; control never",
    ]


def test_a_schema_is_held_against_answers_that_are_json_alone():
    schema = {"type": "object", "required": ["refund"], "properties": {"status": {"enum": ["open", "closed"]}}}
    broken = [f"```json\n{one}\n```" if n < 40 else one for n, one in enumerate(answers(seed=3))]
    assert "the answer does not fit its schema in 40 of 120 answers; control never" in told(broken, schema=schema)
    with pytest.raises(SchemaError):
        profile([], {"type": "nothing"})


def test_a_schema_elsewhere_is_never_fetched():
    found = profile(['{"a": 1}'], {"$ref": "https://example.invalid/schema.json"})
    assert found.count(Feature(ROOT, "schema", "invalid")) == Count(1, 1)


def test_noise_of_control_is_no_difference():
    def sometimes(share, seed):
        chance = random.Random(seed)

        def drop(_, data):
            if chance.random() < share:
                del data["at"]
            return data

        return answers(edit=drop)

    assert told(sometimes(0.3, 5), control=sometimes(0.3, 6), again=sometimes(0.3, 7)) == []
    found = compare(*(profile(sometimes(0.3, seed)) for seed in (6, 5)))
    assert all(one.again is None for one in found)


def test_what_control_does_in_its_second_run_is_no_difference_either():
    def drop(place, data):
        if place % 3 == 0:
            del data["at"]
        return data

    assert told(answers(seed=3, edit=drop), again=answers(seed=2, edit=drop)) == []
    assert told(answers(seed=3, edit=drop)) == ["`at` is absent in 40 of 120 answers; control never"]


def test_what_is_worst_comes_first_and_chance_last():
    def break_it(place, data):
        data["status"] = "OPEN" if place < 30 else data["status"]
        data["refund"]["amount"] = "12.50" if place < 90 else 12.5
        return data

    found = compare(profile(answers()), profile(answers(seed=3, edit=break_it)), profile(answers(seed=2)))
    assert [one.feature.path for one in found[:2]] == ["refund.amount", "status"]
    assert [one.beyond_chance for one in found] == sorted((one.beyond_chance for one in found), reverse=True)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"a": 1}', "json"),
        ('[{"a": 1}]', "json"),
        ("[]", "json"),
        ('{"a": 1} and more', "json"),
        ('```json\n{"a": 1}\n```', "fenced"),
        ("```\n[1, 2]\n```", "fenced"),
        ('Here:\n```JSON\n{"a": 1}', "fenced"),
        ('Here it is: {"a": 1}', "in prose"),
        ('{"a": 1', "invalid"),
        ("{'a': 1}", "invalid"),
        ('{"a": NaN}', "invalid"),
        ('```json\n{"a": 1,}\n```', "invalid"),
        ("[" * 100_000, "text"),
        ('{"a":' * 20_000, "invalid"),
        ('{"a":' * 100_000, "text"),
        ("See [1] and {}.", "text"),
        ("```python\nprint({})\n```", "text"),
        ("42", "text"),
        ("yes", "text"),
        ("  \n", "empty"),
        ("[note] this is prose", "text"),
    ],
)
def test_the_form_of_an_answer(text, form):
    assert read(text).form == form


def test_a_hostile_answer_takes_no_time():
    for text in (
        "```" + "\t" * 150_000,
        "{" * 150_000,
        "x[{" * 60_000,
        "```json\n" * 20_000,
        '{"a":"' + "\\" * 150_000,
    ):
        began = time.perf_counter()
        profile([text])
        assert time.perf_counter() - began < 2


def test_what_stands_around_json_is_noticed():
    found = read('Sure:\n```json\n{"a": 1}\n```\nAnything else?')
    assert (found.leading, found.trailing, found.value) == (True, True, {"a": 1})
    assert read('{"a": 1}\n\nDone.').trailing


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_every_object_is_read_back_and_its_kinds_add_up(data):
    found = read(json.dumps(data))
    assert (found.form, found.value) == ("json", data)
    counted = profile([json.dumps(data)])
    kinds = sum(times for one, times in counted.found.items() if one.about == "kind")
    assert kinds == sum(counted.held.values())
    for path in counted.parents:
        present, absent = (counted.count(Feature(path, "key", so)) for so in (PRESENT, ABSENT))
        assert present.times + absent.times == present.of == absent.of


@given(st.lists(st.text(max_size=60) | json_values.map(json.dumps), max_size=6))
@settings(max_examples=60)
def test_nothing_that_a_model_writes_breaks_a_profile(texts):
    one, other = profile(texts), profile(reversed(texts))
    assert one.answers == len(texts)
    assert [found for found in compare(one, one) if found.beyond_chance] == []
    assert [found for found in compare(one, other) if found.feature.about != "order"] == []


def test_keys_that_are_data_stay_bounded():
    many = profile([json.dumps({f"k{n}": 1 for n in range(start, start + 100)}) for start in range(0, 10_000, 100)])
    assert len(many.parents) == 200


def test_model_output_is_shown_without_control_characters():
    sentences = [one.sentence for one in compare(profile(['{"b": 1}']), profile(['{"a\\u001b[31m": 1}']))]
    assert sentences == ['`"a\N{REPLACEMENT CHARACTER}[31m"` stands for `b` in 1 of 1 answers; control never']


def test_numbers_keep_the_decimals_that_were_written():
    assert kind_of(Written("12.50")) == "a number with 2 decimals"
    assert kind_of(Written("1e5")) == "a number with an exponent"
    assert kind_of(0.1 + 0.2) == "a number with many decimals"


def test_fisher_agrees_with_the_lady_who_tasted_tea():
    """Fisher (1935), The Design of Experiments: 3 of 4 right, twice 17 of 70; all right, twice 1 of 70."""
    assert fisher((3, 4), (1, 4)) == pytest.approx(34 / 70)
    assert fisher((4, 4), (0, 4)) == pytest.approx(2 / 70)
    assert fisher((0, 0), (1, 4)) == 1.0
