"""The core of a router: decides which model answers, under a lease, and records what came of it."""

from __future__ import annotations

import atexit
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from weakref import WeakSet

from llmmigrate import settings
from llmmigrate.clock import Clock, SystemClock
from llmmigrate.exceptions import LlmmigrateError, StoreError, TargetNotFound
from llmmigrate.metrics.counting import AA_COST, ASSIGNED, BREAKER_OPENED, DROPPED, OVER_BUDGET, Arm
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.models import Completion, Usage, pricing
from llmmigrate.routing.assignment import bucket_of, start_of
from llmmigrate.routing.delivery import Delivery
from llmmigrate.routing.following import Following
from llmmigrate.routing.input_types import input_type_of
from llmmigrate.routing.recorder import Recorder
from llmmigrate.routing.samples import Redact, Sampler
from llmmigrate.routing.shadow import is_repeated
from llmmigrate.routing.snapshot import LEASE_S, Snapshot, Target
from llmmigrate.routing.spool import default_folder
from llmmigrate.settings import RouteSettings
from llmmigrate.store import Store

if TYPE_CHECKING:
    from llmmigrate.routing.calls import Asked

_log = logging.getLogger(__name__)

POLL_S = 1.0
FLUSH_S = 5.0


class Decision(NamedTuple):
    """Which model a request goes to. Give it back to `observe` with what happened.

    `params` win over the caller's, and `system`, where there is one, takes the place of the leading system messages:
    model, parameters and prompt move as one unit. `mirror` is the candidate's decision where this request is to be
    repeated there without the user noticing, `again` control's where its noise is measured with it.
    """

    route: str
    arm: Arm
    model: str
    params: Mapping[str, Any]
    generation: int
    revision: str | None
    unit: str
    bucket: int
    input_type: str = ""
    mirror: Decision | None = None
    again: Decision | None = None
    api_base: str | None = None
    system: str | None = None


routers: WeakSet[RoutingCore] = WeakSet()
"""The routers of this process: a forked child makes each its own."""


def _after_fork() -> None:
    for router in list(routers):
        router.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    """Close what nobody closed: a process that ends in order loses no counts."""
    for router in list(routers):
        try:
            router.close()
        except Exception:  # noqa: BLE001 (the others must close as well; it is logged)
            _log.exception("a router could not be closed")


