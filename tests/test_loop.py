"""The loop of a router that is used from threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmmigrate.routing.loop import LoopThread


async def where(wait_s: float = 0.0) -> tuple[int, asyncio.AbstractEventLoop]:
    await asyncio.sleep(wait_s)
    return threading.get_ident(), asyncio.get_running_loop()


def test_calls_from_many_threads_run_on_one_loop_at_once():
    loop = LoopThread()
    barrier = threading.Barrier(8, timeout=5)

    async def meet() -> int:
        await asyncio.to_thread(lambda: None)
        return (await where())[0]

    def call(_: int) -> int:
        barrier.wait()
        return loop.run(meet())

    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(call, range(8)))
    loop.close()
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_an_error_reaches_the_caller_and_the_loop_lives_on():
    loop = LoopThread()

    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        loop.run(fail())
    assert loop.run(where())[0] != threading.get_ident()
    loop.close()


def test_closing_cancels_what_runs_and_the_next_call_starts_anew():
    loop = LoopThread()
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    _, first = loop.run(where())
    asyncio.run_coroutine_threadsafe(hang(), first)
    loop.run(where(0.01))
    loop.close()
    loop.close()
    assert cancelled.wait(2)
    assert first.is_closed()
    assert loop.run(where())[1] is not first
    loop.close()
