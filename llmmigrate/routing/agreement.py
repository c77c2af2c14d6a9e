"""Whether two answers to one request are the same, in what a program would notice: tool calls, and text or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from llmmigrate.models import Completion, ToolCall


def tools_agree(one: Completion, other: Completion) -> bool | None:
    """Tell whether both call the same tools with the same arguments, in any order; None where neither calls any."""
    if not one.tool_calls and not other.tool_calls:
        return None
    return _calls(one.tool_calls) == _calls(other.tool_calls)


def texts_agree(one: Completion, other: Completion) -> bool | None:
    """Tell whether both say the same: as JSON where both are JSON, else up to white space; None where neither does."""
    if not one.text.strip() and not other.text.strip():
        return None
    return _plain(one.text) == _plain(other.text)


def _calls(calls: Sequence[ToolCall]) -> Counter[tuple[str, str]]:
    return Counter((call.name, _plain(call.arguments or "{}")) for call in calls)


def _plain(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return " ".join(text.split())
