"""No fault of candidate, store, disk or replica costs a user an answer; each request is counted once, or known as lost.

Models, applications and the database are processes of their own. `make bench-faults` runs the same with thousands of
requests, and times them.
"""

from __future__ import annotations

import pytest

from tests.conftest import postgres_server
from tests.faults import scenarios
from tests.faults.processes import Process
from tests.faults.scenarios import FAULTS, Stage

REQUESTS = 120
IN_SHADOW = ("is well, streams", "refuses connections", "hangs", "sends garbage")


@pytest.fixture(scope="module")
def database():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def stage(database, tmp_path_factory):
    with Process("tests.faults.model_server") as control, Process("tests.faults.model_server") as candidate:
        stage = Stage(tmp_path_factory.mktemp("stage"), database.url, control, candidate)
        yield stage
        stage.store.close()


@pytest.fixture(scope="module")
def application(stage):
    with stage.application() as process:
        yield process


pytestmark = pytest.mark.xdist_group("faults")


@pytest.mark.parametrize(
    ("phase", "fault"), [*(("canary:50", name) for name in FAULTS), *(("shadow", name) for name in IN_SHADOW)]
)
def test_whatever_a_candidate_does_costs_no_user_an_answer(stage, application, phase, fault):
    timeout_s = 2.0 if "hangs" in fault else 20.0
    assert scenarios.candidate_fails(stage, application, fault, phase, REQUESTS, timeout_s=timeout_s).broken == []


def test_a_store_that_is_away_costs_no_answer_and_no_count(stage, database):
    assert scenarios.store_stops(stage, database, REQUESTS).broken == []


def test_a_full_disk_costs_no_answer_and_no_count_while_memory_lasts(stage, database, tmp_path):
    outcome = scenarios.store_stops(stage, database, REQUESTS, spool=tmp_path, file_bytes=100)
    assert outcome.broken == []


def test_what_neither_memory_nor_disk_could_keep_is_known_as_lost(stage, database):
    assert scenarios.memory_and_disk_end(stage, database, REQUESTS).broken == []


def test_a_killed_replica_loses_at_most_what_it_had_not_flushed_and_is_shown(stage):
    assert scenarios.replica_is_killed(stage, REQUESTS).broken == []


def test_what_a_killed_replica_had_spooled_is_delivered_by_the_next(stage, database):
    assert scenarios.replica_is_killed_while_the_store_is_away(stage, database, REQUESTS).broken == []
