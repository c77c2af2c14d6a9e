"""Turning a decision into the one write: the state after it, with the routing that belongs to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from llmmigrate.document import Document, load_applied
from llmmigrate.lifecycle import RouteState, Transition
from llmmigrate.routing import snapshot as routing
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.stages import Plan, plan_of
from llmmigrate.store import Store
from llmmigrate.store.store import Approval, Change


def applied(state: RouteState) -> Document:
    """Return the document of an attempt as it was applied; the file on disk does not matter."""
    assert state.document is not None
    return load_applied(state.document, f"{state.revision} as applied")


@lru_cache(maxsize=64)
def plan_for(document: Document) -> Plan:
    """Return the stages of a document, laid out once: a controller asks at each tick."""
    return plan_of(document.migration)


def write(
    store: Store,
    state: RouteState,
    transition: Transition,
    *,
    actor: str,
    now: datetime,
    snapshot: Snapshot | None = None,
    evidence: str | None = None,
    document: str | None = None,
    approval: Approval | None = None,
) -> RouteState:
    """Write a transition of `state`, with new routing where `snapshot` is given; return the state after it.

    `document` is kept in the history row, where one is put in force. Raises LostRace and StoreError; then nothing was
    written.
    """
    moved = snapshot is not None or (transition.status, transition.phase) != (state.status, state.phase)
    base = replace(state, **transition.changes)
    after = replace(
        base,
        status=transition.status,
        phase=transition.phase,
        generation=snapshot.generation if snapshot is not None else state.generation,
        since=now if moved else state.since,
        snapshot=snapshot.to_text() if snapshot is not None else state.snapshot,
        completed_revision=base.revision if transition.event == "completed" else base.completed_revision,
    )
    change = Change(
        before=state,
        after=after,
        event=transition.event,
        actor=actor,
        reason=transition.reason,
        evidence=evidence,
        document=document,
        approval=approval,
    )
    return store.write(change, at=now)


def routing_of(
    state: RouteState, transition: Transition, document: Document, plan: Plan, *, now: datetime
) -> Snapshot | None:
    """Return the routing that a transition puts in force, None where it leaves it as it is."""
    if not transition.reroute:
        return None
    generation = state.generation + 1
    if transition.status == "rolling_back":
        return without_candidate(state)
    if transition.event == "paused":
        assert state.snapshot is not None
        return routing.without_mirror(Snapshot.from_text(state.snapshot), generation=generation)
    if transition.event == "completed":
        return routing.all_target(document, generation=generation)
    assert transition.phase is not None
    previous = Snapshot.from_text(state.snapshot) if state.active and state.snapshot is not None else None
    return routing.on_stage(document, plan.stage(transition.phase), previous, generation=generation, at=now)


def is_draining(state: RouteState) -> bool:
    """Tell whether a route's routing lets open conversations end before it is rolled back."""
    return state.snapshot is not None and Snapshot.from_text(state.snapshot).drain is not None


def without_candidate(state: RouteState) -> Snapshot:
    """Return the routing in force without its candidate: all that a rollback needs."""
    assert state.snapshot is not None
    return routing.all_control(Snapshot.from_text(state.snapshot), generation=state.generation + 1)
