"""Try a call again, as its provider asks and as far as a budget goes.

Own code, since what decides here is not what retry libraries offer: the wait comes from the failed answer, one deadline
bounds tries and waits together, each try must know what is left of it, and a wait that does not fit ends the call at
once instead of a try before the time that the provider named.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from llmmigrate.exceptions import ModelError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """How far to go for one request: tries in all, and seconds in all, waits included.

    Both are as in OpenAI's and Anthropic's own clients: two more tries, ten minutes.
    Without a named wait, the one before try n + 1 is drawn between 0 and `first_wait_s` × 2ⁿ⁻¹, at most
    `longest_wait_s` ("full jitter", AWS Architecture Blog, 2015).
    """

    attempts: int = 3
    total_s: float = 600.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0

    def wait_s(self, attempt: int, named_s: float | None, draw: float) -> float:
        """Return the wait after a failed try; `draw` is in [0, 1). A named wait is a lower bound, spread by jitter."""
        if named_s is not None:
            return named_s + draw * self.first_wait_s
        return draw * min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 60))


async def with_retries(
    call: Callable[[float], Awaitable[T]],
    budget: Budget,
    *,
    timeout_s: float | None = None,
    longest_wait_s: float | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> tuple[T, int]:
    """Return the first result and the number of tries; `call` is given the seconds that are left.

    Raises the last ModelError, with its `attempts` and the `latency_s` of them all, where it is not retryable, or the
    tries or the time are used up. `timeout_s` is the caller's and can only shorten the budget; an answer that names a
    wait longer than `longest_wait_s` ends the call.
    """
    started = clock()
    deadline = started + (budget.total_s if timeout_s is None else min(budget.total_s, timeout_s))
    attempt = 0
    while True:
        attempt += 1
        try:
            return await call(max(0.0, deadline - clock())), attempt
        except ModelError as error:
            wait = budget.wait_s(attempt, error.retry_after_s, draw())
            too_long = longest_wait_s is not None and (error.retry_after_s or 0.0) > longest_wait_s
            if not error.retryable or too_long or attempt >= budget.attempts or clock() + wait >= deadline:
                error.attempts, error.latency_s = attempt, clock() - started
                raise
        await sleep(wait)
