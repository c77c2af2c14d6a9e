"""Kill processes at every statement of every action, on SQLite and PostgreSQL, and print how many."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.crash import Stage, kill_everywhere
from tests.database import Database

AIM = 1000


def main() -> None:
    began, kills = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, Database() as database:
        rounds = 0
        while kills < AIM:
            for name, url in (("SQLite", None), ("PostgreSQL", database.url)):
                print(f"{name}, round {rounds + 1}")
                place = Path(folder) / f"{name}{rounds}"
                place.mkdir()
                stage = Stage(place, url)
                kills += kill_everywhere(stage, say=print)
                stage.close()
            rounds += 1
    print(
        f"{kills} kills in {time.monotonic() - began:.0f} s (aim {AIM}): after each, state, history, routing and counts"
    )
    print("agreed, nothing was there twice, nothing was lost, and the next run finished the action")


if __name__ == "__main__":
    main()
