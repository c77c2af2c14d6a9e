"""The decision of a tick: one transition, or one wait with all its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from llmmigrate.clock import to_text
from llmmigrate.lifecycle.state import RouteState, Status
from llmmigrate.stages import Plan, Stage
from llmmigrate.units import format_duration
from llmmigrate.verdict import Answer, MetricVerdict, worded

STALE_S = 15 * 60.0
"""Data older than this are no evidence of the present: they hold every gate."""

OBSERVED_FLOOR = 0.95
"""The part of the requests decided on (in shadow: mirrored) that must have been observed to count as evidence."""

WATCH_S = 15 * 60.0
"""How long a candidate may serve users after the last sign of life of a controller."""

ReasonKind = Literal["time", "samples", "approval", "trigger", "evidence", "data"]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What mirroring has cost in this generation, in US dollars, over calls that were `answered`.

    Of these, `priced` have a known cost; `dropped` ones were not made, because too many were under way.
    """

    cost: float = 0.0
    answered: int = 0
    priced: int = 0
    dropped: int = 0


SUITE = "the regression suite"
"""What every reason begins with that is about the suite."""

SUITE_FRESH_S = 14 * 86400.0
"""How long a run of the regression suite is evidence: providers change what stands behind a name."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The latest run of the regression suite on this very document: its verdict, when, and why in a sentence.

    `failed` names every invariant that got worse.
    """

    answer: Answer
    at: datetime
    reason: str
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draining:
    """A way back under way that lets open conversations end until a time, and why it was begun."""

    until: datetime
    reason: str


