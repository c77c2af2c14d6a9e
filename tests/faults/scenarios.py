"""What is broken, and what must hold all the same: no user notices, each request is counted once or known as lost."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from llmmigrate.metrics.counting import ASSIGNED, DROPPED
from llmmigrate.store import Store
from llmmigrate.store.folding import fold, read_cells
from tests.database import Database
from tests.faults.application import Seen, Told
from tests.faults.processes import Process
from tests.project import CONTROL, TARGET, Project
from tests.providers import RATE_LIMITED, Fault

GONE = Fault("gone")
"""A server that was killed."""

FAULTS: dict[str, tuple[Fault | None, bool]] = {
    "is well": (None, False),
    "is well, streams": (None, True),
    "refuses connections": (GONE, False),
    "drops connections": (Fault("drop"), False),
    "hangs": (Fault("hang"), False),
    "hangs, streams": (Fault("hang"), True),
    "is slow": (Fault("slow"), False),
    "cuts streams midway": (Fault("cut"), True),
    "sends garbage": (Fault("garbage"), False),
    "sends garbage, streams": (Fault("garbage"), True),
    "429, retry-after 20 s": (Fault(status=429, body=RATE_LIMITED, headers={"retry-after": "20"}), False),
}
"""What the candidate does, and whether requests are streams."""


@dataclass(frozen=True)
class Counts:
    """What the store holds of a route, over all generations: decisions and observations by arm, and dropped mirrors."""

    assigned: tuple[int, int]
    observed: tuple[int, int]
    dropped: int


@dataclass
class Outcome:
    """What a scenario came to, and what its route ended as; `broken` says in words what did not hold."""

    name: str
    phase: str
    status: str
    requests: int
    counted: int
    seen: Seen
    lost: str = ""
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.failures:
            self.broken.append(f"{self.failures} users saw {sorted({name for name, _ in self.seen.routed_errors})}")
        if self.seen.direct_errors:
            self.broken.append(f"control itself failed {len(self.seen.direct_errors)} times")

    @property
    def midway(self) -> int:
        """Streams that broke after their first piece, as a direct call to the candidate would have."""
        return sum(midway for _, midway in self.seen.routed_errors)

    @property
    def failures(self) -> int:
        """Requests that failed although a direct call to control would not have."""
        return len(self.seen.routed_errors) - self.midway


class Stage:
    """A project with its store, a server for each model, and the applications; each scenario has a route of its own."""

    def __init__(self, folder: Path, url: str, control: Process, candidate: Process) -> None:
        self.folder, self.url, self.candidate = folder, url, candidate
        self.control_url, self.candidate_url = (f"{server.answer()}/v1" for server in (control, candidate))
        self._project = Project(folder, url)
        self.store = Store.open(url, create=True)
        self._numbers = count(1)

    def route_with_a_good_candidate(self) -> str:
        """Make a route in its canary whose candidate answers well, and return its name."""
        self.candidate.tell(None)
        return self.route("canary:50")

    def route(self, phase: str, *, candidate_url: str | None = None) -> str:
        """Make a route that is at a phase, and return its name."""
        name = f"route{next(self._numbers)}"
        addresses = {CONTROL: self.control_url, TARGET: candidate_url or self.candidate_url}
        self._project.add(name, phase, addresses=addresses)
        self._project.enter(self.store, name, phase)
        return name

    def application(self, *, memory: int = 0, file_bytes: int = 0, spool: Path | None = None) -> Process:
        """Start an application; see `application.main` for what may be scarce."""
        self.ledger = Path(os.devnull) if file_bytes else self.folder / f"ledger{next(self._numbers)}"
        arguments = (self.url, spool or self.folder / "spool", self.ledger, memory, file_bytes)
        started = Process("tests.faults.application", *arguments)
        started.answer()
        return started

    def told(self, route: str, requests: int, **options: Any) -> dict[str, Any]:
        """Return what an application is told to do on a route."""
        return asdict(Told(route, CONTROL, self.control_url, requests, **options))

    def counts(self, route: str) -> Counts:
        """Fold what waits, and add up what a route's cells hold."""
        assigned, observed, dropped = [0, 0], [0, 0], 0
        with self.store.telemetry.writing() as connection:
            fold(connection)
            for generation in range(self.store.route(route).generation + 1):
                for (_, _, arm, _, metric), cell in read_cells(connection, route, generation).items():
                    place = int(arm == "candidate")
                    assigned[place] += cell.n if metric == ASSIGNED else 0
                    observed[place] += cell.n if metric == "error_rate" else 0
                    dropped += cell.n if metric == DROPPED else 0
        return Counts((assigned[0], assigned[1]), (observed[0], observed[1]), dropped)

    def status(self, route: str) -> str:
        return self.store.route(route).status

    def ended(self, route: str, *, within_s: float) -> str:
        """Return the status of a route once the controller has rolled it back, or what it is after a while."""
        until = time.monotonic() + within_s
        while (status := self.status(route)) != "rolled_back" and time.monotonic() < until:
            time.sleep(0.2)
        return status

    def silent_replicas(self) -> int:
        """Return how many replicas will be shown as gone when the leases of this moment have run out."""
        return self.store.telemetry.silent_replicas(self.store.real_now() + timedelta(seconds=31))


