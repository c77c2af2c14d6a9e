"""The first five minutes, in a real terminal: docs/tutorial.md from its first line to its last."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text("utf-8")
LLMMIGRATE = [sys.executable, "-m", "llmmigrate"]


class Terminal:
    """A command in a pseudo-terminal of 140 columns, read as a person would see it."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "50"}
            os.execve(LLMMIGRATE[0], [*LLMMIGRATE, *arguments], environment)
        self.text = ""

    def until(self, pattern: str, seconds: float = 90.0) -> str:
        """Read until a pattern is seen; fail with all that was read where it does not come."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            if time.monotonic() > deadline or not self._read(0.2):
                pytest.fail(f"{pattern!r} was not seen in:\n{self.text}")
        return self.text

    def _read(self, seconds: float) -> bool:
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode("utf-8", "replace"))
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(0.2):
            if not select.select([self.fd], [], [], 0)[0]:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    while self._read(0.05) and select.select([self.fd], [], [], 0)[0]:
                        pass
                    return os.waitstatus_to_exitcode(status)
        ended, status = os.waitpid(self.pid, os.WNOHANG if self._read(0) else 0)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            pytest.fail(f"it did not end within {seconds:g} s:\n{self.text}")
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def background(tmp_path):
    """Return a function that starts a program in the folder; all are ended at the end."""
    started = []

    def start(*words):
        program = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        started.append(program)
        return program

    yield start
    for program in started:
        if program.poll() is None:
            program.send_signal(signal.SIGTERM)
        try:
            program.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()


def test_the_first_five_minutes(tmp_path, background):
    def run(*arguments, code=0):
        terminal = Terminal(*arguments, folder=tmp_path)
        found = terminal.end()
        assert found == code, terminal.text
        return terminal.text

    run("init")
    assert "DEMO-01" in run(
        "new",
        "-m",
        "Move support",
        "--route",
        "support",
        "--from",
        "openai/gpt-4o",
        "--to",
        "openai/gpt-5.1",
        "-t",
        "quick",
    )
    assert "0 errors" in run("check")

    [script] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "traffic.py").write_text(script)

    going_up = Terminal("upgrade", "--interval", "1s", folder=tmp_path)
    going_up.until("Connect your application:")
    going_up.until(r"Waiting at shadow:\s+\^C leaves it running")
    going_up.until("nothing passes on no data")
    background(sys.executable, "traffic.py")
    going_up.until("nobody is watching: start llmmigrate run")
    background(*LLMMIGRATE, "run", "--interval", "1s")
    going_up.until(r"Waiting at canary:25")
    going_up.until(r"Waiting at (canary:100|observation)")
    going_up.type("\x03")
    assert going_up.end() == 3, going_up.text
    assert "goes on without you" in going_up.text

    shown = run("status")
    assert re.search(r"support\s+\w{12} \(head\)\s+(canary:100|observation)\s+90%\s+running", shown), shown
    assert "profile demo" in shown

    back = Terminal("downgrade", "support", folder=tmp_path)
    back.until("Reason")
    back.type("answers are cut off\n")
    assert back.end() == 0, back.text
    assert "rolled_back: generation" in back.text
    assert "routers: 1 confirmed, 0 were silent" in back.text
    assert "nothing to roll back" in run("downgrade", "support", "--reason", "again")
    told = run("history", "-v")
    assert "answers are cut off" in told
    assert "the gate of shadow passed" in told
    assert "unbroken; head" in run("history", "--verify")
    run("status", "--check", "healthy", code=5)
    run("ack", "support", "--reason", "seen")
    run("status", "--check", "healthy")
