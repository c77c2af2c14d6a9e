"""What there is to see: the state of every route, from documents and store, without evaluating anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmmigrate.clock import from_text, to_text
from llmmigrate.document import Document
from llmmigrate.exceptions import ExitCode, StoreError
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import WATCH_S, RouteState
from llmmigrate.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class RouteOverview:
    """One route as `status` shows it. `state` is pending at version 0 for a route that was never upgraded."""

    state: RouteState
    head: str | None
    control: str | None
    candidate: str | None
    share: float
    verdict: str | None = None
    evaluated_at: datetime | None = None
    waiting_for: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    last_reason: str | None = None
    profile: str | None = None
    unfit: str | None = None
    unfit_hint: str | None = None
    watched: bool = False
    draining_until: datetime | None = None

    @property
    def served_share(self) -> float:
        """The share that is served now: none while nobody is watching, unless the attempt may go unattended."""
        return self.share if self.watched or self.state.unattended else 0.0

    @property
    def healthy(self) -> bool:
        """Whether no person is needed: neither paused, nor rolled back, nor unfit, nor left unwatched."""
        steady = self.state.status not in ("paused", "rolling_back") and not self.rolled_back
        return self.unfit is None and steady and not self.forsaken

    @property
    def rolled_back(self) -> bool:
        """Whether a rollback was done that no person has acknowledged."""
        return self.state.status == "rolled_back" and not self.state.acknowledged

    @property
    def forsaken(self) -> bool:
        """Whether an attempt should serve users, and no controller is alive to look after it."""
        return self.share > 0 and self.state.active and not (self.watched or self.state.unattended)

    @property
    def at_head(self) -> bool:
        """Whether the route stands completed on its newest document, with nothing under way."""
        return self.head is not None and self.state.completed_revision == self.head and not self.state.active

    def to_json(self) -> dict[str, Any]:
        """Return the stable keys of `status --format json`."""
        phase, _, step = (self.state.phase or "").partition(":")
        return {
            "route": self.state.route,
            "revision": self.state.revision,
            "head": self.head,
            "completed_revision": self.state.completed_revision,
            "attempt": self.state.attempt,
            "phase": phase or None,
            "step": float(step) if "." in step else int(step) if step else None,
            "status": self.state.status,
            "candidate_share": self.served_share,
            "generation": self.state.generation,
            "control": self.control,
            "candidate": self.candidate,
            "since": to_text(self.state.since) if self.state.since is not None else None,
            "verdict": self.verdict,
            "evaluated_at": to_text(self.evaluated_at) if self.evaluated_at is not None else None,
            "waiting_for": self.waiting_for,
            "metrics": self.metrics,
            "figures": self.figures,
            "last_reason": self.last_reason,
            "profile": self.profile,
            "unfit": self.unfit,
            "watched": self.watched,
            "unattended": self.state.unattended,
            "accepted": list(self.state.accepted),
            "acknowledged": self.state.acknowledged,
            "draining_until": to_text(self.draining_until) if self.draining_until is not None else None,
            "head_hash": self.state.head_hash,
        }


def overview(graph: Graph, store: Store | None) -> list[RouteOverview]:
    """Describe every route that has documents or history, by name; without a store every route is pending."""
    states = {state.route: state for state in store.routes()} if store is not None else {}
    try:
        watched = store is not None and is_watched(store)
    except StoreError:
        watched = False
    names = sorted({*graph.routes, *states})
    return [_one(graph, store, states.get(name, RouteState(name)), watched=watched) for name in names]


def is_watched(store: Store, connection: Connection | None = None) -> bool:
    """Tell whether a controller has given a sign of life lately; raises StoreError.

    `connection` is a telemetry transaction to read in, where there is one already.
    """
    beat = store.telemetry.last_heartbeat(connection)
    return beat is not None and (store.real_now() - beat.at).total_seconds() <= WATCH_S


def worst(routes: list[RouteOverview], *, head: bool) -> ExitCode:
    """Return the exit code of a check: unfit, paused, rolled back, unwatched, and with `head` not there yet."""
    if any(route.unfit for route in routes):
        return ExitCode.UNFIT
    if any(route.state.status == "paused" for route in routes):
        return ExitCode.PAUSED
    if any(route.state.status == "rolling_back" or route.rolled_back for route in routes):
        return ExitCode.ROLLED_BACK
    if any(route.forsaken for route in routes):
        return ExitCode.ERROR
    if head and not all(route.at_head for route in routes):
        return ExitCode.HOLD
    return ExitCode.DONE


def _one(graph: Graph, store: Store | None, state: RouteState, *, watched: bool) -> RouteOverview:
    fault = graph.fault(state.route)
    line = graph.line(state.route) if fault is None else []
    head = line[-1] if line else None
    routing = json.loads(state.snapshot) if state.snapshot is not None else None
    document = graph.get(state.revision) if state.revision is not None else head
    first_model = line[0].value("current", "model") if line else None
    seen = _seen(store, state)
    return RouteOverview(
        state=state,
        head=head.revision if head is not None else None,
        control=routing["control"]["model"] if routing is not None else first_model,
        candidate=routing["candidate"]["model"] if routing is not None and routing["candidate"] else None,
        share=float(routing["steps"][-1][1]) if routing is not None and routing["steps"] else 0.0,
        verdict=seen["answer"] if seen is not None else None,
        evaluated_at=from_text(seen["at"]) if seen is not None else None,
        waiting_for=seen["waiting_for"] if seen is not None else [],
        metrics=seen["metrics"] if seen is not None else [],
        figures=seen.get("figures", {}) if seen is not None else {},
        last_reason=_last_reason(store, state),
        profile=document.value("profile", default="standard") if document is not None else None,
        unfit=fault.brief if fault is not None else _unfit(state, document, graph),
        unfit_hint=fault.hint if fault is not None else None,
        watched=watched,
        draining_until=from_text(routing["drain"][1]) if routing is not None and routing.get("drain") else None,
    )


def _seen(store: Store | None, state: RouteState) -> dict[str, Any] | None:
    """Return the last verdict on an attempt, None without any or where telemetry is away."""
    try:
        return store.telemetry.verdict(state.route, state.generation) if store is not None and state.active else None
    except StoreError:
        return None


def _last_reason(store: Store | None, state: RouteState) -> str | None:
    """Return why an attempt is paused or rolled back."""
    if store is None or state.status not in ("paused", "rolling_back", "rolled_back"):
        return None
    rows = [row for row in store.history(state.route) if row["event"] in ("paused", "draining", "rolling_back")]
    return str(rows[-1]["reason"]) if rows else None


def _unfit(state: RouteState, document: Document | None, graph: Graph) -> str | None:
    if state.revision is None or state.status == "rolled_back":
        return None
    if document is None:
        return f"the document of {state.revision} is gone"
    if state.document_hash is not None and document.hash != state.document_hash:
        return f"document {state.revision} was edited after it was applied"
    if state.completed_revision is not None and graph.get(state.completed_revision) is None:
        return f"the document of {state.completed_revision} is gone"
    return None
