"""What a person may ask of a route: each returns the transition to write, or says why there is none."""

from __future__ import annotations

from typing import Any

from llmmigrate.exceptions import RefusedError
from llmmigrate.lifecycle.decide import Transition
from llmmigrate.lifecycle.state import RouteState
from llmmigrate.stages import Plan
from llmmigrate.units import format_duration


def start(plan: Plan, reason: str) -> Transition:
    """Begin an attempt."""
    fresh = {"accepted": (), "extended_s": 0.0, "unattended": False, "acknowledged": False}
    return Transition("started", "running", plan.stages[0].name, reason, reroute=True, changes=fresh)


def roll_back(state: RouteState, reason: str) -> Transition | None:
    """Take an attempt back to control; None where none is under way or it is begun already."""
    if state.status in ("running", "paused"):
        return Transition("rolling_back", "rolling_back", state.phase, reason, reroute=True)
    return None


def drain(plan: Plan, state: RouteState, seconds: float, reason: str) -> Transition:
    """Begin a planned way back: none begins on the candidate any more, and open conversations may end there."""
    under_way(state)
    assert state.phase is not None
    if plan.stage(state.phase).share == 0:
        raise RefusedError(
            f"{state.phase} serves no user with the candidate: there is nothing to drain",
            hint=f'llmmigrate downgrade {state.route} --reason "…"',
        )
    if seconds <= 0:
        raise RefusedError("a time to drain is above zero", hint="leave --drain out to roll back at once")
    why = f"{reason} (drained for {format_duration(seconds)})"
    return Transition("draining", "paused", state.phase, why, reroute=True)


def undo(state: RouteState, onto: str | None, reason: str) -> Transition:
    """Take a route that stands completed back to a revision below (None: to before its first one)."""
    if state.status == "rolling_back" or state.active:
        raise RefusedError(
            f"route {state.route} has an attempt under way ({state.status})",
            hint=f'llmmigrate downgrade {state.route} --reason "…"',
        )
    changes = {"completed_revision": onto, "acknowledged": False, "revision": state.completed_revision}
    why = f"from {state.completed_revision} down to {onto or 'base'}: {reason}"
    return Transition("rolling_back", "rolling_back", None, why, reroute=True, changes=changes)


def step_back(plan: Plan, state: RouteState, stage: str, reason: str) -> Transition:
    """Take a running or paused attempt back to an earlier stage; what it serves never grows by it."""
    under_way(state)
    assert state.phase is not None
    names = [other.name for other in plan.stages]
    if stage not in names:
        raise RefusedError(f"this migration has no stage {stage!r}; it has {', '.join(names)}")
    if not plan.before(state.phase, stage):
        raise RefusedError(f"{stage} is not before {state.phase}: only an earlier stage can be gone back to")
    return Transition("stepped_back", "running", stage, reason, reroute=True, changes={"extended_s": 0.0})


def pause(state: RouteState, reason: str) -> Transition:
    """Stop an attempt from advancing; it goes on serving its share."""
    if state.status == "paused":
        following = f'llmmigrate resume {state.route} --reason "…"'
        raise RefusedError(f"route {state.route} is paused already", hint=following)
    under_way(state)
    return Transition("paused", "paused", state.phase, reason, reroute=False)


def resume(state: RouteState, reason: str) -> Transition:
    """Let a paused attempt go on in its stage, on new evidence: statistics and time begin anew."""
    if state.status != "paused":
        raise RefusedError(f"route {state.route} is not paused ({state.status})", hint="llmmigrate status")
    return Transition("resumed", "running", state.phase, reason, reroute=True, changes={"extended_s": 0.0})


def accept(state: RouteState, metric: str, reason: str) -> Transition:
    """Let a metric hold and pause this attempt no more; its rollback rule stays."""
    under_way(state)
    changes = {"accepted": tuple(dict.fromkeys((*state.accepted, metric)))}
    return Transition("accepted", state.status, state.phase, f"{metric}: {reason}", reroute=False, changes=changes)


def extend(state: RouteState, seconds: float, reason: str) -> Transition:
    """Lengthen the longest hold of the present stage."""
    under_way(state)
    changes = {"extended_s": state.extended_s + seconds}
    why = f"{format_duration(seconds)} more: {reason}"
    return Transition("extended", state.status, state.phase, why, reroute=False, changes=changes)


def unattend(state: RouteState, reason: str) -> Transition:
    """Let an attempt serve users although no controller is alive."""
    under_way(state)
    changes = {"unattended": True}
    return Transition("unattended", state.status, state.phase, reason, reroute=False, changes=changes)


def approve(state: RouteState, stage: str, groups: list[str], comment: str) -> Transition:
    """Note that a person approved a stage for their groups."""
    under_way(state)
    why = f"{stage} for {', '.join(groups)}" + (f": {comment}" if comment else "")
    return Transition("approved", state.status, state.phase, why, reroute=False)


def acknowledge(state: RouteState, reason: str) -> Transition:
    """Note that a person has seen a rollback: the route counts as healthy until its next attempt."""
    if state.status != "rolled_back":
        raise RefusedError(f"route {state.route} is not rolled back ({state.status})", hint="llmmigrate status")
    changes = {"acknowledged": True}
    return Transition("acknowledged", state.status, state.phase, reason, reroute=False, changes=changes)


def repair(state: RouteState, document: str, document_hash: str, reason: str) -> Transition:
    """Put an edited document in force for the attempt that it belongs to, on record."""
    changes = {"document": document, "document_hash": document_hash}
    return Transition("repaired", state.status, state.phase, reason, reroute=False, changes=changes)


def stamp(state: RouteState, revision: str | None, document: str, document_hash: str, reason: str) -> Transition:
    """Declare that a route stands at a revision, without any migration."""
    if state.active:
        raise RefusedError(
            f"route {state.route} has an attempt under way ({state.status})",
            hint=f'llmmigrate downgrade {state.route} --reason "…"',
        )
    changes: dict[str, Any] = {"completed_revision": revision, "revision": revision, "attempt": 0}
    if revision is None:
        return Transition("stamped", "pending", None, reason, reroute=True, changes=changes)
    changes |= {"document": document, "document_hash": document_hash}
    return Transition("stamped", "completed", None, reason, reroute=True, changes=changes)


def under_way(state: RouteState) -> None:
    """Raise RefusedError where no attempt is running or paused."""
    if state.status not in ("running", "paused"):
        raise RefusedError(
            f"route {state.route} has no attempt that is running or paused ({state.status})", hint="llmmigrate status"
        )
