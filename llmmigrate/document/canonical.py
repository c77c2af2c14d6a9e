"""The content hash of a document: what approvals and history are bound to."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def content_hash(data: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of a document's content.

    White space, comments, key order, line ends and keys set to null do not change it. It is taken over what is
    written, not over the parsed model, so that a later version of the tool with new defaults finds the same hash.
    """
    text = json.dumps(_without_nulls(data), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
