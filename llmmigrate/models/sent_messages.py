"""What a translation on the way did to the texts of a conversation: those it added, and those that are not there.

How turns are merged, and that a provider takes the system prompt in a place of its own, is no change (ANT-02). Results
of tools are not compared: each provider has its own form for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import orjson

from llmmigrate.models.base import SYSTEM_ROLES

_RESULTS = ("tool", "function")
_LONGEST = 80


def message_changes(asked: Sequence[Mapping[str, object]], sent: Mapping[str, object]) -> Iterator[str]:
    """Give one sentence for each change; nothing where the body has no conversation that can be read."""
    turns = sent.get("messages") or sent.get("contents")
    if not isinstance(turns, list):
        return
    on_top = list(_texts(sent.get("system") or sent.get("system_instruction") or sent.get("systemInstruction")))
    wanted = Counter(text for message in asked if message.get("role") not in _RESULTS for text in _told(message))
    there = Counter([*on_top, *_texts(turns)])
    missing, added = wanted - there, there - wanted
    _match(missing, added)
    yield from (f"messages: {_short(text)} added" for text in added.elements())
    if missing:
        yield f"messages: {missing.total()} of {wanted.total()} texts not sent"
    if any(text in on_top for text in _late(asked)):
        yield "messages: a later system message sent with the first"
    if _named(asked) and not _named(turns):
        yield "messages: name not sent"


def _match(missing: Counter[str], added: Counter[str]) -> None:
    """Take texts that only were trimmed, or joined with others, from both sides."""
    for text in list(missing.elements()):
        whole = next((one for one in added if text.strip() in one), None)
        if whole is None:
            continue
        missing[text] -= 1
        added[whole] -= 1
        rest = whole.replace(text.strip(), "", 1).strip()
        if rest:
            added[rest] += 1
        missing += Counter()
        added += Counter()


def _told(message: Mapping[str, object]) -> Iterator[str]:
    yield from _texts(message.get("content"))
    yield from _texts(message.get("reasoning_content"))


def _texts(value: object) -> Iterator[str]:
    """Give the texts of messages, contents or parts, without the results of tools."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, Mapping) and value.get("role") not in _RESULTS and value.get("type") != "tool_result":
        for key in ("text", "content", "parts"):
            yield from _texts(value.get(key))


def _late(messages: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Give the texts of system messages that come after a turn."""
    lead = next((i for i, message in enumerate(messages) if message.get("role") not in SYSTEM_ROLES), len(messages))
    for message in messages[lead:]:
        if message.get("role") in SYSTEM_ROLES:
            yield from _texts(message.get("content"))


def _named(messages: Sequence[object]) -> bool:
    return any(
        bool(message.get("name")) for message in messages
        if isinstance(message, Mapping) and message.get("role") not in _RESULTS
    )  # fmt: skip


def _short(text: str) -> str:
    return orjson.dumps(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…").decode()
