"""The migration document: what was agreed, read strictly, hashed canonically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmmigrate.document.canonical import content_hash
from llmmigrate.document.loader import (
    Document,
    edited_part,
    load_applied,
    load_file,
    load_folder,
    load_readable,
    load_text,
)
from llmmigrate.document.prompts import SIDES, PromptFiles, PromptReader, decoded

if TYPE_CHECKING:
    from llmmigrate.document.model import Endpoint, Limits, Migration, Rule

__all__ = [
    "SIDES",
    "Document",
    "Endpoint",
    "Limits",
    "Migration",
    "PromptFiles",
    "PromptReader",
    "Rule",
    "content_hash",
    "decoded",
    "edited_part",
    "load_applied",
    "load_file",
    "load_folder",
    "load_readable",
    "load_text",
]


def __getattr__(name: str) -> Any:
    """Import the model when it is asked for: its library is slow to load."""
    if name in ("Endpoint", "Limits", "Migration", "Rule"):
        from llmmigrate.document import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
