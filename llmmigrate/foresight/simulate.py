"""Simulations: a migration through the real runner, store and gates, on a virtual clock, against drawn traffic.

Nothing here decides anything. Requests are drawn and counted as a router would count them; what it would flush goes
through the store, is folded and decided on by the same tick as everything else. Many requests are drawn and added up
at a time: what a simulation spends is the runner's own ticks.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import binomtest

from llmmigrate.clock import VirtualClock
from llmmigrate.document import Document, load_applied
from llmmigrate.document.prompts import seal
from llmmigrate.exceptions import RefusedError
from llmmigrate.foresight.behaviour import agreement, outcomes, tally
from llmmigrate.foresight.scenario import Loaded, Scenario
from llmmigrate.foresight.traffic import Requests, Traffic, read_arrivals
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import WATCH_S, RouteState, Transition
from llmmigrate.metrics.catalogue import ANY, CATALOGUE, metric_of
from llmmigrate.metrics.counting import AA_COST, ASSIGNED, SPLIT, Arm, Tally
from llmmigrate.routing.assignment import BUCKETS
from llmmigrate.routing.recorder import Recorder
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import TickResult, upgrade
from llmmigrate.runner.ask import accept_risk
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from llmmigrate.support import undecided

START = datetime(2026, 1, 5, tzinfo=UTC)
"""When every simulation begins: a Monday, at midnight."""

ACTOR = "simulation"
_DAY_S = 86400.0
_ENDED = ("completed", "rolled_back", "paused")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a simulation stands, for those who watch: seconds since its start, state, requests so far."""

    run: int
    at_s: float
    state: RouteState
    requests: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A transition: when (seconds since the start), from and to which stage or status, and why."""

    at_s: float
    start: str
    end: str
    why: str


@dataclass(slots=True)
class Reach:
    """How many requests there were: all of users, those that called the candidate, those of users that it answered."""

    requests: int = 0
    candidate: int = 0
    served: int = 0
    units: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended: `status` is that of the route, `at_s` when it came to it, in seconds since the start.

    `reach` counts until then, `since_change` from when the scenario's first change took effect (`changed_s`, None where
    none did). `why` is the runner's own reason, `waits` what it waited for where it was under way to the end.
    """

    seed: int
    status: str
    phase: str | None
    at_s: float
    why: str
    moves: tuple[Moved, ...]
    reach: Reach
    changed_s: float | None
    since_change: Reach
    waits: tuple[str, ...]
    metrics: tuple[dict[str, Any], ...]

    @property
    def acted(self) -> bool:
        """Whether the runner stopped it: rolled back, or paused for a person."""
        return self.status in ("rolled_back", "paused")

    @property
    def rule(self) -> str | None:
        """The rule that stopped it, with its metric: `rollback[0] on error_rate`; None where none did."""
        failed = next((metric for metric in self.metrics if metric["verdict"] == "fail"), None)
        return f"{failed['rule']} on {failed['metric']}" if self.acted and failed is not None else None

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "status": self.status,
            "phase": self.phase,
            "after_s": self.at_s,
            "rule": self.rule,
            "why": self.why,
            "requests": self.reach.requests,
            "candidate_requests": self.reach.candidate,
            "exposed_requests": self.reach.served,
            "exposed_units": self.reach.units,
            "change": {
                "after_s": self.changed_s,
                "delay_s": self.at_s - self.changed_s,
                "candidate_requests": self.since_change.candidate,
                "exposed_requests": self.since_change.served,
                "exposed_units": self.since_change.units,
            }
            if self.changed_s is not None
            else None,
            "waiting_for": list(self.waits),
            "transitions": [{"after_s": m.at_s, "from": m.start, "to": m.end, "reason": m.why} for m in self.moves],
        }


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: a document as it is rehearsed, a scenario, the longest time and the interval in seconds.

    `assumed` says what the rehearsal takes for granted. `arrivals` are those of a log, None where they are drawn.
    """

    document: Document
    scenario: Loaded
    longest_s: float
    interval_s: float
    assumed: tuple[str, ...]
    arrivals: list[float] | None = None
    accepted: tuple[str, ...] = ()

    @property
    def wanted(self) -> frozenset[str]:
        """The cells that the document's rules look at, and what bounds the budget of shadow: no other is drawn."""
        migration = self.document.migration
        metrics = [metric_of(rule.metric) for rule in (*migration.rollback, *migration.pause) if rule.waived is None]
        if ANY in metrics:
            metrics += CATALOGUE.values()
        return frozenset({metric.cell for metric in metrics} | {"cost_per_request"})

    def run(self, seed: int, *, number: int = 0, watch: Callable[[Moment], None] | None = None) -> Outcome:
        """Run it once, in a store of its own that is gone afterwards; the same seed gives the same outcome."""
        with _store() as (store, clock):
            return _Run(self, store, clock, seed, number, watch).play()


