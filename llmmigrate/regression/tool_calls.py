"""Whether a model's tool calls are the ones that were expected.

The rules are those of the Berkeley Function Calling Leaderboard (`ast_checker.py` of ShishirPatil/gorilla, Apache-2.0),
where they are right for production, and stricter or plainer elsewhere:

- An argument has a set of acceptable values, and may be optional. One that the tool's schema requires never is.
- One that is left out stands for the schema's `default`, and one that says the default is no surprise.
- An argument that is not expected is refused, unless `extra` arguments are allowed.
- An integer may stand for a float (5 for 5.0), never a float for an integer (5.0 for 5), a text for a number ("5" for
  5), or a truth value for a number. What a number is comes from the schema, else from the expected value.
- Lists are equal in order, objects by keys, at any depth.
- Texts are equal exactly, or, where `loose`, as the leaderboard compares them: without spaces and , . / - _ * ^, in
  lower case, and with any quotation mark.
- Parallel calls have no order, unless one is asked for: each expected call takes one call of its own, by a largest
  matching, where the leaderboard takes the first that fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmmigrate.models import ToolCall
from llmmigrate.patterns import Undecided
from llmmigrate.regression.excerpts import excerpt
from llmmigrate.regression.json_answers import read_json


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one argument may be: one of `values`, each plain data or `Members`; nothing, where it is `optional`."""

    values: tuple[Any, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """An object each of whose members has acceptable values of its own."""

    fields: Mapping[str, Accepted]


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call that is expected, with what each argument may be."""

    name: str
    arguments: Mapping[str, Accepted] = field(default_factory=dict)
    extra: bool = False
    loose: bool = False


Schema = Mapping[str, Any]
_NO_SCHEMA: Schema = {}
_LEFT_OUT = re.compile(r"[ ,./\-_*^]")


def parameters_of(tools: Sequence[Mapping[str, Any]], name: str) -> Schema:
    """Return the schema of a tool's arguments; `tools` are OpenAI-shaped. Empty where there is none."""
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, Mapping) and function.get("name") == name:
            parameters = function.get("parameters")
            return parameters if isinstance(parameters, Mapping) else _NO_SCHEMA
    return _NO_SCHEMA


def mismatch(call: ToolCall, expected: ExpectedCall, schema: Schema = _NO_SCHEMA) -> str | None:
    """Say in a few words why a call is not the expected one, None where it is; `schema` is that of its arguments."""
    if call.name != expected.name:
        return f"it calls {excerpt(call.name)}"
    try:
        given = read_json(call.arguments or "{}")
    except ValueError:
        return f"its arguments are no JSON: {excerpt(call.arguments)}"
    except Undecided as error:
        return f"its arguments cannot be read: {error}"
    if not isinstance(given, dict):
        return f"its arguments are no object: {excerpt(call.arguments)}"
    return _members_mismatch(given, expected.arguments, schema, extra=expected.extra, loose=expected.loose)


def calls_mismatch(
    calls: Sequence[ToolCall],
    expected: Sequence[ExpectedCall],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    ordered: bool = False,
    others: bool = False,
) -> str | None:
    """Say in a few words why calls are not the expected ones, None where they are.

    Each expected call is made once. `others` allows more calls beside them; `ordered` wants them in their order.
    """
    if len(calls) < len(expected) or (len(calls) > len(expected) and not others):
        names = ", ".join(excerpt(call.name) for call in calls[:5]) + (", …" if len(calls) > 5 else "")
        return f"{len(calls)} calls came, not {len(expected)}" + (f": {names}" if names else "")
    schemas = [parameters_of(tools, one.name) for one in expected]
    misfits = [[mismatch(call, one, schema) for call in calls] for one, schema in zip(expected, schemas, strict=True)]
    fits = [[number for number, why in enumerate(row) if why is None] for row in misfits]
    taken = _in_order(fits) if ordered else _largest_matching(fits)
    for one, choice, row in zip(expected, taken, misfits, strict=True):
        if choice is None:
            nearest = next((why for call, why in zip(calls, row, strict=True) if why and call.name == one.name), None)
            order = " in this order" if ordered and None in row else ""
            return f"no call of its own{order} is the expected {one.name}" + (f": {nearest}" if nearest else "")
    return None


