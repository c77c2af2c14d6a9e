"""Limits, prices and retirement dates from the cost map that LiteLLM ships, read without importing LiteLLM.

Importing it takes seconds; the file beside it is read in some 25 ms.
"""

from __future__ import annotations

import json
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"


@lru_cache(maxsize=1)
def _entries() -> dict[str, dict[str, Any]]:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    data: dict[str, dict[str, Any]] = json.loads((Path(spec.origin).parent / _FILE).read_text("utf-8"))
    data.pop("sample_spec", None)
    return data


def retirement(model: str) -> date | None:
    """Return the day a model is retired by its provider, None where that is not known."""
    entries = _entries()
    entry = entries.get(model) or entries.get(model.partition("/")[2]) or {}
    try:
        return date.fromisoformat(str(entry.get("deprecation_date", "")))
    except ValueError:
        return None
