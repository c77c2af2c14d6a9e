"""What a person asks of a route: read, decide, write, and again where somebody else was quicker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from llmmigrate.document import SIDES, Document
from llmmigrate.exceptions import LostRace, RefusedError, StoreError
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import RouteState, Transition, requests
from llmmigrate.metrics.catalogue import CATALOGUE
from llmmigrate.metrics.counting import SPLIT
from llmmigrate.routing import snapshot as routing
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner.tick import consented, frozen, gather
from llmmigrate.runner.write import applied, routing_of, write
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from llmmigrate.store.store import Approval

_RACES = 200


def pause(store: Store, route: str, *, actor: str, reason: str) -> RouteState:
    """Stop an attempt from advancing; raises RefusedError where none is running."""
    return _ask(store, route, lambda state: requests.pause(state, reason), actor=actor)


def resume(store: Store, route: str, *, actor: str, reason: str) -> RouteState:
    """Let a paused attempt go on, on new evidence; raises RefusedError where none is paused."""
    return _ask(store, route, lambda state: requests.resume(state, reason), actor=actor)


def acknowledge(store: Store, route: str, *, actor: str, reason: str) -> RouteState:
    """Note that a person has seen a rollback; raises RefusedError where there is none."""
    return _ask(store, route, lambda state: requests.acknowledge(state, reason), actor=actor)


def extend(store: Store, route: str, seconds: float, *, actor: str, reason: str) -> RouteState:
    """Lengthen the longest hold of the present stage."""
    return _ask(store, route, lambda state: requests.extend(state, seconds, reason), actor=actor)


def unattend(store: Store, route: str, *, actor: str, reason: str) -> RouteState:
    """Let an attempt serve users without a living controller; an attempt that may do so already is left alone."""
    state = store.route(route)
    if state.unattended:
        return state
    return _ask(store, route, lambda state: requests.unattend(state, reason), actor=actor)


def accept_risk(store: Store, route: str, metric: str, *, actor: str, reason: str) -> RouteState:
    """Let a metric hold and pause the attempt no more; raises RefusedError for one that no rule is about."""

    def decide(state: RouteState) -> Transition:
        transition = requests.accept(state, metric, reason)
        migration = applied(state).migration
        known = {rule.metric for rule in (*migration.rollback, *migration.pause) if rule.waived is None}
        if metric not in known | {SPLIT} and not ("*" in known and metric in CATALOGUE):
            raise RefusedError(f"no rule of {state.revision} is about {metric!r}; there are {', '.join(sorted(known))}")
        return transition

    return _ask(store, route, decide, actor=actor)


def step_back(store: Store, route: str, stage: str, *, actor: str, reason: str) -> RouteState:
    """Take an attempt back to an earlier stage; every unit beyond its share is on control at once."""

    def decide(state: RouteState) -> Transition:
        requests.under_way(state)
        return requests.step_back(plan_of(applied(state).migration), state, stage, reason)

    return _ask(store, route, decide, actor=actor)


def drain(store: Store, route: str, seconds: float, *, actor: str, reason: str) -> RouteState:
    """Begin a planned way back: open conversations may end on the candidate for some seconds, new ones are on control.

    Raises RefusedError where the attempt serves no user with the candidate.
    """

    def decide(state: RouteState) -> Transition:
        requests.under_way(state)
        return requests.drain(plan_of(applied(state).migration), state, seconds, reason)

    def snapshot(state: RouteState, now: datetime) -> Snapshot:
        assert state.snapshot is not None
        until = now + timedelta(seconds=seconds)
        return routing.draining(
            Snapshot.from_text(state.snapshot), generation=state.generation + 1, at=now, until=until
        )

    return _ask(store, route, decide, actor=actor, snapshot_of=snapshot)


def repair(store: Store, route: str, document: Document, *, actor: str, reason: str) -> RouteState:
    """Put an edited document in force for its attempt.

    What moves is not repaired once it was called: what is served, and what the evidence is about, must stay the same.
    While an attempt has only waited for its regression suite, no router was handed its target, and it may be another.
    Raises RefusedError, also where nothing was edited.
    """

    def decide(state: RouteState) -> Transition:
        if state.revision != document.migration.revision:
            raise RefusedError(f"route {route} is at {state.revision}, not {document.migration.revision}")
        if state.document_hash == document.hash:
            raise RefusedError(f"document {state.revision} is the one that was applied: there is nothing to repair")
        stages = [stage.name for stage in plan_of(document.migration).stages]
        if state.active and state.phase not in stages:
            raise RefusedError(f"the edited document has no stage {state.phase}, where the attempt is")
        moved = [side for side in SIDES if document.moves(side) != applied(state).moves(side)]
        fixed = [] if state.status == "rolled_back" else ["current"] if _untried(store, state) else SIDES
        for side in moved:
            if side in fixed:
                raise _in_use(state, side)
        return requests.repair(state, document.sealed, document.hash, reason)

    return _ask(store, route, decide, actor=actor, document=document.sealed)


def _untried(store: Store, state: RouteState) -> bool:
    """Tell whether an attempt is under way that was never beyond its regression suite."""
    if state.status not in ("running", "paused"):
        return False
    rows = store.history(state.route)
    begun = max(index for index, row in enumerate(rows) if row["event"] == "started")
    return all(row["to_phase"] == "regression" for row in rows[begun:])


def _in_use(state: RouteState, side: str) -> RefusedError:
    """Return the refusal to repair a side that is in use, with the commands that lead to the same end."""
    route, because = state.route, '--reason "…"'
    back = f"llmmigrate downgrade {route} {because} && llmmigrate repair {state.revision} {because}"
    again = f"llmmigrate upgrade {route} --retry {because}"
    instead = (
        f"on record: {back} && {again}" if state.active else "write the change into a new revision: llmmigrate new"
    )
    return RefusedError(
        f"{side} of {state.revision} was edited: what is served, and what the evidence is about, cannot be repaired",
        hint=f"restore it, or {instead}",
    )


def stamp(store: Store, graph: Graph, route: str, revision: str | None, *, actor: str, reason: str) -> RouteState:
    """Declare that a route stands on a revision (None: on what its first document calls current)."""
    line = graph.line(route)
    document = graph.get(revision) if revision is not None else line[0] if line else None
    if document is None or document.migration.route != route:
        raise RefusedError(f"route {route} has no revision {revision}", hint="llmmigrate status")
    for _ in range(_RACES):
        state = store.route(route)
        transition = requests.stamp(state, revision, document.sealed, document.hash, reason)
        generation = state.generation + 1
        make = routing.all_target if revision is not None else routing.all_current
        try:
            return write(
                store,
                state,
                transition,
                actor=actor,
                now=store.now(),
                snapshot=make(document, generation=generation),
                document=document.sealed,
            )
        except LostRace:
            continue
    raise StoreError(f"route {route} changes too fast", hint=f"llmmigrate status {route}")


def approve(
    store: Store, route: str, stage: str, groups: Sequence[str], *, actor: str, comment: str = ""
) -> RouteState:
    """Approve the entry of a stage for some groups, on the evidence of this moment.

    The approval holds for the present document and generation: a repaired document or statistics that begin anew
    need another one. Raises RefusedError where the stage needs none of the groups, or is not the next one.
    """
    for _ in range(_RACES):
        state = store.route(route)
        transition = requests.approve(state, stage, list(groups), comment)
        document = applied(state)
        plan = plan_of(document.migration)
        assert state.phase is not None
        following = plan.after(state.phase)
        if following is None or following.name != stage:
            after = following.name if following is not None else "nothing"
            raise RefusedError(f"route {route} is at {state.phase}: {after} comes next, not {stage}")
        if not set(groups) & set(following.approvers):
            needed = ", ".join(following.approvers) or "nobody's approval"
            raise RefusedError(f"{stage} needs {needed}, not {', '.join(groups) or 'anybody without a group'}")
        now = store.now()
        with store.telemetry.writing() as connection:
            consent = consented(store, connection, state, plan)
            evidence = frozen(state, gather(store, connection, state, document, plan, consent, now=now), plan)
        approval = Approval(stage, tuple(groups), hashlib.sha256(evidence.encode()).hexdigest())
        try:
            return write(store, state, transition, actor=actor, now=now, evidence=evidence, approval=approval)
        except LostRace:
            continue
    raise StoreError(f"route {route} changes too fast", hint=f"llmmigrate status {route}")


def _ask(
    store: Store,
    route: str,
    decide: Callable[[RouteState], Transition],
    *,
    actor: str,
    document: str | None = None,
    snapshot_of: Callable[[RouteState, datetime], Snapshot] | None = None,
) -> RouteState:
    for _ in range(_RACES):
        state = store.route(route)
        transition = decide(state)
        now = store.now()
        snapshot: Snapshot | None = None
        if snapshot_of is not None:
            snapshot = snapshot_of(state, now)
        elif transition.reroute:
            own = applied(state)
            snapshot = routing_of(state, transition, own, plan_of(own.migration), now=now)
        try:
            return write(store, state, transition, actor=actor, now=now, snapshot=snapshot, document=document)
        except LostRace:
            continue
    raise StoreError(f"route {route} changes too fast", hint=f"llmmigrate status {route}")
