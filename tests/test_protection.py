"""What protects users and counts: cohorts, the breaker, the spool."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from datetime import timedelta
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate import Router, Usage
from llmmigrate.exceptions import StoreError
from llmmigrate.routing.breaker import FAILURES, REST_S, Breaker
from llmmigrate.routing.cohort import Cohort
from llmmigrate.routing.spool import Spool, Spooled, default_folder
from llmmigrate.store import Store
from tests.conftest import ROUTE, START, both_backends
from tests.project import straight_to_canary

RULES = st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from("xyz"), min_size=1).map(tuple), max_size=2)


@given(RULES, RULES, st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")))
def test_a_unit_is_admitted_only_where_every_rule_can_be_judged_and_allows_it(include, exclude, attributes):
    admitted = Cohort(include, exclude).admits(attributes)
    expected = all(attributes.get(name) in values for name, values in include.items()) and all(
        name in attributes and attributes[name] not in values for name, values in exclude.items()
    )
    assert admitted == expected


def test_an_excluded_customer_never_meets_the_candidate_not_even_in_shadow(world):
    world.write(
        lambda text: text.replace("  unit: conversation", "  cohort: {exclude: {tenant: [acme]}}\n  unit: conversation")
    )
    world.upgrade()
    with world.router() as router:
        for attributes in ({"tenant": "acme"}, {}, {"user": "x"}, None):
            decision = router.assign(ROUTE, unit="u", attributes=attributes)
            assert (decision.arm, decision.mirror) == ("control", None)
        assert router.assign(ROUTE, unit="u", attributes={"tenant": "other"}).mirror is not None


def test_internal_users_come_first(world):
    world.write(
        lambda text: text.replace("  unit: conversation", "  cohort: {include: {group: [staff]}}\n  unit: conversation")
    )
    world.upgrade()
    with world.router() as router:
        mirrored = [router.assign(ROUTE, attributes={"group": g}).mirror is not None for g in ("staff", "public")]
    assert mirrored == [True, False]


def test_a_breaker_opens_after_failures_in_a_row_and_tries_again_after_a_rest():
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        assert not breaker.note("timeout", 0.0)
    assert breaker.note(None, 0.0) is False
    assert breaker.allows(0.0)
    opened = [breaker.note("timeout", 1.0) for _ in range(FAILURES)]
    assert opened == [False] * (FAILURES - 1) + [True]
    assert not breaker.allows(1.0 + REST_S - 0.1)
    assert [breaker.allows(1.0 + REST_S), breaker.allows(1.0 + REST_S)] == [True, False]
    breaker.note(None, 40.0)
    assert breaker.allows(40.0)
    assert breaker.opened == 1


def test_what_the_caller_did_wrong_opens_no_breaker():
    breaker = Breaker()
    assert not any(breaker.note("context_length", 0.0) for _ in range(100))
    assert breaker.allows(0.0)


def test_a_dead_candidate_is_left_alone_reported_and_rolled_back(world):
    world.write(straight_to_canary)
    world.upgrade()
    with world.router() as router:
        router.poll()
        world.new.error = "connection"
        calls = world.new.calls
        assert set(world.serve(router, 300)) == {"fake/old"}
        probes = world.new.calls - calls - FAILURES
        assert 0 <= probes <= 12, "one in each flush of five minutes"
        assert world.upgrade().last.state.status == "rolling_back"
    rows = [row for row in world.store.history(ROUTE) if row["event"] == "rolling_back"]
    assert json.loads(rows[0]["evidence"])["figures"]["candidate"]["breaker_opened"] == 1


def test_a_spool_keeps_what_it_is_given_for_the_next_process(tmp_path):
    first = Spool(tmp_path / "s", "one")
    assert first.put(Spooled("one", 1, START, '{"a": "\\n"}'))
    assert first.put(Spooled("one", 2, START, "x"))
    second = Spool(tmp_path / "s", "two")
    assert list(second.waiting()) == [], "the first one lives"
    first.close()
    [(file, flushes)] = list(second.waiting())
    assert [(f.run_id, f.seq, f.payload) for f in flushes] == [("one", 1, '{"a": "\\n"}'), ("one", 2, "x")]
    second.delivered(file)
    assert list(second.waiting()) == []
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_a_spool_is_bounded_and_a_disk_that_is_full_or_gone_raises_nothing(tmp_path):
    spool = Spool(tmp_path / "s", "one", max_bytes=300)
    kept = [spool.put(Spooled("one", number, START, "x" * 50)) for number in range(10)]
    assert (sum(kept), spool.refused) == (3, 7)
    (tmp_path / "file").touch()
    nowhere = Spool(tmp_path / "file" / "s", "one")
    assert not nowhere.put(Spooled("one", 1, START, "x"))
    assert list(nowhere.waiting()) == []
    if Path("/dev/full").exists():
        full = Spool(tmp_path / "f", "one")
        full._own = FileIO("/dev/full", "a")
        assert not full.put(Spooled("one", 1, START, "x" * 100_000))


def test_a_flush_that_does_not_fit_leaves_no_half_line_and_is_tried_again(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(tmp_path, "one")
    assert spool.put(Spooled("one", 1, START, "x" * 100))
    size = (tmp_path / "one.jsonl").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limit[1]))
        assert not spool.put(Spooled("one", 2, START, "y" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "one.jsonl").stat().st_size == size
    assert spool.put(Spooled("one", 2, START, "y" * 100))
    spool.close()
    [(_, flushes)] = list(Spool(tmp_path, "two").waiting())
    assert [flush.seq for flush in flushes] == [1, 2]


def test_a_file_that_another_process_delivers_in_the_meantime_is_not_written_into(tmp_path, monkeypatch):
    """Without a look at its links, what is written into a file that was just unlinked would be lost."""
    spool = Spool(tmp_path, "one")
    spool.put(Spooled("one", 1, START, "x"))
    spool.close()
    lock = fcntl.flock

    def delivered(handle, operation):
        (tmp_path / "one.jsonl").unlink()
        lock(handle, operation)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", delivered)
        assert not spool.put(Spooled("one", 2, START, "y"))
    assert spool.put(Spooled("one", 2, START, "y"))
    spool.close()


def test_a_line_that_was_cut_off_by_a_crash_is_passed_over(tmp_path):
    spool = Spool(tmp_path, "one")
    spool.put(Spooled("one", 1, START, "x"))
    spool.close()
    with (tmp_path / "one.jsonl").open("a") as handle:
        handle.write('["one", 2, "2026-')
    [(_, flushes)] = list(Spool(tmp_path, "two").waiting())
    assert [flush.seq for flush in flushes] == [1]


def test_counts_outlive_the_store_and_are_counted_once(world, tmp_path, monkeypatch):
    world.write()
    world.upgrade()
    folder = tmp_path / "spool"
    router = Router(store=world.store, clock=world.clock, background=False, spool=folder)

    def send(number):
        for _ in range(number):
            decision = router.assign(ROUTE)
            router.observe(decision, usage=Usage(5, 5))
            router.observe(decision.mirror, usage=Usage(5, 5))

    def away(*_args, **_options):
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.store.telemetry, "put_flush", away)
        for _ in range(3):
            send(10)
            world.clock.advance(5)
            router.flush()
    assert len(list(folder.glob("*.jsonl"))) == 1
    send(10)
    router.flush()
    assert list(folder.glob("*.jsonl")) == []
    router.flush()
    router.close()
    assert {v.n_control for v in world.upgrade().last.verdicts if v.metric == "error_rate"} == {40}


def test_what_did_not_fit_into_the_spool_is_put_there_when_there_is_room_again(world, tmp_path, monkeypatch):
    world.write()
    world.upgrade()
    router = Router(store=world.store, clock=world.clock, background=False, spool=tmp_path)

    def away(*_args, **_options):
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.store.telemetry, "put_flush", away)
        router._delivery.spool._max_bytes = 0
        for _ in range(2):
            router.observe(router.assign(ROUTE), usage=Usage(5, 5))
            router.flush()
        assert list(tmp_path.glob("*.jsonl")) == []
        router._delivery.spool._max_bytes = 10**6
        router.flush()
        [(_, flushes)] = list(router._delivery.spool.waiting())
    assert [flush.seq for flush in flushes] == [1, 2]
    router.close()


_VICTIM = """
import sys, time
from pathlib import Path
from llmmigrate import Router, Usage
from llmmigrate.exceptions import StoreError
from llmmigrate.store import Store

