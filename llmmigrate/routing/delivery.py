"""How what a replica counted reaches the store: numbered flushes, a spool while it is away, and sampled texts."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from threading import Lock

from llmmigrate.clock import Clock
from llmmigrate.exceptions import StoreError
from llmmigrate.routing.recorder import Recorder
from llmmigrate.routing.samples import Sampler
from llmmigrate.routing.spool import Spool, Spooled
from llmmigrate.store import Store

_log = logging.getLogger(__name__)


class Delivery:
    """Hands over what a recorder counted and a sampler kept, as the replica `run_id`. Safe to use from threads.

    `folder` is where flushes wait that the store cannot take; None: in memory only.
    """

    def __init__(
        self, store: Store, clock: Clock, run_id: str, recorder: Recorder, sampler: Sampler, folder: Path | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._run_id = run_id
        self._recorder = recorder
        self._sampler = sampler
        self._lock = Lock()
        self._spooled = 0
        self.spool = Spool(folder, run_id) if folder is not None else None

    def flush(self) -> None:
        """Deliver what was counted; what the store cannot take now is spooled, and kept for the next time."""
        with self._lock:
            self._recorder.cut(self._clock.monotonic())
            try:
                for seq, payload, cut_at in self._recorder.waiting():
                    late = timedelta(seconds=self._clock.monotonic() - cut_at)
                    self._store.telemetry.put_flush(self._run_id, seq, payload, at=self._store.now() - late)
                    self._recorder.delivered(seq)
                self._deliver_spool()
                self._deliver_samples()
            except StoreError as error:
                _log.warning("counts are kept until the store is back: %s", error)
                self._keep()

    def close(self) -> None:
        """Let go of the spool's file."""
        if self.spool is not None:
            self.spool.close()

    def _keep(self) -> None:
        """Put what waits into the spool, once each: a killed process then loses only what was not cut yet."""
        if self.spool is None:
            return
        for seq, payload, cut_at in self._recorder.waiting():
            if seq > self._spooled:
                at = self._clock.now() - timedelta(seconds=self._clock.monotonic() - cut_at)
                if not self.spool.put(Spooled(self._run_id, seq, at, payload)):
                    return
                self._spooled = seq

    def _deliver_samples(self) -> None:
        """Hand over texts; they are kept in memory only, and a few, while the store is away. Raises StoreError."""
        samples = self._sampler.take()
        try:
            self._store.telemetry.put_samples(samples)
        except StoreError:
            self._sampler.give_back(samples)
            raise

    def _deliver_spool(self) -> None:
        """Hand over what waits in files, this replica's and those of processes that are gone; raises StoreError."""
        if self.spool is None:
            return
        for file, flushes in self.spool.waiting():
            for flush in flushes:
                self._store.telemetry.put_flush(flush.run_id, flush.seq, flush.payload, at=flush.at)
            self.spool.delivered(file)