class RoutingCore:
    """Decide in process, as one replica of a store; the doors `Router` and `AsyncRouter` add the calls to models.

    `store` is an open store, else the one that the configuration names. With `background` (the default) two threads
    learn of changes each second and flush each five; without, call `poll` and `flush` yourself. `clock` measures how
    long data were fresh and candidates rest, and may be virtual; leases always run on real time. What the store cannot
    take waits in the folder `spool` (with a store of your own: in memory only, unless you name one). `routes` are
    rules for input types and shares of texts to keep, else those of the configuration; `redact` is applied to each text
    that is kept, after the rules of `llmmigrate.redaction`. A forked child may go on using it. Raises StoreError where
    the store cannot be read.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        background: bool = True,
        spool: Path | None = None,
        routes: Mapping[str, RouteSettings] | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._owns_store = store is None
        self._spool_folder = spool
        if store is None:
            found = settings.load()
            store = Store.open(found.database_url)
            self._spool_folder = spool or default_folder(found.database_url)
            routes = found.routes if routes is None else routes
        self._route_settings = dict(routes or {})
        self._redact = redact
        self._store = store
        self._clock: Clock = clock or SystemClock()
        self._background = background
        self.following = Following(store, "")
        self._begin()
        self.following.poll()
        self._start()
        routers.add(self)

    def _begin(self) -> None:
        """Be a replica of one's own, that holds no lease and has counted nothing yet."""
        self.run_id = uuid.uuid4().hex
        self._recorder = Recorder()
        self.samples = Sampler({route: own.sample for route, own in self._route_settings.items()}, self._redact)
        self._delivery = Delivery(
            self._store, self._clock, self.run_id, self._recorder, self.samples, self._spool_folder
        )
        self.following = Following(self._store, self.run_id, self.following.routes)
        self._poll_lock = Lock()
        self._closing = Event()
        self._threads: list[Thread] = []

    def _start(self) -> None:
        if not self._background:
            return
        for name, work in (("poll", self._follow), ("flush", self._deliver)):
            thread = Thread(target=work, name=f"llmmigrate-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent's lease, threads, counts and connections are not the child's."""
        self._store.after_fork()
        self._delivery.close()
        self._begin()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and say goodbye to the store."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=LEASE_S)
        self._finish()
        self.flush()
        self._delivery.close()
        routers.discard(self)
        self.following.end()
        try:
            self._store.telemetry.forget_replica(self.run_id)
        except StoreError as error:
            _log.warning("could not sign off from the store: %s", error)
        if self._owns_store:
            self._store.close()

    def _finish(self) -> None:
        """End what a door has under way, before the last flush."""

    def assign(
        self,
        route: str,
        *,
        unit: object = None,
        started_at: datetime | str | None = None,
        input_type: str = "",
        attributes: Mapping[str, object] | None = None,
    ) -> Decision:
        """Decide which model a request goes to; no I/O. Raises TargetNotFound for a route never upgraded, nothing else.

        `unit` may be anything with a text, such as a UUID; `started_at` a time or its ISO text, in UTC where it names
        no zone. One that cannot be read is left out, and logged; without one, a conversation's id that is a UUID of
        version 7 says it. `attributes` of the unit, such as its tenant, are held
        against the document's cohort: who is not admitted, or cannot be judged, never meets the candidate.
        """
        following = self.following
        routing = following.routes.get(route)
        if routing is None:
            raise TargetNotFound(
                f"route {route!r} is not known to the store; known are {', '.join(sorted(following.routes)) or 'none'}",
                hint=f"llmmigrate upgrade {route}"
                if not following.unreadable(route)
                else "its routing was written by a later release: upgrade llmmigrate in this application",
            )
        snapshot = routing.snapshot
        unit = str(unit) if unit is not None else uuid.uuid4().hex
        bucket = bucket_of(f"{snapshot.revision}{unit}")
        now = time.monotonic()
        watched = snapshot.mirror or now < following.watched_until or route in following.unattended
        served = watched and now < following.lease_until and snapshot.cohort.admits(attributes or {})
        if snapshot.drain is not None and self._clock.now() >= snapshot.drain.until:
            served = False
        candidate = snapshot.candidate if served else None
        arm: Arm = "control"
        share = None
        if candidate is not None and snapshot.steps:
            start = _start(snapshot, unit, started_at)
            arm = routing.ramp.arm(bucket, start)
            share = routing.ramp.share(start) if not routing.breaker.resting else None
        if arm == "candidate" and not routing.breaker.allows(self._clock.monotonic()):
            arm = "control"
        serving = candidate if arm == "candidate" and candidate is not None else snapshot.control
        self._recorder.decided(route, snapshot.generation, arm, unit, share)
        decision = self._decision(snapshot, arm, serving, unit, bucket, input_type)
        if snapshot.mirror and candidate is not None:
            self._recorder.count(route, snapshot.generation, "candidate", ASSIGNED, unit)
            if routing.spending.left:
                mirror = self._decision(snapshot, "candidate", candidate, unit, bucket, input_type)
                again = decision if is_repeated(snapshot, unit) else None
                return decision._replace(mirror=mirror, again=again)
            self._recorder.count(route, snapshot.generation, "candidate", OVER_BUDGET, unit)
        return decision

    def input_type(
        self,
        route: str,
        *,
        messages: Sequence[Mapping[str, Any]] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> str:
        """Return what kind of request one is by the route's rules in the configuration, "" where none fits."""
        own = self._route_settings.get(route)
        return input_type_of(own.input_types, messages, tools, attributes or {}) if own is not None else ""

    def keep(self, sample: str, decision: Decision, asked: Asked, completion: Completion) -> None:
        """Keep the texts of a sampled request, redacted, until the next flush."""
        self.samples.keep(sample, decision, asked, completion, at=self._clock.now())

    def observe(
        self,
        decision: Decision,
        *,
        usage: Usage | None = None,
        error_class: str | None = None,
        latency_s: float | None = None,
        first_token_s: float | None = None,
        cost: float | None = None,
        finish_reason: str | None = None,
        refused: bool | None = None,
        tools_valid: bool | None = None,
        schema_valid: bool | None = None,
        abandoned: bool = False,
    ) -> None:
        """Record what came of a decision; whatever is not given counts for nothing. Never touches the store.

        `error_class` says that the call failed, and how. Times are seconds; `cost` is in US dollars, and computed from
        `usage` by the cost map where it is not given. `tools_valid` and `schema_valid` say whether tool calls and
        structure were what the request asked for, `abandoned` that the user went before the answer was whole.
        """
        tokens, cached = _tokens(usage)
        if cost is None and usage is not None and error_class is None:
            cost = self._cost(decision, usage)
        outcome = Outcome(
            error_class=error_class,
            tokens=tokens,
            cached_tokens=cached,
            cost=cost,
            latency_s=latency_s,
            first_token_s=first_token_s,
            finish_reason=finish_reason,
            refused=refused,
            tools_valid=tools_valid,
            schema_valid=schema_valid,
            abandoned=abandoned,
        )
        self._recorder.observe(
            decision.route, decision.generation, decision.arm, decision.unit, decision.input_type, outcome
        )
        if decision.arm == "candidate":
            self._protect(decision, error_class)
            self._spend(decision, cost)

    def compare(self, decision: Decision, *, tools: bool | None = None, text: bool | None = None) -> None:
        """Record whether an answer beside a user's request was the same as the user's, by its tool calls and its text.

        `decision` is whose answer it was: the mirrored candidate's, or control's own when it was called again.
        """
        for metric, agrees in (("tool_agreement", tools), ("text_agreement", text)):
            if agrees is not None:
                self._recorder.count(
                    decision.route, decision.generation, decision.arm, metric, decision.unit, float(agrees)
                )

    def repeated(self, decision: Decision, usage: Usage | None, cost: float | None) -> None:
        """Record what it cost, in US dollars, that control was called again."""
        if cost is None and usage is not None:
            cost = self._cost(decision, usage)
        if cost is not None:
            self._recorder.count(decision.route, decision.generation, decision.arm, AA_COST, decision.unit, float(cost))
            self._spend(decision, cost)

    def dropped(self, decision: Decision) -> None:
        """Record that a mirrored call was not made, because too many were under way."""
        self._recorder.count(decision.route, decision.generation, decision.arm, DROPPED, decision.unit)

    def _spend(self, decision: Decision, cost: float | None) -> None:
        routing = self.following.routes.get(decision.route)
        if cost is not None and routing is not None and routing.snapshot.generation == decision.generation:
            routing.spending.add(cost)

    def _protect(self, decision: Decision, error_class: str | None) -> None:
        """Let the breaker know what came of a user's request to the candidate."""
        routing = self.following.routes.get(decision.route)
        if routing is None or routing.snapshot.mirror or routing.snapshot.generation != decision.generation:
            return
        if routing.breaker.note(error_class, self._clock.monotonic()):
            _log.warning("route %s: the candidate failed again and again, this replica rests from it", decision.route)
            self._recorder.count(decision.route, decision.generation, "candidate", BREAKER_OPENED, decision.unit)

    def _cost(self, decision: Decision, usage: Usage) -> float | None:
        routing = self.following.routes.get(decision.route)
        facts = routing.facts.get(decision.model) if routing is not None else None
        try:
            return pricing.cost(facts, usage) if facts is not None else None
        except TypeError:
            return None

    def safe(self, decision: Decision) -> Decision | None:
        """Return where a failed candidate request goes instead: to control, or nowhere where the document says so."""
        routing = self.following.routes.get(decision.route)
        if decision.arm == "control" or routing is None or not routing.snapshot.fallback:
            return None
        control = routing.snapshot.control
        return decision._replace(
            arm="control",
            model=control.model,
            params=control.params,
            api_base=control.api_base,
            system=control.system,
        )

    def poll(self) -> None:
        """Learn of routing changes and renew the lease, or let it run out where the store is away."""
        with self._poll_lock:
            try:
                self.following.poll()
            except LlmmigrateError as error:
                _log.warning("routing could not be renewed, control from %.0f s on: %s", LEASE_S, error)

    def flush(self) -> None:
        """Deliver what was counted; what the store cannot take now is spooled, and kept for the next time."""
        self._delivery.flush()

    def _follow(self) -> None:
        """Poll each second, and at once where the store tells that something has changed."""
        changes = self._store.changes()
        if changes is None:
            self._repeat(self.poll, POLL_S, self._closing.wait)
            return
        with changes:
            self._repeat(self.poll, POLL_S, changes.wait)

    def _deliver(self) -> None:
        self._repeat(self.flush, FLUSH_S, self._closing.wait)

    def _repeat(self, work: Callable[[], None], interval: float, wait: Callable[[float], bool]) -> None:
        wait(interval)
        while not self._closing.is_set():
            try:
                work()
            except Exception:  # noqa: BLE001 (the thread must live on; it is logged)
                _log.exception("llmmigrate's background work failed and goes on")
            wait(interval)

    @staticmethod
    def _decision(
        snapshot: Snapshot,
        arm: Arm,
        target: Target,
        unit: str,
        bucket: int,
        input_type: str,
    ) -> Decision:
        return Decision(
            route=snapshot.route,
            arm=arm,
            model=target.model,
            params=MappingProxyType(target.params),
            generation=snapshot.generation,
            revision=snapshot.revision,
            unit=unit,
            bucket=bucket,
            input_type=input_type,
            api_base=target.api_base,
            system=target.system,
        )


def _start(snapshot: Snapshot, unit: str, started_at: datetime | str | None) -> datetime | None:
    if started_at is None:
        return start_of(unit) if snapshot.by_conversation else None
    return _time(started_at)


def _time(value: datetime | str | None) -> datetime | None:
    """Read the start of a conversation, whatever a caller has of it; None where it cannot be read."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, AttributeError):
        _log.warning("the start of a conversation cannot be read and is left out (%s)", type(value).__name__)
        return None


def _tokens(usage: Usage | None) -> tuple[float | None, float | None]:
    """Return the tokens of a call and those of them that were cached, None where they are not known."""
    try:
        return (usage.total_tokens, usage.cached_tokens) if usage is not None else (None, None)
    except TypeError:
        return None, None
