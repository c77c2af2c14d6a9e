"""Prompts of an estimate: captured requests, with what is known of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmmigrate.exceptions import RefusedError
from llmmigrate.foresight.estimated import Prompt
from llmmigrate.models.anything import items, mapping
from llmmigrate.preflight import Asked, Unreadable, read_requests

MOST = 100_000
"""Prompts that are read at most: an estimate is of a sample."""


def read_prompts(file: Path, *, most: int = MOST) -> tuple[list[Prompt], list[str]]:
    """Return the prompts of a file of captured requests, and the lines that are none, each in words.

    A line is a request as `check --requests` takes it; a `response` beside it is an OpenAI chat completion, with usage
    and answer, or the answer's text. Raises RefusedError where the file cannot be read or has no request at all.
    """
    prompts: list[Prompt] = []
    wrong: list[str] = []
    for one in read_requests(file, name=file.name):
        if isinstance(one, Unreadable):
            wrong.append(f"{one.place}: {one.words}")
        elif len(prompts) < most:
            prompts.append(_prompt(one))
    if not prompts:
        first = f": {wrong[0]}" if wrong else ""
        raise RefusedError(f"{file.name} has no request{first}", hint='one a line: {"messages": [...]}')
    return prompts, wrong


def _prompt(asked: Asked) -> Prompt:
    response = asked.response
    body = mapping(mapping(response).get("body")) or mapping(response)  # OpenAI's batch answers have it as `body`
    usage = mapping(body.get("usage"))
    details = mapping(usage.get("prompt_tokens_details"))
    return Prompt(
        messages=asked.messages,
        tools=asked.tools,
        params=asked.params,
        place=str(asked.place),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
        answer=response if isinstance(response, str) else _answer(body),
    )


def _answer(body: Mapping[str, Any]) -> str | None:
    """Return the text of a completion; of one that calls tools, nothing: its arguments are no text of its own."""
    choice = next(iter(items(body.get("choices"))), None)
    message = mapping(mapping(choice).get("message"))
    content = message.get("content")
    return content if isinstance(content, str) and content and not message.get("tool_calls") else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
