"""Break every part of the data plane under thousands of requests, and print what users saw and what was counted.

Models, the application, `llmmigrate run` and PostgreSQL are processes of their own. Each request through the router is
followed by the same call to control without one: the times beside each other are of the same seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from tests.database import Database
from tests.faults import scenarios
from tests.faults.processes import Controller, Process, status
from tests.faults.scenarios import FAULTS, Outcome, Stage

REQUESTS = 2000
LEASE_S = 31.0


def show(outcome: Outcome) -> None:
    seen = outcome.seen
    times = " ".join(f"{ms(values)}" for values in (seen.direct_s, seen.routed_s))
    midway = f" ({outcome.midway} cut midway)" if outcome.midway else ""
    ends = f"{outcome.lost or '0'}{midway}"
    print(
        f"{outcome.name:32} {outcome.phase:9} {outcome.requests:7,} {outcome.failures:6} {outcome.counted:8,} "
        f"{times} {outcome.status:12} {ends}",
        flush=True,
    )
    for words in outcome.broken:
        print(f"    BROKEN: {words}", flush=True)


def ms(seconds: list[float]) -> str:
    """Write median and 99th percentile in milliseconds."""
    if len(seconds) < 100:
        return f"{'–':>7} {'–':>7}"
    return f"{median(seconds) * 1e3:7.1f} {quantiles(seconds, n=100)[98] * 1e3:7.1f}"


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, int, str]]:
    """Give a spool's folder on a disk of 16 kB, or where none can be mounted a limit of bytes for each file."""
    folder.mkdir()
    mount = shutil.which("mount") or "mount"
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield folder, 1000, "RLIMIT_FSIZE"
        return
    try:
        yield folder, 0, "tmpfs of 16 kB"
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def main() -> int:
    began, broken = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory() as name,
        Database() as database,
        Process("tests.faults.model_server") as control,
        Process("tests.faults.model_server") as candidate,
    ):
        folder = Path(name)
        stage = Stage(folder, database.url, control, candidate)
        print(f"{'':32} {'':9} {'':7} {'failed':>6} {'':8} {'direct, ms':>15} {'routed, ms':>15}")
        titles = f"{'p50':>7} {'p99':>7} {'p50':>7} {'p99':>7}"
        print(f"{'fault':32} {'phase':9} {'asked':>7} {'users':>6} {'counted':>8} {titles} {'ends as':12} lost")
        with Controller(folder):
            with stage.application() as application:
                for phase in ("shadow", "canary:50"):
                    for fault in FAULTS:
                        timeout_s = 2.0 if "hangs" in fault else 20.0
                        outcome = scenarios.candidate_fails(
                            stage, application, fault, phase, REQUESTS, timeout_s=timeout_s, wait_s=20.0
                        )
                        show(outcome)
                        broken += len(outcome.broken)
            with small_disk(folder / "disk") as (spool, file_bytes, words):
                for outcome in (
                    scenarios.store_stops(stage, database, REQUESTS),
                    scenarios.store_stops(
                        stage, database, REQUESTS, spool=spool, file_bytes=file_bytes, name=f"store stops, {words}"
                    ),
                    scenarios.memory_and_disk_end(stage, database, REQUESTS),
                    scenarios.replica_is_killed(stage, REQUESTS),
                    scenarios.replica_is_killed_while_the_store_is_away(stage, database, REQUESTS),
                ):
                    show(outcome)
                    broken += len(outcome.broken)
        time.sleep(LEASE_S)
        said = status(folder)
        lost, gone = said["lost_flushes"], said["silent_replicas"]
        print(f"llmmigrate status says: {lost} flushes lost, {gone} replicas gone (2 were killed)")
        stage.store.close()
    print(f"{broken} broken promises, in {time.monotonic() - began:.0f} s")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