def prepare(
    document: Document, scenario: Loaded, *, days: float | None, interval_s: float, log: Path | None = None
) -> Simulation:
    """Put a simulation together; `days` is the longest time (by default what the document plans at most).

    Raises RefusedError where the interval is no use, or a change begins with a stage that the document does not have,
    or a log cannot be read.
    """
    rehearsed, assumed = _rehearsed(document)
    plan = plan_of(rehearsed.migration)
    planned = sum(stage.max_s or stage.min_s for stage in plan.stages if stage.waived is None)
    longest_s = days * _DAY_S if days is not None else planned
    if not 1 <= interval_s <= WATCH_S:
        raise RefusedError("--interval must be between 1s and 15m: data older than that are no evidence")
    if not 0 < longest_s <= 366 * _DAY_S:
        raise RefusedError("--days must be above 0, and a year at most")
    names = [stage.name for stage in plan.stages if stage.serves_candidate]
    for change in scenario.scenario.changes:
        if change.since is not None and change.since not in names:
            raise RefusedError(
                f"scenario {scenario.name}: the document has no stage {change.since!r}",
                hint=f"it has {', '.join(names)}",
            )
    rules = (*rehearsed.migration.rollback, *rehearsed.migration.pause)
    accepted = tuple(dict.fromkeys(rule.metric for rule in rules if undecided(rule) is not None))
    if accepted:
        assumed = (*assumed, f"accepted, since this release does not decide on it: {', '.join(accepted)}")
    return Simulation(rehearsed, scenario, longest_s, interval_s, assumed, _arrivals(scenario, log), accepted)


def _arrivals(scenario: Loaded, log: Path | None) -> list[float] | None:
    named = scenario.scenario.traffic.log
    file = log if log is not None else scenario.folder / named if named is not None else None
    try:
        return read_arrivals(file) if file is not None else None
    except (OSError, ValueError) as error:
        raise RefusedError(f"the log of arrivals cannot be used: {error}") from error


def _rehearsed(document: Document) -> tuple[Document, tuple[str, ...]]:
    """Return a document with what no traffic decides taken for granted, and the words for each of these."""
    data, assumed = dict(document.source.data), []
    data["down_revision"] = None
    if document.migration.regression.waived is None:
        data["regression"] = {"waived": "simulated: the suite passes"}
        assumed.append("the regression suite passes")
    if document.migration.owners.approvers:
        data["owners"] = {**data["owners"], "approvers": {}}
        assumed.append("approvals are there when they are needed")
    if document.migration.canary.cohort.include or document.migration.canary.cohort.exclude:
        assumed.append("every unit is of the cohort")
        data["canary"] = {name: value for name, value in data["canary"].items() if name != "cohort"}
    for key, words in (
        ("requires", "what it requires elsewhere is there"),
        ("success_criteria", "the success criteria are met"),
    ):
        if data.pop(key, None):
            assumed.append(words)
    if "monitoring" in data:
        data["monitoring"] = {name: value for name, value in data["monitoring"].items() if name != "notify"}
    if "observation" in data:
        data["observation"] = {name: value for name, value in data["observation"].items() if name != "drill_every"}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return load_applied(seal(text, document.prompts), document.name), tuple(assumed)


@contextmanager
def _store() -> Iterator[tuple[Store, VirtualClock]]:
    clock = VirtualClock(START)
    with tempfile.TemporaryDirectory(prefix="llmmigrate-simulate-") as folder:
        store = Store.open(f"sqlite:///{folder}/llmmigrate.db", clock=clock, create=True, lasting=False)
        try:
            yield store, clock
        finally:
            store.close()


