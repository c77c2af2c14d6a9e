"""The router of an event loop: whole answers and streams, fallback, abandonment, and what is recorded of each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from llmmigrate import AsyncRouter, Chunk, Completion, Decision, ModelClient, ModelError, ToolCall, Usage
from llmmigrate.metrics.figures import figures
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.routing.calls import Asked
from llmmigrate.routing.mirror import MIRRORED_AT_ONCE
from llmmigrate.routing.validity import schema_valid, tools_valid
from llmmigrate.store.folding import by_arm, fold
from tests.conftest import ROUTE
from tests.project import straight_to_canary
from tests.providers import Fault, serving

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Streaming(ModelClient):
    """Answer in three pieces, or break before the first or before the last one."""

    def __init__(self, breaks: int | None = None, error: Exception | None = None, slow: float = 0.0) -> None:
        self.breaks = breaks
        self.error = error or ModelError("connection", "cut off")
        self.slow = slow
        self.closed = 0
        self.calls = 0

    async def complete(self, request):
        self.calls += 1
        await asyncio.sleep(self.slow)
        if self.breaks is not None:
            raise self.error
        return Completion(
            request.model, "abc", Usage(10, 3), 0.1, tool_calls=(ToolCall("1", "weather", '{"city": 5}'),)
        )

    async def stream(self, request):
        self.calls += 1
        try:
            for number, text in enumerate("abc"):
                if self.breaks == number:
                    raise self.error
                await asyncio.sleep(self.slow)
                yield Chunk(text=text)
            yield Chunk(
                finish_reason="stop",
                usage=Usage(10, 3),
                completion=Completion(request.model, "abc", Usage(10, 3), 0.1, first_token_s=0.05),
            )
        finally:
            self.closed += 1


@pytest.fixture
def routed(world):
    """Return a function that runs a scenario with a router at a phase; candidates and control can be given."""

    def run(scenario, *, phase="shadow", new=None, old=None, edit=None):
        world.write(lambda text: (edit or str)(text if phase == "shadow" else straight_to_canary(text)))
        assert world.upgrade().last.state.phase == phase

        async def main():
            clients = {"fake/old": old or Streaming(), "fake/new": new or Streaming()}
            router = AsyncRouter(store=world.store, clients=clients, clock=world.clock, background=False)
            router.poll()
            async with router:
                found = await scenario(router)
                await router.mirror.wait()
            return found

        result = asyncio.run(main())
        state = world.store.route(ROUTE)
        with world.store.telemetry.writing() as connection:
            cells = by_arm(fold(connection).cells_of(connection, ROUTE, state.generation))
        return result, figures(cells), cells

    return run


async def whole(stream):
    return "".join([chunk.text async for chunk in stream])


def units_of(router, arm, count=1):
    found = (f"u{number}" for number in range(10_000) if router.assign(ROUTE, unit=f"u{number}").arm == arm)
    return [next(found) for _ in range(count)]


def test_an_answer_comes_from_control_and_the_mirror_is_counted(routed):
    async def scenario(router):
        answers = [await router.acompletion(route=ROUTE, messages=[], tools=[WEATHER]) for _ in range(5)]
        return {answer.model for answer in answers}

    models, seen, cells = routed(scenario)
    assert models == {"fake/old"}
    assert (seen["control"]["requests"], seen["candidate"]["requests"]) == (5, 5)
    assert seen["control"]["tool_call_accuracy"] == 0.0
    assert cells["control", "truncated_rate"].n == 5


def test_a_stream_comes_whole_and_its_first_token_is_timed(routed):
    async def scenario(router):
        return await whole(router.astream(route=ROUTE, messages=[]))

    text, seen, _ = routed(scenario)
    assert text == "abc"
    assert seen["control"]["first_token_s"]["p50"] == pytest.approx(0.05, rel=0.01)
    assert seen["candidate"]["requests"] == 1


def test_a_candidate_that_fails_before_its_first_piece_is_replaced_unnoticed(routed):
    async def scenario(router):
        [unit] = units_of(router, "candidate")
        return await whole(router.astream(route=ROUTE, messages=[], unit=unit))

    text, seen, _ = routed(scenario, phase="canary:50", new=Streaming(breaks=0))
    assert text == "abc"
    assert seen["candidate"]["errors"] == {"connection": 1}


def test_a_stream_that_breaks_midway_ends_as_a_direct_call_would(routed):
    async def scenario(router):
        [unit] = units_of(router, "candidate")
        got = []
        try:
            async for chunk in router.astream(route=ROUTE, messages=[], unit=unit):
                got += [chunk.text]
        except ModelError as error:
            return got, error.error_class

    (got, error_class), seen, _ = routed(scenario, phase="canary:50", new=Streaming(breaks=2))
    assert (got, error_class) == (["a", "b"], "connection")
    assert seen["candidate"]["errors"] == {"connection": 1}


def test_a_client_that_breaks_its_promise_in_a_stream_is_a_failed_candidate(routed):
    async def scenario(router):
        [unit] = units_of(router, "candidate")
        return await whole(router.astream(route=ROUTE, messages=[], unit=unit))

    text, seen, _ = routed(scenario, phase="canary:50", new=Streaming(breaks=0, error=ZeroDivisionError()))
    assert (text, seen["candidate"]["errors"]) == ("abc", {"unknown": 1})


def test_surface_shows_a_failing_stream_where_the_document_says_so(routed):
    async def scenario(router):
        [unit] = units_of(router, "candidate")
        with pytest.raises(ModelError):
            await whole(router.astream(route=ROUTE, messages=[], unit=unit))

    routed(
        scenario,
        phase="canary:50",
        new=Streaming(breaks=0),
        edit=lambda text: text.replace("on_candidate_error: fallback", "on_candidate_error: surface"),
    )


def test_a_stream_that_its_reader_leaves_is_counted_and_closed(routed):
    old = Streaming()

    async def scenario(router):
        stream = router.astream(route=ROUTE, messages=[])
        async for _ in stream:
            break
        await stream.aclose()

    _, seen, cells = routed(scenario, old=old)
    assert old.closed == 1
    assert seen["control"]["requests"] == 1
    assert (cells["control", "abandoned"].n, seen["control"]["errors"]) == (1, {})


class Keeping(Streaming):
    """Answer, and keep what was asked."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []

    async def complete(self, request):
        self.asked.append(request)
        return await super().complete(request)

    async def stream(self, request):
        self.asked.append(request)
        async for chunk in super().stream(request):
            yield chunk


