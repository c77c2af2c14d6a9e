"""What is in force on a route: the row that the one write changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["pending", "running", "paused", "rolling_back", "rolled_back", "completed"]

GENESIS_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class RouteState:
    """The state of one route at one version.

    `revision`, `attempt` and `phase` are those of the active or last attempt; `completed_revision` is what the route
    stands on. `document` is the text that the attempt was started with, and `document_hash` its content hash.
    `snapshot` is the routing in force, as text for routers. `accepted` metrics hold and pause this attempt no more,
    `extended_s` lengthens the longest hold of its present stage, `unattended` lets it serve users without a controller.
    `acknowledged` says that a person has seen its rollback.
    """

    route: str
    version: int = 0
    head_hash: str = GENESIS_HASH
    status: Status = "pending"
    revision: str | None = None
    attempt: int = 0
    phase: str | None = None
    generation: int = 0
    since: datetime | None = None
    completed_revision: str | None = None
    document: str | None = None
    document_hash: str | None = None
    snapshot: str | None = None
    accepted: tuple[str, ...] = ()
    extended_s: float = 0.0
    unattended: bool = False
    acknowledged: bool = False

    @property
    def active(self) -> bool:
        """Whether an attempt is under way."""
        return self.status in ("running", "paused", "rolling_back")
