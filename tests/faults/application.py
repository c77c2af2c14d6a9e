"""An application as a process of its own: requests through a router, and beside each the same call to control."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from llmmigrate import AsyncRouter
from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.routing import recorder
from llmmigrate.store import Store
from tests.faults.processes import say

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass
class Told:
    """What an application is told to do: requests of a route, so many at once, beside control at its own address."""

    route: str
    control: str
    address: str
    requests: int
    at_once: int = 8
    stream: bool = False
    timeout_s: float = 20.0
    prefix: str = "u"


@dataclass
class Seen:
    """What came of it: seconds of each answer, and the class of each error with how much of its answer was there."""

    routed_s: list[float] = field(default_factory=list)
    direct_s: list[float] = field(default_factory=list)
    routed_errors: list[tuple[str, bool]] = field(default_factory=list)
    direct_errors: list[tuple[str, bool]] = field(default_factory=list)


class Application:
    """One process that asks a router, and writes each request that it begins and ends into a ledger."""

    def __init__(self, router: AsyncRouter, ledger: TextIO) -> None:
        self._router = router
        self._client = OpenAICompatibleClient()
        self._ledger = ledger

    async def work(self, told: Told) -> Seen:
        """Let so many workers at once send a request through the router, then one to control, until all are sent."""
        seen, numbers = Seen(), count()

        async def worker() -> None:
            while (number := next(numbers)) < told.requests:
                self._note("+")
                await self._timed(self._routed(told, f"{told.prefix}{number}"), seen.routed_s, seen.routed_errors)
                self._note("-")
                await self._timed(self._direct(told), seen.direct_s, seen.direct_errors)

        await asyncio.gather(*(worker() for _ in range(told.at_once)))
        return seen

    async def settle(self) -> None:
        """Wait for mirrored calls, and hand over what was counted."""
        await self._router.mirror.wait()
        await asyncio.to_thread(self._router.flush)

    async def close(self) -> None:
        await self._client.close()
        await self._router.aclose()

    def _note(self, mark: str) -> None:
        self._ledger.write(mark)
        self._ledger.flush()

    async def _timed(self, pieces: Any, times: list[float], errors: list[tuple[str, bool]]) -> None:
        began, got = time.monotonic(), False
        try:
            async for chunk in pieces:
                got = got or bool(chunk.text)
            times.append(time.monotonic() - began)
        except ModelError as error:
            errors.append((error.error_class, got))

    async def _routed(self, told: Told, unit: str) -> Any:
        asked: dict[str, Any] = {"route": told.route, "messages": MESSAGES, "unit": unit, "timeout_s": told.timeout_s}
        if not told.stream:
            await self._router.acompletion(**asked)
            return
        async for chunk in self._router.astream(**asked):
            yield chunk

    async def _direct(self, told: Told) -> Any:
        request = ChatRequest(told.control, MESSAGES, api_base=told.address, timeout_s=told.timeout_s)
        if not told.stream:
            await self._client.complete(request)
            return
        async for chunk in self._client.stream(request):
            yield chunk


async def main(url: str, spool: str, ledger: str, memory: int, file_bytes: int) -> None:
    """Do what standard input says, line by line, until it ends; `null` asks to settle.

    `memory` is how many flushes are kept while the store is away (0: as shipped), `file_bytes` how long a file that
    this process writes may be (0: any).
    """
    if memory:
        recorder.MAX_WAITING = memory
    router = AsyncRouter(store=Store.open(url), spool=Path(spool))
    with Path(ledger).open("a", encoding="ascii") as notes:
        application = Application(router, notes)
        if file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
        say(None)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told = json.loads(line)
            if told is None:
                await application.settle()
                say(None)
            else:
                say(asdict(await application.work(Told(**told))))
        await application.close()


if __name__ == "__main__":
    url, spool, ledger, memory, file_bytes = sys.argv[1:]
    asyncio.run(main(url, spool, ledger, int(memory), int(file_bytes)))
