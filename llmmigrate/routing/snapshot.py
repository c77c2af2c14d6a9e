"""The routing in force on a route, as routers read it: all they need, with its generation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmmigrate.clock import from_text, to_text
from llmmigrate.routing.assignment import Ramp
from llmmigrate.routing.cohort import EVERYBODY, Cohort
from llmmigrate.stages import Stage

if TYPE_CHECKING:
    from llmmigrate.document import Document, Migration
    from llmmigrate.document.prompts import Side


LEASE_S = 30.0
"""How long a replica may serve a candidate after it last heard of the store; then it is back on control."""

_SETTLED = timedelta(seconds=LEASE_S + 5)
"""How long after it is decided a larger share counts for conversations that begin: no replica that has not heard of it
has a lease by then, so that all replicas judge a conversation alike from its first turn on."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model with its parameters and the text of its prompt, and the address of a server of one's own."""

    model: str
    params: dict[str, Any]
    api_base: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """A way back that lets open conversations end: from `since` on none begins on the candidate, at `until` all end."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of a route's routing.

    `control` is what is safe to serve at any time. Without a candidate, all traffic is on control. `ramp` is the
    table of (since, share); a smaller generation never replaces a larger one. `by_conversation` says that units are
    conversations, whose start their id may tell. Of the units that are mirrored, `aa_share` also have control called
    again, until all of that has cost `budget` US dollars.
    """

    route: str
    generation: int
    revision: str | None
    control: Target
    candidate: Target | None = None
    steps: tuple[tuple[datetime, float], ...] = ()
    holdback: float = 0.0
    mirror: bool = False
    fallback: bool = True
    cohort: Cohort = EVERYBODY
    drain: Drain | None = None
    aa_share: float = 0.0
    budget: float | None = None
    by_conversation: bool = False

    @property
    def ramp(self) -> Ramp:
        return Ramp.of(self.steps, closed=self.drain.since if self.drain is not None else None)

    @property
    def share(self) -> float:
        """The share of units that the candidate serves now."""
        return self.steps[-1][1] if self.steps else 0.0

    def to_text(self) -> str:
        """Write the snapshot as the store keeps it."""
        return json.dumps(
            {
                "route": self.route,
                "generation": self.generation,
                "revision": self.revision,
                "control": asdict(self.control),
                "candidate": asdict(self.candidate) if self.candidate is not None else None,
                "steps": [[to_text(since), share] for since, share in self.steps],
                "holdback": self.holdback,
                "mirror": self.mirror,
                "fallback": self.fallback,
                "cohort": asdict(self.cohort),
                "drain": [to_text(self.drain.since), to_text(self.drain.until)] if self.drain is not None else None,
                "aa_share": self.aa_share,
                "budget": self.budget,
                "by_conversation": self.by_conversation,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Snapshot:
        """Read a snapshot that `to_text` wrote; ValueError for one that says what this release does not know."""
        try:
            data = json.loads(text)
            data["control"] = Target(**data["control"])
            data["candidate"] = Target(**data["candidate"]) if data["candidate"] is not None else None
            rules = data.get("cohort", {})
            data["cohort"] = Cohort(
                **{way: {name: tuple(values) for name, values in some.items()} for way, some in rules.items()}
            )
            data["drain"] = Drain(*map(from_text, data["drain"])) if data.get("drain") is not None else None
            data["steps"] = tuple((from_text(since), float(share)) for since, share in data["steps"])
            return cls(**data)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"a routing of another release: {error}") from error


def on_stage(document: Document, stage: Stage, previous: Snapshot | None, *, generation: int, at: datetime) -> Snapshot:
    """Return the routing of a stage that begins at `at`, continuing the ramp of the attempt so far.

    A larger share is for conversations that begin when every replica knows of it, 35 seconds later, and for requests
    without a start at once. A stage with a smaller share than the ramp has reached cuts it all to that share: whatever
    conversation is beyond it is on control at once. One that began while the attempt was draining stays on control.
    """
    migration = document.migration
    steps: tuple[tuple[datetime, float], ...] = ()
    if stage.share > 0:
        steps = tuple((since, min(share, stage.share)) for since, share in (previous.steps if previous else ()))
        if steps and previous is not None and previous.drain is not None:
            closed = previous.drain.since
            steps = (*(step for step in steps if step[0] <= closed), (closed, 0.0))
        if not steps or steps[-1][1] != stage.share:
            steps = (*steps, (at + _SETTLED, stage.share))
    return Snapshot(
        route=migration.route,
        generation=generation,
        revision=migration.revision,
        control=_target(document, "current"),
        candidate=_target(document, "target") if stage.serves_candidate else None,
        steps=steps,
        holdback=stage.holdback,
        mirror=stage.mirror,
        fallback=migration.canary.on_candidate_error == "fallback",
        cohort=_cohort(migration),
        aa_share=migration.shadow.aa_share if stage.mirror else 0.0,
        budget=stage.budget,
        by_conversation=migration.canary.unit == "conversation",
    )


def _cohort(migration: Migration) -> Cohort:
    rules = migration.canary.cohort
    ways = [{name: tuple(values) for name, values in (some or {}).items()} for some in (rules.include, rules.exclude)]
    return Cohort(*ways)


def all_control(previous: Snapshot, *, generation: int) -> Snapshot:
    """Return the routing of a rollback: control for everybody. It needs nothing but the routing in force."""
    return Snapshot(previous.route, generation, previous.revision, control=previous.control)


def safe_part(text: str) -> Snapshot:
    """Return control for everybody, of a snapshot that cannot be read whole; ValueError where not even control can."""
    try:
        data = json.loads(text)
        control = Target(**data["control"])
        return Snapshot(str(data["route"]), int(data["generation"]), data.get("revision"), control=control)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"a routing of another release: {error}") from error


def without_mirror(previous: Snapshot, *, generation: int) -> Snapshot:
    """Return the routing of a shadow whose budget is spent: nothing is mirrored any more."""
    return replace(previous, generation=generation, mirror=False)


def draining(previous: Snapshot, *, generation: int, at: datetime, until: datetime) -> Snapshot:
    """Return the routing of a planned way back: conversations that began before `at` may end on the candidate."""
    return replace(previous, generation=generation, drain=Drain(at, until))


def all_target(document: Document, *, generation: int) -> Snapshot:
    """Return the routing of a completed migration: the target is the new control."""
    return Snapshot(document.route, generation, document.revision, control=_target(document, "target"))


def all_current(document: Document, *, generation: int) -> Snapshot:
    """Return the routing of a route that stands below a document: what it calls current, for everybody."""
    return Snapshot(document.route, generation, document.revision, control=_target(document, "current"))


def _target(document: Document, side: Side) -> Target:
    endpoint = getattr(document.migration, side)
    return Target(endpoint.model, dict(endpoint.params), endpoint.api_base, document.system(side))
