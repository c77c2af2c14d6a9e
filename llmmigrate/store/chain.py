"""The hash chain of a route's history: each row's hash covers its stored text and the hash before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmmigrate.lifecycle.state import GENESIS_HASH, RouteState

HASHED = (
    "route",
    "seq",
    "at",
    "actor",
    "tool_version",
    "event",
    "revision",
    "attempt",
    "from_status",
    "from_phase",
    "to_status",
    "to_phase",
    "generation",
    "reason",
    "document_hash",
    "document",
    "evidence",
    "prev_hash",
)


def row_hash(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a history row: a JSON list of its columns in the order of `HASHED`."""
    text = json.dumps([row[name] for name in HASHED], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def first_fault(route: str, rows: Sequence[Mapping[str, Any]], state: RouteState | None) -> str | None:
    """Return what is first wrong with a route's history, None where it is whole.

    `rows` are all rows of the route in order; `state` is its row, None where that is missing.
    """
    before = GENESIS_HASH
    for expected, row in enumerate(rows, start=1):
        if row["seq"] != expected:
            return f"{route}: row {expected} is missing"
        if row["prev_hash"] != before:
            return f"{route}: row {expected} does not follow row {expected - 1}: one of them was replaced"
        if row_hash(row) != row["hash"]:
            return f"{route}: row {expected} was altered after it was written"
        before = row["hash"]
    return _state_fault(route, rows, state)


def _state_fault(route: str, rows: Sequence[Mapping[str, Any]], state: RouteState | None) -> str | None:
    if state is None:
        return f"{route}: there is history, but the route's state is gone"
    if state.version > len(rows):
        return f"{route}: row {len(rows) + 1} is missing: the state is at {state.version}"
    last = rows[-1]
    written = (len(rows), last["hash"], last["revision"], last["attempt"], last["generation"])
    if written != (state.version, state.head_hash, state.revision, state.attempt, state.generation) or (
        last["to_status"],
        last["to_phase"],
    ) != (state.status, state.phase):
        return f"{route}: the state is not that of row {len(rows)}, the last one"
    return None
