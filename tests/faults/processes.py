"""The processes of a fault: started, told what to do line by line, killed, and ended by their ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
_END_S = 60.0


def say(answer: Any) -> None:
    """Answer, in a process, what it was told."""
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


class Process:
    """A module as a process that answers each line of JSON with one; `said` is what it says when it is ready."""

    def __init__(self, module: str, *arguments: object, cwd: Path | None = None) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=ENVIRONMENT,
            cwd=cwd or ROOT,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def begin(self, told: Any) -> None:
        """Tell it something, and go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(told)}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"a process ended early: {self._errors.read()[-2000:]}")
        return json.loads(line)

    def tell(self, told: Any) -> Any:
        """Tell it something, and return its answer."""
        self.begin(told)
        return self.answer()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Close its input, which ends it in order, and wait for that."""
        if not self._errors.closed:
            self._process.communicate(timeout=_END_S)
            self._errors.close()


class Controller:
    """`llmmigrate run` in a project's folder."""

    def __init__(self, folder: Path, *, interval: str = "1s") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llmmigrate", "run", "--interval", interval],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=_END_S)


def status(folder: Path, *words: str) -> dict[str, Any]:
    """Return what `llmmigrate status --format json` says in a project's folder."""
    command: Sequence[str] = [sys.executable, "-m", "llmmigrate", "status", "--format", "json", *words]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
