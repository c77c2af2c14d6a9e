"""Print what a tick costs the controller and what a decision costs a request."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from llmmigrate import Router, Usage, scaffold, settings
from llmmigrate.clock import VirtualClock
from llmmigrate.document import load_folder
from llmmigrate.graph import Graph
from llmmigrate.runner import tick, upgrade
from llmmigrate.store import Store

ROUNDS, CALLS = 7, 20_000


def timed(work: Callable[[], object], calls: int) -> float:
    """Return the seconds of one call, the median of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - began) / calls)
    return median(rounds)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="llmmigrate-bench-"))
    scaffold.init(folder)
    config = settings.load(folder / settings.CONFIG_NAME, environ={})
    clock = VirtualClock(datetime.now(UTC))
    scaffold.new(
        config, Graph([]), message="m", route="r", current="a/b", target="c/d", driver="bench", now=clock.now()
    )
    graph = Graph(load_folder(config.versions, root=config.root))
    store = Store.open(config.database_url, clock=clock, create=True)
    upgrade(store, graph, "r", graph.resolve("r").revision, actor="bench")
    with Router(store=store, clock=clock, background=False) as router:
        usage = Usage(100, 200)
        unit = 0

        def decide() -> None:
            nonlocal unit
            unit += 1
            decision = router.assign("r", unit=str(unit))
            router.observe(decision, usage=usage)
            assert decision.mirror is not None
            router.observe(decision.mirror, usage=usage)

        per_request = timed(decide, CALLS)
        router.flush()

        def one_tick() -> None:
            clock.advance(60)
            router.observe(router.assign("r", unit="u"), usage=usage)
            router.flush()
            tick(store, store.route("r"), actor="bench")

        per_tick = timed(one_tick, 100)
    store.close()
    ticks, requests = per_tick * 1e3, per_request * 1e6
    print(f"tick with one flush, SQLite   {ticks:7.2f} ms   limit 10 ms   ratio {ticks / 10:.2f}")
    print(f"assign + 2 observe (shadow)   {requests:7.2f} µs   limit 30 µs   ratio {requests / 30:.2f}")


if __name__ == "__main__":
    main()
