"""The recorder: adds up per-request facts in memory and hands them over as numbered flushes."""

from __future__ import annotations

import json
from collections import deque
from threading import Lock

from llmmigrate.metrics.cells import COUNTERS, MAX_INPUT_TYPES, PAYLOAD_VERSION, Arm, Cell, CellKey, unit_bucket
from llmmigrate.metrics.outcome import TIMED, Outcome
from llmmigrate.redaction import redact
from llmmigrate.settings import MAX_INPUT_TYPE_LENGTH

MAX_COVERED_S = 15 * 60.0
"""The longest gap between data that a replica still vouches for as one stretch of fresh data."""

MAX_WAITING = 720
"""Flushes kept while the store is away (an hour at one each 5 s); older ones are dropped, and found as gaps."""


class Recorder:
    """Count facts per cell. Methods are safe to use from several threads and never touch the store."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._cells: dict[CellKey, Cell] = {}
        self._last: dict[tuple[str, int, Arm], float] = {}
        self._seq = 0
        self._waiting: deque[tuple[int, str, float]] = deque(maxlen=MAX_WAITING)
        self._input_types: set[str] = set()

    def observe(self, route: str, generation: int, arm: Arm, unit: str, input_type: str, outcome: Outcome) -> None:
        """Count one request by what came of it."""
        bucket = unit_bucket(unit)
        with self._lock:
            input_type = self._known(input_type)
            for metric, value in outcome.values():
                self._add(route, generation, arm, input_type, metric, bucket, value)

    def count(self, route: str, generation: int, arm: Arm, metric: str, unit: str, value: float = 1.0) -> None:
        """Count one event or value beside what `observe` counts, such as a decision (`ASSIGNED`)."""
        with self._lock:
            self._add(route, generation, arm, "", metric, unit_bucket(unit), value)

    def _known(self, input_type: str) -> str:
        """Keep input types few, short and without secrets: the rest are counted together."""
        if input_type not in self._input_types:
            fits = len(input_type) <= MAX_INPUT_TYPE_LENGTH and redact(input_type) == input_type
            if len(self._input_types) >= MAX_INPUT_TYPES or not fits:
                return "other"
            self._input_types.add(input_type)
        return input_type

    def _add(
        self, route: str, generation: int, arm: Arm, input_type: str, metric: str, bucket: int, value: float
    ) -> None:
        key = CellKey(route, generation, arm, input_type, metric)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell()
        if metric in TIMED:
            cell.add_time(bucket, value)
        else:
            cell.add(bucket, value)

    def cut(self, monotonic: float) -> None:
        """Close the current flush, if anything was counted; `monotonic` is the time of the cut in seconds."""
        with self._lock:
            if not self._cells:
                return
            cells, self._cells = self._cells, {}
            covered = []
            for key in dict.fromkeys((k.route, k.generation, k.arm) for k in cells if k.metric not in COUNTERS):
                covered.append([*key, min(monotonic - self._last.get(key, monotonic), MAX_COVERED_S)])
                self._last[key] = monotonic
            self._seq += 1
            payload = {
                "v": PAYLOAD_VERSION,
                "cells": [[*key, *cell.to_json()] for key, cell in cells.items()],
                "covered": covered,
            }
            self._waiting.append((self._seq, json.dumps(payload, separators=(",", ":")), monotonic))

    def waiting(self) -> list[tuple[int, str, float]]:
        """Return the closed flushes not yet delivered, oldest first, as (sequence number, payload, time of the cut)."""
        with self._lock:
            return list(self._waiting)

    def delivered(self, seq: int) -> None:
        """Forget a flush that the store has."""
        with self._lock:
            while self._waiting and self._waiting[0][0] <= seq:
                self._waiting.popleft()
