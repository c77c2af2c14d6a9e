"""Rollback: the intent and the routing in one write, then the confirmation of every replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llmmigrate.document import Document, load_applied
from llmmigrate.exceptions import LostRace, RefusedError, StoreError
from llmmigrate.lifecycle import RouteState, requests
from llmmigrate.routing import snapshot as routing
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner.tick import intend_rollback, reconcile, tick, unconfirmed
from llmmigrate.runner.write import write
from llmmigrate.store import Store
from llmmigrate.targets import TrafficTarget

CONFIRM_S = 35.0
"""How long a command waits for replicas to confirm a rollback: a lease, and a little."""

_RACES = 200
_CONFIRM_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class DowngradeResult:
    """What a rollback came to.

    `acted` is False where there was nothing to roll back. `confirmed` replicas reported the new routing; `expired`
    ones were silent until their lease ran out and fell back by themselves; `silent` ones have time left (then the
    state is still `rolling_back`).
    """

    state: RouteState
    acted: bool
    confirmed: int = 0
    expired: int = 0
    silent: int = 0


def downgrade(
    store: Store,
    route: str,
    *,
    actor: str,
    reason: str,
    confirm_s: float = CONFIRM_S,
    blind: bool = False,
    targets: Sequence[TrafficTarget] = (),
    on_wait: Callable[[int], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DowngradeResult:
    """Roll back the active attempt of a route, and wait until every living replica confirms control.

    Needs no document, no evidence and no model. Idempotent: a rollback under way is finished, one that is done is
    left alone. `blind` says that telemetry is broken: the intent is written, and left `rolling_back`. `on_wait` is
    told how many replicas are still silent; after `confirm_s` seconds the state stays `rolling_back`, which the next
    tick finishes. Raises StoreError.
    """
    for _ in range(_RACES):
        state = store.route(route)
        transition = requests.roll_back(state, reason)
        if transition is None:
            break
        try:
            intend_rollback(store, state, transition, actor=actor)
        except LostRace:
            continue
        state = store.route(route)
        break
    else:
        raise StoreError(f"route {route} changes too fast to be rolled back", hint=f"llmmigrate status {route}")
    if blind:
        reconcile(state, targets)
    if state.status != "rolling_back" or blind:
        return DowngradeResult(state, acted=state.status == "rolling_back")
    return _finish(store, state, actor=actor, confirm_s=confirm_s, targets=targets, on_wait=on_wait, sleep=sleep)


def undo(
    store: Store,
    route: str,
    onto: str | None,
    *,
    expect: str,
    actor: str,
    reason: str,
    confirm_s: float = CONFIRM_S,
    targets: Sequence[TrafficTarget] = (),
    on_wait: Callable[[int], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DowngradeResult:
    """Take a route that stands completed on `expect` back to the revision `onto`, None for before its first one.

    `expect` makes a repetition harmless: where the route no longer stands on it, RefusedError says where it stands.
    The model to serve is read from the documents as they were applied. Raises StoreError and LostRace.
    """
    state = store.route(route)
    if state.completed_revision != expect:
        raise RefusedError(
            f"route {route} stands on {state.completed_revision or 'base'}, not {expect}: nothing was changed",
            hint=f"llmmigrate status {route}",
        )
    transition = requests.undo(state, onto, reason)
    transition = replace(transition, changes={**transition.changes, **_last_attempt(store, route, expect)})
    snapshot = _landing(store, state, onto)
    write(store, state, transition, actor=actor, now=store.now(), snapshot=snapshot)
    return _finish(
        store, store.route(route), actor=actor, confirm_s=confirm_s, targets=targets, on_wait=on_wait, sleep=sleep
    )


def confirm(
    store: Store,
    state: RouteState,
    confirm_s: float,
    on_wait: Callable[[int], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no living replica serves an older generation, `confirm_s` seconds at most."""
    left = confirm_s
    while left > 0 and (silent := unconfirmed(store, state)):
        if on_wait is not None:
            on_wait(len(silent))
        sleep(_CONFIRM_EVERY_S)
        left -= _CONFIRM_EVERY_S


def _finish(
    store: Store,
    state: RouteState,
    *,
    actor: str,
    confirm_s: float,
    targets: Sequence[TrafficTarget],
    on_wait: Callable[[int], None] | None,
    sleep: Callable[[float], None],
) -> DowngradeResult:
    now = store.real_now()
    living = {replica.run_id for replica in store.telemetry.replicas() if replica.lease_until > now}
    reconcile(state, targets)
    confirm(store, state, confirm_s, on_wait, sleep)
    try:
        after = tick(store, state, actor=actor, targets=targets).state
    except LostRace:
        after = store.route(state.route)
    behind = {r.run_id for r in store.telemetry.replicas() if r.generations.get(state.route, -1) < state.generation}
    silent = living.intersection(unconfirmed(store, state))
    expired = (living & behind) - silent
    return DowngradeResult(after, True, len(living) - len(expired) - len(silent), len(expired), len(silent))


def _last_attempt(store: Store, route: str, revision: str) -> dict[str, object]:
    """Return what the state says of a revision's last attempt: its number, and the document as it was applied."""
    rows = [row for row in store.history(route) if row["revision"] == revision]
    written = [row for row in rows if row["document"] is not None]
    if not written:
        return {}
    last = written[-1]
    return {"attempt": rows[-1]["attempt"], "document": last["document"], "document_hash": last["document_hash"]}


def _landing(store: Store, state: RouteState, onto: str | None) -> Snapshot:
    """Return the routing of a route that stands on `onto`."""
    generation = state.generation + 1
    if onto is not None:
        return routing.all_target(_applied(store, state.route, onto), generation=generation)
    first = next(row for row in store.history(state.route) if row["document"] is not None)
    return routing.all_current(load_applied(first["document"], "as applied"), generation=generation)


def _applied(store: Store, route: str, revision: str) -> Document:
    rows = [row for row in store.history(route) if row["revision"] == revision and row["document"] is not None]
    if not rows:
        raise RefusedError(
            f"revision {revision} was never applied to route {route}", hint=f"llmmigrate stamp {route} {revision}"
        )
    return load_applied(rows[-1]["document"], f"{revision} as applied")