class _Run:
    """One run: lets an interval pass, flushes what routers would have counted in it, and calls `upgrade`."""

    def __init__(
        self,
        simulation: Simulation,
        store: Store,
        clock: VirtualClock,
        seed: int,
        number: int,
        watch: Callable[[Moment], None] | None,
    ) -> None:
        self._simulation = simulation
        self._scenario: Scenario = simulation.scenario.scenario
        self._store = store
        self._clock = clock
        self._seed = seed
        self._number = number
        self._watch = watch
        self._route = simulation.document.route
        self._graph = Graph([simulation.document])
        self._random = np.random.default_rng(seed)
        self._traffic = Traffic(self._scenario.traffic, self._random, arrivals=simulation.arrivals)
        self._recorder = Recorder()
        self._wanted = simulation.wanted
        self._moves: list[Moved] = []
        self._entered: dict[str, float] = {}
        self._reach, self._since_change = Reach(), Reach()
        self._changed_s: float | None = None
        self._beaten = -math.inf
        self._routing: tuple[int, Snapshot] | None = None

    def play(self) -> Outcome:
        """Let time pass until the migration has ended, a person is asked, or the longest time is over."""
        looked = self._look()
        for metric in self._simulation.accepted:
            accept_risk(self._store, self._route, metric, actor=ACTOR, reason="not simulated")
        tidied = 0.0
        while looked.state.status not in _ENDED and self._now_s < self._simulation.longest_s - 1e-6:
            self._pass(looked.state)
            looked = self._look()
            if looked.state.status == "rolling_back":  # no router is left to confirm it
                looked = self._look()
            if self._now_s - tidied >= _DAY_S:
                tidied = self._now_s
                self._store.telemetry.roll_up(now=self._store.now(), real_now=self._store.real_now())
        return self._outcome(looked)

    @property
    def _now_s(self) -> float:
        return self._clock.monotonic()

    def _look(self) -> TickResult:
        now = time.monotonic()
        if now - self._beaten > WATCH_S / 4:
            self._beaten = now
            self._store.telemetry.heartbeat(at=self._store.real_now())
        document = self._simulation.document
        looked = upgrade(
            self._store,
            self._graph,
            self._route,
            document.revision,
            actor=ACTOR,
            restart=False,
            confirm_s=0,
            on_transition=self._moved,
        ).last
        if self._watch is not None:
            self._watch(Moment(self._number, self._now_s, looked.state, self._reach.requests))
        return looked

    def _moved(self, before: RouteState, after: RouteState, why: Transition) -> None:
        start = before.phase if before.active and before.phase is not None else "pending"
        end = after.phase if after.status == "running" and after.phase is not None else after.status
        self._moves.append(Moved(self._now_s, start, end, why.reason))
        if after.status == "running" and after.phase is not None:
            self._entered.setdefault(after.phase, self._now_s)

    def _pass(self, state: RouteState) -> None:
        """Let an interval pass: count what its requests come to, as a router would, and flush that."""
        if self._routing is None or self._routing[0] != state.generation:
            assert state.snapshot is not None
            self._routing = (state.generation, Snapshot.from_text(state.snapshot))
        began, snapshot = self._now_s, self._routing[1]
        if self._changed_s is None and any(one.active(began, self._entered) for one in self._scenario.changes):
            self._changed_s = began
        length = min(self._simulation.interval_s, self._simulation.longest_s - began)
        requests = self._traffic.until(began + length)
        self._count(snapshot, requests, began)
        self._clock.advance(length)
        self._recorder.cut(self._now_s)
        for seq, payload, _ in self._recorder.waiting():
            self._store.telemetry.put_flush(ACTOR, seq, payload, at=self._store.now())
            self._recorder.delivered(seq)

    def _count(self, snapshot: Snapshot, requests: Requests, now_s: float) -> None:
        served = self._split(snapshot, requests)
        self._answer(snapshot, "control", requests.compress(~served), now_s)
        self._answer(snapshot, "candidate", requests.compress(served), now_s)
        mirrored = snapshot.mirror and snapshot.candidate is not None
        if mirrored:
            self._answer(snapshot, "candidate", requests, now_s)
            candidate = self._scenario.now("candidate", now_s, self._entered)
            for metric, cell in agreement(requests, candidate, self._random, wanted=self._wanted).items():
                self._add(snapshot, "candidate", metric, cell)
            self._repeat(snapshot, requests.compress(requests["again"] < snapshot.aa_share * BUCKETS), now_s)
        for reach in (self._reach, *([self._since_change] if self._changed_s is not None else [])):
            reach.requests += len(requests)
            reach.candidate += len(requests) if mirrored else int(served.sum())
            reach.served += int(served.sum())
            reach.units += int((requests["first"] & served).sum())

    def _split(self, snapshot: Snapshot, requests: Requests) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which requests the candidate serves, and count the split as routers do."""
        if not snapshot.steps or snapshot.candidate is None:
            return np.zeros(len(requests), np.bool_)
        ramp = snapshot.ramp
        since = np.array([(at - START).total_seconds() for at in ramp.since])
        limits = np.array([0, *ramp.limits])[np.searchsorted(since, requests["start"], side="right")]
        served = np.asarray(requests["bucket"] < limits)
        shares = limits / BUCKETS
        self._add(snapshot, "control", SPLIT, tally(requests["place"][~served], shares[~served]))
        self._add(snapshot, "candidate", SPLIT, tally(requests["place"][served], shares[served]))
        return served

    def _answer(self, snapshot: Snapshot, arm: Arm, requests: Requests, now_s: float) -> None:
        """Count the decisions for an arm, and what came of them."""
        if not len(requests):
            return
        self._add(snapshot, arm, ASSIGNED, tally(requests["place"]))
        behaviour = self._scenario.now(arm, now_s, self._entered)
        drawn = outcomes(requests, behaviour, self._scenario.traffic.alike, self._random, wanted=self._wanted)
        for metric, cell in drawn.items():
            self._add(snapshot, arm, metric, cell)

    def _repeat(self, snapshot: Snapshot, requests: Requests, now_s: float) -> None:
        """Count control's second answers, by which its own noise is measured."""
        behaviour = self._scenario.now("control", now_s, self._entered)
        for metric, cell in agreement(requests, behaviour, self._random, wanted=self._wanted).items():
            self._add(snapshot, "control", metric, cell)
        if behaviour.cost is not None and len(requests):
            cost = np.full(len(requests), behaviour.cost)
            self._add(snapshot, "control", AA_COST, tally(requests["place"], cost))

    def _add(self, snapshot: Snapshot, arm: Arm, metric: str, tally: Tally) -> None:
        if tally.buckets:
            self._recorder.add(self._route, snapshot.generation, arm, metric, tally)

    def _outcome(self, looked: TickResult) -> Outcome:
        state = looked.state
        ended = state.status in _ENDED
        at_s = (state.since - START).total_seconds() if ended and state.since is not None else self._now_s
        why = [move.why for move in self._moves if move.end in ("rolling_back", state.status)]
        waits = tuple(reason.detail for reason in looked.wait.reasons) if looked.wait is not None and not ended else ()
        return Outcome(
            seed=self._seed,
            status=state.status,
            phase=state.phase,
            at_s=at_s,
            why=(why[-1] if state.status != "rolled_back" else why[0]) if ended and why else "",
            moves=tuple(self._moves),
            reach=self._reach,
            changed_s=self._changed_s,
            since_change=self._since_change,
            waits=waits,
            metrics=self._evidence() if ended else tuple(verdict.to_json() for verdict in looked.verdicts),
        )

    def _evidence(self) -> tuple[dict[str, Any], ...]:
        """Return the verdicts that the last decision was taken on, as history has them."""
        frozen = [row["evidence"] for row in self._store.history(self._route) if row["evidence"]]
        return tuple(json.loads(frozen[-1])["metrics"]) if frozen else ()


