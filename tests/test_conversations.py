"""A conversation with a start keeps its model through every ramp, restart and replica; only a way back ends that."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from llmmigrate.clock import VirtualClock
from llmmigrate.lifecycle import Transition
from llmmigrate.routing import core as core_module
from llmmigrate.routing.assignment import BUCKETS, bucket_of
from llmmigrate.routing.core import RoutingCore
from llmmigrate.runner import ask, downgrade
from llmmigrate.runner.write import applied, routing_of, write
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from tests.conftest import ROUTE, START
from tests.project import Project

REPLICAS, TURNS = 3, 12


@dataclass
class Conversation:
    """Whom it began with, and the generation that took it back from the candidate, if one did."""

    unit: str
    started_at: datetime
    bucket: int
    arm: str | None = None
    taken_back: int | None = None


@lru_cache(maxsize=1)
def template() -> tuple[TemporaryDirectory[str], Project]:
    """Return a project whose store is in the canary's first step; each example takes a copy of its files."""
    folder = TemporaryDirectory()
    project = Project(Path(folder.name))
    project.add(ROUTE, "canary:5")
    store = Store.open(project.url, clock=VirtualClock(START), create=True)
    project.enter(store, ROUTE, "canary:5")
    store.close()
    return folder, project


class Conversations(RuleBasedStateMachine):
    """Replicas that learn of changes when they happen to poll, and serve a candidate while their lease lasts.

    All time is virtual, leases included.
    """

    def __init__(self):
        super().__init__()
        self.end = ExitStack()
        self.clock = VirtualClock(START)
        virtual = SimpleNamespace(monotonic=self.clock.monotonic)
        self.end.enter_context(mock.patch.object(core_module, "time", virtual))
        _, self.project = template()
        copy = Path(self.end.enter_context(TemporaryDirectory()))
        for file in self.project.folder.glob("*.db"):
            shutil.copy(file, copy)
        self.store = Store.open(f"sqlite:///{copy / 'llmmigrate.db'}", clock=self.clock)
        self.end.callback(self.store.close)
        self.replicas = [self.replica() for _ in range(REPLICAS)]
        self.conversations = []

    def teardown(self):
        for replica in self.replicas:
            replica.close()
        self.end.close()

    def replica(self):
        return RoutingCore(store=self.store, clock=self.clock, background=False)

    @property
    def state(self):
        return self.store.route(ROUTE)

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def conversations_begin(self):
        now, revision = self.clock.now(), self.state.revision
        for _ in range(TURNS):
            unit = str(len(self.conversations))
            self.conversations.append(Conversation(unit, now, bucket_of(f"{revision}{unit}")))

    @rule(which=st.integers(0, REPLICAS - 1))
    def a_replica_polls(self, which):
        self.store.telemetry.heartbeat(at=self.store.real_now())
        self.replicas[which].poll()

    @rule(which=st.integers(0, REPLICAS - 1))
    def a_replica_is_restarted(self, which):
        self.replicas[which].close()
        self.replicas[which] = self.replica()

    @rule(which=st.integers(0, REPLICAS - 1))
    def every_conversation_has_a_turn(self, which):
        replica = self.replicas[which]
        leased = self.clock.monotonic() < replica.following.lease_until
        for conversation in self.conversations:
            self.turn(conversation, replica, leased)

    def turn(self, conversation, replica, leased):
        decision = replica.assign(ROUTE, unit=conversation.unit, started_at=conversation.started_at)
        if not leased:
            assert decision.arm == "control", "a replica without a lease serves control"
            return
        if conversation.arm is None:
            conversation.arm = decision.arm
        if conversation.taken_back is None:
            assert decision.arm == conversation.arm, (conversation, decision, self.state.snapshot)
        elif decision.generation >= conversation.taken_back:
            assert decision.arm == "control", (conversation, decision)

    @precondition(lambda self: self.state.status == "running" and self.state.phase != "canary:100")
    @rule()
    def the_canary_grows(self):
        state = self.state
        document = applied(state)
        plan = plan_of(document.migration)
        step = Transition("advanced", "running", plan.after(state.phase).name, "tests", reroute=True)
        snapshot = routing_of(state, step, document, plan, now=self.store.now())
        write(self.store, state, step, actor="t", now=self.store.now(), snapshot=snapshot)

    @precondition(lambda self: self.state.status == "running" and self.state.phase in ("canary:25", "canary:50"))
    @rule()
    def the_canary_is_cut(self):
        ask.step_back(self.store, ROUTE, "canary:5", actor="t", reason="x")
        self.take_back(limit=BUCKETS * 5 // 100)

    @precondition(lambda self: self.state.status == "running")
    @rule()
    def it_is_rolled_back_and_tried_again(self):
        downgrade(self.store, ROUTE, actor="t", reason="x", confirm_s=0)
        self.take_back(limit=0)
        for replica in self.replicas:
            replica.poll()
        downgrade(self.store, ROUTE, actor="t", reason="x", confirm_s=0)
        self.project.enter(self.store, ROUTE, "canary:5")

    def take_back(self, *, limit):
        """Note which conversations are control's from now on: those from a bucket on, wherever they began."""
        for conversation in self.conversations:
            if conversation.arm != "control" and conversation.bucket >= limit and conversation.taken_back is None:
                conversation.taken_back = self.state.generation


TestConversations = Conversations.TestCase
TestConversations.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
