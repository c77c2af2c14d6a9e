"""One tick of one route: load, fold, evaluate, decide, act, record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from llmmigrate.clock import to_text
from llmmigrate.document import Document
from llmmigrate.exceptions import TargetFailed
from llmmigrate.gates.late import advance
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.lifecycle import (
    Draining,
    Facts,
    Mirrored,
    RouteState,
    Shown,
    Transition,
    Wait,
    finish_rollback,
    next_step,
    requests,
)
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import AA_COST, ARMS, ASSIGNED, DROPPED, Arm
from llmmigrate.metrics.figures import figures
from llmmigrate.overview import is_watched
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner.write import applied, plan_for, routing_of, without_candidate, write
from llmmigrate.stages import Plan
from llmmigrate.store import Store
from llmmigrate.store.evidence import latest_run
from llmmigrate.store.folding import Folded, by_arm, by_type, fold
from llmmigrate.targets import TrafficTarget
from llmmigrate.verdict import MetricVerdict


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did: the state after it, and the transition it made or the wait it came to."""

    state: RouteState
    verdicts: tuple[MetricVerdict, ...] = ()
    transition: Transition | None = None
    wait: Wait | None = None


def tick(
    store: Store,
    state: RouteState,
    *,
    actor: str,
    blocked: str | None = None,
    targets: Sequence[TrafficTarget] = (),
) -> TickResult:
    """Move an active attempt by at most one transition, on the evidence there is now.

    `blocked` says why it may not advance; it can roll back all the same. `targets` are made to follow the routing in
    force first: one that does not keeps an attempt from advancing, and a rollback from being called done. Raises
    LostRace where somebody else moved the route since `state` was read, and StoreError; then nothing was written to
    the route.
    """
    now = store.now()
    behind = reconcile(state, targets)
    if state.status == "rolling_back":
        ended = finish_rollback(state, [*(f"router {run_id}" for run_id in unconfirmed(store, state)), *behind])
        if isinstance(ended, Wait):
            return TickResult(state, wait=ended)
        return TickResult(write(store, state, ended, actor=actor, now=now), transition=ended)
    blocked = blocked or "; ".join(behind) or None
    document = applied(state)
    plan = plan_for(document)
    with store.telemetry.writing() as connection:
        consent = consented(store, connection, state, plan)
        facts = gather(store, connection, state, document, plan, consent, now=now, blocked=blocked)
        decision = next_step(plan, state, facts)
        if isinstance(decision, Wait):
            _keep_verdict(store, connection, state, facts, decision)
            return TickResult(state, facts.verdicts, wait=decision)
    snapshot = routing_of(state, decision, document, plan, now=now)
    evidence = frozen(state, facts, plan)
    after = write(store, state, decision, actor=actor, now=now, snapshot=snapshot, evidence=evidence)
    return TickResult(after, facts.verdicts, transition=decision)


def begin(store: Store, state: RouteState, document: Document, *, actor: str, reason: str) -> TickResult:
    """Start an attempt of a document on a route that has none under way; raises LostRace and StoreError."""
    now = store.now()
    plan = plan_for(document)
    again = state.revision == document.migration.revision
    decided = requests.start(plan, reason)
    transition = replace(
        decided,
        changes={
            **decided.changes,
            "revision": document.migration.revision,
            "attempt": state.attempt + 1 if again else 1,
            "document": document.sealed,
            "document_hash": document.hash,
        },
    )
    snapshot = routing_of(state, transition, document, plan, now=now)
    after = write(store, state, transition, actor=actor, now=now, snapshot=snapshot, document=document.sealed)
    return TickResult(after, transition=transition)


def intend_rollback(store: Store, state: RouteState, transition: Transition, *, actor: str) -> RouteState:
    """Persist a rollback and take the candidate out of the routing, in one write; raises LostRace and StoreError.

    It needs the state and nothing else: no document, no evidence, no model.
    """
    return write(store, state, transition, actor=actor, now=store.now(), snapshot=without_candidate(state))


def reconcile(state: RouteState, targets: Sequence[TrafficTarget]) -> list[str]:
    """Make every target follow the routing in force; return what does not, in words."""
    if state.snapshot is None or not targets:
        return []
    snapshot, behind = Snapshot.from_text(state.snapshot), []
    for target in targets:
        try:
            if target.read(state.route) != state.generation:
                target.apply(snapshot)
            if target.read(state.route) != state.generation:
                behind.append(f"{target.name} does not carry generation {state.generation}")
        except TargetFailed as error:
            behind.append(error.message)
    return behind


def unconfirmed(store: Store, state: RouteState) -> list[str]:
    """Return the living replicas that have not yet reported the generation in force."""
    now = store.real_now()
    return [
        replica.run_id
        for replica in store.telemetry.replicas()
        if replica.generations.get(state.route, -1) < state.generation and replica.lease_until > now
    ]


@dataclass(frozen=True, slots=True)
class Consent:
    """What people and processes say to an attempt: whether a controller is alive, who approved the next stage."""

    watched: bool
    approved: frozenset[str]


def consented(store: Store, connection: Connection, state: RouteState, plan: Plan) -> Consent:
    """Ask the store for the consent to an attempt's next stage."""
    assert state.phase is not None
    following = plan.after(state.phase)
    approved = store.approved(state, following.name) if following and following.approvers else frozenset()
    return Consent(is_watched(store, connection), approved)


