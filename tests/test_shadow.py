"""What is called beside users' requests in shadow: budget, control's own noise, agreement, dead mirrors."""

from __future__ import annotations

import asyncio

import pytest

from llmmigrate.document import load_text
from llmmigrate.exceptions import DocumentInvalid, ModelError
from llmmigrate.metrics.counting import AA_COST, ASSIGNED, DROPPED, OVER_BUDGET
from llmmigrate.models import Completion, ModelClient, ToolCall, Usage
from llmmigrate.routing.agreement import texts_agree, tools_agree
from llmmigrate.routing.async_router import AsyncRouter
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import ask
from llmmigrate.store.folding import by_arm, fold
from tests.conftest import ROUTE
from tests.invariants import broken
from tests.test_document import EXAMPLE


def shadow(**keys):
    more = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    return lambda text: text.replace("shadow:\n", f"shadow:\n{more}", 1)


class Priced(ModelClient):
    """Answers at a cost, in as many words as there were calls: no two answers are alike unless `same`."""

    def __init__(self, cost: float | None = 0.01, *, same: bool = True, tool: str | None = None) -> None:
        self.cost, self.same, self.tool = cost, same, tool
        self.calls = 0

    async def complete(self, request):
        self.calls += 1
        text = "" if self.tool else "yes" if self.same else f"yes {self.calls}"
        calls = (ToolCall("1", self.tool, '{"a": 1, "b": 2}'),) if self.tool else ()
        return Completion(request.model, text, Usage(1, 1), 0.1, tool_calls=calls, cost_usd=self.cost)


@pytest.fixture
def served(world):
    """Give a function that sends requests in shadow, and returns the cells and the next wait or transition."""

    def run(number, *, old=None, new=None, **keys):
        world.write(shadow(**keys))
        world.upgrade()
        world.old, world.new = old or Priced(), new or Priced()
        with world.router() as router:
            router.poll()
            for request in range(number):
                router.completion(route=ROUTE, messages=[], unit=f"u{request}")
                router.mirror.wait()
        return cells(world), world.upgrade()

    return run


def cells(world):
    state = world.store.route(ROUTE)
    with world.store.telemetry.writing() as connection:
        return by_arm(fold(connection).cells_of(connection, ROUTE, state.generation))


def test_a_router_stops_mirroring_at_the_budget_and_the_controller_pauses(world, served):
    found, result = served(100, budget="$0.20")
    assert world.new.calls == found["candidate", "cost_per_request"].n == 20
    assert found["candidate", OVER_BUDGET].n == 80
    assert found["candidate", ASSIGNED].n == 100
    state = result.last.state
    assert state.status == "paused"
    [(_, _, why)] = result.transitions
    assert why.event == "paused"
    assert "mirroring has cost $0.20, all of shadow.budget" in why.reason
    assert not Snapshot.from_text(state.snapshot).mirror
    assert not broken(world.store)


def test_a_spent_budget_mirrors_nothing_until_a_person_grants_as_much_again(world, served):
    served(50, budget="$0.20")
    with world.router() as router:
        router.poll()
        assert router.assign(ROUTE, unit="u").mirror is None
        ask.resume(world.store, ROUTE, actor="tests", reason="another 20 cents")
        router.poll()
        assert router.assign(ROUTE, unit="u").mirror is not None


def test_calls_without_a_price_hold_a_shadow_that_has_a_budget(served):
    _, result = served(30, new=Priced(cost=None), budget="$5")
    details = [reason.detail for reason in result.last.wait.reasons]
    assert any(detail.startswith("shadow.budget: the cost of 30 mirrored calls is not known") for detail in details)


def test_control_is_called_again_for_a_share_of_units_and_that_costs(world, served):
    found, _ = served(200, old=Priced(0.001), aa_share="50%", budget="$100")
    repeats = found["control", AA_COST]
    assert 70 < repeats.n < 130
    assert repeats.total == pytest.approx(0.001 * repeats.n)
    assert world.old.calls == 200 + repeats.n
    assert found["control", "error_rate"].n == 200
    assert found["control", "text_agreement"].n == repeats.n


def test_agreement_is_counted_for_the_candidate_and_for_controls_own_noise(served):
    found, _ = served(40, old=Priced(same=False), new=Priced(), aa_share="100%")
    assert found["candidate", "text_agreement"].total == 0
    assert found["control", "text_agreement"].total == 0
    assert (found["candidate", "text_agreement"].n, found["control", "text_agreement"].n) == (40, 40)
    assert ("candidate", "tool_agreement") not in found


def test_other_tool_calls_disagree(served):
    found, _ = served(20, old=Priced(tool="refund"), new=Priced(tool="cancel"), aa_share="100%")
    assert (found["candidate", "tool_agreement"].total, found["control", "tool_agreement"].total) == (0, 20)


def completion(text="", calls=()):
    return Completion("m", text, Usage(1, 1), 0.1, tool_calls=tuple(ToolCall(*call) for call in calls))


def test_answers_agree_as_programs_read_them():
    assert texts_agree(completion('{"a": 1, "b": 2}'), completion('{"b":2,"a":1}'))
    assert texts_agree(completion("one  two\n"), completion("one two"))
    assert not texts_agree(completion("one"), completion("two"))
    assert not texts_agree(completion("one"), completion(""))
    assert texts_agree(completion(), completion(" ")) is None
    one = completion(calls=[("x", "a", '{"p": 1}'), ("y", "b", "")])
    assert tools_agree(one, completion(calls=[("z", "b", "{}"), ("w", "a", '{ "p":1 }')]))
    assert not tools_agree(one, completion(calls=[("x", "a", '{"p": 1}')]))
    assert not tools_agree(completion("no"), one)
    assert tools_agree(completion("a"), completion("b")) is None


def test_a_users_call_that_fails_leaves_nothing_to_compare_with(world):
    world.write(shadow())
    world.upgrade()
    world.old.error = "overloaded"
    with world.router() as router:
        with pytest.raises(ModelError):
            router.completion(route=ROUTE, messages=[], unit="u")
        router.mirror.wait()
    found = cells(world)
    assert found["candidate", "error_rate"].n == 1
    assert ("candidate", "text_agreement") not in found


def test_a_stream_is_compared_when_it_is_whole(world):
    world.write(shadow(aa_share="100%"))
    world.upgrade()

    async def run():
        clients = {"fake/old": Priced(), "fake/new": Priced()}
        async with AsyncRouter(store=world.store, clients=clients, clock=world.clock, background=False) as router:
            router.poll()
            async for _ in router.astream(route=ROUTE, messages=[], unit="whole"):
                pass
            left = router.astream(route=ROUTE, messages=[], unit="left")
            await anext(left)
            await left.aclose()
            await router.mirror.wait()

    asyncio.run(run())
    found = cells(world)
    assert found["candidate", "text_agreement"].n in (1, 2)
    assert found["candidate", "error_rate"].n == 2


def test_a_dead_mirror_is_named(world):
    world.write(shadow())
    world.upgrade()
    with world.router() as router:
        router.mirror.begin = lambda call: False
        world.serve(router, 50)
    assert cells(world)["candidate", DROPPED].n == 50
    details = [reason.detail for reason in world.upgrade().last.wait.reasons]
    assert (
        "the mirror is dead: none of 50 requests mirrored to the candidate came back "
        "(50 dropped: too many under way)" in details
    )


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(DocumentInvalid, match="waive shadow instead"):
        load_text(EXAMPLE.replace("shadow:", "shadow:\n  budget: $0", 1), "d.yaml")
