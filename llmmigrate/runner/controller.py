"""The controller: upgrades every route in a loop, one instance at a time, others standing by."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

from llmmigrate.exceptions import DocumentError, LlmmigrateError, StoreError
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import RouteState
from llmmigrate.runner.tick import TickResult, tick
from llmmigrate.runner.upgrade import OnTransition, SuiteHash, upgrade
from llmmigrate.store import Store
from llmmigrate.store.telemetry import Beat
from llmmigrate.targets import TrafficTarget

_log = logging.getLogger(__name__)

LEASE = "controller"
_PARTS = 4
"""Beats per interval: a lease of one interval and the look after it fit into two."""

_ROLL_UP_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class RouteRound:
    """What one round came to on a route: its tick, and the error that kept it from being looked at or advanced."""

    route: str
    tick: TickResult | None
    error: LlmmigrateError | None = None


def guard(store: Store, *, actor: str, blocked: str, targets: Sequence[TrafficTarget] = ()) -> list[RouteState]:
    """Let the triggers of every attempt under way fire, on the documents as they were applied; nothing advances.

    For commands that cannot read the documents on disk: a rollback must not wait for them. Raises StoreError.
    """
    states = []
    for state in store.routes():
        moved = state
        while moved.active:
            result = tick(store, moved, actor=actor, blocked=blocked, targets=targets)
            moved = result.state
            if result.transition is None:
                break
        states.append(moved)
    return states


class Controller:
    """Look after all routes of a store.

    `load` reads the documents anew each round: where they are not fit, routes no longer advance, but triggers of
    attempts under way still fire, on the documents as they were applied. A fault of one route is no matter to others.
    """

    def __init__(
        self,
        store: Store,
        load: Callable[[], Graph],
        *,
        actor: str,
        interval_s: float = 60.0,
        targets: Sequence[TrafficTarget] = (),
        suites: SuiteHash | None = None,
        on_transition: OnTransition | None = None,
        on_round: Callable[[list[RouteRound]], None] | None = None,
        on_lead: Callable[[bool], None] | None = None,
    ) -> None:
        self._store = store
        self._load = load
        self._actor = actor
        self._interval_s = interval_s
        self._targets = targets
        self._suites = suites
        self._on_transition = on_transition
        self._on_round = on_round
        self._on_lead = on_lead
        self.holder = f"{socket.gethostname()[:40]}-{uuid.uuid4().hex[:12]}"
        self._seen: tuple[Beat, float] | None = None
        self._leads: bool | None = None
        self._rolled_up: float | None = None

    def once(self) -> list[RouteRound]:
        """Give a sign of life and move every route once; errors of one route leave the others alone.

        Raises StoreError where the store cannot even take the sign of life.
        """
        self._store.telemetry.heartbeat(at=self._store.real_now())
        graph, unfit = None, None
        try:
            graph = self._load()
        except DocumentError as error:
            unfit = error
        states = {state.route: state for state in self._store.routes()}
        names = sorted({*states, *(graph.routes if graph is not None else ())})
        return [self._round(name, states.get(name), graph, unfit) for name in names]

    def run(self, stop: Event) -> None:
        """Do rounds until `stop` is set; while another controller is alive, stand by.

        A store that is away is waited for. Returns after giving the lease back.
        """
        part_s = self._interval_s / _PARTS
        next_round = time.monotonic()
        while not stop.is_set():
            try:
                if self._tell(leads=self._lead()) and time.monotonic() >= next_round:
                    next_round = time.monotonic() + self._interval_s
                    rounds = self.once()
                    self._roll_up()
                    if self._on_round is not None:
                        self._on_round(rounds)
            except StoreError as error:
                _log.warning("the store is away, this round is left out: %s", error)
            stop.wait(part_s)
        try:
            self._store.telemetry.release_lease(LEASE, self.holder)
        except StoreError as error:
            _log.warning("the lease could not be given back and runs out: %s", error)

    def _tell(self, *, leads: bool) -> bool:
        """Say when this instance begins to lead, or to stand by."""
        if leads is not self._leads and self._on_lead is not None:
            self._on_lead(leads)
        self._leads = leads
        return leads

    def _lead(self) -> bool:
        """Take, renew or take over the lease; False while another holder gives signs of life."""
        telemetry, now = self._store.telemetry, time.monotonic()
        found = telemetry.lease(LEASE)
        instead_of = None
        if found is not None and found.holder != self.holder:
            if self._seen is None or self._seen[0] != found:
                self._seen = (found, now)
            if now - self._seen[1] < self._interval_s:
                return False
            instead_of = found
        return telemetry.hold_lease(LEASE, self.holder, at=self._store.real_now(), instead_of=instead_of)

    def _round(
        self, route: str, state: RouteState | None, graph: Graph | None, unfit: DocumentError | None
    ) -> RouteRound:
        unfit = unfit or (graph.fault(route) if graph is not None else None)
        try:
            head = graph.head(route) if graph is not None and unfit is None else None
            if graph is not None and head is not None:
                result = upgrade(
                    self._store,
                    graph,
                    route,
                    head.migration.revision,
                    actor=self._actor,
                    restart=False,
                    confirm_s=0,
                    targets=self._targets,
                    suites=self._suites,
                    on_transition=self._on_transition,
                )
                return RouteRound(route, result.last, result.unfit)
            if state is not None and state.active:
                if unfit is None and graph is not None and graph.unread:
                    unfit = graph.unread[0]
                blocked = unfit.brief if unfit is not None else "its document is gone"
                moved = tick(self._store, state, actor=self._actor, blocked=blocked, targets=self._targets)
                if moved.transition is not None and self._on_transition is not None:
                    self._on_transition(state, moved.state, moved.transition)
                return RouteRound(route, moved, unfit)
        except LlmmigrateError as error:
            _log.warning("route %s: %s", route, error)
            return RouteRound(route, None, error)
        return RouteRound(route, None, unfit)

    def _roll_up(self) -> None:
        now = time.monotonic()
        if self._rolled_up is None or now - self._rolled_up >= _ROLL_UP_EVERY_S:
            self._rolled_up = now
            self._store.telemetry.roll_up(now=self._store.now(), real_now=self._store.real_now())
