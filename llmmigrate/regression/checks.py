"""Each kind of assertion against an answer: a verdict, and one sentence of what was expected and what came.

A check raises Undecided where it cannot be evaluated. What a model wrote stands in sentences as excerpts only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from llmmigrate.models import ToolCall
from llmmigrate.patterns import Undecided, found
from llmmigrate.regression import assertion_model as written
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.given import Given, Scene
from llmmigrate.regression.json_answers import embedded_json, read_json, same, values_at
from llmmigrate.regression.tool_calls import Accepted, ExpectedCall, calls_mismatch, parameters_of
from llmmigrate.schemas import misfit
from llmmigrate.verdict import Answer as Verdict

Checked = tuple[Verdict, str]


def _checked(ok: bool, expected: str, came: str) -> Checked:
    return "pass" if ok else "fail", f"expected {expected}, got {came}"


def not_empty(given: Given) -> None:
    """Raise Undecided for an answer of nothing at all: it shows nothing about what an answer leaves out."""
    if not given.text.strip() and not given.tool_calls:
        raise Undecided("the answer is empty, which shows nothing")


def _equals(one: written.Equals, at: Scene) -> Checked:
    if isinstance(one.equals, str):
        ends = at.given.text != one.equals and at.given.text.strip() == one.equals.strip()
        came = excerpt(at.given.text) + (" (they differ in white space at the ends alone)" if ends else "")
        return _checked(at.given.text == one.equals, excerpt(one.equals), came)
    try:
        value = read_json(at.given.text)
    except ValueError:
        return _checked(ok=False, expected=f"JSON equal to {excerpt(one.equals)}", came=excerpt(at.given.text))
    return _checked(same(value, one.equals), f"JSON equal to {excerpt(one.equals)}", excerpt(value))


def _holds(sought: Sequence[str], given: Given, *, fold: bool = False, every: bool = True) -> Checked:
    text = given.text.casefold() if fold else given.text
    there = [(one.casefold() if fold else one) in text for one in sought]
    words = ", ".join(excerpt(one, 40) for one in sought[:5]) + (", …" if len(sought) > 5 else "")
    which = "" if len(sought) == 1 else "all of " if every else "one of "
    missing = [one for one, found_it in zip(sought, there, strict=True) if not found_it]
    lacks = f" without {excerpt(missing[0], 40)}" if every and missing and len(sought) > 1 else ""
    case = ", in any case" if fold else ""
    came = f"{excerpt(given.text)}{lacks}"
    return _checked(all(there) if every else any(there), f"a text that contains {which}{words}{case}", came)


def _regex(one: written.Regex, at: Scene) -> Checked:
    return _checked(found(one.regex, at.given.text), f"a match of {excerpt(one.regex)}", excerpt(at.given.text))


_JSON_TYPES = {"any": object, "object": dict, "list": list}


def _json(one: written.Json, at: Scene) -> Checked:
    expected = {"any": "JSON", "object": "a JSON object", "list": "a JSON list"}[one.json_]
    try:
        value = _value(one, at.given)
    except ValueError as error:
        return _checked(ok=False, expected=expected, came=f"{excerpt(at.given.text)} ({excerpt(str(error), 60)})")
    return _checked(isinstance(value, _JSON_TYPES[one.json_]), expected, excerpt(value))


def _value(one: written.Json | written.JsonSchema | written.AtPath, given: Given) -> Any:
    return embedded_json(given.text) if one.embedded else read_json(given.text)


def _json_schema(one: written.JsonSchema, at: Scene) -> Checked:
    try:
        value = _value(one, at.given)
    except ValueError:
        return _checked(ok=False, expected="JSON that fits the schema", came=excerpt(at.given.text))
    why = misfit(value, one.json_schema)
    came = excerpt(value) if why is None else f"{excerpt(value)}: {excerpt(why, 200)[1:-1]}"
    return _checked(why is None, "JSON that fits the schema", came)


def _at_path(one: written.AtPath, at: Scene) -> Checked:
    try:
        data = _value(one, at.given)
    except ValueError:
        return _checked(ok=False, expected=f"JSON with {one.json_path}", came=excerpt(at.given.text))
    values = values_at(data, one.json_path)
    came = excerpt(values[0] if len(values) == 1 else values) if values else f"nothing there in {excerpt(data)}"
    if one.exists is not None:
        return _checked(
            bool(values) is one.exists, f"{'something' if one.exists else 'nothing'} at {one.json_path}", came
        )
    expected, fits = _wanted(one)
    wrong = next((value for value in values if not fits(value)), None) if len(values) > 1 else None
    came = f"{excerpt(wrong)} among {len(values)} values" if wrong is not None else came
    return _checked(bool(values) and all(map(fits, values)), f"{expected} at {one.json_path}", came)


def _wanted(one: written.AtPath) -> tuple[str, Callable[[Any], bool]]:
    """Return what every value at a path must be, in words and as a test."""
    if one.one_of is not None:
        options = one.one_of
        return f"one of {excerpt(options)}", lambda value: any(same(value, option) for option in options)
    if one.contains is not None:
        sought = one.contains
        return f"a text that contains {excerpt(sought)}", lambda value: isinstance(value, str) and sought in value
    if one.regex is not None:
        pattern = one.regex
        return f"a match of {excerpt(pattern)}", lambda value: isinstance(value, str) and found(pattern, value)
    if one.min is not None or one.max is not None:
        low, high = one.min, one.max
        return (
            f"a number {_range(low, high)}",
            lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and _within(value, low, high),
        )
    return excerpt(one.equals), lambda value: same(value, one.equals)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range(low: float | None, high: float | None) -> str:
    if low == high:
        return f"of exactly {low:g}"
    if low is None or high is None:
        return f"of at least {low:g}" if low is not None else f"of at most {high:g}"
    return f"from {low:g} to {high:g}"


def expected_call(call: written.Call) -> ExpectedCall:
    """Return a written call as the comparison takes it."""
    exact = {name: Accepted((value,), name in call.optional) for name, value in call.arguments.items()}
    some = {name: Accepted(tuple(values), name in call.optional) for name, values in call.any_of.items()}
    return ExpectedCall(call.name, {**exact, **some}, extra=call.extra, loose=call.text == "loose")


def _made(calls: Sequence[ToolCall]) -> str:
    if not calls:
        return "no tool call"
    words = ", ".join(f"{excerpt(call.name, 40)[1:-1]}({excerpt(call.arguments)[1:-1]})" for call in calls[:3])
    return words + (f" and {len(calls) - 3} more" if len(calls) > 3 else "")


def _calls(calls: Sequence[written.Call], at: Scene, *, ordered: bool = False, others: bool = False) -> Checked:
    given, tools = at.given, at.tools
    expected = [expected_call(call) for call in calls]
    why = calls_mismatch(given.tool_calls, expected, tools, ordered=ordered, others=others)
    names = ", ".join(call.name for call in calls)
    many = "the calls" if len(calls) > 1 else "the call"
    expected_words = f"{'' if others else 'just '}{many} {names}, as written"
    return _checked(why is None, expected_words, _made(given.tool_calls) + (f": {why}" if why is not None else ""))


def _tools_called(one: written.ToolsCalled, at: Scene) -> Checked:
    names = {call.name for call in at.given.tool_calls}
    came = ", ".join(excerpt(name, 40) for name in sorted(names)[:5]) or "no tool call"
    return _checked(names == set(one.tools_called), f"calls of {', '.join(sorted(set(one.tools_called)))}", came)


def _tools_valid(_: written.ToolsValid, at: Scene) -> Checked:
    given, tools = at.given, at.tools
    if not tools:
        raise Undecided("the request offers no tools")
    offered = {str(tool["function"]["name"]) for tool in tools if isinstance(tool.get("function"), Mapping)}
    expected = "calls of offered tools with arguments that fit their schemas"
    if not given.tool_calls:
        return _checked(ok=False, expected=expected, came="no tool call")
    for call in given.tool_calls:
        if call.name not in offered:
            return _checked(ok=False, expected=expected, came=f"a call of {excerpt(call.name)}, which is not offered")
        try:
            arguments = read_json(call.arguments or "{}")
        except ValueError:
            arguments = None
        schema = parameters_of(tools, call.name) or {"type": "object"}
        why = misfit(arguments, schema) if isinstance(arguments, dict) else "the arguments are no JSON object"
        if why is not None:
            return _checked(ok=False, expected=expected, came=f"{_made([call])}: {excerpt(why, 200)[1:-1]}")
    return _checked(ok=True, expected=expected, came=_made(given.tool_calls))


def _count(one: written.ToolCallCount, at: Scene) -> Checked:
    wanted, calls = one.tool_call_count, len(at.given.tool_calls)
    return _checked(
        _within(calls, wanted.min, wanted.max), f"a number of calls {_range(wanted.min, wanted.max)}", str(calls)
    )


def _length(one: written.LengthIs, at: Scene) -> Checked:
    not_empty(at.given)
    counts = {"chars": len(at.given.text), "words": len(at.given.text.split()), "tokens": at.given.tokens}
    passed: Checked | None = None
    for unit, counted in counts.items():
        wanted: written.Count | None = getattr(one.length, unit)
        if wanted is None:
            continue
        if counted is None:
            raise Undecided("the provider told no count of tokens")
        passed = _checked(
            _within(counted, wanted.min, wanted.max), f"{unit} {_range(wanted.min, wanted.max)}", str(counted)
        )
        if passed[0] == "fail":
            return passed
    assert passed is not None
    return passed


def _language(one: written.Language, at: Scene) -> Checked:
    if at.hooks.language is None:
        raise Undecided("nothing here tells languages")
    if not at.given.text.strip():
        raise Undecided("the answer has no text")
    language = at.hooks.language(at.given.text)
    if language is None or not (2 <= len(language) <= 3 and language.isalpha()):
        raise Undecided(f"the language of {excerpt(at.given.text)} cannot be told")
    return _checked(language == one.language, f"the language {one.language}", excerpt(language)[1:-1])


def _latency(one: written.Latency, at: Scene) -> Checked:
    if at.given.latency_s is None:
        raise Undecided("nobody measured how long it took")
    return _checked(at.given.latency_s <= one.latency, f"at most {one.latency:g} s", f"{at.given.latency_s:.3g} s")


def _cost(one: written.Cost, at: Scene) -> Checked:
    if at.given.cost_usd is None:
        raise Undecided("the price of this model is not known")
    return _checked(at.given.cost_usd <= one.cost, f"at most ${one.cost:g}", f"${at.given.cost_usd:.4g}")


def _finish_reason(one: written.FinishReason, at: Scene) -> Checked:
    if at.given.finish_reason is None:
        raise Undecided("the provider told no finish reason")
    expected = " or ".join(one.finish_reason)
    return _checked(
        at.given.finish_reason in one.finish_reason, f"the finish reason {expected}", excerpt(at.given.finish_reason)
    )


def _refusal(one: written.Refusal, at: Scene) -> Checked:
    if at.given.refusal is not None or at.given.finish_reason == "content_filter":
        declined: bool | None = True
    elif at.given.tool_calls and not at.given.text.strip():
        declined = False
    else:
        not_empty(at.given)
        if at.hooks.declined is None:
            raise Undecided("nothing here tells refusals, and the provider signalled none")
        declined = at.hooks.declined(at.given)
    if declined is None:
        raise Undecided(f"whether {excerpt(at.given.text)} declines cannot be told")
    expected = "a refusal" if one.refusal == "expected" else "no refusal"
    came = excerpt(at.given.text) if at.given.text.strip() else "a refusal" if declined else _made(at.given.tool_calls)
    return _checked(
        declined is (one.refusal == "expected"), expected, f"{came} ({'declined' if declined else 'not declined'})"
    )


def _python(one: written.Python, at: Scene) -> Checked:
    if not at.hooks.python:
        raise Undecided("functions of the project may not run (--allow-python)")
    module, _, name = one.python.partition(":")
    with redirect_stdout(sys.stderr):  # what a function prints is no part of the answer
        said = getattr(importlib.import_module(module), name)(at.given)
    ok, why = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    if not isinstance(ok, bool):
        raise Undecided(f"{one.python} returned {type(ok).__name__}, not True or False")
    came = excerpt(at.given.text) + (f": {excerpt(str(why))}" if why is not None else "")
    return _checked(ok, f"{one.python} to agree", came)


def _judge(_: written.Judge, __: Scene) -> Checked:
    raise Undecided("no judge is configured")


def _no_tool_call(_: written.NoToolCall, at: Scene) -> Checked:
    given = at.given
    not_empty(given)
    return _checked(not given.tool_calls, "no tool call", _made(given.tool_calls))


def _starts(one: written.StartsWith, at: Scene) -> Checked:
    text = at.given.text
    return _checked(
        text.startswith(one.starts_with), f"a text that starts with {excerpt(one.starts_with)}", excerpt(text)
    )


def _ends(one: written.EndsWith, at: Scene) -> Checked:
    text = at.given.text
    return _checked(
        text.endswith(one.ends_with), f"a text that ends with {excerpt(one.ends_with)}", excerpt(text[-79:])
    )


Check = Callable[[Any, Scene], Checked]

CHECKS: dict[str, Check] = {
    "equals": _equals,
    "contains": lambda one, at: _holds([one.contains], at.given),
    "icontains": lambda one, at: _holds([one.icontains], at.given, fold=True),
    "contains_any": lambda one, at: _holds(one.contains_any, at.given, every=False),
    "contains_all": lambda one, at: _holds(one.contains_all, at.given),
    "icontains_any": lambda one, at: _holds(one.icontains_any, at.given, fold=True, every=False),
    "icontains_all": lambda one, at: _holds(one.icontains_all, at.given, fold=True),
    "starts_with": _starts,
    "ends_with": _ends,
    "regex": _regex,
    "json": _json,
    "json_schema": _json_schema,
    "json_path": _at_path,
    "tool_call": lambda one, at: _calls([one.tool_call], at, others=True),
    "tool_calls": lambda one, at: _calls(one.tool_calls, at, ordered=one.ordered, others=one.others == "allowed"),
    "tools_called": _tools_called,
    "tools_valid": _tools_valid,
    "no_tool_call": _no_tool_call,
    "tool_call_count": _count,
    "length": _length,
    "language": _language,
    "latency": _latency,
    "cost": _cost,
    "finish_reason": _finish_reason,
    "refusal": _refusal,
    "python": _python,
    "judge": _judge,
}
"""The checks by kind; those that combine others are in `assertions`."""
