"""Changing a document in place: some values are others, and every other byte stays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import yaml

from llmmigrate.document.source import Path, Source


def edited(text: str, source: Source, changes: Iterable[tuple[Path, Any]]) -> str:
    """Return a document's text with other values at some paths; `source` is what was read of that text.

    What is not written yet is put before the first key of its mapping, with its section where that is not there either.
    """
    for start, end, instead in sorted((_edit(text, source, *change) for change in changes), reverse=True):
        text = text[:start] + instead + text[end:]
    return text


def _edit(text: str, source: Source, path: Path, value: Any) -> tuple[int, int, str]:
    """Return what to put where for one key: in place of its value, or before the first key of its mapping."""
    if path in source.spans:
        start, end = source.spans[path]
        end = start + len(text[start:end].rstrip())
        return start, end, " " * (text[start - 1] == ":") + _written(value)
    if path[:-1] not in source.spans:
        return _edit(text, source, path[:-1], {path[-1]: value})
    start, _ = source.spans[path[:-1]]
    entry = f"{path[-1]}: {_written(value)}"
    if text[start] == "{":
        return start + 1, start + 1, f"{entry}, "
    _, column = source.places[path[:-1]]
    line_end = "\r\n" if "\r\n" in text else "\n"
    return start, start, f"{entry}{line_end}{' ' * (column - 1)}"


def _written(value: Any) -> str:
    """Write a value on one line as JSON where YAML reads that alike, else as YAML."""
    text = json.dumps(value, ensure_ascii=False)
    with suppress(yaml.YAMLError):
        if yaml.safe_load(text) == value:
            return text
    flow: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return flow.removesuffix("\n").removesuffix("\n...")
