"""Time a request through a router beside the same call by the client that it uses, without one.

Two servers on loopback answer at once, so that all there is to see is what is added. One request at a time; direct and
routed ones go in turn, in rounds. CPU is that of this process: it holds the router's and the client's work alike.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from statistics import median, quantiles

from llmmigrate import AsyncRouter
from llmmigrate.models import ChatRequest
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.store import Store
from tests.faults.application import MESSAGES
from tests.faults.processes import Process
from tests.project import CONTROL, TARGET, Project

ROUNDS, CALLS = 20, 100
ROUTE = "r"

Way = Callable[[], Awaitable[None]]


async def measure(ways: dict[str, Way]) -> None:
    """Print what each way of calling takes, in rounds that go in turn through all of them."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way, call in ways.items():
            cpu_began, times = time.process_time(), []
            for _ in range(CALLS):
                began = time.perf_counter()
                await call()
                times.append((time.perf_counter() - began) * 1e3)
            if number:
                cpu[way].append((time.process_time() - cpu_began) / CALLS * 1e3)
                taken[way] += times
    for direct, routed in (("complete", "acompletion"), ("stream", "astream")):
        ratio = median(cpu[routed]) / median(cpu[direct])
        added = median(ours - theirs for ours, theirs in zip(cpu[routed], cpu[direct], strict=True))
        for way in (direct, routed):
            p99 = quantiles(taken[way], n=100)[98]
            print(
                f"  {way:12} p50 {median(taken[way]):6.3f} ms   p99 {p99:6.3f} ms   CPU {median(cpu[way]):6.3f} ms"
                + (f"   {ratio:.2f} x direct, {added * 1e3:.0f} µs added" if way == routed else "")
            )


async def run(url: str, address: str) -> None:
    units = count()
    client = OpenAICompatibleClient()
    request = ChatRequest(CONTROL, MESSAGES, api_base=address)
    store = Store.open(url)
    async with AsyncRouter(store=store) as router:

        async def complete() -> None:
            await client.complete(request)

        async def acompletion() -> None:
            await router.acompletion(route=ROUTE, messages=MESSAGES, unit=next(units))

        async def stream() -> None:
            async for _ in client.stream(request):
                pass

        async def astream() -> None:
            async for _ in router.astream(route=ROUTE, messages=MESSAGES, unit=next(units)):
                pass

        await measure({"complete": complete, "acompletion": acompletion, "stream": stream, "astream": astream})
    await client.close()
    store.close()


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as name,
        Process("tests.faults.model_server") as control,
        Process("tests.faults.model_server") as candidate,
    ):
        addresses = {CONTROL: f"{control.answer()}/v1", TARGET: f"{candidate.answer()}/v1"}
        project = Project(Path(name))
        project.add(ROUTE, "canary:50", addresses=addresses)
        store = Store.open(project.url, create=True)
        project.enter(store, ROUTE, "canary:50")
        store.close()
        print(f"a request in a canary of 50% beside a direct call: {ROUNDS} rounds in turn of {CALLS} calls")
        asyncio.run(run(project.url, addresses[CONTROL]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
