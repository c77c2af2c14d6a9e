"""The mirror: what is called beside users' calls, never in their way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from threading import Lock
from typing import Any

from llmmigrate.routing.loop import LoopThread

_log = logging.getLogger(__name__)

MIRRORED_AT_ONCE = 64
"""Mirrored calls under way at once; what does not fit is dropped and counted, and the user's call goes on."""

PATIENCE_S = 5.0

Call = Callable[[], Coroutine[Any, Any, None]]


class Mirror:
    """Calls on an event loop, at most `at_once` of them; no user's call awaits one, and none is queued."""

    def __init__(self, *, at_once: int = MIRRORED_AT_ONCE) -> None:
        self._at_once = at_once
        self._lock = Lock()
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def begin(self, call: Call, loop: asyncio.AbstractEventLoop | None = None) -> bool:
        """Begin a call, on the running loop or on the one of another thread, and return at once; False: dropped."""
        with self._lock:
            if self._under_way >= self._at_once:
                self.dropped += 1
                return False
            self._under_way += 1
        if loop is None:
            self._start(call)
        else:
            loop.call_soon_threadsafe(self._start, call)
        return True

    def _start(self, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(call())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            self._under_way -= 1
        if not task.cancelled() and task.exception() is not None:
            _log.error("a mirrored call failed in llmmigrate itself", exc_info=task.exception())

    async def wait(self) -> None:
        """Wait until all that was begun has ended."""
        while self._under_way:
            await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))

    async def close(self, *, patience_s: float = PATIENCE_S) -> None:
        """Give mirrored calls a while, then cancel them; they count as abandoned."""
        try:
            await asyncio.wait_for(self.wait(), patience_s)
        except TimeoutError:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


class BlockingMirror:
    """A mirror for threads: its calls are on the loop of a router's own thread."""

    def __init__(self, loop: LoopThread, *, at_once: int = MIRRORED_AT_ONCE) -> None:
        self._loop = loop
        self._mirror = Mirror(at_once=at_once)

    @property
    def dropped(self) -> int:
        return self._mirror.dropped

    def begin(self, call: Call) -> bool:
        """Begin a call and return at once; False: dropped."""
        return self._mirror.begin(call, self._loop.started())

    def wait(self) -> None:
        """Block until all that was begun has ended."""
        self._loop.run(self._mirror.wait())

    def close(self, *, patience_s: float = PATIENCE_S) -> None:
        """Give mirrored calls a while, then cancel them; they count as abandoned."""
        self._loop.run(self._mirror.close(patience_s=patience_s))
