"""Calls spaced by what an account may ask of a model a minute, so that a suite is not answered with 429."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, Completion, ModelClient

if TYPE_CHECKING:
    from llmmigrate.document import Limits

TAKEN = 0.9
"""The share of a declared limit that a suite takes: providers' minutes are not ours, and calls arrive unevenly."""


class Pace:
    """Let calls of one model begin no faster than a number of requests and tokens a minute allows; None is no limit.

    Calls are spaced, not let through in bursts: limits a minute are enforced over shorter times. Sources: OpenAI, "Rate
    limits", as quoted at community.openai.com/t/rate-limit-even-though-limit-not-breached/611241; Azure, over 1 or
    10 s, learn.microsoft.com/en-us/answers/questions/1336515. What a call takes is not known before its answer, so that
    it counts as the mean of those before it and is put right then; until the first answer is there, calls under a limit
    of tokens go one at a time.
    """

    def __init__(self, *, rpm: float | None = None, tpm: float | None = None) -> None:
        self._each_request_s = 60 / rpm if rpm is not None else 0.0
        self._each_token_s = 60 / tpm if tpm is not None else 0.0
        self._next_request = self._next_token = 0.0
        self._tokens = self._answers = 0
        self._under_way = 0
        self._turns = asyncio.Lock()
        self._ended = asyncio.Event()

    @classmethod
    def of(cls, declared: Iterable[Limits | None]) -> Pace:
        """Return the pace of one account's limits: of several that are declared of one model, the lowest."""
        limits = [one for one in declared if one is not None]
        requests = min((one.rpm for one in limits if one.rpm is not None), default=None)
        tokens = min((one.tpm for one in limits if one.tpm is not None), default=None)
        return cls(
            rpm=requests * TAKEN if requests is not None else None, tpm=tokens * TAKEN if tokens is not None else None
        )

    def least_s(self, calls: int) -> float:
        """Return how many seconds so many calls take at least, whatever they are in tokens."""
        return max(0, calls - 1) * self._each_request_s

    async def turn(self) -> float:
        """Wait until a call may begin; return as how many tokens it counts until its answer is there."""
        async with self._turns:
            while self._each_token_s and not self._answers and self._under_way:
                self._ended.clear()
                await self._ended.wait()
            now = asyncio.get_running_loop().time()
            wait = max(self._next_request, self._next_token) - now
            if wait > 0:
                await asyncio.sleep(wait)
                now += wait
            expected = self._tokens / self._answers if self._answers else 0.0
            self._next_request = max(now, self._next_request) + self._each_request_s
            self._next_token = max(now, self._next_token) + expected * self._each_token_s
            self._under_way += 1
            return expected

    def ended(self, *, tries: int, tokens: int, expected: float) -> None:
        """Count what a call took beyond what was expected of it, which was one try; one that failed took no tokens."""
        self._next_request += max(0, tries - 1) * self._each_request_s
        self._next_token += (tokens - expected) * self._each_token_s
        self._under_way -= 1
        if tokens:
            self._tokens += tokens
            self._answers += 1
        self._ended.set()


class PacedClient(ModelClient):
    """A client whose calls take turns by a pace; waiting for them is no part of a call's time."""

    def __init__(self, client: ModelClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    async def complete(self, request: ChatRequest) -> Completion:
        expected = await self._pace.turn()
        tokens = tries = 0
        try:
            completion = await self._client.complete(request)
            tokens, tries = completion.usage.total_tokens, completion.attempts
        except ModelError as error:
            tries = error.attempts
            raise
        finally:
            self._pace.ended(tries=tries, tokens=tokens, expected=expected)
        return completion
