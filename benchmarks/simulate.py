"""Print what five weeks at two requests a second cost to simulate, by how often the runner looks."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from llmmigrate.document import load_file
from llmmigrate.foresight import scenario
from llmmigrate.foresight.simulate import prepare

ROOT = Path(__file__).parents[1]
LIMITS_S = {600.0: 15, 60.0: 120}
DAYS = 35


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=DAYS, help="fewer, for a part of it; figures are scaled up")
    days = parser.parse_args().days
    document = load_file(next((ROOT / "migrations" / "versions").glob("*.yaml")), root=ROOT)
    loaded = scenario.load("no-change")
    for interval_s, limit_s in LIMITS_S.items():
        prepared = prepare(document, loaded, days=days, interval_s=interval_s)
        wall, cpu = time.perf_counter(), time.process_time()
        ended = prepared.run(1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ticks = ended.at_s / interval_s
        weeks = DAYS * 86400 / ended.at_s
        print(
            f"every {interval_s:3.0f} s: {ended.at_s / 86400:.1f} days, {ended.reach.requests:,} requests: "
            f"{cpu:.1f} s of CPU ({wall:.1f} s), {cpu / ticks * 1000:.1f} ms a tick; "
            f"five weeks: {cpu * weeks:.0f} s (limit {limit_s})"
        )


if __name__ == "__main__":
    main()