class Hanging(ModelClient):
    """Take a call and never answer."""

    async def complete(self, _request):
        await asyncio.sleep(3600)

    async def stream(self, _request):
        await asyncio.sleep(3600)
        yield


class Limited(ModelClient):
    """Call a real server in the direct client's way."""

    def __init__(self, url):
        self.url = url
        self.client = OpenAICompatibleClient()

    def _there(self, request):
        return replace(request, model="openai/gpt-4o", messages=[{"role": "user", "content": "?"}], api_base=self.url)

    async def complete(self, request):
        return await self.client.complete(self._there(request))

    async def stream(self, request):
        async for chunk in self.client.stream(self._there(request)):
            yield chunk

    async def close(self):
        await self.client.close()


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("timeout_s", [0.4, None])
def test_a_candidate_that_hangs_leaves_control_half_of_the_users_time(routed, monkeypatch, pieces, timeout_s):
    old = Keeping()
    monkeypatch.setattr("llmmigrate.routing.calls.CANDIDATE_S", 0.2)

    async def scenario(router):
        [unit] = units_of(router, "candidate")
        asked = {"route": ROUTE, "messages": [], "unit": unit, "timeout_s": timeout_s}
        return await whole(router.astream(**asked)) if pieces else (await router.acompletion(**asked)).text

    text, seen, _ = routed(scenario, phase="canary:50", old=old, new=Hanging())
    assert text == "abc"
    assert seen["candidate"]["errors"] == {"timeout": 1}
    left = old.asked[-1].timeout_s
    assert left is None if timeout_s is None else 0 < left <= 0.2


