"""What is called beside a user's request in shadow: how much of it, and at what cost."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from llmmigrate.models import Completion
from llmmigrate.routing.assignment import BUCKETS, bucket_of
from llmmigrate.routing.snapshot import Snapshot

if TYPE_CHECKING:
    from llmmigrate.routing.calls import Asked
    from llmmigrate.routing.core import Decision


_ANSWER_S = 600.0
"""How long what was called beside a request is kept to be compared with the user's answer."""


class Spending:
    """What this process has spent on mirrored calls in one generation, against the budget of all of them.

    The controller adds up what all processes spent; this keeps one of them from passing the budget by itself where no
    controller looks. Safe to use from several threads.
    """

    def __init__(self, budget: float | None) -> None:
        self._budget = budget
        self._spent = 0.0
        self._lock = Lock()

    @property
    def left(self) -> bool:
        """Whether anything is left to spend."""
        return self._budget is None or self._spent < self._budget

    def add(self, cost: float) -> None:
        """Count the cost of a call, in US dollars; one that is no cost counts for nothing."""
        if self._budget is not None and math.isfinite(cost) and cost > 0:
            with self._lock:
                self._spent += cost


def is_repeated(snapshot: Snapshot, unit: str) -> bool:
    """Tell whether control is called again for a unit's mirrored requests, to measure its own noise (A/A)."""
    return snapshot.aa_share > 0 and bucket_of(f"aa{snapshot.revision}{unit}") < snapshot.aa_share * BUCKETS


@dataclass(frozen=True, slots=True)
class Beside:
    """What is called beside a user's request; `answer` is the user's own when it is there, None where there is none."""

    mirror: Decision
    again: Decision | None
    asked: Asked
    answer: Future[Completion | None] = field(default_factory=Future)

    def tell(self, answer: Completion | None) -> None:
        """Give the user's answer to those who compare with it; None where the call failed or was left."""
        if not self.answer.done():
            self.answer.set_result(answer)

    async def users(self) -> Completion | None:
        """Wait for the user's answer, a while; None where there is none."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.answer), _ANSWER_S)
        except TimeoutError:
            return None