store = Store.open(sys.argv[1])
router = Router(store=store, background=False, spool=Path(sys.argv[2]))
def away(*_args, **_options):
    raise StoreError("away")
store.telemetry.put_flush = away
for _ in range(25):
    decision = router.assign("support")
    router.observe(decision, usage=Usage(5, 5))
    router.observe(decision.mirror, usage=Usage(5, 5))
router.flush()
print("spooled", flush=True)
time.sleep(60)
"""


def test_a_process_that_is_killed_while_the_store_is_away_loses_nothing_that_it_cut(world, tmp_path):
    world.write()
    world.upgrade()
    folder = tmp_path / "spool"
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, world.config.database_url, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert victim.stdout.readline() == "spooled\n"
        heir = Router(store=world.store, clock=world.clock, background=False, spool=folder)
        heir.flush()
        assert len(list(folder.glob("*.jsonl"))) == 1, "its owner lives"
    finally:
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
    heir.flush()
    heir.close()
    assert list(folder.glob("*.jsonl")) == []
    assert {v.n_control for v in world.upgrade().last.verdicts if v.metric == "error_rate"} == {25}


_FORGETFUL = """
import sys
from llmmigrate import {router}, Usage
from llmmigrate.store import Store

store = Store.open(sys.argv[1])
router = {router}(store=store)
for _ in range(25):
    decision = router.assign("support")
    router.observe(decision, usage=Usage(5, 5))
    router.observe(decision.mirror, usage=Usage(5, 5))
