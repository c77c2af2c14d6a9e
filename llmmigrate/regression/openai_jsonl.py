"""Read OpenAI-shaped JSONL as a suite: requests, requests of a batch, and conversations of a fine-tuning set.

Shapes: OpenAI's API reference (chat completions; the Batch API's `custom_id`, `method`, `url`, `body`) and its guide to
fine-tuning (a conversation whose last message is the answer). The answer that is expected, where there is one, stands
beside a request as `expected` or `ideal`, or is the last message of a conversation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from llmmigrate.regression.chat_requests import Leave, asked_of, last_user_text, messages_of, unfit
from llmmigrate.regression.suite_model import MAX_CASES
from llmmigrate.regression.writing import Ids, Imported, LeftOuts, with_defaults

_EXPECTED = ("expected", "ideal")
_BATCH = ("custom_id", "method", "url", "body")

Expect = Literal["equals", "contains", "nothing"]


def import_openai(raw: bytes, name: str, *, expect: Expect = "equals") -> Imported:
    """Read requests, one a line; `expect` says how a text that is expected is asserted.

    A line that is none, or asks what no case can, is left out by name. Raises nothing.
    """
    left, ids = LeftOuts(), Ids()
    cases: list[dict[str, Any]] = []
    for number, line in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"

        def leave(what: str, where: str = where) -> None:
            left(where, what)

        try:
            case = _case(line, expect, ids, leave)
        except json.JSONDecodeError as error:
            leave(f"a line: it is no JSON from column {error.colno} on")
            continue
        except RecursionError:
            leave("a line: it is nested too deeply")
            continue
        except ValueError as error:
            leave(f"a line: {str(error).splitlines()[0]}")
            continue
        if len(cases) == MAX_CASES:
            leave(f"lines beyond {MAX_CASES:,}: a suite has no more cases")
        else:
            cases.append(case)
    return Imported(with_defaults(cases), left.all())


def _case(line: str, expect: Expect, ids: Ids, leave: Leave) -> dict[str, Any]:
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    batch = isinstance(data.get("body"), dict)
    request = dict(data["body"] if batch else data)
    if batch and data.get("url") not in (None, "/v1/chat/completions"):
        raise ValueError(f"a request of {data['url']!r:.60}, not of chat completions")
    expected = [data[key] for key in _EXPECTED if key in data]
    if batch:
        for key in data.keys() - {*_BATCH, *_EXPECTED}:
            leave(f"{key} beside a request")
    request = {key: value for key, value in request.items() if key not in _EXPECTED and (batch or key != "custom_id")}
    messages = request.get("messages")
    if isinstance(messages, list) and len(messages) > 1 and not batch and not expected:
        last = messages[-1]
        if isinstance(last, dict) and last.get("role") == "assistant":
            expected, request["messages"] = [last], messages[:-1]
    case = asked_of(request, leave)
    words = str(data.get("custom_id") or last_user_text(messages_of(case)) or "case")
    asserts = [one for answer in expected for one in _asserted(answer, expect, leave)]
    whole = {"id": ids.of(words), **case, **({"assert": asserts} if asserts else {})}
    wrong = unfit(whole)
    if wrong is not None:
        raise ValueError(wrong)
    return whole


def _asserted(answer: Any, expect: Expect, leave: Leave) -> list[dict[str, Any]]:
    if expect == "nothing" or answer is None:
        return []
    if isinstance(answer, dict) and answer.get("role") == "assistant":
        return _of_message(answer, expect, leave)
    if isinstance(answer, list) and answer and all(isinstance(one, str) and one for one in answer):
        if expect == "contains":
            return [{"contains_any": answer}]
        return [{"any_of": [{"equals": one} for one in answer]}] if len(answer) > 1 else [{"equals": answer[0]}]
    if isinstance(answer, str) and expect == "contains":
        return [{"contains": answer}] if answer.strip() else []
    return [{"equals": answer}]


def _of_message(message: Mapping[str, Any], expect: Expect, leave: Leave) -> list[dict[str, Any]]:
    asserts: list[dict[str, Any]] = []
    called = message.get("tool_calls")
    calls = [_expected_call(call) for call in called] if isinstance(called, list) else []
    if None in calls:
        leave("an expected call whose arguments are no JSON object")
        return []
    if calls:
        asserts.append({"tool_calls": calls})
    content = message.get("content")
    if isinstance(content, str) and content.strip():
        asserts.append({"equals" if expect == "equals" else "contains": content})
    elif content:
        leave("an expected answer that is no text")
    if message.get("weight") == 0:
        leave("an expected answer of weight 0")
        return []
    return asserts


def _expected_call(call: Any) -> dict[str, Any] | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return None
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return None
    return {"name": function.get("name"), "arguments": arguments} if isinstance(arguments, dict) else None
