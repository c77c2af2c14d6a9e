"""Ask a client once against the provider servers, and see what came back and what had come to the server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from llmmigrate.exceptions import ModelError
from llmmigrate.models import ChatRequest, Chunk, Completion, ModelClient
from llmmigrate.models.openai_compatible import OpenAICompatibleClient
from llmmigrate.models.retry import Budget
from tests.providers import Fault, Model, Providers, serving

QUICK = Budget(attempts=3, total_s=20.0, first_wait_s=0.01)


def ask(
    client: ModelClient, request: ChatRequest, *faults: Fault, model: Model | None = None
) -> tuple[Completion | ModelError, Providers]:
    """Return the answer, or the error, and the server."""

    async def run() -> tuple[Completion | ModelError, Providers]:
        async with serving(faults, model) as server:
            try:
                return await client.complete(_at(client, request, server)), server
            except ModelError as error:
                return error, server
            finally:
                await client.close()

    return asyncio.run(run())


def stream(
    client: ModelClient, request: ChatRequest, *faults: Fault, model: Model | None = None
) -> tuple[list[Chunk], ModelError | None, Providers]:
    """Return the pieces, those before an error too, the error or None, and the server."""

    async def run() -> tuple[list[Chunk], ModelError | None, Providers]:
        chunks: list[Chunk] = []
        async with serving(faults, model) as server:
            try:
                async for chunk in client.stream(_at(client, request, server)):
                    chunks.append(chunk)  # noqa: PERF401 (those before an error are kept)
            except ModelError as error:
                return chunks, error, server
            finally:
                await client.close()
        return chunks, None, server

    return asyncio.run(run())


def _at(client: ModelClient, request: ChatRequest, server: Providers) -> ChatRequest:
    path = "/openai/v1" if request.model.startswith("azure/") else "/v1"
    base = f"{server.url}{path}" if isinstance(client, OpenAICompatibleClient) else server.url
    return replace(request, api_base=base)