"""


@both_backends
@pytest.mark.parametrize("router", ["Router", "AsyncRouter"])
def test_a_process_that_ends_in_order_loses_nothing_although_nobody_closed_its_router(world, router):
    world.write()
    world.upgrade()
    command = [sys.executable, "-c", _FORGETFUL.format(router=router), world.config.database_url]
    subprocess.run(command, check=True, timeout=60)
    assert {v.n_control for v in world.upgrade().last.verdicts if v.metric == "error_rate"} == {25}
    assert world.store.telemetry.replicas() == []


@both_backends
def test_a_process_that_is_killed_is_shown_as_soon_as_its_lease_has_run_out(world):
    world.write()
    world.upgrade()
    command = [sys.executable, "-c", _FORGETFUL.format(router="Router") + "import os; os.kill(os.getpid(), 9)"]
    subprocess.run([*command, world.config.database_url], check=False, timeout=60)
    now = world.store.real_now()
    assert world.store.telemetry.silent_replicas(now) == 0
    assert world.store.telemetry.silent_replicas(now + timedelta(seconds=31)) == 1


def test_the_usual_spool_is_private_and_one_for_each_store():
    one, two = default_folder("sqlite:///a"), default_folder("sqlite:///b")
    assert one != two
    assert "sqlite" not in str(one)


def test_a_router_that_opens_its_own_store_spools(world, monkeypatch):
    monkeypatch.chdir(world.folder)
    monkeypatch.delenv("LLMMIGRATE_DATABASE_URL", raising=False)
    world.write()
    world.upgrade()
    with Router(background=False) as router:
        assert router._delivery.spool is not None
    store = Store.open(world.config.database_url)
    with Router(store=store, background=False) as router:
        assert router._delivery.spool is None
    store.close()


@pytest.mark.parametrize("value", [5, None, True, ["acme"], "ACME"])
def test_attributes_of_any_kind_cost_no_request(world, value):
    world.write(
        lambda text: text.replace("  unit: conversation", "  cohort: {exclude: {tenant: [acme]}}\n  unit: conversation")
    )
    world.upgrade()
    with world.router() as router:
        assert router.completion(route=ROUTE, messages=[], attributes={"tenant": value}).model == "fake/old"
