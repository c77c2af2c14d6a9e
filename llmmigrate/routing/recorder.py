"""The recorder: adds up per-request facts in memory and hands them over as numbered flushes."""

from __future__ import annotations

from collections import defaultdict, deque
from threading import Lock

import orjson

from llmmigrate.metrics.counting import (
    ASSIGNED,
    COUNTERS,
    MAX_INPUT_TYPES,
    PAYLOAD_VERSION,
    SPLIT,
    Arm,
    Tally,
    unit_bucket,
)
from llmmigrate.metrics.outcome import TIMED, Outcome
from llmmigrate.redaction import redact
from llmmigrate.settings import MAX_INPUT_TYPE_LENGTH

MAX_COVERED_S = 15 * 60.0
"""The longest gap between data that a replica still vouches for as one stretch of fresh data."""

MAX_WAITING, MAX_WAITING_BYTES = 720, 64 * 2**20
"""Flushes kept while the store is away (an hour at one each 5 s); older ones are dropped, and found as gaps."""


class Recorder:
    """Count facts by what they are of. Methods are safe to use from several threads and never touch the store."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tallies = _no_tallies()
        self._last: dict[tuple[str, int, Arm], float] = {}
        self._seq = 0
        self._waiting: deque[tuple[int, str, float]] = deque()
        self._waiting_bytes = 0
        self._input_types: set[str] = set()

    def observe(self, route: str, generation: int, arm: Arm, unit: str, input_type: str, outcome: Outcome) -> None:
        """Count one request by what came of it."""
        bucket = unit_bucket(unit)
        values = outcome.values()
        with self._lock:
            tallies = self._tallies[route, generation, arm, self._known(str(input_type))]
            for metric, value in values:
                if metric in TIMED:
                    tallies[metric].add_time(bucket, value)
                else:
                    tallies[metric].add(bucket, value)

    def count(self, route: str, generation: int, arm: Arm, metric: str, unit: str, value: float = 1.0) -> None:
        """Count one event or value beside what `observe` and `decided` count."""
        bucket = unit_bucket(unit)
        with self._lock:
            self._tallies[route, generation, arm, ""][metric].add(bucket, value)

    def decided(self, route: str, generation: int, arm: Arm, unit: str, share: float | None) -> None:
        """Count a decision; `share` is the candidate's where the decision was by a split."""
        bucket = unit_bucket(unit)
        with self._lock:
            tallies = self._tallies[route, generation, arm, ""]
            tallies[ASSIGNED].add(bucket, 1.0)
            if share is not None:
                tallies[SPLIT].add(bucket, share)

    def add(self, route: str, generation: int, arm: Arm, metric: str, tally: Tally) -> None:
        """Count many values at once, that were added up elsewhere; the tally is the recorder's from then on."""
        with self._lock:
            tallies = self._tallies[route, generation, arm, ""]
            if metric in tallies:
                tallies[metric].merge(tally)
            else:
                tallies[metric] = tally

    def _known(self, input_type: str) -> str:
        """Keep input types few, short, printable (no database keeps every character) and without secrets.

        The rest are counted together.
        """
        if input_type not in self._input_types:
            fits = len(input_type) <= MAX_INPUT_TYPE_LENGTH and input_type.isprintable()
            if len(self._input_types) >= MAX_INPUT_TYPES or not fits or redact(input_type) != input_type:
                return "other"
            self._input_types.add(input_type)
        return input_type

    def cut(self, monotonic: float) -> None:
        """Close the current flush, if anything was counted; `monotonic` is the time of the cut in seconds."""
        with self._lock:
            if not self._tallies:
                return
            groups, self._tallies = self._tallies, _no_tallies()
            covered = []
            seen = (key[:3] for key, tallies in groups.items() if not tallies.keys() <= COUNTERS)
            for arm in dict.fromkeys(seen):
                covered.append([*arm, min(monotonic - self._last.get(arm, monotonic), MAX_COVERED_S)])
                self._last[arm] = monotonic
            self._seq += 1
            payload = {
                "v": PAYLOAD_VERSION,
                "cells": [
                    [*key, metric, *tally.to_json()]
                    for key, tallies in groups.items()
                    for metric, tally in tallies.items()
                ],
                "covered": covered,
            }
            text = orjson.dumps(payload).decode()
            self._waiting.append((self._seq, text, monotonic))
            self._waiting_bytes += len(text)
            while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
                self._drop_oldest()

    def waiting(self) -> list[tuple[int, str, float]]:
        """Return the closed flushes not yet delivered, oldest first, as (sequence number, payload, time of the cut)."""
        with self._lock:
            return list(self._waiting)

    def delivered(self, seq: int) -> None:
        """Forget a flush that the store has."""
        with self._lock:
            while self._waiting and self._waiting[0][0] <= seq:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, text, _ = self._waiting.popleft()
        self._waiting_bytes -= len(text)


def _no_tallies() -> defaultdict[tuple[str, int, Arm, str], defaultdict[str, Tally]]:
    """Return an empty table of tallies: by (route, generation, arm, input type), then by metric."""
    return defaultdict(lambda: defaultdict(Tally))
