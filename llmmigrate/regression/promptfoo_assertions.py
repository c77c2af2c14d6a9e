"""Assertions of promptfoo in ours, by the table below; what has no counterpart is said by name.

Types and their options: promptfoo's documentation, `site/docs/configuration/expected-outputs/` (`index.md`,
`deterministic.md`) of promptfoo/promptfoo, as of 2026.

| promptfoo | here |
| --- | --- |
| equals | equals (a number or truth value as the text of it) |
| contains, icontains, contains-any, contains-all, icontains-any, icontains-all, starts-with | the same, with `_` |
| regex | regex (read as Python's, not as JavaScript's) |
| is-json; with a schema | json: any; json_schema |
| contains-json; with a schema | the same, embedded: true (of the first object or list) |
| is-refusal | refusal |
| latency, cost | latency, cost |
| finish-reason | finish_reason |
| word-count | length: {words: …} |
| is-valid-openai-tools-call, is-valid-function-call, is-valid-openai-function-call | tools_valid |
| tool-call-f1 without a threshold, or with 1 | tools_called |
| llm-rubric | judge |
| assert-set; with a threshold that one is enough for | all_of; any_of |
| not-… | not: {…} |
| metric | label |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmmigrate.patterns import readable_pattern
from llmmigrate.schemas import check_schema


class NotTaken(ValueError):
    """Say by name what an assertion asks that has no counterpart here."""


TextReader = Callable[[str], str]
"""From a path to the text of a file; raises ValueError."""

Note = Callable[[str], None]
_IGNORED = {"type", "value", "threshold", "metric", "weight"}


def taken(written: Mapping[str, Any], read: TextReader, note: Note) -> dict[str, Any]:
    """Return an assertion of promptfoo as ours; raises NotTaken. `note` is told what of it is not taken over."""
    kind = written.get("type")
    if not isinstance(kind, str):
        raise NotTaken("an assertion without a type")
    if written.get("transform") is not None or written.get("contextTransform") is not None:
        raise NotTaken(f"{kind} of a transformed answer")
    if written.get("weight") == 0:
        raise NotTaken(f"{kind} with weight 0, which always passes")
    if "weight" in written and written["weight"] != 1:
        note(f"the weight of {kind}: here every assertion must hold")
    for name in sorted(written.keys() - _IGNORED - {"assert"}):
        note(f"{name} of {kind}")
    base = kind.removeprefix("not-")
    if base == "assert-set":
        made = _set(written, read, note)
    elif base in _TABLE:
        made = _TABLE[base](_value(written.get("value"), read, base), written.get("threshold"))
    else:
        raise NotTaken(f"{kind}, which has no counterpart")
    if base == "contains-json" and "json_schema" in made:
        note(f"{kind} looks at every JSON in an answer: here at the first object or list")
    if base != kind:
        made = {"refusal": "unexpected"} if base == "is-refusal" else {"not": made}
    label = written.get("metric")
    return {**made, "label": label} if isinstance(label, str) and label.strip() and "{{" not in label else made


def _value(value: Any, read: TextReader, kind: str) -> Any:
    if not isinstance(value, str) or not value.startswith("file://"):
        return value
    path = value.removeprefix("file://").removeprefix("./")
    if path.endswith((".js", ".ts", ".mjs", ".cjs", ".py", ".rb")) or ".py:" in path or ".js:" in path:
        raise NotTaken(f"{kind} by the program {path}")
    try:
        text = read(path)
        return json.loads(text) if path.endswith(".json") else text
    except ValueError as error:
        raise NotTaken(f"{kind}: {error}") from error


def _set(written: Mapping[str, Any], read: TextReader, note: Note) -> dict[str, Any]:
    inner = written.get("assert")
    if not isinstance(inner, list) or not inner or not all(isinstance(one, dict) for one in inner):
        raise NotTaken("an assert-set without assertions")
    made = [taken(one, read, note) for one in inner]
    threshold = written.get("threshold")
    if threshold is None or threshold == 1:
        return {"all_of": made}
    if isinstance(threshold, (int, float)) and 0 < threshold <= 1 / len(made):
        return {"any_of": made}
    raise NotTaken(f"assert-set with the threshold {threshold}")


def _words(value: Any, kind: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
        raise NotTaken(f"{kind} without a text")
    return str(value)


def _list(value: Any, kind: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise NotTaken(f"{kind} without a list")
    return [_words(one, kind) for one in value]


def _equals(value: Any, _: Any) -> dict[str, Any]:
    if value is None:
        raise NotTaken("equals without a value")
    if isinstance(value, bool):
        return {"equals": "true" if value else "false"}
    return {"equals": str(value) if isinstance(value, (int, float)) else value}


def _regex(value: Any, _: Any) -> dict[str, Any]:
    try:
        return {"regex": readable_pattern(_words(value, "regex"))}
    except NotTaken:
        raise
    except ValueError as error:
        raise NotTaken(f"regex {value!r:.80}: {error}") from error


def _json(value: Any, *, embedded: bool) -> dict[str, Any]:
    inside = {"embedded": True} if embedded else {}
    if value is None:
        return {"json": "any", **inside}
    try:
        schema = json.loads(value) if isinstance(value, str) else value
        check_schema(schema)
    except ValueError as error:
        raise NotTaken(f"a schema that {error}") from error
    if not isinstance(schema, dict):
        raise NotTaken("a schema that is no mapping")
    return {"json_schema": schema, **inside}


def _latency(_: Any, threshold: Any) -> dict[str, Any]:
    return {"latency": f"{_figure(threshold, 'latency'):.6f}".rstrip("0").rstrip(".") + "ms"}


def _cost(_: Any, threshold: Any) -> dict[str, Any]:
    return {"cost": "$" + f"{_figure(threshold, 'cost'):.9f}".rstrip("0").rstrip(".")}


def _figure(threshold: Any, kind: str) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold < 1e12:
        raise NotTaken(f"{kind} without a threshold")
    return threshold


def _finish_reason(value: Any, _: Any) -> dict[str, Any]:
    return {"finish_reason": _words(value, "finish-reason").lower()}


def _word_count(value: Any, _: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        value = {key: limit for key, limit in value.items() if key in ("min", "max") and limit is not None}
        fits = bool(value) and all(isinstance(limit, int) and limit >= 0 for limit in value.values())
        if fits and value.get("min", 0) <= value.get("max", value.get("min", 0)):
            return {"length": {"words": value}}
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return {"length": {"words": value}}
    raise NotTaken("word-count without whole numbers")


def _tool_names(value: Any, threshold: Any) -> dict[str, Any]:
    if threshold not in (None, 1):
        raise NotTaken(f"tool-call-f1 with the threshold {threshold}")
    names = [one.strip() for one in value.split(",")] if isinstance(value, str) else _list(value, "tool-call-f1")
    return {"tools_called": [name.strip() for name in names if name.strip()] or _list(None, "tool-call-f1")}


def _rubric(value: Any, threshold: Any) -> dict[str, Any]:
    if threshold is not None:
        raise NotTaken("llm-rubric with a threshold")
    return {"judge": _words(value, "llm-rubric")}


_TABLE: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "equals": _equals,
    "contains": lambda value, _: {"contains": _words(value, "contains")},
    "icontains": lambda value, _: {"icontains": _words(value, "icontains")},
    "contains-any": lambda value, _: {"contains_any": _list(value, "contains-any")},
    "contains-all": lambda value, _: {"contains_all": _list(value, "contains-all")},
    "icontains-any": lambda value, _: {"icontains_any": _list(value, "icontains-any")},
    "icontains-all": lambda value, _: {"icontains_all": _list(value, "icontains-all")},
    "starts-with": lambda value, _: {"starts_with": _words(value, "starts-with")},
    "regex": _regex,
    "is-json": lambda value, _: _json(value, embedded=False),
    "contains-json": lambda value, _: _json(value, embedded=True),
    "is-refusal": lambda _, __: {"refusal": "expected"},
    "latency": _latency,
    "cost": _cost,
    "finish-reason": _finish_reason,
    "word-count": _word_count,
    "is-valid-openai-tools-call": lambda _, __: {"tools_valid": True},
    "is-valid-function-call": lambda _, __: {"tools_valid": True},
    "is-valid-openai-function-call": lambda _, __: {"tools_valid": True},
    "tool-call-f1": _tool_names,
    "llm-rubric": _rubric,
}
KNOWN: Sequence[str] = (*_TABLE, "assert-set")
"""The types that have a counterpart."""