@dataclass(frozen=True, slots=True)
class Rate:
    """How many runs of how many."""

    count: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95% range for a number of runs that was fixed before them (Clopper and Pearson 1934)."""
        if self.of == 0:
            return 0.0, 1.0
        found = binomtest(self.count, self.of).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    def to_json(self) -> dict[str, Any]:
        share = self.count / self.of if self.of else None
        return {"count": self.count, "of": self.of, "share": share, "interval": list(self.interval)}


def rates(scenario: Scenario, outcomes: list[Outcome]) -> dict[str, Rate]:
    """Count runs by how they ended.

    `false_rollback` and `false_pause` are those before anything was different: all of them where both arms are alike,
    else those before the first change. `detected` are those stopped after it, of the runs that came to it; it is there
    for scenarios with changes of one arm only.
    """
    found = {
        name: Rate(sum(one.status == name for one in outcomes), len(outcomes))
        for name in ("completed", "rolled_back", "paused", "running")
    }
    changed = [one for one in outcomes if one.changed_s is not None]
    if scenario.alike:
        before = outcomes
    elif scenario.arms["control"] == scenario.arms["candidate"]:
        before = [one for one in outcomes if one.changed_s is None]
        found["detected"] = Rate(sum(one.acted for one in changed), len(changed))
    else:
        return found
    for name, status in (("false_rollback", "rolled_back"), ("false_pause", "paused")):
        found[name] = Rate(sum(one.status == status for one in before), len(outcomes))
    return found
