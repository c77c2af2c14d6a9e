"""Many commands at once leave one linear history, and losers say what happened in a clear line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from llmmigrate.cli import main as entry
from tests.conftest import ROUTE, both_backends
from tests.crash import quiet_fork
from tests.invariants import broken

COMMANDS = (["upgrade"], ["downgrade", "--reason", "x"], ["pause", "--reason", "x"], ["resume", "--reason", "x"])


def start(arguments: list[str], out: Path) -> int:
    """Run a command in a process of its own, forked so that many begin at once; return its process id."""
    child = quiet_fork()
    if child:
        return child
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["llmmigrate", *arguments]
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    code = 70
    try:
        entry()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@both_backends
def test_many_commands_at_once_leave_one_linear_history(world, backend, tmp_path):
    world.write()
    world.upgrade()
    config = ["-c", str(world.folder / "llmmigrate.toml")]
    number = 50 if backend == "postgresql" else 10
    children = {}
    for index in range(number):
        out = tmp_path / f"out{index}"
        command = COMMANDS[index % len(COMMANDS)]
        children[start([*config, *command], out)] = (command, out)
    for child, (command, out) in children.items():
        _, status = os.waitpid(child, 0)
        text = out.read_text()
        assert os.WIFEXITED(status), (command, text)
        allowed = {"upgrade": {3, 4, 5}, "downgrade": {0}, "pause": {0, 2}, "resume": {0, 2}}[command[0]]
        assert os.WEXITSTATUS(status) in allowed, (command, os.WEXITSTATUS(status), text)
        assert "Traceback" not in text
        if os.WEXITSTATUS(status) == 2:
            assert text.startswith(("error: route support", "error: nothing"))
    assert broken(world.store) == []
    rows = world.store.history(ROUTE)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row["event"] == "rolling_back" for row in rows) == 1
    assert (rows[-1]["to_status"], json.loads(world.store.route(ROUTE).snapshot)["candidate"]) == ("rolled_back", None)