def gather(
    store: Store,
    connection: Connection,
    state: RouteState,
    document: Document,
    plan: Plan,
    consent: Consent,
    *,
    now: datetime,
    blocked: str | None = None,
) -> Facts:
    """Fold what has arrived and collect all that a decision on an attempt needs, in one telemetry transaction."""
    folded = fold(connection)
    return collect(store, connection, state, document, plan, consent, now=now, blocked=blocked, folded=folded)


def collect(
    store: Store,
    connection: Connection,
    state: RouteState,
    document: Document,
    plan: Plan,
    consent: Consent,
    *,
    now: datetime,
    blocked: str | None = None,
    folded: Folded | None = None,
) -> Facts:
    """Collect all that a decision on an attempt needs from what has been folded.

    After a fold, which is `folded`, the detectors of late changes take in what has come, else everything is only read.
    """
    assert state.phase is not None
    stage = plan.stage(state.phase)
    known = folded or Folded()
    found = known.cells_of(connection, state.route, state.generation)
    cells = by_arm(found)
    kept = store.telemetry.detectors(connection, state.route, state.generation)
    if folded is not None and stage.serves_candidate:
        moved = advance(document.migration, plan, stage, cells, kept, now=now)
        store.telemetry.put_detectors(connection, state.route, state.generation, moved, at=now)
        kept |= {name: (now, text) for name, text in moved.items()}
    asks_types = any(rule.by for rule in (*document.migration.rollback, *document.migration.pause))
    types = by_type(found) if asks_types else {}
    coverage = known.coverage_of(connection, state.route, state.generation)
    ages = {arm: max(0.0, (now - seen.last_at).total_seconds()) for arm, seen in coverage.items()}
    return Facts(
        now=now,
        verdicts=tuple(evaluate(document.migration, plan, stage, cells, types=types, kept=kept))
        if stage.serves_candidate
        else (),
        dwell_s=coverage["candidate"].dwell_s if "candidate" in coverage else 0.0,
        candidate_age_s=ages.get("candidate"),
        control_age_s=ages.get("control"),
        observed=_counts(cells, "error_rate"),
        assigned=_counts(cells, ASSIGNED),
        watched=consent.watched,
        approved=consent.approved,
        blocked=blocked,
        draining=draining(store, state),
        mirrored=_mirrored(cells) if stage.mirror else Mirrored(),
        shown=None if stage.serves_candidate or stage.waived is not None else shown(connection, state),
        figures=figures(cells),
    )


def shown(connection: Connection, state: RouteState) -> Shown | None:
    """Return the latest run of the regression suite on the document of an attempt."""
    run = latest_run(connection, state.route, state.document_hash) if state.document_hash is not None else None
    if run is None:
        return None
    failed = tuple(str(one["invariant"]) for one in run.body.get("invariants", ()) if one["verdict"] == "fail")
    return Shown(run.answer, run.at, str(run.body.get("reason", "")), failed)


def draining(store: Store, state: RouteState) -> Draining | None:
    """Tell whether a person has begun the way back of an attempt, and until when it lets conversations end."""
    drain = Snapshot.from_text(state.snapshot).drain if state.snapshot is not None else None
    if drain is None:
        return None
    reasons = [row["reason"] for row in store.history(state.route) if row["event"] == "draining"]
    return Draining(drain.until, str(reasons[-1]))


def _counts(cells: Mapping[tuple[Arm, str], Cell], metric: str) -> tuple[int, int]:
    control, candidate = (cells.get((arm, metric)) for arm in ARMS)
    return control.n if control is not None else 0, candidate.n if candidate is not None else 0


def _mirrored(cells: Mapping[tuple[Arm, str], Cell]) -> Mirrored:
    called, left, priced, repeats, dropped = (
        cells.get(key, Cell())
        for key in (
            ("candidate", "error_rate"),
            ("candidate", "abandoned"),
            ("candidate", "cost_per_request"),
            ("control", AA_COST),
            ("candidate", DROPPED),
        )
    )
    answered = called.n - round(called.total) - left.n
    return Mirrored(priced.total + repeats.total, answered, priced.n, dropped.n)


def _suite(run: Shown | None) -> dict[str, str] | None:
    """Return the run of the regression suite that a decision rests on."""
    return {"answer": run.answer, "at": to_text(run.at), "reason": run.reason} if run is not None else None


def frozen(state: RouteState, facts: Facts, plan: Plan) -> str:
    """Write down the figures that a decision was taken on."""
    body = {
        "at": to_text(facts.now),
        "phase": state.phase,
        "generation": state.generation,
        "profile": plan.profile,
        "min_samples": plan.min_samples,
        "accepted": list(state.accepted),
        "watched": facts.watched,
        "dwell_s": facts.dwell_s,
        "candidate_age_s": facts.candidate_age_s,
        "control_age_s": facts.control_age_s,
        "observed": list(facts.observed),
        "assigned": list(facts.assigned),
        "metrics": [verdict.to_json() for verdict in facts.verdicts],
        "suite": _suite(facts.shown),
        "figures": facts.figures,
    }
    return json.dumps(body, ensure_ascii=False)


def _keep_verdict(store: Store, connection: Connection, state: RouteState, facts: Facts, wait: Wait) -> None:
    body = {
        "waiting_for": [reason.to_json() for reason in wait.reasons],
        "metrics": [verdict.to_json() for verdict in facts.verdicts],
        "suite": _suite(facts.shown),
        "figures": facts.figures,
    }
    store.telemetry.put_verdict(connection, state.route, state.generation, at=facts.now, answer=wait.verdict, body=body)
