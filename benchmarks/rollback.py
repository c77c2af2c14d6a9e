"""Time how fast a rollback reaches twenty router processes; those that hear of nothing must fall back by themselves.

A replica decides two hundred times a second and notes when its route's candidate was served last and control first, on
the monotonic clock that all processes of a machine share. The time is from the call of `downgrade`, whose first act is
the one write.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import make_url

from llmmigrate import Router
from llmmigrate.routing.snapshot import LEASE_S
from llmmigrate.runner import downgrade
from llmmigrate.runner.rollback import DowngradeResult
from llmmigrate.store import Store
from tests.database import Database
from tests.project import Project

ROLLBACKS, REPLICAS, ISOLATED = 50, 20, 3
LIMIT_S = 2.0
LOOK_S = 0.005
ROUTE = "r"

processes = get_context("fork")
Times = SynchronizedArray


def replica(url: str, number: int, control_since: Times, candidate_last: Times) -> None:
    """Decide until killed, for units of which some are the candidate's whenever it serves."""
    with Router(store=Store.open(url)) as router:
        was = None
        while True:
            arms = {router.assign(ROUTE, unit=f"unit{n}").arm for n in range(12)}
            serves, now = "candidate" in arms, time.monotonic()
            if serves:
                candidate_last[number] = now
            if serves != was:
                control_since[number] = 0.0 if serves else now
            was = serves
            time.sleep(LOOK_S)


class Fleet:
    """A store, a route, and replicas that serve it; `urls` are what each of them reaches the store by."""

    def __init__(self, folder: Path, url: str, urls: list[str]) -> None:
        self._project = Project(folder, url)
        self._project.add(ROUTE, "canary:50")
        self._control_since = processes.Array("d", len(urls))
        self._candidate_last = processes.Array("d", len(urls))
        store = Store.open(url, create=True)
        self._project.enter(store, ROUTE, "canary:50")
        store.close()
        self._replicas = [
            processes.Process(target=replica, args=(at, number, self._control_since, self._candidate_last), daemon=True)
            for number, at in enumerate(urls)
        ]
        for process in self._replicas:
            process.start()
        self.store = Store.open(url)

    def close(self) -> None:
        for process in self._replicas:
            process.kill()
            process.join()
        self.store.close()

    def roll_back(self, before: Callable[[list[int]], None] = lambda _: None) -> tuple[DowngradeResult, float, float]:
        """Bring the candidate to all replicas, then roll back.

        Return what `downgrade` said, how long it took to, and when it was called. `before` is given the process ids of
        the replicas just before.
        """
        self._project.enter(self.store, ROUTE, "canary:50")
        while any(self._control_since):
            time.sleep(0.02)
        time.sleep(random.random())  # noqa: S311 (no secret: at any moment between two polls)
        before([process.pid or 0 for process in self._replicas])
        began = time.monotonic()
        result = downgrade(self.store, ROUTE, actor="bench", reason="x", confirm_s=LEASE_S + 10)
        return result, time.monotonic() - began, began

    def control_since(self, numbers: Iterator[int] | range) -> list[float]:
        """Return since when replicas serve control; waits until all do."""
        while not all(self._control_since[number] for number in numbers):
            time.sleep(LOOK_S)
        return [self._control_since[number] for number in numbers]

    def candidate_last(self, number: int) -> float:
        return float(self._candidate_last[number])


def reach(name: str, folder: Path, url: str) -> bool:
    """Print how long rollbacks take to the last replica."""
    fleet = Fleet(folder, url, [url] * REPLICAS)
    last, said = [], []
    for _ in range(ROLLBACKS):
        result, took_s, began = fleet.roll_back()
        assert result.state.status == "rolled_back", result
        assert result.confirmed == REPLICAS, result
        last.append(max(fleet.control_since(range(REPLICAS))) - began)
        said.append(took_s)
    fleet.close()
    p99 = quantiles(last, n=100)[98]
    print(
        f"{name:10} {ROLLBACKS} rollbacks, {REPLICAS} replicas   last one on control: p50 {median(last):5.2f} s   "
        f"p99 {p99:5.2f} s   worst {max(last):5.2f} s   limit {LIMIT_S:.0f} s   "
        f"downgrade returns: p50 {median(said):5.2f} s",
        flush=True,
    )
    return p99 <= LIMIT_S


def stopped(name: str, folder: Path, url: str) -> bool:
    """Print what replicas that are stopped (SIGSTOP) through a rollback do when they run again."""
    fleet = Fleet(folder, url, [url] * REPLICAS)
    asleep = range(ISOLATED)
    pids: list[int] = []

    def stop(all_pids: list[int]) -> None:
        pids.extend(all_pids[:ISOLATED])
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

    result, took_s, _ = fleet.roll_back(stop)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    woken = time.monotonic()
    fleet.control_since(asleep)
    after = sum(fleet.candidate_last(number) > woken for number in asleep)
    fleet.close()
    print(
        f"{name:10} {ISOLATED} of {REPLICAS} replicas stopped      downgrade: {result.confirmed} confirmed, "
        f"{result.expired} expired, after {took_s:.1f} s (lease {LEASE_S:.0f} s)   "
        f"{after} of them served the candidate when they ran again",
        flush=True,
    )
    return after == 0 and result.expired == ISOLATED


def cut_off(folder: Path, database: Database) -> bool:
    """Print when replicas whose way to the store is cut without a word are on control."""
    with proxies(str(database.address.query["host"]), ISOLATED) as (ports, pids):
        cut = [
            make_url(database.url).set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
            for port in ports
        ]
        fleet = Fleet(folder, database.url, [*cut, *[database.url] * (REPLICAS - ISOLATED)])

        def cut_them(_: list[int]) -> None:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)

        result, took_s, began = fleet.roll_back(cut_them)
        alone = max(fleet.control_since(range(ISOLATED))) - began
        heard = max(fleet.control_since(range(ISOLATED, REPLICAS))) - began
        fleet.close()
    print(
        f"PostgreSQL {ISOLATED} of {REPLICAS} replicas cut off      downgrade: {result.confirmed} confirmed, "
        f"{result.expired} expired, after {took_s:.1f} s   the others on control after {heard:.2f} s, "
        f"those cut off after {alone:.1f} s (lease {LEASE_S:.0f} s)",
        flush=True,
    )
    return alone <= LEASE_S


@contextmanager
def proxies(folder: str, number: int) -> Iterator[tuple[list[int], list[int]]]:
    """Give ports of loopback that lead to PostgreSQL's socket, and the processes behind them."""
    ports = processes.Array("i", number)
    started = [processes.Process(target=forward, args=(folder, ports, n), daemon=True) for n in range(number)]
    for process in started:
        process.start()
    while not all(ports):
        time.sleep(0.01)
    yield list(ports), [process.pid or 0 for process in started]
    for process in started:
        process.kill()
        process.join()


def forward(folder: str, ports: SynchronizedArray, number: int) -> None:
    """Pass bytes between a port of one's own and PostgreSQL's socket, until killed."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports[number] = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(serve())


def main() -> int:
    with tempfile.TemporaryDirectory() as name, Database() as database:
        root = Path(name)
        for part in ("sqlite", "postgresql", "sqlite-stopped", "postgresql-stopped", "cut"):
            (root / part).mkdir()
        held = [
            reach("SQLite", root / "sqlite", f"sqlite:///{root / 'reach.db'}"),
            reach("PostgreSQL", root / "postgresql", database.url),
            stopped("SQLite", root / "sqlite-stopped", f"sqlite:///{root / 'stopped.db'}"),
        ]
        held.append(cut_off(root / "cut", database))
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
