"""A model server as a process of its own: it answers as OpenAI does, and meets requests with the fault it is told."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.faults.processes import say
from tests.providers import Fault, refused, serving


async def main() -> None:
    """Serve until standard input ends; each line on it is the fault from then on, `null` for none."""
    refused("openai", "CreateChatCompletionRequest", {})  # the description is read before anybody waits for it
    async with serving() as providers:
        say(providers.url)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told = json.loads(line)
            providers.always = Fault(**told) if told is not None else None
            say(len(providers.requests))
            providers.requests.clear()
            providers.headers.clear()


if __name__ == "__main__":
    asyncio.run(main())
