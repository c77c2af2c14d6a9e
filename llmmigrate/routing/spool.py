"""The spool: flushes that the store could not take wait in a bounded file, and outlive their process.

Each replica appends to a file of its own under an exclusive lock; a file whose lock is free belongs to a process that
is gone, and is delivered by whoever finds it. Delivery may be repeated: the store counts each flush once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from llmmigrate.clock import from_text, to_text

_log = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20
"""How much all files of a spool may hold; what does not fit is dropped, and found as a gap."""


class Spooled(NamedTuple):
    """A flush as it waits: whose it is, its number, when it was cut (wall clock), and what it says."""

    run_id: str
    seq: int
    at: datetime
    payload: str


def default_folder(database_url: str) -> Path:
    """Return where replicas of one store spool on this machine: a private folder for temporary files."""
    name = hashlib.sha256(database_url.encode("utf-8")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"llmmigrate-{os.getuid()}" / name


class Spool:
    """The files of one folder, one of them this replica's own.

    No method raises: what cannot be written is logged, and how often in `refused`.
    """

    def __init__(self, folder: Path, run_id: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._file = folder / f"{run_id}.jsonl"
        self._max_bytes = max_bytes
        self._own: FileIO | None = None
        self.refused = 0

    def put(self, flush: Spooled) -> bool:
        """Append a flush to this replica's file; False where there is no room, or no disk."""
        line = json.dumps([flush.run_id, flush.seq, to_text(flush.at), flush.payload]).encode() + b"\n"
        try:
            if self._used() + len(line) > self._max_bytes:
                raise OSError("the spool is full")  # noqa: TRY301 (told like a full disk)
            self._append(self._open(), line)
        except OSError as error:
            self.close()
            self.refused += 1
            _log.warning("the store is away, and a flush cannot be spooled: it is in memory only: %s", error)
            return False
        return True

    def _open(self) -> FileIO:
        if self._own is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = FileIO(self._file, "a")
            try:
                os.fchmod(handle.fileno(), 0o600)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle.fileno()).st_nlink == 0:
                    raise OSError("its file was just delivered by another process")  # noqa: TRY301 (closed like any other)
                if handle.tell():
                    self._append(handle, b"\n")  # ends a line that was cut off by a crash
            except OSError:
                handle.close()
                raise
            self._own = handle
        return self._own

    @staticmethod
    def _append(handle: FileIO, line: bytes) -> None:
        """Write a line as a whole, or nothing of it: half a line would take room that is wanted for the next try."""
        before = os.fstat(handle.fileno()).st_size
        if handle.write(line) != len(line):
            handle.truncate(before)
            raise OSError("the disk is full")

    def _used(self) -> int:
        return sum(file.stat().st_size for file in self._files())

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.glob("*.jsonl"))
        except OSError:
            return []

    def waiting(self) -> Iterator[tuple[Path, list[Spooled]]]:
        """Yield each file that may be delivered, this replica's and those of processes that are gone, with its flushes.

        Call `delivered` for a file once the store has all of it. A line that was cut off by a crash is passed over.
        """
        for file in self._files():
            if file == self._file:
                yield file, _read(file)
                continue
            with suppress(OSError), file.open("r+", encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file, _read(file)

    def delivered(self, file: Path) -> None:
        """Forget a file that the store has."""
        if file == self._file:
            self.close()
        with suppress(OSError):
            file.unlink()

    def close(self) -> None:
        """Let go of this replica's file: what is in it waits for the next one."""
        if self._own is not None:
            with suppress(OSError):
                self._own.close()
            self._own = None


def _read(file: Path) -> list[Spooled]:
    found = []
    with suppress(OSError):
        for line in file.read_text("utf-8", errors="replace").splitlines():
            try:
                run_id, seq, at, payload = json.loads(line)
                found.append(Spooled(str(run_id), int(seq), from_text(at), str(payload)))
            except (ValueError, TypeError):
                continue
    return found
