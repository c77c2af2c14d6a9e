"""Requests go where the routing in force says, and a migration never costs a user an answer."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate import Usage
from llmmigrate.exceptions import ModelError, StoreError, TargetNotFound
from llmmigrate.routing.assignment import BUCKETS, Ramp, bucket_of
from llmmigrate.routing.loop import LoopThread
from llmmigrate.routing.mirror import BlockingMirror
from llmmigrate.runner import downgrade
from tests.conftest import ROUTE, START, both_backends
from tests.crash import quiet_fork
from tests.project import straight_to_canary


def published_cases(data):
    """Read flagd's published cases of version 2 that need the hash and nothing else."""
    lines = [line.strip() for line in (data / "flagd" / "fractional.feature").read_text().splitlines()]
    flag, tag, cases, wanted, whole = "", "", [], False, False
    for line in lines:
        if line.startswith("@"):
            tag = line
        elif line.startswith("Scenario"):
            flag, tag, whole = "", "", "v2" in tag
        elif line.startswith("Examples"):
            tag, wanted = "", "v2" in tag or whole
        elif line.startswith("Given a String-flag with key"):
            flag = line.split('"')[1]
        elif line.startswith("|") and wanted:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] not in ("name", "key", "targeting_key"):
                cases.append((flag, *cells[:2]))
    return cases


def test_flagd_published_cases(data):
    flags = json.loads((data / "flagd" / "fractional-flags.json").read_text())["flags"]
    prefixes = {
        "fractional-flag": "fractional-flag",
        "fractional-flag-A-shared-seed": "shared-seed",
        "fractional-flag-B-shared-seed": "shared-seed",
        "fractional-flag-shorthand": "fractional-flag-shorthand",
        "fractional-hash-edge-flag": "",
    }
    checked = 0
    for flag, key, expected in published_cases(data):
        if flag not in prefixes:
            continue
        rules = flags[flag]["targeting"]["fractional"]
        split = [rule for rule in rules if isinstance(rule, list)]
        weights = [rule[1] if len(rule) > 1 else 1 for rule in split]
        bucket = bucket_of(prefixes[flag] + key, sum(weights))
        found = next(rule[0] for number, rule in enumerate(split) if bucket < sum(weights[: number + 1]))
        assert flags[flag]["variants"][found] == expected, (flag, key)
        checked += 1
    assert checked >= 16


@given(st.text(min_size=1), st.lists(st.floats(0, 0.95), min_size=1, max_size=6))
def test_a_rising_ramp_never_moves_a_unit_back(unit, shares):
    bucket = bucket_of(unit)
    ramps = [Ramp.of([(START, share)]) for share in sorted(shares)]
    arms = [ramp.arm(bucket, None) for ramp in ramps]
    assert arms == sorted(arms, reverse=True)


@given(st.text(min_size=1), st.lists(st.floats(0, 0.95), min_size=1, max_size=6), st.integers(-100, 700))
def test_a_conversation_keeps_the_arm_of_its_start_through_every_ramp(unit, shares, minute):
    bucket, began = bucket_of(unit), START + timedelta(minutes=minute)
    steps = [(START + timedelta(minutes=100 * number), share) for number, share in enumerate(sorted(shares))]
    known = [step for step in steps if step[0] <= began]
    at_start = Ramp.of(known).arm(bucket, began)
    for later in range(len(known), len(steps) + 1):
        assert Ramp.of(steps[:later]).arm(bucket, began) == at_start


def test_shares_are_what_they_say():
    for share in (0.05, 0.25, 0.5, 0.95):
        ramp = Ramp.of([(START, share)])
        found = sum(ramp.arm(bucket_of(f"unit-{n}"), None) == "candidate" for n in range(20_000)) / 20_000
        assert found == pytest.approx(share, abs=0.01)
        exact = sum(ramp.arm(bucket, None) == "candidate" for bucket in range(BUCKETS))
        assert exact == round(share * BUCKETS)


def test_an_unknown_route_says_what_to_do(world):
    with world.router() as router, pytest.raises(TargetNotFound, match="not known"):
        router.completion(route=ROUTE, messages=[])


