"""A suite keeps to the declared limits of an account: what a provider would answer with 429 is not asked too early."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document.model import Limits
from llmmigrate.exceptions import ModelError
from llmmigrate.models import Clients, Completion, ModelClient, Usage
from llmmigrate.models.base import ChatRequest
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.regression.asking import Side
from llmmigrate.regression.assertions import Hooks
from llmmigrate.regression.pacing import TAKEN, Pace, PacedClient
from llmmigrate.regression.running import run_suite
from llmmigrate.regression.suite import read_suite
from tests.providers import RATE_LIMITED, Fault, Model, serving

SECOND = 50
"""Calls, and thousands of tokens, that the server lets through in any second: 3,000 and three million a minute."""

ASK = ChatRequest("fake/one", [{"role": "user", "content": "?"}])


class Limited(list):
    """Stand where the server keeps the requests: whatever comes too early is answered with 429."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.came = {}
        self.refused = Counter()

    def append(self, body):
        now, model = time.monotonic(), body["model"]
        came = self.came[model] = [one for one in self.came.get(model, []) if one > now - 1]
        if len(came) >= SECOND:
            self.refused[model] += 1
            self.server.faults.append(Fault(status=429, body=RATE_LIMITED, headers={"retry-after-ms": "50"}))
        else:
            came.append(now)
        super().append(body)


def suite_of(cases):
    lines = [f"  - {{id: c{n}, input: 'question {n}', assert: [{{contains: Paris}}]}}" for n in range(cases)]
    return read_suite(("cases:\n" + "\n".join(lines)).encode(), "s.yaml")


def run(cases, old=None, new=None, model=None):
    """Run a suite on two models of one server; return the result, what the server saw, and the seconds it took."""

    async def all_of_it():
        async with serving(model=model) as server:
            server.requests = Limited(server)
            client = OpenAICompatibleClient()
            control = Side("hosted_vllm/old", {}, f"{server.url}/v1", limits=old)
            target = Side("hosted_vllm/new", {}, f"{server.url}/v1", limits=new)
            began = time.monotonic()
            try:
                result = await run_suite(
                    suite_of(cases),
                    control=control,
                    target=target,
                    clients=Clients({"hosted_vllm": client}),
                    repetitions=1,
                    hooks=Hooks(),
                )
            finally:
                await client.close()
            return result, server.requests, time.monotonic() - began

    return asyncio.run(all_of_it())


def test_without_declared_limits_the_server_of_these_tests_says_that_calls_are_too_many():
    _, server, _ = run(40)
    assert server.refused["old"] > 0


@pytest.mark.parametrize("limits", [Limits(rpm=60 * SECOND), Limits(tpm=60 * SECOND * 1000)])
def test_both_runs_of_control_together_keep_to_its_declared_limit(limits):
    result, server, took = run(50, old=limits, model=Model(prompt=900, completion=100))
    assert server.refused["old"] == 0
    assert result.spent.calls == 150
    assert result.spent.errors == {}
    assert took >= (100 - 1) * 60 / (60 * SECOND * TAKEN) - 0.2


def test_a_limit_of_the_target_is_kept_too_and_slows_control_by_no_limit_of_its_own():
    _, server, _ = run(60, new=Limits(rpm=60 * SECOND))
    assert server.refused["new"] == 0


class Counting(ModelClient):
    """Answer after a while with so many tokens, or fail; keep when each call began and how many were under way."""

    def __init__(self, tokens=0, waits=0.02, attempts=1, *, fails=False):
        self.tokens, self.waits, self.attempts, self.fails = tokens, waits, attempts, fails
        self.began = []
        self.active = self.most_before_answer = 0
        self.answered = 0

    async def complete(self, _request):
        self.began.append(asyncio.get_running_loop().time())
        self.active += 1
        if not self.answered:
            self.most_before_answer = max(self.most_before_answer, self.active)
        await asyncio.sleep(self.waits)
        self.active -= 1
        self.answered += 1
        if self.fails:
            raise ModelError("overloaded", "too much", attempts=self.attempts)
        return Completion("fake/one", "yes", Usage(self.tokens, 0), self.waits, attempts=self.attempts)


def paced(calls, client, **limits):
    async def all_of_them():
        own = PacedClient(client, Pace(**limits))
        await asyncio.gather(*(own.complete(ASK) for _ in range(calls)), return_exceptions=True)

    asyncio.run(all_of_them())
    return [later - earlier for earlier, later in zip(client.began, client.began[1:], strict=False)]


