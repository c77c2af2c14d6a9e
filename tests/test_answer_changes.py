"""What changed between two models' answers is said as people say it, and nothing is where nothing changed."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.llama_change import AFTER, BEFORE, recorded
from llmmigrate.regression.changes import changes
from llmmigrate.regression.changes_traits import traits

WORDS = ["the", "parcel", "is", "on", "its", "way", "and", "you", "will", "have", "it", "by", "end", "of", "week"]


def answers(number=200, seed=1, edit=None):
    """Return answers of 30 to 60 words; `edit` changes one, given its place and its words."""
    chance = random.Random(seed)
    texts = [[chance.choice(WORDS) for _ in range(chance.randint(30, 60))] for _ in range(number)]
    return [(edit or _order)(place, words) for place, words in enumerate(texts)]


def _order(place, words):
    return f"Order {place} {' '.join(words)}."


def claimed(before, after):
    return {claim.trait: claim for claim in changes(before, after).changed}


def test_nothing_is_claimed_where_nothing_changed():
    for seed in range(2, 7):
        assert claimed(answers(), answers(seed=seed)) == {}


def test_a_model_beside_itself_changed_in_nothing():
    found = changes(answers(), answers())
    assert found.changed == ()
    assert all(claim.change == 0 for claim in found.unchanged)


def test_shorter_answers_are_said_with_their_range():
    found = claimed(answers(), answers(seed=2, edit=lambda n, words: " ".join(["Order", str(n), *words[:35]])))
    claim = found["words"]
    assert claim.change < -0.15
    assert claim.interval[0] < claim.change < claim.interval[1] < 0
    assert claim.sentence.startswith(f"answers are {-100 * claim.change:.0f}% shorter (")
    assert "median words" in found


def test_a_few_endless_answers_leave_the_median_and_are_told_by_themselves():
    endless = answers(seed=2, edit=lambda n, words: " ".join(words if n % 10 else ["fall"] * 900))
    found = claimed(answers(), endless)
    assert {"words", "longest", "repeats"} <= set(found)
    assert "median words" not in found
    assert found["repeats"].sentence.startswith("answers that go round in circles (the same five words, over and over)")


@pytest.mark.parametrize(
    ("trait", "edit"),
    [
        ("bold", lambda words: f"**Good news** {words}"),
        ("heading", lambda words: f"## Your parcel\n{words}"),
        ("bullets", lambda words: f"- one\n- two\n{words}"),
        ("numbered list", lambda words: f"1. one\n2. two\n{words}"),
        ("table", lambda words: f"| a | b |\n| --- | --- |\n| 1 | 2 |\n{words}"),
        ("fence", lambda words: f"```\n{words}\n```"),
        ("json", lambda words: f'{{"text": "{words}"}}'),
        ("emoji", lambda words: f"{words} 🎉"),
        ("question", lambda words: f"{words}. Anything else?"),
        ("exclamation", lambda words: f"What a day! {words}"),
        ("opening: great question", lambda words: f"Great question: {words}"),
        ("refusal", lambda words: f"I'm sorry, but I can't help with that. {words}"),
        ("language: de", lambda _: "Ihre Bestellung ist auf dem Weg und wird bis zum Ende der Woche bei Ihnen sein."),
        ("empty", lambda _: " "),
    ],
)
def test_each_trait_is_found_where_a_fifth_of_answers_get_it(trait, edit):
    after = answers(
        seed=2, edit=lambda n, words: edit(" ".join(words)) if n % 5 == 0 else f"Order {n} {' '.join(words)}."
    )
    found = claimed(answers(), after)
    assert found[trait].after == pytest.approx(0.2)
    assert found[trait].before == 0
    assert all(place % 5 == 0 for place in found[trait].examples)
    low, high = found[trait].interval
    assert low < 0.2 < high


def test_marks_in_code_are_no_layout():
    found = traits("```python\n# heading\n- a\n- b\n1. x\n2. y\n**bold**\n```\nDone.")
    assert {name for name, so in found.signs.items() if so} == {"fence"}


def test_a_phrase_that_comes_again_is_no_circle():
    varied = [random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=40) for n in range(8)]
    assert not traits(" ".join(f"We look at the other {' '.join(words)}." for words in varied)).signs["repeats"]
    assert traits("fall " * 40).signs["repeats"]


def test_few_pairs_claim_nothing_and_lists_must_match():
    found = changes(["a"] * 19, ["b"] * 19)
    assert (found.changed, found.held) == ((), "19 pairs: fewer than 20 claim nothing")
    with pytest.raises(ValueError, match="cannot be paired"):
        changes(["a"], [])


def test_refusals_that_cannot_be_told_hold_their_claim():
    german = "Ihre Bestellung ist auf dem Weg und wird bis zum Ende der Woche bei Ihnen sein."
    found = changes(answers(), [german] * 200)
    (claim,) = [one for one in found.unchanged if one.trait == "refusal"]
    assert "a judge has to say" in claim.held


def test_recorded_answers_of_two_llamas_differ_as_a_reader_finds_them(data):
    """Figures counted by hand, with `startswith` and `count` alone, from the recorded answers."""
    rows = recorded(data)
    began = time.perf_counter()
    found = claimed([row[BEFORE] for row in rows], [row[AFTER] for row in rows])
    assert time.perf_counter() - began < 20
    assert found["bold"].before == pytest.approx(437 / 805, abs=0.003)
    assert found["bold"].after == pytest.approx(557 / 805, abs=0.003)
    assert found["opening: what a"].before == pytest.approx(90 / 805)
    assert found["opening: what a"].after == pytest.approx(28 / 805)
    assert found["words"].before == pytest.approx(301.286, abs=0.01)
    assert found["words"].after == pytest.approx(347.523, abs=0.01)
    assert {"exclamation", "heading", "repeats", "longest"} <= set(found)
    assert not {"table", "emoji", "refusal", "fence", "median words"} & set(found)


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), min_size=20, max_size=24))
@settings(max_examples=20)
def test_whatever_models_write_has_claims_with_ranges(pairs):
    before, after = zip(*pairs, strict=True)
    found = changes(before, after)
    for claim in (*found.changed, *found.unchanged):
        assert claim.interval[0] - 1e-9 <= claim.change <= claim.interval[1] + 1e-9
        assert 0 <= claim.p <= 1


def test_a_hostile_answer_takes_no_time():
    began = time.perf_counter()
    for text in ("**" * 200_000, "|-" * 200_000, "1. " * 100_000, "9," * 200_000, "a " * 100_000, "\n" * 300_000):
        traits(text)
    assert time.perf_counter() - began < 5
