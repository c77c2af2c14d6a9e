"""Random sequences of commands, ticks, evidence, crashes and clock jumps never break what is true at every moment."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event

from llmmigrate import scaffold, settings
from llmmigrate.clock import VirtualClock
from llmmigrate.exceptions import LlmmigrateError
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import Controller, ask, downgrade, undo
from llmmigrate.store import Store
from tests.conftest import ROUTE, START, World
from tests.invariants import broken


class Killed(BaseException):
    """A process that ended at a statement."""


class Lives(RuleBasedStateMachine):
    """One route, two documents, one router, and whatever may happen to them."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        scaffold.init(root)
        config = settings.load(root / settings.CONFIG_NAME, environ={})
        clock = VirtualClock(START)
        store = Store.open(config.database_url, clock=clock, create=True)
        self.world = World(root, config, clock, store)
        self.revisions = [self.world.write(), self.world.write(target="fake/third")]
        self.world.new.tokens = 100
        self.jump = timedelta(0)
        real = store.now
        store.now = lambda: real() + self.jump
        self.router = None

    def teardown(self):
        if hasattr(self, "world"):
            if self.router is not None:
                self.router.close()
            self.world.store.close()
            self.folder.cleanup()

    @property
    def state(self):
        return self.world.store.route(ROUTE)

    def _control(self):
        return Snapshot.from_text(self.state.snapshot).control.model

    def quietly(self, action):
        """Do what may be refused; anything but a refusal is a fault."""
        try:
            action()
        except LlmmigrateError:
            return

    @rule()
    def upgrade(self):
        self.quietly(self.world.upgrade)

    @rule()
    def retry(self):
        self.quietly(lambda: self.world.upgrade(retry="again"))

    @rule()
    def look_after(self):
        Controller(self.world.store, self.world.graph, actor="t").once()

    @rule()
    def roll_back(self):
        downgrade(self.world.store, ROUTE, actor="t", reason="x", confirm_s=0)
        assert self.state.status not in ("running", "paused")

    @rule(onto=st.sampled_from([None, 0]), expect=st.sampled_from([0, 1]))
    def undo(self, onto, expect):
        target = self.revisions[onto] if onto is not None else None
        self.quietly(
            lambda: undo(
                self.world.store, ROUTE, target, expect=self.revisions[expect], actor="t", reason="x", confirm_s=0
            )
        )

    @rule(request=st.sampled_from(["pause", "resume", "extend", "accept", "unattend", "acknowledge"]))
    def ask(self, request):
        store, who = self.world.store, {"actor": "t", "reason": "x"}
        self.quietly(
            {
                "pause": lambda: ask.pause(store, ROUTE, **who),
                "resume": lambda: ask.resume(store, ROUTE, **who),
                "extend": lambda: ask.extend(store, ROUTE, 3600, **who),
                "accept": lambda: ask.accept_risk(store, ROUTE, "tokens_per_request", **who),
                "unattend": lambda: ask.unattend(store, ROUTE, **who),
                "acknowledge": lambda: ask.acknowledge(store, ROUTE, **who),
            }[request]
        )

    @rule(stage=st.sampled_from(["shadow", "canary:5", "canary:25", "canary:50"]))
    def step_back(self, stage):
        self.quietly(lambda: ask.step_back(self.world.store, ROUTE, stage, actor="t", reason="x"))

    @rule(revision=st.sampled_from([None, 0, 1]))
    def stamp(self, revision):
        target = self.revisions[revision] if revision is not None else None
        self.quietly(lambda: ask.stamp(self.world.store, self.world.graph(), ROUTE, target, actor="t", reason="x"))

    @rule(hours=st.sampled_from([1, 8, 60]), failing=st.booleans())
    def serve(self, hours, failing):
        if self.router is None:
            self.router = self.world.router()
        if self.state.version == 0:
            return
        self.world.new.error = "overloaded" if failing else None
        self.router.poll()
        on_old = self._control() == "fake/old"
        answered = self.world.serve(self.router, 1500, over_s=hours * 3600)
        assert not on_old or "overloaded" not in answered

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def step_the_clock(self, seconds):
        self.jump += timedelta(seconds=seconds)

    @rule(point=st.integers(1, 25), action=st.sampled_from(["upgrade", "downgrade"]))
    def crash(self, point, action):
        """End a process at a statement: its transaction is undone, and another process goes on."""
        left = [point]

        def perish(*_args, **_options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        engines = (self.world.store._control, self.world.store.telemetry.engine)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", perish)
        try:
            if action == "upgrade":
                self.quietly(self.world.upgrade)
            else:
                downgrade(self.world.store, ROUTE, actor="t", reason="x", confirm_s=0)
        except Killed:
            pass
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", perish)

    @precondition(lambda self: self.router is not None)
    @rule()
    def poll(self):
        self.router.poll()

    @precondition(lambda self: self.router is not None)
    @rule()
    def restart_router(self):
        self.router.close()
        self.router = None

    @invariant()
    def everything_holds(self):
        if hasattr(self, "world"):
            assert broken(self.world.store) == []

    @invariant()
    def a_finished_rollback_leaves_nobody_on_the_candidate(self):
        if self.__dict__.get("router") is None or self.state.status not in ("rolled_back", "completed"):
            return
        if self.state.status == "rolled_back":
            arms = {self.router.assign(ROUTE, unit=f"u{n}").arm for n in range(50)}
            assert arms == {"control"}


Lives.TestCase.settings = hypothesis_settings(
    hypothesis_settings.get_profile("repeatable"),
    max_examples=25,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestLives(Lives.TestCase):
    """Run the machine."""
