"""How a replica follows the routings in force: what it serves, under which lease, and what it cannot read."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from llmmigrate.exceptions import StoreError
from llmmigrate.lifecycle import WATCH_S
from llmmigrate.models import costmap
from llmmigrate.models.costmap import ModelFacts
from llmmigrate.routing.assignment import Ramp
from llmmigrate.routing.breaker import Breaker
from llmmigrate.routing.shadow import Spending
from llmmigrate.routing.snapshot import LEASE_S, Snapshot, safe_part
from llmmigrate.store import Store
from llmmigrate.store.telemetry import Replica

_log = logging.getLogger(__name__)

_CHANGES_PER_POLL = 3
_OVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Routing:
    """A route's routing as it is served; `facts` are the prices of its models, read before they are needed."""

    snapshot: Snapshot
    ramp: Ramp
    facts: Mapping[str, ModelFacts]
    breaker: Breaker
    spending: Spending

    @classmethod
    def of(cls, snapshot: Snapshot) -> Routing:
        """Make ready to serve a routing."""
        models = [snapshot.control.model, *([snapshot.candidate.model] if snapshot.candidate is not None else [])]
        return cls(
            snapshot,
            snapshot.ramp,
            {model: costmap.facts(model) for model in models},
            Breaker(),
            Spending(snapshot.budget),
        )


class Following:
    """The routings that the replica `run_id` serves, and until when (monotonic seconds) it may serve candidates.

    `routes` are those that are known already. One poll at a time; reading the attributes needs no lock.
    """

    def __init__(self, store: Store, run_id: str, routes: Mapping[str, Routing] | None = None) -> None:
        self._store = store
        self._run_id = run_id
        self._beat: int | None = None
        self._unread: set[tuple[str, int]] = set()
        self.routes: dict[str, Routing] = dict(routes or {})
        self.lease_until = _OVER
        self.watched_until = _OVER
        self.unattended: frozenset[str] = frozenset()

    def end(self) -> None:
        """Serve no candidate from here on."""
        self.lease_until = _OVER

    def unreadable(self, route: str) -> bool:
        """Tell whether the store has a routing of a route that this release cannot read."""
        return any(name == route for name, _ in self._unread)

    def poll(self) -> None:
        """Learn of routing changes and renew the lease; raises StoreError where the store is away.

        A lease is granted only by a read that follows a report of the very generations being served: whoever rolls
        back either sees this replica's report, or is seen by its read.
        """
        for _ in range(_CHANGES_PER_POLL):
            asked_at = time.monotonic()
            served = {name: routing.snapshot.generation for name, routing in self.routes.items()}
            reported = self._report(served, asked_at)
            found = self._store.generations()
            in_force = {name: generation for name, (generation, _) in found.items()}
            self.unattended = frozenset(name for name, (_, unattended) in found.items() if unattended)
            if in_force == served:
                if reported:
                    self.lease_until = asked_at + LEASE_S
                return
            if not any(generation > served.get(name, -1) for name, generation in in_force.items()):
                _log.warning("the store's routing is older than what was served: it is not followed, the lease ends")
                return
            for state in self._store.routes():
                if state.snapshot is not None and state.generation > served.get(state.route, -1):
                    self._take(state.route, state.generation, state.snapshot)

    def _take(self, route: str, generation: int, text: str) -> None:
        """Serve a routing from here on; of one that a later release wrote, its control to everybody.

        Where not even that can be read the route stays as it is: it is not reported, and the lease ends.
        """
        try:
            try:
                snapshot = Snapshot.from_text(text)
            except ValueError:
                snapshot = safe_part(text)
                _log.warning(
                    "route %s: generation %s was written by a later release, control serves everybody until this "
                    "application has it, too",
                    route,
                    generation,
                )
            self.routes[route] = Routing.of(snapshot)
        except ValueError as error:
            if (route, generation) not in self._unread:
                self._unread.add((route, generation))
                _log.error(
                    "route %s: generation %s cannot be read (%s); no route is served by a candidate until it can: "
                    "upgrade llmmigrate in this application",
                    route,
                    generation,
                    error,
                )

    def _report(self, served: dict[str, int], asked_at: float) -> bool:
        """Say what is served and hear whether a controller lives; False where telemetry is away: then no lease."""
        try:
            self._hear_controller(asked_at)
            self._store.telemetry.report_replica(
                Replica(self._run_id, socket.gethostname(), os.getpid(), self._store.real_now(), LEASE_S, served)
            )
        except StoreError as error:
            _log.warning("telemetry is away, control from %.0f s on: %s", LEASE_S, error)
            return False
        return True

    def _hear_controller(self, asked_at: float) -> None:
        """Note how long users may still be served by a candidate: a while from the controller's last sign of life.

        A beat is timed from when this replica saw it change, on the monotonic clock; only the first one seen is
        believed by its date, and never more than that.
        """
        beat = self._store.telemetry.last_heartbeat()
        if beat is None or beat.beat == self._beat:
            return
        age = max(0.0, (self._store.real_now() - beat.at).total_seconds()) if self._beat is None else 0.0
        self._beat = beat.beat
        self.watched_until = asked_at + WATCH_S - age