def candidate_fails(
    stage: Stage,
    application: Process,
    name: str,
    phase: str,
    requests: int,
    *,
    timeout_s: float = 20.0,
    wait_s: float = 0.0,
) -> Outcome:
    """Let a candidate fail in one way; every user has an answer, and every request is counted once.

    The controller is given `wait_s` seconds to roll back what it fails by.
    """
    fault, stream = FAULTS[name]
    gone = None
    if fault is GONE:
        with Process("tests.faults.model_server") as server:
            gone = f"{server.answer()}/v1"
            server.kill()
    else:
        stage.candidate.tell(asdict(fault) if fault is not None else None)
    route = stage.route(phase, candidate_url=gone)
    _learn(application, stage, route)
    seen = Seen(**application.tell(stage.told(route, requests, stream=stream, timeout_s=timeout_s)))
    application.tell(None)
    found = stage.counts(route)
    users = sum(found.observed) if phase != "shadow" else found.observed[0]
    fails = fault is not None and name != "is slow"
    status = stage.ended(route, within_s=wait_s) if fails else stage.status(route)
    outcome = Outcome(f"candidate {name}", phase, status, requests, users, seen)
    beside = found.observed[1] + found.dropped if phase == "shadow" else 0
    if users != requests or sum(found.assigned) != users + beside:
        outcome.broken.append(f"{requests} requests were counted as {found}")
    if phase == "shadow" and outcome.status == "running" and beside != requests:
        outcome.broken.append(f"{requests} mirrored calls were counted as {found}")
    if outcome.midway and not (name == "cuts streams midway" and phase != "shadow"):
        outcome.broken.append(f"{outcome.midway} streams broke midway")
    return outcome


def store_stops(
    stage: Stage, database: Database, requests: int, *, spool: Path | None = None, file_bytes: int = 0, name: str = ""
) -> Outcome:
    """Stop the store for a third of the requests; where the disk is full too, what is counted stays in memory."""
    route, part = stage.route_with_a_good_candidate(), requests // 3
    with stage.application(spool=spool, file_bytes=file_bytes) as application:
        parts = [application.tell(stage.told(route, part, prefix="a"))]
        database.stop()
        parts.append(application.tell(stage.told(route, part, prefix="b")))
        application.tell(None)
        database.start()
        parts.append(application.tell(stage.told(route, requests - 2 * part, prefix="c")))
        application.tell(None)
    found = stage.counts(route)
    name = name or "store stops, comes back"
    outcome = Outcome(name, "canary:50", stage.status(route), requests, sum(found.observed), _joined(parts))
    if sum(found.observed) != requests or sum(found.assigned) != requests:
        outcome.broken.append(f"{requests} requests were counted as {found}")
    return outcome


