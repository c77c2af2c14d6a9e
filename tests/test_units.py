"""Amounts carry their unit, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.units import (
    format_duration,
    format_share,
    parse_amount,
    parse_duration,
    parse_hold,
    parse_money,
    parse_share,
    parse_spending,
)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_share, "5%", 0.05),
        (parse_share, "0.5%", 0.005),
        (parse_share, "100%", 1.0),
        (parse_money, "$0.02", 0.02),
        (parse_spending, "$48/day", 48 / 86400),
        (parse_duration, "200ms", 0.2),
        (parse_amount, "5pp", (0.05, "pp")),
        (parse_amount, "120%", (1.2, "%")),
        (parse_amount, "200ms", (0.2, "s")),
        (parse_amount, "$0.0123", (0.0123, "$")),
        (parse_duration, "90s", 90),
        (parse_duration, "6h", 21600),
        (parse_duration, "14d", 1209600),
        (parse_hold, "6h..48h", (21600, 172800)),
        (parse_hold, "6h", (21600, 172800)),
    ],
)
def test_reads_amounts_with_their_unit(parse, text, expected):
    assert parse(text) == pytest.approx(expected)


@pytest.mark.parametrize("parse", [parse_share, parse_duration, parse_hold, parse_money, parse_spending])
@pytest.mark.parametrize(
    "value", ["5", 5, 0.05, True, None, "", "-5%", "five", "5 %%", "5pp", "1e3h", "6h..", "..6h", []]
)
def test_refuses_what_would_have_to_be_guessed(parse, value):
    with pytest.raises(ValueError, match=r"."):
        parse(value)


@pytest.mark.parametrize("value", ["$-1", "-$1", "-5%", "$ -0.5", "- 3h"])
def test_says_of_what_is_below_zero_that_it_is(value):
    with pytest.raises(ValueError, match="is below zero"):
        parse_amount(value)


def test_says_of_money_that_cannot_be_read_no_word_of_units():
    with pytest.raises(ValueError, match="is no amount of money"):
        parse_money("$a lot")


def test_refuses_units_of_another_kind():
    cases = [
        (parse_share, "5h"),
        (parse_duration, "5%"),
        (parse_share, "101%"),
        (parse_hold, "6h..5h"),
        (parse_money, "5%"),
        (parse_spending, "$50"),
        (parse_spending, "$50/year"),
        (parse_amount, 5),
    ]
    for parse, text in cases:
        with pytest.raises(ValueError, match=r"."):
            parse(text)


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_a_value_error(text):
    for parse in (parse_share, parse_amount, parse_duration, parse_hold, parse_money, parse_spending):
        try:
            parse(text)
        except ValueError:
            continue


@given(st.floats(0, 1))
def test_a_written_share_reads_back(fraction):
    text = format_share(fraction)
    if "e" not in text:
        assert parse_share(text) == pytest.approx(fraction, rel=1e-5, abs=1e-8)


def test_durations_are_written_in_two_units():
    assert format_duration(187_200) == "2 d 4 h"
    assert format_duration(3_060) == "51 m"
    assert format_duration(0) == "0 s"


@pytest.mark.parametrize("text", ["5%", "0.5pp", "200ms", "90s", "$0.0123"])
def test_an_amount_is_shown_as_it_was_written(text):
    assert str(parse_amount(text)) == text


def test_a_message_repeats_only_a_few_words_of_what_was_written():
    with pytest.raises(ValueError, match=r"^.{1,200}$"):
        parse_share("x" * 10_000)
