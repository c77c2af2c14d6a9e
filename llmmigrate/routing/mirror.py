"""The mirror: calls the candidate beside the user's call, never in its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Event, Thread

_log = logging.getLogger(__name__)

QUEUE_SIZE = 1000
WORKERS = 2


class Mirror:
    """A bounded queue with its own threads; a full queue drops the call and counts it."""

    def __init__(self, *, size: int = QUEUE_SIZE, workers: int = WORKERS) -> None:
        self._queue: Queue[Callable[[], None]] = Queue(maxsize=size)
        self._closing = Event()
        self._threads: list[Thread] = []
        self._workers = workers
        self.dropped = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Queue a call and return at once."""
        if not self._threads:
            self._start()
        try:
            self._queue.put_nowait(call)
        except Full:
            self.dropped += 1

    def wait(self) -> None:
        """Block until all that is queued has been called."""
        if self._threads:
            self._queue.join()

    def close(self, *, patience_s: float = 5.0) -> None:
        """Give queued calls a while, then stop the threads; calls still queued are dropped and counted."""
        deadline = time.monotonic() + patience_s
        while self._threads and self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=1)
        self.dropped += self._queue.qsize()

    def _start(self) -> None:
        self._threads = [
            Thread(target=self._work, name=f"llmmigrate-mirror-{number}", daemon=True)
            for number in range(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                call = self._queue.get(timeout=0.2)
            except Empty:
                continue
            try:
                call()
            except Exception:  # noqa: BLE001 (the thread must live on; it is logged)
                _log.exception("a mirrored call failed in llmmigrate itself")
            finally:
                self._queue.task_done()