def test_only_the_first_piece_of_a_stream_is_wanted_in_half_of_the_time(routed):
    class Late(Streaming):
        async def stream(self, request):
            yield Chunk(text="a")
            await asyncio.sleep(0.3)
            yield Chunk(text="b", completion=Completion(request.model, "ab", Usage(1, 1), 0.3))

    async def scenario(router):
        [unit] = units_of(router, "candidate")
        return await whole(router.astream(route=ROUTE, messages=[], unit=unit, timeout_s=0.4))

    text, seen, _ = routed(scenario, phase="canary:50", new=Late())
    assert (text, seen["candidate"]["errors"]) == ("ab", {})


def test_without_control_behind_it_a_candidate_has_all_of_the_users_time(routed):
    new = Keeping(slow=0.3)

    async def scenario(router):
        [unit] = units_of(router, "candidate")
        return (await router.acompletion(route=ROUTE, messages=[], unit=unit, timeout_s=0.5)).model

    def surface(text):
        return text.replace("on_candidate_error: fallback", "on_candidate_error: surface")

    model, _, _ = routed(scenario, phase="canary:50", new=new, edit=surface)
    assert model == "fake/new"
    assert (new.asked[-1].timeout_s, new.asked[-1].longest_wait_s) == (0.5, None)


def test_a_mirrored_call_comes_in_pieces_where_the_users_does(routed):
    async def scenario(router):
        await whole(router.astream(route=ROUTE, messages=[]))
        await router.acompletion(route=ROUTE, messages=[])

    _, seen, cells = routed(scenario)
    assert seen["candidate"]["requests"] == 2
    assert cells["candidate", "first_token"].n == 1


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("phase", ["shadow", "canary:50"])
def test_a_rate_limited_candidate_is_not_waited_for(routed, monkeypatch, pieces, phase):
    """The server names half a minute, of which no user and no mirrored call waits a second."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef0123")
    new = Limited("")

    async def scenario(router):
        [unit] = units_of(router, "control" if phase == "shadow" else "candidate")
        async with serving([Fault(status=429, headers={"retry-after": "30"})] * 3) as server:
            new.url = f"{server.url}/v1"
            asked = {"route": ROUTE, "messages": [], "unit": unit}
            text = await whole(router.astream(**asked)) if pieces else (await router.acompletion(**asked)).text
            await router.mirror.wait()
            return text, len(server.requests)

    (text, requests), seen, _ = routed(scenario, phase=phase, new=new)
    assert (text, requests) == ("abc", 1)
    assert seen["candidate"]["errors"] == {"rate_limit": 1}


def test_a_cancelled_call_is_counted(routed):
    async def scenario(router):
        task = asyncio.create_task(router.acompletion(route=ROUTE, messages=[]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _, seen, cells = routed(scenario, old=Streaming(slow=5.0))
    assert (seen["control"]["requests"], cells["control", "abandoned"].n) == (1, 1)


def test_a_hanging_candidate_delays_no_user_in_shadow_and_the_mirror_is_bounded(routed):
    async def scenario(router):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(MIRRORED_AT_ONCE + 20):
            await router.acompletion(route=ROUTE, messages=[])
        took = loop.time() - began
        dropped = router.mirror.dropped
        await router.mirror.close(patience_s=0.1)
        return took, dropped

    (took, dropped), seen, cells = routed(scenario, new=Streaming(slow=60.0))
    assert took < 10
    assert dropped == 20
    assert cells["candidate", "abandoned"].n == MIRRORED_AT_ONCE
    assert seen["control"]["requests"] == MIRRORED_AT_ONCE + 20


def test_parameters_of_the_document_win(world):
    world.write(lambda text: text.replace("  params: {}\n", '  params: {"temperature": 0}\n', 1))
    world.upgrade()
    asked = []

    class Listening(Streaming):
        async def complete(self, request):
            asked.append(dict(request.params))
            return await super().complete(request)

    async def main():
        clients = {"fake/old": Listening(), "fake/new": Streaming()}
        async with AsyncRouter(store=world.store, clients=clients, background=False) as router:
            await router.acompletion(route=ROUTE, messages=[], params={"temperature": 1, "top_p": 0.5})

    asyncio.run(main())
    assert asked == [{"temperature": 0, "top_p": 0.5}]


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], None),
        ([("weather", '{"city": "Rome"}')], True),
        ([("weather", "{}")], False),
        ([("weather", '{"city": "Rome", "x": 1}')], False),
        ([("weather", '{"city": ')], False),
        ([("weather", "[]")], False),
        ([("other", "{}")], False),
        ([("weather", '{"city": "Rome"}'), ("weather", "{}")], False),
    ],
)
def test_a_tool_call_is_valid_where_it_can_be_executed(calls, expected):
    assert tools_valid([ToolCall("1", name, arguments) for name, arguments in calls], [WEATHER]) is expected


def test_a_tool_schema_that_is_none_holds_nothing_against_an_answer():
    broken = {"type": "function", "function": {"name": "weather", "parameters": {"type": "nonsense"}}}
    assert tools_valid([ToolCall("1", "weather", "{}")], [broken]) is None


@pytest.mark.parametrize(
    ("text", "expected"), [('{"ok": true}', True), ('{"ok": 1}', False), ("ok", False), ("```json\n{}\n```", False)]
)
def test_a_structured_answer_is_held_against_its_schema(text, expected):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert schema_valid(text, asked, ()) is expected
    assert schema_valid(json.dumps([1]), {"type": "json_object"}, ()) is False
    assert schema_valid(text, None, ()) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/elsewhere.json"},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"a": {"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}}},
    ],
)
def test_a_schema_fetches_nothing_and_no_pattern_of_it_stops_a_router(schema):
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert schema_valid(json.dumps({"a": "a" * 5000}), asked, ()) in (None, False)


def _schema(schema):
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"type": "function", "function": {"name": "weather", "parameters": MappingProxyType({})}}]},
        {"tools": [{"type": "function", "function": {}}]},
        {"tools": [{"type": "function", "function": {"name": "weather", "parameters": {1: 2, "type": "object"}}}]},
        _schema({"name": "x", "schema": {"type": "string", "pattern": r"\p{L}+"}}),
        _schema({"name": "x", "schema": {"$ref": "http://[broken"}}),
        _schema(None),
    ],
)
def test_what_cannot_be_judged_costs_no_user_an_answer(routed, asked):
    class Json(Streaming):
        async def complete(self, request):
            return replace(await super().complete(request), text='"a"')

    async def scenario(router):
        return (await router.acompletion(route=ROUTE, messages=[], **asked)).model

    model, seen, _ = routed(scenario, old=Json(), new=Json())
    assert model == "fake/old"
    assert (seen["control"]["requests"], seen["candidate"]["requests"]) == (1, 1)


STRUCTURE = {"type": "json_object"}


@pytest.mark.parametrize(
    ("moves", "asks", "sent", "judged"),
    [
        ({}, STRUCTURE, STRUCTURE, STRUCTURE),
        ({"response_format": {"type": "text"}}, STRUCTURE, {"type": "text"}, STRUCTURE),
        ({"response_format": STRUCTURE}, None, STRUCTURE, STRUCTURE),
        ({}, None, None, None),
    ],
)
def test_the_document_says_what_is_sent_and_the_application_what_an_answer_must_be(moves, asks, sent, judged):
    decision = Decision(ROUTE, "candidate", "openai/new", {"seed": 1, **moves}, 1, None, "u", 0)
    asked = Asked([], response_format=asks, params={"temperature": 0})
    assert asked.of(decision).response_format == sent
    assert asked.of(decision).asked() == {
        "seed": 1,
        "temperature": 0,
        **({"response_format": sent} if sent is not None else {}),
    }
    assert asked.structure(decision) == judged


def test_both_arms_are_judged_by_the_structure_that_the_application_asks_for(routed):
    async def scenario(router):
        return await whole(router.astream(route=ROUTE, messages=[], response_format=STRUCTURE))

    _, seen, _ = routed(
        scenario, edit=lambda text: text.replace("params: {}", "params: {response_format: {type: text}}", 1)
    )
    assert (seen["control"]["schema_validity"], seen["candidate"]["schema_validity"]) == (0.0, 0.0)
