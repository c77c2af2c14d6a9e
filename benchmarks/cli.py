"""Print how long commands take beside Alembic's, one run after the other in turn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 15
LIMITS = {"status": 1.0, "--help": 0.5, "current": 1.0, "history": 1.0, "check": None, "upgrade (waits)": None}
BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(words: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [str(BIN / words[0]), *words[1:]], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=60
    )
    return time.perf_counter() - began


def projects(folder: Path) -> tuple[Path, Path]:
    """Make a project of each tool: one migration, applied to a SQLite file."""
    theirs, ours = folder / "alembic", folder / "llmmigrate"
    for place in (theirs, ours):
        place.mkdir()
    run(["alembic", "init", "scripts"], theirs)
    ini = theirs / "alembic.ini"
    ini.write_text(
        re.sub(r"(?m)^sqlalchemy.url = .*$", "sqlalchemy.url = sqlite:///a.db", ini.read_text("utf-8")), "utf-8"
    )
    run(["alembic", "revision", "-m", "first"], theirs)
    run(["alembic", "upgrade", "head"], theirs)
    run(["llmmigrate", "init"], ours)
    run(
        ["llmmigrate", "new", "-m", "first", "--route", "support", "--from", "openai/gpt-4o", "--to", "openai/gpt-5.1"],
        ours,
    )
    run(["llmmigrate", "upgrade"], ours)
    return theirs, ours


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        theirs, ours = projects(Path(name))
        commands = {
            "status": (["llmmigrate", "status"], ["alembic", "current"]),
            "current": (["llmmigrate", "current"], ["alembic", "current"]),
            "history": (["llmmigrate", "history"], ["alembic", "history"]),
            "check": (["llmmigrate", "check"], ["alembic", "check"]),
            "upgrade (waits)": (["llmmigrate", "upgrade"], ["alembic", "upgrade", "head"]),
            "--help": (["llmmigrate", "--help"], ["alembic", "--help"]),
        }
        times: dict[str, tuple[list[float], list[float]]] = {command: ([], []) for command in commands}
        for _ in range(ROUNDS):
            for command, (mine, peer) in commands.items():
                times[command][0].append(run(mine, ours))
                times[command][1].append(run(peer, theirs))
        print(f"medians of {ROUNDS} rounds in turn, one applied migration on SQLite")
        for command, (mine_s, peer_s) in times.items():
            ratio = median(mine_s) / median(peer_s)
            limit = LIMITS[command]
            words = f"(limit {limit})" if limit is not None else ""
            peer = " ".join(commands[command][1])
            ours_ms, theirs_ms = median(mine_s) * 1e3, median(peer_s) * 1e3
            mine_words = f"llmmigrate {command:16} {ours_ms:6.0f} ms"
            print(f"  {mine_words}   {peer:20} {theirs_ms:6.0f} ms   ratio {ratio:.2f} {words}")


if __name__ == "__main__":
    main()