Counts = tuple[int, int]
"""A count of control and one of the candidate."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the time of a tick.

    `dwell_s` is time on fresh candidate data in this generation; ages are seconds since the last data of an arm, None
    without any; `observed` and `assigned` count per arm what was decided and what came of it. `watched` says that a
    controller is alive, `approved` names the groups that approved the following stage on this document and
    generation. `blocked` says why the attempt may not advance (rolling back stays possible); `draining` that a person
    has begun its way back. `shown` is the latest run of the regression suite, looked for where that is what is waited
    for. `figures` are for people, and decide nothing.
    """

    now: datetime
    verdicts: tuple[MetricVerdict, ...] = ()
    dwell_s: float = 0.0
    candidate_age_s: float | None = None
    control_age_s: float | None = None
    observed: Counts = (0, 0)
    assigned: Counts = (0, 0)
    watched: bool = False
    approved: frozenset[str] = frozenset()
    blocked: str | None = None
    draining: Draining | None = None
    mirrored: Mirrored = Mirrored()
    shown: Shown | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is waited for; `until` where a time is known."""

    kind: ReasonKind
    detail: str
    until: datetime | None = None

    @property
    def about_suite(self) -> bool:
        """Whether it is the regression suite that has to be run, or run again."""
        return self.kind != "trigger" and self.detail.startswith(SUITE)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "detail": self.detail, "until": to_text(self.until) if self.until else None}


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state to be written.

    `phase` is a stage of the plan; `reroute` says that routing changes with it (and statistics begin anew);
    `changes` are further fields of the state.
    """

    event: str
    status: Status
    phase: str | None
    reason: str
    reroute: bool
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now, and why."""

    verdict: Answer
    reasons: tuple[Reason, ...] = ()


def next_step(plan: Plan, state: RouteState, facts: Facts) -> Transition | Wait:
    """Decide what happens now to an attempt that is running or paused.

    Rollback comes before pause, pause before everything else; nothing advances without fresh data and all that the
    stage needs. A paused attempt still serves its share, so that it can still be rolled back.
    """
    if state.phase is None or state.status not in ("running", "paused"):
        raise ValueError(f"nothing to decide on for a route that is {state.status}")
    stage = plan.stage(state.phase)
    for verdict in facts.verdicts:
        if verdict.verdict == "fail" and verdict.action == "rollback":
            return Transition("rolling_back", "rolling_back", stage.name, _because(verdict), reroute=True)
    if facts.draining is not None:
        return _drained(stage, facts.draining, facts.now)
    if state.status == "paused":
        return Wait("hold", (Reason("trigger", "paused: a person decides"),))
    return _running(plan, stage, state, facts)


def _drained(stage: Stage, draining: Draining, now: datetime) -> Transition | Wait:
    """End a way back at its time; until then open conversations may end on the candidate."""
    if now >= draining.until:
        return Transition("rolling_back", "rolling_back", stage.name, draining.reason, reroute=True)
    detail = "draining: open conversations may end on the candidate, new ones are on control; then it is rolled back"
    return Wait("hold", (Reason("time", detail, draining.until),))


def finish_rollback(state: RouteState, behind: Sequence[str]) -> Transition | Wait:
    """Decide whether a rollback is done: when nothing that lives may still serve another generation."""
    if behind:
        more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
        return Wait("fail", (Reason("evidence", f"yet to confirm control: {behind[0]}{more}"),))
    return Transition("rolled_back", "rolled_back", state.phase, "no router serves the candidate", reroute=False)


def _running(plan: Plan, stage: Stage, state: RouteState, facts: Facts) -> Transition | Wait:
    for verdict in facts.verdicts:
        if verdict.verdict == "fail" and verdict.metric not in state.accepted:
            return Transition("paused", "paused", stage.name, _because(verdict), reroute=False)
    if stage.budget is not None and facts.mirrored.cost >= stage.budget:
        why = f"mirroring has cost ${facts.mirrored.cost:,.2f}, all of shadow.budget: resume grants as much again"
        return Transition("paused", "paused", stage.name, why, reroute=True)
    following = plan.after(stage.name)
    reasons = [Reason("evidence", f"{words}: waive it, or wait for one that does") for words in stage.unsupported]
    reasons += _missing(plan, stage, state, facts)
    if following is not None:
        reasons += _not_allowed(following, state, facts)
    if facts.blocked is not None:
        reasons.insert(0, Reason("approval", facts.blocked))
    if reasons:
        failed = facts.shown is not None and facts.shown.answer == "fail"
        return _held_too_long(stage, state, facts, reasons) or Wait("fail" if failed else "hold", tuple(reasons))
    if following is None:
        return Transition("completed", "completed", stage.name, "every gate passed", reroute=True)
    why = f"waived: {stage.waived}" if stage.waived is not None else f"the gate of {stage.name} passed"
    if stage.waived is None and state.accepted:
        why += f"; accepted by a person: {', '.join(state.accepted)}"
    return Transition("advanced", "running", following.name, why, reroute=True, changes={"extended_s": 0.0})


def _because(verdict: MetricVerdict) -> str:
    assert verdict.estimate is not None
    assert verdict.interval is not None
    estimate, low, high, limit = (
        worded(value, verdict.unit) for value in (verdict.estimate, *verdict.interval, verdict.limit)
    )
    compared = verdict.unit in ("relative", "pp", "s_change")
    against = f" against control ({verdict.n_control:,} requests)" if compared and verdict.n_control else ""
    return (
        f"{verdict.rule}: {verdict.title} {estimate} [{low}, {high}] is past {limit}{against}, "
        f"over {verdict.n_candidate:,} requests of the candidate{f' ({verdict.note})' if verdict.note else ''}"
    )


def _missing(plan: Plan, stage: Stage, state: RouteState, facts: Facts) -> list[Reason]:
    """List all that keeps a gate shut; empty means that it passes."""
    if stage.waived is not None:
        return []
    if not stage.serves_candidate:
        return _not_shown(plan, facts)
    stale = _stale(facts)
    early = _too_early(stage, facts, fresh=not stale)
    unproved = _unproved(state, facts, plan.min_samples)
    return [*_unwatched(stage, state, facts), *stale, *early, *_too_few(stage, facts), *unproved]


def _not_shown(plan: Plan, facts: Facts) -> list[Reason]:
    """List what keeps the suite from letting traffic begin: it has not been run, is old, or did not pass."""
    shown, again = facts.shown, f"llmmigrate test {plan.revision}"
    if shown is None:
        return [Reason("evidence", f"{SUITE} has not been run on this document: {again}")]
    age_s = (facts.now - shown.at).total_seconds()
    if age_s > SUITE_FRESH_S:
        return [Reason("evidence", f"{SUITE} was run {format_duration(age_s)} ago: {again}")]
    if shown.answer == "fail":
        all_failed = f" (failed: {', '.join(shown.failed)})" if len(shown.failed) > 1 else ""
        return [Reason("trigger", f"{SUITE} fails: {shown.reason}{all_failed}")]
    return [] if shown.answer == "pass" else [Reason("evidence", f"{SUITE} holds: {shown.reason}")]


def _unwatched(stage: Stage, state: RouteState, facts: Facts) -> list[Reason]:
    if stage.share == 0 or facts.watched or state.unattended:
        return []
    return [Reason("trigger", "nobody is watching, so routers serve control: start llmmigrate run")]


def _not_allowed(following: Stage, state: RouteState, facts: Facts) -> list[Reason]:
    """List what a person must still do before the following stage may be entered."""
    reasons = [
        Reason("approval", f"{group} must approve {following.name}: llmmigrate approve --phase {following.name}")
        for group in following.approvers
        if group not in facts.approved
    ]
    if following.share > 0 and not facts.watched and not state.unattended:
        detail = f"{following.name} serves users and nobody is watching: start llmmigrate run (or --unattended)"
        reasons.append(Reason("trigger", detail))
    return reasons


def _stale(facts: Facts) -> list[Reason]:
    reasons = []
    for arm, age in (("candidate", facts.candidate_age_s), ("control", facts.control_age_s)):
        if age is None:
            reasons.append(Reason("data", f"no data from the {arm} yet: nothing passes on no data"))
        elif age > STALE_S:
            reasons.append(Reason("data", f"the last data from the {arm} are {format_duration(age)} old"))
    return reasons


def _too_early(stage: Stage, facts: Facts, *, fresh: bool) -> list[Reason]:
    left = stage.min_s - facts.dwell_s
    if left <= 0:
        return []
    detail = f"time on fresh data: {format_duration(facts.dwell_s)} of {format_duration(stage.min_s)}"
    return [Reason("time", detail, facts.now + timedelta(seconds=left) if fresh else None)]


def _too_few(stage: Stage, facts: Facts) -> list[Reason]:
    reasons = []
    pairs = min(facts.observed)
    if stage.mirror and pairs < stage.min_pairs:
        reasons.append(Reason("samples", f"{pairs:,} of {stage.min_pairs:,} mirrored pairs"))
    for arm, observed, assigned in zip(("control", "candidate"), facts.observed, facts.assigned, strict=True):
        if observed < OBSERVED_FLOOR * assigned:
            reasons.append(Reason("data", _lost(stage, facts, arm, observed, assigned)))
    mirrored = facts.mirrored
    if stage.budget is not None and mirrored.priced < OBSERVED_FLOOR * mirrored.answered:
        detail = f"shadow.budget: the cost of {mirrored.answered - mirrored.priced:,} mirrored calls is not known"
        reasons.append(Reason("data", f"{detail}: the cost map has no price, so take the budget out or give the cost"))
    return reasons


def _lost(stage: Stage, facts: Facts, arm: str, observed: int, assigned: int) -> str:
    """Say that an arm did not answer for what it was given; a mirror that is dead is named so."""
    if not stage.mirror or arm == "control":
        return f"only {observed:,} of {assigned:,} requests sent to the {arm} were observed"
    dropped = f" ({facts.mirrored.dropped:,} dropped: too many under way)" if facts.mirrored.dropped else ""
    if observed == 0:
        return f"the mirror is dead: none of {assigned:,} requests mirrored to the candidate came back{dropped}"
    return f"only {observed:,} of {assigned:,} requests mirrored to the candidate were observed{dropped}"


def _unproved(state: RouteState, facts: Facts, minimum: int) -> list[Reason]:
    if not facts.verdicts:
        return [Reason("evidence", "no rule could be evaluated")]
    return [
        Reason("evidence", f"{verdict.title}: {verdict.reason}")
        for verdict in facts.verdicts
        if verdict.metric not in state.accepted
        and (verdict.n_candidate < minimum or (verdict.need == "prove" and verdict.verdict != "pass"))
    ]


def _held_too_long(stage: Stage, state: RouteState, facts: Facts, reasons: list[Reason]) -> Transition | None:
    """Ask a person where data arrive and yet the gate stays shut; without data the hold simply goes on.

    An approval that is missing is waited for: a person is asked already.
    """
    if stage.max_s is None or state.since is None or facts.dwell_s < stage.min_s or facts.candidate_age_s is None:
        return None
    if all(reason.kind == "approval" for reason in reasons):
        return None
    longest = stage.max_s + state.extended_s
    if (facts.now - state.since).total_seconds() < longest:
        return None
    detail = f"{stage.name} has held for {format_duration(longest)} and still waits: {reasons[0].detail}"
    return Transition("paused", "paused", stage.name, detail, reroute=False)
