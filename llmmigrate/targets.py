"""Targets outside: what else must follow a route's routing, such as a feature-flag file that other languages read.

A target carries the generation, so that a tick can see whether it has followed, and make it follow.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from llmmigrate.exceptions import TargetFailed
from llmmigrate.files import replace_file
from llmmigrate.routing.assignment import BUCKETS
from llmmigrate.routing.snapshot import Snapshot


class TrafficTarget(ABC):
    """Something that routes traffic by a snapshot. Both methods raise TargetFailed, and nothing else."""

    name: str

    @abstractmethod
    def apply(self, snapshot: Snapshot) -> None:
        """Put a snapshot in force; an older one than is in force is left out."""

    @abstractmethod
    def read(self, route: str) -> int | None:
        """Return the generation in force for a route, as far as the target itself can say; None without any."""


class FlagdFile(TrafficTarget):
    """A flag file for flagd or an OpenFeature provider in file mode: one flag a route, replaced as a whole.

    The split is flagd's fractional operator over revision and targeting key, so that a unit gets the same model there
    as from a Router, as long as it is not judged by the start of its conversation: in a drain, all are on control here.
    What is read back is the file: that a provider has loaded it cannot be seen from here.
    """

    def __init__(self, file: Path) -> None:
        self.name = f"flagd file {file.name}"
        self._file = file

    def apply(self, snapshot: Snapshot) -> None:
        flags = self._flags()
        known = flags.get(snapshot.route, {}).get("metadata", {}).get("generation", -1)
        if isinstance(known, int) and known > snapshot.generation:
            return
        flags[snapshot.route] = _flag(snapshot)
        text = json.dumps({"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags}, indent=2)
        try:
            replace_file(self._file, f"{text}\n".encode())
        except OSError as error:
            raise TargetFailed(self.name, str(error)) from error

    def read(self, route: str) -> int | None:
        generation = self._flags().get(route, {}).get("metadata", {}).get("generation")
        return generation if isinstance(generation, int) else None

    def _flags(self) -> dict[str, Any]:
        try:
            data = json.loads(self._file.read_text("utf-8"))
            flags = data["flags"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TargetFailed(self.name, f"not a flag file: {error}") from error
        if not isinstance(flags, dict) or not all(isinstance(flag, dict) for flag in flags.values()):
            raise TargetFailed(self.name, "not a flag file")
        return flags


def _flag(snapshot: Snapshot) -> dict[str, Any]:
    share = round(snapshot.share * BUCKETS) if snapshot.drain is None else 0
    variants = {"control": snapshot.control.model}
    flag: dict[str, Any] = {
        "state": "ENABLED",
        "variants": variants,
        "defaultVariant": "control",
        "metadata": {"generation": snapshot.generation, "revision": snapshot.revision or ""},
    }
    if snapshot.candidate is not None and share:
        variants["candidate"] = snapshot.candidate.model
        key = {"cat": [snapshot.revision, {"var": "targetingKey"}]}
        flag["targeting"] = {"fractional": [key, ["candidate", share], ["control", BUCKETS - share]]}
    return flag
