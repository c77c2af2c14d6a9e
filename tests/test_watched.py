"""What is watched fails no model for being as noisy as control: whoever exchanges runs exchanges what came of them."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.watched import ENGLISH, NO, NOISE, SPANISH, suite
from llmmigrate.regression.given import Given
from llmmigrate.regression.watched import PREFIX, WATCHED, Answered, watched

TEXTS = [
    *(json.dumps({"label": label, "n": 1}) for label in ("low", "high", "HIGH")),
    json.dumps({"label": "low", "n": None}),
    f"```json\n{json.dumps({'label': 'low', 'n': 1})}\n```",
    ENGLISH.format(n=1),
    SPANISH.format(n=1),
    NO,
    "12",
    "",
]
RUN = st.lists(st.sampled_from([*map(Given, TEXTS), None]), min_size=1, max_size=3)
CASES = st.lists(st.tuples(RUN, RUN, RUN), min_size=1, max_size=6)


@settings(max_examples=300)
@given(CASES, st.data())
def test_who_exchanges_the_runs_of_a_case_exchanges_what_came_of_them(runs, data):
    orders = [data.draw(st.sampled_from(list(permutations(range(3))))) for _ in runs]
    plain = watched([Answered(str(n), *three) for n, three in enumerate(runs)])
    swapped = [
        Answered(str(n), *(three[at] for at in order))
        for n, (three, order) in enumerate(zip(runs, orders, strict=True))
    ]
    exchanged = watched(swapped)
    assert exchanged.keys() == plain.keys()
    for name, outcomes in plain.items():
        assert [one.case for one in exchanged[name]] == [one.case for one in outcomes]
        for before, after in zip(outcomes, exchanged[name], strict=True):
            three = (before.target, before.control, before.again)
            assert [three[at] for at in orders[int(before.case)]] == [after.target, after.control, after.again]


@pytest.mark.parametrize("copied", [0.0, 1.0])
def test_a_model_is_not_failed_for_its_own_noise(copied):
    """At most 2.5% of suites may fail, so that 3 of 25 would be met once in 40 times; what is drawn is seeded."""
    random = np.random.default_rng(5)
    verdicts = [suite(random, NOISE, None, copied=copied) for _ in range(25)]
    assert sum("fail" in each.values() for each in verdicts) <= 2
    assert all(f"{PREFIX}{words}" in each for each in verdicts for words in WATCHED.values())


def answered(target, control, again=None, cases=30):
    """Return cases that all have these texts, a list a run."""
    runs = (target, control, again or control)
    return [Answered(str(n), *([Given(text) for text in run] for run in runs)) for n in range(cases)]


def test_a_changed_answer_fails_on_the_target_alone():
    low, _, shouted, null, fenced = TEXTS[:5]
    for text, failing in (
        (shouted, {"values"}),
        (null, {"keys"}),
        (fenced, {"form"}),
        (NO, {"form", "keys", "declining"}),
    ):
        found = watched([*answered([text] * 3, [low] * 3)[:10], *answered([low] * 3, [low] * 3)[10:]])
        for name, words in WATCHED.items():
            outcomes = found.get(f"{PREFIX}{words}", [])
            assert not any("fail" in (*one.control, *one.again) for one in outcomes), (text, name)
            assert any("fail" in one.target for one in outcomes) is (name in failing), (text, name)


def test_what_only_the_target_says_is_settled_nowhere_however_often_it_says_it():
    low, _, shouted = TEXTS[:3]
    found = watched(answered([shouted] * 3, [low] * 3))[f"{PREFIX}{WATCHED['values']}"]
    assert all(set(one.target) == {"fail"} and set(one.control) == {"pass"} for one in found)
    assert len(found) == 30


def test_a_case_without_an_answer_in_one_of_its_runs_is_left_out():
    low = Given(TEXTS[0])
    found = watched([Answered("a", [None], [low], [low]), Answered("b", [low], [low], [])])
    assert found == {}
