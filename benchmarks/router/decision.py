"""Time a decision and its observation beside flag evaluation by OpenFeature, flagd's provider and GrowthBook.

All split one flag in halves by a hash of the unit: flagd's by the very file that a route writes for it. Ours counts
each decision, too. Rounds go in turn through all of them; the figures are medians of rounds, in CPU time of the thread.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from growthbook import GrowthBook
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from llmmigrate import Router, Usage
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.store import Store
from llmmigrate.targets import FlagdFile
from tests.project import Project

ROUNDS, CALLS = 31, 2000
LIMIT_US, AIM_US = 15.0, 5.0
ROUTE = "r"
UNITS = [f"conversation-{number}" for number in range(CALLS)]
USAGE = Usage(100, 200)


def growthbook() -> Callable[[str], object]:
    """Return an evaluation by GrowthBook, with one object for all, which is its fastest way."""
    rules = [{"variations": ["control", "candidate"], "weights": [0.5, 0.5], "hashAttribute": "id", "key": "half"}]
    flags = GrowthBook(features={ROUTE: {"defaultValue": "control", "rules": rules}})

    def evaluate(unit: str) -> object:
        flags.set_attributes({"id": unit})
        return flags.get_feature_value(ROUTE, "control")

    assert {evaluate(unit) for unit in UNITS} == {"control", "candidate"}
    return evaluate


def openfeature(provider: object, domain: str, *, splits: bool) -> Callable[[str], object]:
    """Return an evaluation by a provider of OpenFeature."""
    api.set_provider_and_wait(provider, domain)
    client = api.get_client(domain)

    def evaluate(unit: str) -> object:
        return client.get_string_value(ROUTE, "default", EvaluationContext(targeting_key=unit))

    found = {evaluate(unit) for unit in UNITS}
    assert len(found) == (2 if splits else 1), found
    assert "default" not in found
    return evaluate


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name))
        project.add(ROUTE, "canary:50")
        store = Store.open(project.url, create=True)
        state = project.enter(store, ROUTE, "canary:50")
        assert state.snapshot is not None
        file = Path(name) / "flags.json"
        FlagdFile(file).apply(Snapshot.from_text(state.snapshot))
        memory = InMemoryProvider({ROUTE: InMemoryFlag("control", {"control": "old", "candidate": "new"})})
        flagd = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file))
        with Router(store=store, background=False) as router:

            def decide(unit: str) -> object:
                return router.assign(ROUTE, unit=unit)

            def decide_and_observe(unit: str) -> object:
                return router.observe(router.assign(ROUTE, unit=unit), latency_s=0.4)

            def decide_and_observe_all(unit: str) -> object:
                decision = router.assign(ROUTE, unit=unit)
                return router.observe(decision, usage=USAGE, latency_s=0.4, finish_reason="stop")

            assert {decide(unit).model for unit in UNITS} == {"hosted_vllm/old", "hosted_vllm/new"}
            ways: dict[str, Callable[[str], object]] = {
                "assign": decide,
                "assign + observe, latency": decide_and_observe,
                "assign + observe, seven figures": decide_and_observe_all,
                "OpenFeature in memory, no split": openfeature(memory, "memory", splits=False),
                "OpenFeature flagd, file, the same split": openfeature(flagd, "flagd", splits=True),
                "GrowthBook, split in halves": growthbook(),
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            flushes = []
            for _ in range(ROUNDS):
                for way, call in ways.items():
                    began = time.thread_time()
                    for unit in UNITS:
                        call(unit)
                    times[way].append((time.thread_time() - began) / CALLS * 1e6)
                began = time.perf_counter()
                router.flush()
                flushes.append((time.perf_counter() - began) * 1e3)
        store.close()
        api.shutdown()
    figures = {way: median(values) for way, values in times.items()}
    print(f"a decision in process, µs of CPU: medians of {ROUNDS} rounds in turn of {CALLS:,} calls each")
    for way, figure in figures.items():
        ratio = figure / figures["assign"]
        print(f"  {way:42} {figure:7.2f}   {ratio:5.1f} × assign")
    whole = figures["assign + observe, seven figures"]
    print(f"  assign + observe: limit {LIMIT_US:.0f} µs, ratio {whole / LIMIT_US:.2f}; aim {AIM_US:.0f} µs")
    print(f"  a flush of {3 * CALLS:,} requests, in a thread of its own: {median(flushes):.1f} ms")
    return int(whole > LIMIT_US)


if __name__ == "__main__":
    sys.exit(main())