def memory_and_disk_end(stage: Stage, database: Database, requests: int) -> Outcome:
    """Keep the store away for longer than memory and disk last: what is lost is known by its gap."""
    route, part = stage.route_with_a_good_candidate(), requests // 10
    before = stage.store.telemetry.lost_flushes()
    with stage.application(memory=3, file_bytes=1000, spool=stage.folder / "small") as application:
        parts = []
        for number in range(10):
            if number == 1:
                database.stop()
            if number == 8:
                database.start()
            parts.append(application.tell(stage.told(route, part, prefix=f"{number}-")))
            application.tell(None)
    found = stage.counts(route)
    gaps = stage.store.telemetry.lost_flushes() - before
    missing = requests - sum(found.observed)
    outcome = Outcome(
        "store away, memory and disk full",
        "canary:50",
        stage.status(route),
        requests,
        sum(found.observed),
        _joined(parts),
        f"{missing} in {gaps} lost flushes",
    )
    if not (0 < missing <= part * gaps):
        outcome.broken.append(f"{missing} requests are missing, and {gaps} flushes are known to be")
    return outcome


def replica_is_killed(stage: Stage, requests: int) -> Outcome:
    """Kill an application amid its requests: what it had not flushed is lost, and the replica is shown as gone."""
    route = stage.route_with_a_good_candidate()
    before = stage.silent_replicas()
    application = stage.application()
    application.tell(stage.told(route, requests // 2, prefix="a"))
    application.tell(None)
    application.begin(stage.told(route, requests, prefix="b"))
    while stage.ledger.read_text("ascii").count("-") < requests:
        time.sleep(0.01)
    application.kill()
    marks = stage.ledger.read_text("ascii")
    begun, done = marks.count("+"), marks.count("-")
    counted, gone = sum(stage.counts(route).observed), stage.silent_replicas() - before
    lost = f"{max(0, done - counted)} of the last 5 s, {gone} replica gone"
    outcome = Outcome("replica killed -9", "canary:50", stage.status(route), done, counted, Seen(), lost)
    if not requests // 2 <= counted <= begun:
        outcome.broken.append(f"{counted} were counted, {begun} begun, {requests // 2} flushed")
    if gone != 1:
        outcome.broken.append(f"one replica was killed, {gone} are shown as gone")
    return outcome


def replica_is_killed_while_the_store_is_away(stage: Stage, database: Database, requests: int) -> Outcome:
    """Kill an application whose counts are in its spool: the next one delivers them."""
    route, part = stage.route_with_a_good_candidate(), requests // 3
    spool = stage.folder / "heritage"
    application = stage.application(spool=spool)
    parts = [application.tell(stage.told(route, part, prefix="a"))]
    database.stop()
    parts.append(application.tell(stage.told(route, part, prefix="b")))
    application.tell(None)
    application.kill()
    database.start()
    with stage.application(spool=spool) as heir:
        parts.append(heir.tell(stage.told(route, requests - 2 * part, prefix="c")))
        heir.tell(None)
    counted = sum(stage.counts(route).observed)
    status, seen = stage.status(route), _joined(parts)
    outcome = Outcome("killed -9, store away", "canary:50", status, requests, counted, seen, "0, spooled")
    if counted != requests:
        outcome.broken.append(f"{requests} requests were counted as {counted}")
    return outcome


def _learn(application: Process, stage: Stage, route: str) -> None:
    """Wait until an application serves a route as it is now: it has confirmed the generation."""
    generation = stage.store.route(route).generation
    while not any(r.generations.get(route) == generation for r in stage.store.telemetry.replicas()):
        time.sleep(0.02)


def _joined(parts: list[dict[str, Any]]) -> Seen:
    """Return what was seen in several parts as one."""
    whole = Seen()
    for part in parts:
        for name, values in part.items():
            getattr(whole, name).extend(values)
    return whole
