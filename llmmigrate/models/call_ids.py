"""Ids of tool calls as a provider takes them, where another model's are in the conversation (MIS-01, HIST-01).

They only tie a result to its call, so that other ones mean the same. OpenAI refuses longer ones than 40 characters
("string_above_max_length"), which those of Gemini through LiteLLM are: they carry its signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

_TAKEN = {"mistral": re.compile(r"[a-zA-Z0-9]{9}"), "openai": re.compile(r".{1,40}", re.DOTALL)}


def with_own_ids(
    messages: Sequence[Mapping[str, Any]], provider: str
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Return messages with ids that the provider takes, the same for the same, and what was changed."""
    taken = _TAKEN.get(provider)
    wrong = {one for one in _ids(messages) if not taken.fullmatch(one)} if taken is not None else set()
    if not wrong:
        return list(messages), ()
    own = {one: sha256(one.encode("utf-8", "surrogatepass")).hexdigest()[:9] for one in wrong}
    return [_written(message, own) for message in messages], (
        f"messages: {len(own)} ids of tool calls sent as {provider} takes them",
    )


def _ids(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        for call in message.get("tool_calls") or ():
            if isinstance(call, Mapping) and isinstance(call.get("id"), str):
                yield call["id"]
        if isinstance(message.get("tool_call_id"), str):
            yield message["tool_call_id"]


def _written(message: Mapping[str, Any], own: Mapping[str, str]) -> Mapping[str, Any]:
    made = dict(message)
    answered = message.get("tool_call_id")
    if isinstance(answered, str) and answered in own:
        made["tool_call_id"] = own[answered]
    if message.get("tool_calls"):
        made["tool_calls"] = [_renamed(call, own) for call in message["tool_calls"]]
    return made


def _renamed(call: Any, own: Mapping[str, str]) -> Any:
    known = call.get("id") if isinstance(call, Mapping) else None
    return {**call, "id": own[known]} if isinstance(known, str) and known in own else call