def _in_order(fits: Sequence[Sequence[int]]) -> list[int | None]:
    taken: list[int | None] = []
    last = -1
    for row in fits:
        choice = next((number for number in row if number > last), None)
        taken.append(choice)
        last = choice if choice is not None else last
    return taken


def _largest_matching(fits: Sequence[Sequence[int]]) -> list[int | None]:
    """Give each row a number of its own, to as many as can have one (Kuhn's augmenting paths)."""
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for number in fits[row]:
            if number not in seen:
                seen.add(number)
                if number not in owner or place(owner[number], seen):
                    owner[number] = row
                    return True
        return False

    for row in range(len(fits)):
        place(row, set())
    of_row = {row: number for number, row in owner.items()}
    return [of_row.get(row) for row in range(len(fits))]


def _members_mismatch(
    given: Mapping[str, Any], expected: Mapping[str, Accepted], schema: Schema, *, extra: bool, loose: bool
) -> str | None:
    properties = _mapping(schema.get("properties"))
    required = schema.get("required")
    required = required if isinstance(required, Sequence) else ()
    for name, accepted in expected.items():
        about = _mapping(properties.get(name))
        if name in given:
            if not _acceptable(given[name], accepted, about, loose=loose):
                return f"{name} is {excerpt(given[name])}, not {_alternatives(accepted)}"
        elif name in required or not (accepted.optional or _stands_for_default(accepted, about, loose=loose)):
            return f"{name} is missing"
    for name, value in given.items():
        about = _mapping(properties.get(name))
        default = "default" in about and _fits(value, about["default"], about, loose=loose)
        if name not in expected and not extra and not default:
            return f"{excerpt(name)} is not expected ({excerpt(value)})"
    return None


def _stands_for_default(accepted: Accepted, about: Schema, *, loose: bool) -> bool:
    return "default" in about and _acceptable(about["default"], accepted, about, loose=loose)


def _alternatives(accepted: Accepted) -> str:
    words = [excerpt(_plain(value), 40) for value in accepted.values[:3]]
    return " or ".join(words) + (" or …" if len(accepted.values) > 3 else "") if words else "expected at all"


def _plain(value: Any) -> Any:
    if isinstance(value, Members):
        return {name: [_plain(one) for one in accepted.values] for name, accepted in value.fields.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _acceptable(value: Any, accepted: Accepted, about: Schema, *, loose: bool) -> bool:
    return any(_fits(value, one, about, loose=loose) for one in accepted.values)


def _fits(value: Any, wanted: Any, about: Schema, *, loose: bool) -> bool:
    if isinstance(wanted, Members):
        return isinstance(value, dict) and (
            _members_mismatch(value, wanted.fields, about, extra=False, loose=loose) is None
        )
    if isinstance(wanted, Mapping):
        of = _mapping(about.get("properties"))
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(_fits(value[key], one, _mapping(of.get(key)), loose=loose) for key, one in wanted.items())
        )
    if isinstance(wanted, (list, tuple)):
        items = _mapping(about.get("items"))
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_fits(item, one, items, loose=loose) for item, one in zip(value, wanted, strict=True))
        )
    if isinstance(wanted, str):
        return isinstance(value, str) and (value == wanted or (loose and _loosely(value) == _loosely(wanted)))
    if wanted is None or isinstance(wanted, bool):
        return value is wanted
    return _number_fits(value, wanted, about)


def _number_fits(value: Any, wanted: float, about: Schema) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != wanted:
        return False
    kind = about.get("type")
    kinds = (kind,) if isinstance(kind, str) else tuple(kind) if isinstance(kind, Sequence) else ()
    if "number" in kinds or "float" in kinds:
        return True
    whole = "integer" in kinds or isinstance(wanted, int)
    return isinstance(value, int) or not whole


def _loosely(text: str) -> str:
    return _LEFT_OUT.sub("", text).lower().replace("'", '"')


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NO_SCHEMA
