"""Prompts: files beside the configuration that move with a model, and are kept with the document when it is applied.

The content hash covers their text: an approval is of the prompt too, and an edited prompt is an edited document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from llmmigrate.document.source import Source
from llmmigrate.exceptions import Problem
from llmmigrate.redaction import secret_in

MAX_PROMPT_BYTES = 256 * 1024
"""No prompt is longer: it stands in the routing that every router holds."""

Side = Literal["current", "target"]
SIDES: tuple[Side, Side] = ("current", "target")
_SEAL = "--- # the prompts, as they were applied"

PromptReader = Callable[[str], str]
"""From a path as a document writes it to the text; raises ValueError, with words for people, where there is none."""


class PromptFiles:
    """Reads prompts below `root`, the folder of the configuration."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, path: str) -> str:
        file = self._root / path
        try:
            if not file.resolve().is_relative_to(self._root.resolve()):
                raise ValueError(f"{path} leads out of the project")
            raw = file.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error
        return decoded(raw, path)


def decoded(raw: bytes, path: str) -> str:
    """Return a prompt's text: CR LF becomes LF, and line ends at its end are left out. Raises ValueError."""
    if len(raw) > MAX_PROMPT_BYTES:
        raise ValueError(f"{path} is larger than {MAX_PROMPT_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from error
    text = text.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise ValueError(f"{path} is empty")
    kind = secret_in(text)
    if kind is not None:
        raise ValueError(f"{path} holds {kind}: secrets never stand in a prompt")
    return text


def nowhere(path: str) -> str:
    """Read no prompt: for a document that is looked at apart from its project."""
    raise ValueError(f"{path} cannot be read without its project")


def read_prompts(source: Source, reader: PromptReader) -> tuple[dict[str, str], list[Problem]]:
    """Read the prompts that a document names, as {path: text}, with a problem for each that cannot be read."""
    texts: dict[str, str] = {}
    problems = []
    for side in SIDES:
        path = prompt_path(source.data, side)
        if path is None:
            continue
        try:
            texts[path] = reader(path)
        except ValueError as error:
            problems.append(source.problem((side, "system"), str(error)))
    return texts, problems


def prompt_path(data: Mapping[str, Any], side: str) -> str | None:
    """Return the path of a side's prompt as it is written; None where there is none, or it is no path."""
    end = data.get(side)
    path = end.get("system") if isinstance(end, dict) else None
    return path if isinstance(path, str) and path else None


def seal(text: str, prompts: Mapping[str, str]) -> str:
    """Return a document's text with its prompts below it: what history keeps of one that is applied."""
    if not prompts:
        return text
    return f"{text.rstrip()}\n{_SEAL}\n{json.dumps(prompts, sort_keys=True, ensure_ascii=False)}\n"


def unseal(text: str) -> tuple[str, dict[str, str]]:
    """Return the text and the prompts that `seal` put together."""
    body, found, below = text.partition(f"\n{_SEAL}\n")
    return (f"{body}\n", dict(json.loads(below))) if found else (text, {})
