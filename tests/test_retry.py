"""Error bodies of every provider, the waits that they name, and the budget of tries: the rules hold for any of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmmigrate.exceptions import ModelError
from llmmigrate.models.errors import from_answer, retry_after_s
from llmmigrate.models.retry import Budget, with_retries
from llmmigrate.models.sse import EventReader
from tests.providers import NO_CREDIT, OVERLOADED, RATE_LIMITED, mistral_error

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "body", "cause", "retryable"),
    [
        (413, RATE_LIMITED, "rate_limit", False),
        (500, OVERLOADED, "overloaded", True),
        (503, [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], "overloaded", True),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}, "bad_request", False),
        (404, {"error": "no such model"}, "bad_request", False),
        (429, {"error": {"message": "m", "details": "not a list"}}, "rate_limit", True),
        (429, {"error": {"message": "m", "details": [1, {"violations": None}]}}, "rate_limit", True),
        (0, {"error": {"message": "boom"}}, "overloaded", True),
        (0, {"error": {"message": "slow down", "code": 429}}, "rate_limit", True),
        (0, {"error": {"message": "no", "code": 400}}, "bad_request", False),
        (500, "<html>", "overloaded", True),
        (409, {}, "overloaded", True),
        (400, {}, "bad_request", False),
    ],
)
def test_an_error_body_of_any_form_has_a_class(status, body, cause, retryable):
    import orjson

    error = from_answer("p/m", status, {}, body if isinstance(body, str) else orjson.dumps(body))
    assert (error.error_class, error.retryable) == (cause, retryable)


def test_a_provider_may_ask_for_another_try_or_forbid_it_but_not_where_it_is_useless():
    assert from_answer("m", 400, {"x-should-retry": "true"}, b"").retryable
    assert not from_answer("m", 500, {"x-should-retry": "false"}, b"").retryable
    assert not from_answer("m", 413, {"x-should-retry": "true"}, b"").retryable
    assert not from_answer("m", 429, {"x-should-retry": "true"}, NO_CREDIT).retryable


def test_words_of_a_provider_are_short_and_hold_no_key():
    assert len(str(from_answer("m", 400, {}, mistral_error("x" * 5000)))) < 300
    assert "sk-" not in str(from_answer("m", 400, {}, mistral_error("key sk-0123456789abcdef0123 is odd")))
    assert "secret" not in str(from_answer("m", 401, {}, mistral_error("your key secret is odd")))


@given(st.integers(0, 10**7))
def test_a_named_wait_reads_the_same_in_each_of_its_forms(wait_ms):
    assert retry_after_s({"retry-after-ms": str(wait_ms)}, NOW) == pytest.approx(wait_ms / 1000)
    seconds = wait_ms // 1000
    assert retry_after_s({"retry-after": str(seconds)}, NOW) == seconds
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after_s({"retry-after": date}, NOW) == seconds
    assert retry_after_s({"retry-after-ms": "7", "retry-after": "9"}, NOW) == pytest.approx(0.007)


@given(st.text(), st.text())
@example("nan", "inf")
@example("", "Wed, 99 Nov 2026 12:00:00 GMT")
@example("-5", "Mon, 01 Jan 0001 00:00:00 +2359")
def test_any_text_in_these_headers_is_a_wait_that_is_not_negative_or_none(first, second):
    wait = retry_after_s({"retry-after-ms": first, "retry-after": second}, NOW)
    assert wait is None or 0 <= wait < float("inf")


failures = st.lists(st.tuples(st.booleans(), st.none() | st.floats(0, 50), st.floats(0, 30)), max_size=8)


@given(
    failures,
    st.integers(1, 6),
    st.floats(0.1, 200),
    st.none() | st.floats(0.1, 100),
    st.floats(0, 1, exclude_max=True),
)
def test_tries_end_with_the_attempts_the_time_or_what_no_try_can_change(failures, attempts, total_s, timeout_s, draw):
    now = 0.0
    tries: list[float] = []
    waits: list[float] = []
    deadline = min(total_s, timeout_s) if timeout_s is not None else total_s
    script = iter(failures)

    async def call(left_s: float) -> str:
        nonlocal now
        tries.append(now)
        assert left_s == pytest.approx(deadline - now)
        failure = next(script, None)
        if failure is None:
            return "answer"
        retryable, named, takes = failure
        now += min(takes, left_s)
        raise ModelError("overloaded", "no", retryable=retryable, retry_after_s=named)

    async def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds

    work = with_retries(
        call, Budget(attempts, total_s), timeout_s=timeout_s, sleep=sleep, clock=lambda: now, draw=lambda: draw
    )
    try:
        ended = asyncio.run(work)
    except ModelError as error:
        ended = error
    if isinstance(ended, ModelError):
        assert (ended.attempts, ended.latency_s) == (len(tries), pytest.approx(now))
    else:
        assert ended == ("answer", len(tries))
    assert len(tries) <= attempts
    assert now <= deadline + 1e-9
    for wait, (retryable, named, _) in zip(waits, failures, strict=False):
        assert retryable
        assert wait >= (named or 0)
        assert named is not None or wait <= 8


@given(st.lists(st.binary(max_size=20).filter(lambda b: not set(b) & {10, 13}), max_size=6), st.data())
def test_events_are_the_same_however_the_network_cuts_them(events, data):
    wire = b": comment\r\n\r\n" + b"".join(b"event: x\r\ndata: " + event + b"\r\n\r\n" for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = EventReader()
    seen = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        seen += reader.feed(wire[start:end])
    assert seen == events
    assert reader.pending == 0


@pytest.mark.parametrize(("named_s", "tries"), [(None, 3), (0.001, 3), (5.0, 1)])
def test_a_longer_wait_than_the_caller_allows_ends_the_call(named_s, tries):
    made = []

    async def call(left_s):
        made.append(left_s)
        raise ModelError("rate_limit", "slow down", retryable=True, retry_after_s=named_s)

    async def at_once(_):
        return None

    with pytest.raises(ModelError):
        asyncio.run(with_retries(call, Budget(), longest_wait_s=2.0, sleep=at_once))
    assert len(made) == tries