def test_in_shadow_users_get_control_and_both_are_counted(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        assert set(world.serve(router, 50)) == {"fake/old"}
    assert (world.old.calls, world.new.calls) == (50, 50)


def test_a_broken_candidate_costs_no_user_an_answer_in_any_phase(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.new.error = "overloaded"
        assert set(world.serve(router, 2)) == {"fake/old"}
        world.new.error = None
        world.reach(router, "canary:50")
        router.poll()
        world.new.error = "timeout"
        calls = world.new.calls
        assert set(world.serve(router, 100)) == {"fake/old"}
        assert world.new.calls > calls


def test_surface_shows_a_candidate_error_where_the_document_says_so(world):
    world.write(
        lambda text: straight_to_canary(text).replace("on_candidate_error: fallback", "on_candidate_error: surface")
    )
    world.upgrade()
    with world.router() as router:
        world.new.error = "timeout"
        assert set(world.serve(router, 100)) == {"fake/old", "timeout"}


def test_a_client_that_breaks_its_promise_counts_as_a_failed_candidate(world):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        world.new.complete = lambda request: 1 / 0
        assert set(world.serve(router, 60)) == {"fake/old"}


def test_a_failing_control_is_the_users_error_and_no_fallback_hides_it(world):
    world.write()
    world.upgrade()
    world.old.error = "auth"
    with world.router() as router:
        router.poll()
        with pytest.raises(ModelError) as caught:
            router.completion(route=ROUTE, messages=[])
        assert caught.value.error_class == "auth"


def test_a_route_serves_control_before_its_candidate_is_called(world):
    world.write()
    with world.router() as router:
        world.upgrade()
        router.poll()
        assert router.assign(ROUTE, unit="u").model == "fake/old"


def test_own_clients_assign_and_observe(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        decision = router.assign(ROUTE, unit="u")
        assert decision.mirror is not None
        assert (decision.arm, decision.mirror.arm) == ("control", "candidate")
        router.observe(decision, usage=Usage(10, 20))
        router.observe(decision.mirror, error_class="timeout")
    world.upgrade()
    metrics = {v.metric: v for v in world.upgrade().last.verdicts}
    assert (metrics["error_rate"].n_control, metrics["error_rate"].n_candidate) == (1, 1)
    assert (metrics["tokens_per_request"].n_control, metrics["tokens_per_request"].n_candidate) == (1, 0)


def test_a_router_that_hears_nothing_goes_back_to_control_when_its_lease_ends(world, monkeypatch):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(50)} == {"control", "candidate"}
        late = time.monotonic() + 31
        monkeypatch.setattr("llmmigrate.routing.core.time.monotonic", lambda: late)
        assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(50)} == {"control"}


def test_an_unreachable_store_neither_renews_the_lease_nor_fails_a_request(world, monkeypatch):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        lease = router.following.lease_until

        def away(*_args, **_kwargs):
            raise StoreError("away")

        with monkeypatch.context() as patched:
            patched.setattr(world.store.telemetry, "report_replica", away)
            patched.setattr(world.store.telemetry, "put_flush", away)
            router.poll()
            assert router.following.lease_until == lease
            for number in range(40):
                router.completion(route=ROUTE, messages=[], unit=f"u{number}")
            router.flush()
            assert len(router._recorder.waiting()) == 1
        router.poll()
        router.flush()
        assert router.following.lease_until > lease
        assert router._recorder.waiting() == []


def test_a_router_never_follows_an_older_generation(world, monkeypatch):
    world.write()
    world.upgrade()
    with world.router() as router:
        generation = router.assign(ROUTE, unit="u").generation
        lease = router.following.lease_until
        monkeypatch.setattr(world.store, "generations", lambda: {ROUTE: (generation - 1, False)})
        router.poll()
        assert router.assign(ROUTE, unit="u").generation == generation
        assert router.following.lease_until == lease


def test_a_rollback_is_done_only_when_routers_have_confirmed_it(world):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        silent = downgrade(world.store, ROUTE, actor="t", reason="x", confirm_s=0)
        assert (silent.state.status, silent.confirmed, silent.silent) == ("rolling_back", 0, 1)
        assert world.upgrade().last.state.status == "rolling_back"
        done = downgrade(world.store, ROUTE, actor="t", reason="x", sleep=lambda _: router.poll())
        assert (done.state.status, done.confirmed, done.silent) == ("rolled_back", 1, 0)
        assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(100)} == {"control"}
        again = downgrade(world.store, ROUTE, actor="t", reason="x")
        assert not again.acted


def test_a_new_router_cannot_slip_through_a_rollback(world):
    """A replica that reads before a rollback and reports after it is either seen, or sees the rollback itself."""
    world.write(straight_to_canary)
    world.upgrade()
    real = world.store.generations
    stolen = []

    def rollback_in_between():
        if not stolen:
            stolen.append(downgrade(world.store, ROUTE, actor="t", reason="x", confirm_s=0))
        return real()

    world.store.generations = rollback_in_between
    with world.router() as router:
        status = stolen[0].state.status
        arms = {router.assign(ROUTE, unit=f"u{n}").arm for n in range(100)}
    assert status == "rolling_back" or arms == {"control"}
    assert arms == {"control"}


def test_a_full_mirror_drops_and_the_loss_holds_the_gate(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        world.serve(router, 100)
        router.mirror.begin = lambda call: False
        world.serve(router, 100)
    reasons = [reason.detail for reason in world.upgrade().last.wait.reasons]
    lost = "only 100 of 200 requests mirrored to the candidate were observed (100 dropped: too many under way)"
    assert lost in reasons


def test_a_forked_child_is_a_replica_of_its_own(world, tmp_path):
    """A child inherits no lease, reports for itself, and its parent's confirmations are not its own."""
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        parent = router.run_id
        out = tmp_path / "child"
        child = quiet_fork()
        if child == 0:
            before = {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)}
            router.poll()
            after = {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)}
            out.write_text(json.dumps([router.run_id, sorted(before), sorted(after)]))
            os._exit(0)
        os.waitpid(child, 0)
        run_id, before, after = json.loads(out.read_text())
        assert run_id != parent
        assert (before, after) == (["control"], ["candidate", "control"])
        assert {replica.run_id for replica in world.store.telemetry.replicas()} == {parent, run_id}
        assert router.run_id == parent
        stopped = downgrade(world.store, ROUTE, actor="t", reason="x", confirm_s=0.5, sleep=lambda _: router.poll())
        assert (stopped.state.status, stopped.confirmed, stopped.silent) == ("rolling_back", 1, 1)


