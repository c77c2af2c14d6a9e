"""What is true of a store at every moment, whatever happened before (docs/invariants.md)."""

from __future__ import annotations

import json

from llmmigrate.document import load_applied
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.stages import plan_of
from llmmigrate.store import Store


def broken(store: Store) -> list[str]:
    """Return every invariant that does not hold, in words; empty where all do."""
    faults = store.verify()
    for state in store.routes():
        rows = store.history(state.route)
        snapshot = Snapshot.from_text(state.snapshot)
        faults += [f"{state.route}: {fault}" for fault in _of_state(state, snapshot)]
        faults += [f"{state.route}: {fault}" for fault in _of_history(rows)]
    return faults


def _of_state(state, snapshot):
    if snapshot.generation != state.generation:
        yield f"routing of generation {snapshot.generation} under generation {state.generation}"
    if state.status in ("rolling_back", "rolled_back", "completed", "pending") and snapshot.candidate is not None:
        yield f"a candidate is served while {state.status}"
    if state.status in ("running", "paused"):
        stage = plan_of(load_applied(state.document, "d").migration).stage(state.phase)
        if snapshot.share > stage.share + 1e-9:
            yield f"{snapshot.share:.0%} served at {state.phase}"
        if stage.serves_candidate != (snapshot.candidate is not None):
            yield f"candidate {snapshot.candidate} at {state.phase}"
        if stage.share > 0 and snapshot.share != stage.share:
            yield f"{snapshot.share:.0%} served at {state.phase}, not {stage.share:.0%}"
    shares = [share for _, share in snapshot.steps]
    times = [since for since, _ in snapshot.steps]
    drained = 0.0 in shares
    if (shares != sorted(shares) and not drained) or times != sorted(times):
        yield f"the ramp {snapshot.steps} is not one"


_FROM = {
    "started": {"pending", "completed", "rolled_back"},
    "advanced": {"running"},
    "completed": {"running"},
    "rolling_back": {"running", "paused", "completed", "rolled_back", "pending"},
    "rolled_back": {"rolling_back"},
    "paused": {"running"},
    "draining": {"running", "paused"},
    "resumed": {"paused"},
    "stepped_back": {"running", "paused"},
    "accepted": {"running", "paused"},
    "extended": {"running", "paused"},
    "unattended": {"running", "paused"},
    "approved": {"running", "paused"},
    "repaired": {"pending", "running", "paused", "rolling_back", "rolled_back", "completed"},
    "acknowledged": {"rolled_back"},
    "stamped": {"pending", "completed", "rolled_back"},
}


def _of_history(rows):
    before = None
    for row in rows:
        if row["from_status"] not in _FROM[row["event"]]:
            yield f"row {row['seq']}: {row['event']} out of {row['from_status']}"
        if before is not None:
            if row["generation"] < before["generation"]:
                yield f"row {row['seq']}: the generation fell"
            if (row["from_status"], row["from_phase"]) != (before["to_status"], before["to_phase"]):
                yield f"row {row['seq']}: does not begin where row {before['seq']} ended"
            again = row["event"] == "started" and row["revision"] == before["revision"]
            if again and row["attempt"] != before["attempt"] + 1:
                yield f"row {row['seq']}: attempt {row['attempt']} after {before['attempt']}"
        if row["event"] in ("advanced", "completed") and row["from_phase"] != "regression":
            yield from _unproved(row)
        before = row


def _unproved(row):
    evidence = json.loads(row["evidence"])
    if evidence["candidate_age_s"] is None or evidence["candidate_age_s"] > 900:
        yield f"row {row['seq']}: {row['event']} without fresh data"
    if not evidence["metrics"]:
        yield f"row {row['seq']}: {row['event']} without evidence"
    for metric in evidence["metrics"]:
        if metric["verdict"] == "fail" and metric["metric"] not in evidence["accepted"]:
            yield f"row {row['seq']}: {row['event']} past a failing {metric['metric']}"
        unproved = metric["need"] == "prove" and metric["verdict"] != "pass"
        if unproved and metric["metric"] not in evidence["accepted"]:
            yield f"row {row['seq']}: {row['event']} with {metric['metric']} unproved"
