"""Captured requests from a file of JSON lines, one at a time, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from llmmigrate.exceptions import RefusedError
from llmmigrate.models.anything import items, mapping
from llmmigrate.preflight.case import Asked, Place, Unreadable

_LONGEST_LINE = 64 * 1024 * 1024
_WRAPPERS = ("request", "body")
"""Keys under which captures have a request: `body` is that of OpenAI's batch files."""

_NAMES = ("name", "custom_id", "id")
_BESIDE = ("response",)
_NOT_PARAMS = {"model", "messages", "tools", "tool_choice", "response_format"}


def read_requests(file: Path, *, name: str) -> Iterator[Asked | Unreadable]:
    """Give the requests of a file of JSON lines, each with its place; empty lines are left out.

    A line is a request as OpenAI's chat completions take it, or an object that has one as `request` or `body`; `name`
    is the file's name in places. A line that is none is given as `Unreadable`, and the reading goes on. Raises
    RefusedError where the file cannot be read.
    """
    try:
        with file.open("rb") as handle:
            number = 0
            while line := handle.readline(_LONGEST_LINE):
                number += 1
                place = Place(name, number)
                if not line.endswith(b"\n") and len(line) == _LONGEST_LINE:
                    yield Unreadable(place, f"the line is longer than {_LONGEST_LINE:,} bytes")
                    while line and not line.endswith(b"\n"):
                        line = handle.readline(_LONGEST_LINE)
                    continue
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield read_request(line, place)
    except OSError as error:
        raise RefusedError(f"{name} cannot be read: {error.strerror}", hint="a file of JSON lines") from error


def read_request(line: bytes | str, place: Place) -> Asked | Unreadable:
    """Read one line; what is no request is told, never raised."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(place, "not valid JSON", error.colno)
    if not isinstance(data, dict):
        return Unreadable(place, "not a JSON object")
    told = next((data[key] for key in _NAMES if isinstance(data.get(key), str)), "")
    wrapper = next((key for key in _WRAPPERS if isinstance(data.get(key), dict) and "messages" not in data), None)
    body = data[wrapper] if wrapper is not None else data
    wrong = _wrong(body)
    if wrong is not None:
        return Unreadable(place, wrong)
    return Asked(
        messages=body["messages"],
        tools=body.get("tools") or (),
        tool_choice=body.get("tool_choice"),
        response_format=body.get("response_format"),
        params=_params(body, wrapper is None),
        place=Place(place.file, place.line, told),
        response=data.get("response"),
    )


def _params(body: Mapping[str, Any], own_names: bool) -> dict[str, Any]:
    names = _NOT_PARAMS | set(_NAMES) | set(_BESIDE) if own_names else _NOT_PARAMS
    return {key: value for key, value in body.items() if key not in names and value is not None}


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_COUNTS = ("max_tokens", "max_completion_tokens", "n")
_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def _wrong(body: Mapping[str, Any]) -> str | None:
    """Say what makes an object no request of OpenAI's chat completions; what a model refuses is for rules to say."""
    messages, tools = body.get("messages"), body.get("tools")
    checks = (
        (messages is not None, "it has no messages"),
        (
            isinstance(messages, list) and all(isinstance(mapping(one).get("role"), str) for one in messages),
            "messages must be a list of objects, each with a role",
        ),
        (messages != [], "messages is empty"),
        (
            all(mapping(one).get("role") in _ROLES for one in items(messages)),
            f"the role of a message must be one of {', '.join(_ROLES)}",
        ),
        (
            all(_is_content(mapping(one).get("content")) for one in items(messages)),
            "content of a message must be a text, or a list of objects",
        ),
        *((_is_number(body.get(name), whole=True), f"{name} must be a whole number above 0") for name in _COUNTS),
        *((_is_number(body.get(name)), f"{name} must be a number") for name in _NUMBERS),
        (
            all(isinstance(mapping(one).get("tool_calls") or [], list) for one in items(messages)),
            "tool_calls of a message must be a list",
        ),
        (
            all(isinstance(one, (str, type(None))) for one in _ids(items(messages))),
            "ids of tool calls must be texts",
        ),
        (
            tools is None or (isinstance(tools, list) and all(isinstance(one, dict) for one in tools)),
            "tools must be a list of objects",
        ),
        (isinstance(body.get("tool_choice"), (str, dict, type(None))), "tool_choice must be a word or an object"),
        (isinstance(body.get("response_format"), (dict, type(None))), "response_format must be an object"),
    )
    return next((words for right, words in checks if not right), None)


def _is_content(value: object) -> bool:
    return isinstance(value, (str, type(None))) or (
        isinstance(value, list) and all(isinstance(part, dict) for part in value)
    )


def _is_number(value: object, *, whole: bool = False) -> bool:
    """Tell whether a parameter is a number, or not given."""
    if value is None:
        return True
    return not isinstance(value, bool) and (
        isinstance(value, int) and value > 0 if whole else isinstance(value, (int, float))
    )


def _ids(messages: list[Any]) -> Iterator[object]:
    for message in messages:
        yield mapping(message).get("tool_call_id")
        for call in items(mapping(message).get("tool_calls")):
            yield mapping(call).get("id")