@pytest.mark.parametrize(
    "started_at", [START.replace(tzinfo=None), START.isoformat(), "2026-11-02", "yesterday", 5, START]
)
@pytest.mark.parametrize("unit", [12345, uuid.UUID(int=7), "", "x" * 10_000, "half a pair \ud800", None])
def test_whatever_a_caller_has_of_a_conversation_costs_no_request(world, started_at, unit):
    world.write()
    world.upgrade()
    with world.router() as router:
        assert router.completion(route=ROUTE, messages=[], unit=unit, started_at=started_at).model == "fake/old"


@pytest.mark.parametrize(
    "usage", [Usage(10, None), Usage(float("nan"), 1), Usage(-5, 1), Usage(float("inf"), 1), Usage("a", "b"), None]
)
def test_whatever_a_provider_says_of_tokens_spoils_no_fold(world, usage):
    world.write()
    world.upgrade()
    with world.router() as router:
        decision = router.assign(ROUTE, unit="u")
        router.observe(decision, usage=usage)
        router.observe(decision.mirror, usage=Usage(1, 1))
    metrics = {v.metric: v for v in world.upgrade().last.verdicts}
    assert metrics["error_rate"].n_control == 1
    assert metrics["tokens_per_request"].n_control == 0


def test_a_flood_of_input_types_is_counted_together(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        for number in range(3000):
            decision = router.assign(ROUTE, unit=f"u{number}", input_type=f"{number}" + "x" * (number % 200))
            router.observe(decision, usage=Usage(1, 1))
        assert len({input_type for _, _, _, input_type in router._recorder._tallies}) <= 52
    assert {v.n_control for v in world.upgrade().last.verdicts} == {3000}


@both_backends
@pytest.mark.parametrize("input_type", ["a\0b", "half a pair \ud800", "two\nlines", 5, ["refund"], None, "Rückgabe"])
def test_whatever_a_caller_calls_its_input_types_costs_no_request_and_spoils_no_fold(world, input_type):
    world.write()
    world.upgrade()
    with world.router() as router:
        for _ in range(2):
            assert router.completion(route=ROUTE, messages=[], input_type=input_type).model == "fake/old"
    assert {v.n_control for v in world.upgrade().last.verdicts if v.metric == "error_rate"} == {2}


def test_what_is_decided_and_never_observed_holds_the_canary(world):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        for number in range(400):
            decision = router.assign(ROUTE, unit=f"x{number}")
            if decision.arm == "control" or number % 3:
                router.observe(decision, usage=Usage(50, 50))
        router.flush()
    details = [reason.detail for reason in world.upgrade().last.wait.reasons]
    assert any("requests sent to the candidate were observed" in detail for detail in details)


def test_a_router_starts_on_control_while_telemetry_is_away(world, monkeypatch):
    world.write(straight_to_canary)
    world.upgrade()

    def away(*_args, **_kwargs):
        raise StoreError("away")

    monkeypatch.setattr(world.store.telemetry, "report_replica", away)
    with world.router() as router:
        assert {router.assign(ROUTE, unit=f"u{n}").arm for n in range(60)} == {"control"}


def test_parameters_of_a_decision_cannot_leak_into_the_next(world):
    world.write()
    world.upgrade()
    with world.router() as router:
        decision = router.assign(ROUTE, unit="a")
        with pytest.raises(TypeError):
            decision.params["messages"] = "user A's prompt"
        assert dict(**decision.params) == {}


def test_late_flushes_are_as_old_as_their_data(world, monkeypatch):
    world.write()
    world.upgrade()
    with world.router() as router:

        def away(*_args, **_kwargs):
            raise StoreError("away")

        with monkeypatch.context() as patched:
            patched.setattr(world.store.telemetry, "put_flush", away)
            world.serve(router, 100, over_s=600)
        world.clock.advance(3000)
        router.flush()
    details = [reason.detail for reason in world.upgrade().last.wait.reasons]
    assert "the last data from the candidate are 50 m old" in details


def test_closing_waits_for_mirrored_calls_only_a_while():
    loop = LoopThread()
    mirror = BlockingMirror(loop, at_once=10)
    begun = [mirror.begin(lambda: asyncio.sleep(60)) for _ in range(50)]
    began = time.monotonic()
    mirror.close(patience_s=0.3)
    loop.close()
    assert time.monotonic() - began < 30
    assert (begun.count(True), mirror.dropped) == (10, 40)
