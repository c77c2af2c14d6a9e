"""Print what a flood of flushes costs: rows, folding, and above all the time of a rollback beside it.

100 replicas flush for 50 routes, every five seconds each in real life; here as fast as one process can, which is more.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import Event, Process
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from sqlalchemy import text

from llmmigrate import scaffold, settings
from llmmigrate.document import load_folder, load_text
from llmmigrate.exceptions import StoreError
from llmmigrate.gates.verdicts import evaluate
from llmmigrate.graph import Graph
from llmmigrate.metrics.cells import Cell, pack
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.routing.recorder import Recorder
from llmmigrate.runner import Controller, downgrade, upgrade
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from llmmigrate.store.folding import fold
from tests.database import Database

REPLICAS, ROUTES, ROLLBACKS = 100, 50, 40
FLUSHES_A_SECOND = REPLICAS / 5


def flood(url: str, stop: Event, counted) -> None:  # type: ignore[valid-type]
    """Flush for all routes, as 100 replicas would, until told to stop."""
    store = Store.open(url)
    recorders = [Recorder() for _ in range(REPLICAS)]
    began, sent, number = time.monotonic(), 0, 0
    while not stop.is_set():
        number += 1
        for index, recorder in enumerate(recorders):
            for route in range(ROUTES):
                for arm in ("control", "candidate"):
                    recorder.observe(f"r{route}", 2, arm, f"{number}-{index}", "", Outcome(tokens=100, latency_s=0.4))
            recorder.cut(time.monotonic())
            for seq, payload, _ in recorder.waiting():
                with suppress(StoreError):
                    store.telemetry.put_flush(f"run{index}", seq, payload, at=store.now())
                    recorder.delivered(seq)
                    sent += 1
            if stop.is_set():
                break
            ahead = sent / FLUSHES_A_SECOND - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
    counted.put((sent, time.monotonic() - began))
    store.close()


def rollbacks(url: str, graph: Graph, controller: Controller | None) -> list[float]:
    """Time rollbacks one after the other, with a round of the controller between them."""
    store, times = Store.open(url), []
    for number in range(ROLLBACKS):
        route = f"r{number % ROUTES}"
        began = time.perf_counter()
        downgrade(store, route, actor="bench", reason="x", confirm_s=0)
        times.append(time.perf_counter() - began)
        if controller is not None and number % 8 == 0:
            controller.once()
        upgrade(store, graph, route, graph.resolve(route).revision, actor="bench", retry="again", confirm_s=0)
    store.close()
    return times


def measure(name: str, url: str, config: settings.Settings) -> None:
    from multiprocessing import Queue

    graph = Graph(load_folder(config.versions, root=config.root))
    store = Store.open(url, create=True)
    for route in graph.routes:
        upgrade(store, graph, route, graph.resolve(route).revision, actor="bench", confirm_s=0)
    controller = Controller(store, lambda: graph, actor="bench")
    quiet = rollbacks(url, graph, None)
    stop, counted = Event(), Queue()
    process = Process(target=flood, args=(url, stop, counted))
    process.start()
    time.sleep(2)
    loaded = rollbacks(url, graph, controller)
    folds = []
    for _ in range(5):
        time.sleep(1)
        began = time.perf_counter()
        with store.telemetry.writing() as connection:
            number = fold(connection).flushes
        folds.append((time.perf_counter() - began, number))
    stop.set()
    sent, seconds = counted.get()
    process.join()
    with store.telemetry.reading() as connection:
        minutes = connection.execute(text("SELECT COUNT(*) FROM llmmigrate_minute")).scalar_one()
        per_minute = minutes / max(
            1, connection.execute(text("SELECT COUNT(DISTINCT start) FROM llmmigrate_minute")).scalar_one()
        )
    store.close()
    p99 = [quantiles(times, n=100)[98] for times in (quiet, loaded)]
    print(f"{name}: {sent / seconds:.0f} flushes/s of {ROUTES} routes (a real fleet sends {FLUSHES_A_SECOND:.0f})")
    print(f"  counters kept      {per_minute * 60 * 48 + per_minute * 24 * 88:12,.0f} rows at most, minutes and hours")
    ms_per_flush = median(seconds / max(1, number) for seconds, number in folds) * 1e3
    print(
        f"  fold               {ms_per_flush:12.2f} ms a flush, {ms_per_flush * FLUSHES_A_SECOND / 10:.1f}% of a core"
    )
    print(f"  downgrade p50      {median(quiet) * 1e3:12.1f} ms quiet   {median(loaded) * 1e3:8.1f} ms under load")
    print(
        f"  downgrade p99      {p99[0] * 1e3:12.1f} ms quiet   {p99[1] * 1e3:8.1f} ms under load   "
        f"ratio {p99[1] / p99[0]:.2f} (limit 2)"
    )


def evaluation() -> None:
    """Print that an evaluation costs the same after ten thousand and ten million requests."""
    document = load_text(next(Path("migrations/versions").glob("*.yaml")).read_text("utf-8"), "d")
    plan = plan_of(document.migration)
    for requests in (10**4, 10**5, 10**6, 10**7):
        cells = {}
        for arm in ("control", "candidate"):
            share = requests / 64
            cells[arm, "error_rate"] = Cell(np.tile([share, share * 0.01, share * 0.01], (64, 1)))
            tokens = [[share, share * 400.0 + b, share * 170_000.0] for b in range(64)]
            cells[arm, "tokens_per_request"] = Cell(np.array(tokens))
        size = len(pack(cells))
        rounds = []
        for _ in range(20):
            began = time.perf_counter()
            evaluate(document.migration, plan, plan.stage("shadow"), cells)
            rounds.append(time.perf_counter() - began)
        print(f"evaluation over {requests:>12,} requests: {median(rounds) * 1e3:6.2f} ms (limit 50), {size:,} bytes")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scaffold.init(root)
        config = settings.load(root / settings.CONFIG_NAME, environ={})
        for route in range(ROUTES):
            scaffold.new(
                config,
                Graph(load_folder(config.versions, root=config.root)),
                message="m",
                route=f"r{route}",
                current="a/b",
                target="c/d",
                driver="bench",
                now=datetime.now(UTC),
            )
        measure("SQLite", config.database_url, config)
        with Database() as database:
            measure("PostgreSQL", database.url, config)
    evaluation()


if __name__ == "__main__":
    main()
