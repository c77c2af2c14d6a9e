"""Time users' calls with every request mirrored, and with none, beside each other.

Users' calls arrive at a steady rate, whatever came of those before. Both routes are on the same servers, which take 200
ms for an answer; rounds with and without the mirror take turns. What is compared is the 99th percentile.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from llmmigrate import AsyncRouter
from llmmigrate.store import Store
from tests.faults.application import MESSAGES
from tests.faults.processes import Process
from tests.project import CONTROL, TARGET, Project

ROUNDS, REQUESTS, A_SECOND = 16, 100, 25
LIMIT = 1.05
PLAIN, MIRRORED = "plain", "mirrored"


async def arrivals(router: AsyncRouter, route: str) -> list[float]:
    """Send requests at a steady rate; return the seconds of each."""
    loop, times = asyncio.get_running_loop(), []

    async def call(unit: str) -> None:
        began = time.perf_counter()
        await router.acompletion(route=route, messages=MESSAGES, unit=unit)
        times.append(time.perf_counter() - began)

    began, calls = loop.time(), []
    for number in range(REQUESTS):
        await asyncio.sleep(max(0.0, began + number / A_SECOND - loop.time()))
        calls.append(asyncio.create_task(call(f"{began}-{number}")))
    await asyncio.gather(*calls)
    await router.mirror.wait()
    return times


async def run(url: str) -> bool:
    rounds: dict[str, list[list[float]]] = {PLAIN: [], MIRRORED: []}
    store = Store.open(url)
    async with AsyncRouter(store=store) as router:
        for route in rounds:
            await arrivals(router, route)
        for number in range(ROUNDS):
            for route in (PLAIN, MIRRORED) if number % 2 else (MIRRORED, PLAIN):
                rounds[route].append(await arrivals(router, route))
        dropped = router.mirror.dropped
    store.close()
    figures = {}
    for route, found in rounds.items():
        times = [value * 1e3 for times in found for value in times]
        figures[route] = quantiles(times, n=100)[98]
        print(f"  {route:9} p50 {median(times):7.2f} ms   p99 {figures[route]:7.2f} ms   of {len(times):,} calls")
    pairs = zip(rounds[MIRRORED], rounds[PLAIN], strict=True)
    by_round = median(quantiles(ours, n=100)[98] / quantiles(theirs, n=100)[98] for ours, theirs in pairs)
    print(f"  p99 with the mirror beside that without: {by_round:.3f}, the median of pairs of rounds (limit {LIMIT})")
    print(f"  all rounds together {figures[MIRRORED] / figures[PLAIN]:.3f}; {dropped} mirrored calls dropped")
    return by_round <= LIMIT


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as name,
        Process("tests.faults.model_server") as control,
        Process("tests.faults.model_server") as candidate,
    ):
        addresses = {CONTROL: f"{control.answer()}/v1", TARGET: f"{candidate.answer()}/v1"}
        for server in (control, candidate):
            server.tell({"kind": "slow"})
        project = Project(Path(name))
        store = Store.open(project.url, create=True)
        for route, phase in ((PLAIN, "regression"), (MIRRORED, "shadow")):
            project.add(route, phase, addresses=addresses)
            project.enter(store, route, phase)
        store.close()
        print(f"users' calls at {A_SECOND}/s with and without the mirror: {ROUNDS} rounds in turn of {REQUESTS} calls")
        held = asyncio.run(run(project.url))
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