def test_the_first_answer_is_waited_for_where_tokens_are_limited():
    client = Counting(tokens=1000)
    gaps = paced(5, client, tpm=1_200_000)  # 1,000 tokens are 50 ms
    assert client.most_before_answer == 1
    assert min(gaps) >= 0.045
    free = Counting(tokens=1000)
    paced(5, free)
    assert free.most_before_answer == 5


@pytest.mark.parametrize("fails", [False, True])
def test_tries_of_one_call_count_as_requests(fails):
    client = Counting(attempts=3, waits=0, fails=fails)
    gaps = paced(3, client, rpm=1200)  # a request is 50 ms, and three of them 150
    assert min(gaps[1:]) >= 0.14


def test_waiting_for_a_turn_can_be_cancelled_and_frees_the_next():
    async def cancelled():
        pace = Pace(rpm=1)
        client = PacedClient(Counting(waits=0), pace)
        await client.complete(ASK)
        waiting = [asyncio.create_task(client.complete(ASK)) for _ in range(3)]
        await asyncio.sleep(0.01)
        began = time.monotonic()
        for task in waiting:
            task.cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 5


def test_a_cancelled_first_call_under_a_limit_of_tokens_lets_the_next_one_begin():
    async def cancelled():
        client = PacedClient(Counting(tokens=10, waits=0.05), Pace(tpm=60_000))
        first = asyncio.create_task(client.complete(ASK))
        second = asyncio.create_task(client.complete(ASK))
        await asyncio.sleep(0.01)
        first.cancel()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(cancelled()).text == "yes"


def test_of_several_limits_of_one_model_the_lowest_holds():
    client = Counting(waits=0)

    async def two():
        own = PacedClient(client, Pace.of([Limits(rpm=100_000), None, Limits(rpm=1000)]))
        await asyncio.gather(own.complete(ASK), own.complete(ASK))

    asyncio.run(two())
    assert client.began[1] - client.began[0] >= 0.06


class _Waits(selectors.DefaultSelector):
    """Instead of waiting, move the clock of the loop on."""

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class Quick(asyncio.SelectorEventLoop):
    """An event loop whose minutes pass at once."""

    def __init__(self):
        self.now = 0.0
        waits = _Waits()
        waits.loop = self
        super().__init__(waits)

    def time(self):
        return self.now


def begun(limits, calls, under_way):
    """Return when each of some calls began, in seconds: `calls` are (seconds until it is asked for, client)."""
    times = []

    async def one(pace, gate, asked_at, client):
        await asyncio.sleep(asked_at)
        async with gate:
            with suppress(ModelError):
                await PacedClient(client, pace).complete(ASK)
        times.extend(client.began)

    async def all_of_them():
        pace, gate = Pace.of([limits]), asyncio.Semaphore(under_way)
        await asyncio.gather(*(one(pace, gate, asked_at, client) for asked_at, client in calls))

    with asyncio.Runner(loop_factory=Quick) as runner:
        runner.run(all_of_them())
    return sorted(times)


CALLS = st.lists(
    st.tuples(
        st.just(0) | st.floats(0, 100),
        st.builds(Counting, tokens=st.integers(0, 500), waits=st.just(0) | st.floats(0, 20), fails=st.booleans()),
    ),
    min_size=13,
    max_size=30,
)


@given(rpm=st.integers(1, 12), tpm=st.none() | st.integers(10_000, 99_000), calls=CALLS, under_way=st.integers(8, 16))
def test_no_minute_has_more_calls_than_are_declared(rpm, tpm, calls, under_way):
    times = begun(Limits(rpm=rpm, tpm=tpm), calls, under_way)
    assert len(times) == len(calls)
    for number, at in enumerate(times):
        assert sum(at <= later < at + 60 for later in times[number:]) <= rpm


@given(tokens=st.integers(1, 2000), tpm=st.integers(1000, 50_000), calls=st.integers(2, 60), waits=st.floats(0, 30))
def test_no_minute_has_more_tokens_than_are_declared_but_for_the_call_it_ends_with(tokens, tpm, calls, waits):
    times = begun(Limits(tpm=tpm), [(0, Counting(tokens=tokens, waits=waits)) for _ in range(calls)], 16)
    assert len(times) == calls
    for number, at in enumerate(times):
        assert tokens * sum(at <= later < at + 60 for later in times[number:]) <= tpm + tokens
