"""Print the memory of a router's process over 300,000 requests: counted, mirrored to a dead candidate, the store away.

Each part warms up until its first mark. What is kept while the store is away is bounded; that part shows what it is.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from llmmigrate import AsyncRouter, Usage
from llmmigrate.models import ChatRequest, Completion, ModelClient
from llmmigrate.store import Store
from tests.database import Database
from tests.faults.application import MESSAGES
from tests.project import CONTROL, TARGET, Project

COUNTED, MIRRORED, AWAY = 100_000, 100_000, 50_000
MARKS = 5
FLUSH_EVERY = 2_000
CANARY, SHADOW = "canary", "shadow"
LIMIT = 1.05
NOWHERE = "http://127.0.0.1:9/v1"
"""The port of `discard`, on which nobody listens: it refuses."""


class Instant(ModelClient):
    """Answer at once."""

    async def complete(self, request: ChatRequest) -> Completion:
        return Completion(request.model, "yes", Usage(10, 1), 0.2)


def resident_mb() -> float:
    """Return the resident memory of this process, after all garbage is gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def counted(router: AsyncRouter, total: int) -> AsyncIterator[int]:
    """Decide and observe for ever new units, of more input types than are kept apart."""
    for number in range(total):
        decision = router.assign(CANARY, unit=f"unit {number}", input_type=f"type {number % 80}")
        router.observe(decision, usage=Usage(100, number % 500), latency_s=number % 997 / 100, finish_reason="stop")
        yield number


async def mirrored(router: AsyncRouter, total: int) -> AsyncIterator[int]:
    """Answer users at once, with a mirror whose candidate refuses connections."""
    for number in range(total):
        await router.acompletion(route=SHADOW, messages=MESSAGES, unit=f"unit {number}")
        await asyncio.sleep(0)
        yield number


async def part(name: str, router: AsyncRouter, requests: AsyncIterator[int], total: int) -> float:
    """Print the memory at marks; return the growth from the first to the last."""
    marks, every = [], total // MARKS
    async for number in requests:
        if number % FLUSH_EVERY == 0:
            await asyncio.to_thread(router.flush)
        if (number + 1) % every == 0:
            marks.append(resident_mb())
    growth = marks[-1] / marks[0]
    shown = "  ".join(f"{mark:6.1f}" for mark in marks)
    print(f"  {name:30} {total:8,} requests   {shown} MB   last / first {growth:.3f}", flush=True)
    return growth


async def run(project: Project, database: Database, spool: Path) -> bool:
    store = Store.open(project.url)
    async with AsyncRouter(store=store, clients={CONTROL: Instant()}, spool=spool) as router:
        growths = [
            await part("decided and observed", router, counted(router, COUNTED), COUNTED),
            await part("mirrored to a dead candidate", router, mirrored(router, MIRRORED), MIRRORED),
        ]
        print(f"    {router.mirror.dropped:,} of them dropped, as 64 were under way")
        database.stop()
        await part("decided, the store away", router, counted(router, AWAY), AWAY)
        waiting = [len(payload) for _, payload, _ in router._recorder.waiting()]  # noqa: SLF001 (what is bounded)
        spooled = sum(file.stat().st_size for file in spool.glob("*.jsonl"))
        sizes = f"{sum(waiting) / 2**20:.1f} MB in memory, {spooled / 2**20:.1f} MB in the spool"
        print(f"    {len(waiting)} flushes wait: {sizes} (at most 720, and 64 MB in each)")
        database.start()
        growths.append(await part("decided, the store back", router, counted(router, AWAY), AWAY))
    store.close()
    print(f"  limit of last / first with the store there: {LIMIT}")
    return max(growths) <= LIMIT


def main() -> int:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, Database() as database:
        project = Project(Path(name), database.url)
        store = Store.open(project.url, create=True)
        for route, phase in ((CANARY, "canary:50"), (SHADOW, "shadow")):
            project.add(route, phase, addresses={TARGET: NOWHERE})
            project.enter(store, route, phase)
        store.close()
        print(f"resident memory over {COUNTED + MIRRORED + 2 * AWAY:,} requests")
        held = asyncio.run(run(project, database, Path(name) / "spool"))
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
