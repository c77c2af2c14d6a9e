"""Tool calls of the Berkeley Function Calling Leaderboard: every correct answer is taken, every broken one refused.

Correct answers are built from the published sets of acceptable values: each value of each argument at least once, with
and without each optional argument, calls in any order. Each is then broken in one way at a time.

Run: python -m benchmarks.bfcl [FOLDER], the folder of the data (../shared/data/bfcl by default).
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmmigrate.models import ToolCall
from llmmigrate.regression.tool_calls import Accepted, ExpectedCall, Members, calls_mismatch

CATEGORIES = ("simple_python", "multiple", "parallel")
_LEFT_OUT = ""
"""The leaderboard's sign for: this argument may be left out."""

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Item:
    """One question: the tools that it offers, and what each call may be, by argument."""

    id: str
    tools: list[dict[str, Any]]
    truth: list[tuple[str, dict[str, list[Any]]]]

    @property
    def expected(self) -> list[ExpectedCall]:
        """The acceptable calls, as the product takes them: texts are compared loosely, as the leaderboard does."""
        found = []
        for name, arguments in self.truth:
            properties = self.parameters(name).get("properties", {})
            accepted = {key: accepted_of(values, properties.get(key, {})) for key, values in arguments.items()}
            found.append(ExpectedCall(name, accepted, loose=True))
        return found

    def required(self, name: str) -> set[str]:
        """Return the arguments that a tool requires: a few answers mark one as optional, which its schema overrules."""
        return set(self.parameters(name).get("required", ()))

    def parameters(self, name: str) -> dict[str, Any]:
        return next((tool["function"]["parameters"] for tool in self.tools if tool["function"]["name"] == name), {})


def load(folder: Path, category: str) -> list[Item]:
    """Read the questions of a category with their answers."""
    lines = (folder / f"{category}.answers.jsonl").read_text("utf-8").splitlines()
    truths = {one["id"]: one["ground_truth"] for one in map(json.loads, filter(None, lines))}
    items = []
    for line in (folder / f"{category}.jsonl").read_text("utf-8").splitlines():
        if line:
            one = json.loads(line)
            tools = [{"type": "function", "function": function} for function in one["function"]]
            items.append(Item(one["id"], tools, [next(iter(call.items())) for call in truths[one["id"]]]))
    return items


def accepted_of(values: Sequence[Any], schema: Mapping[str, Any]) -> Accepted:
    """Return a published set of acceptable values; inside objects, each member has a set of its own."""
    some = tuple(_with_members(value, schema) for value in values if value != _LEFT_OUT)
    return Accepted(some, optional=_LEFT_OUT in values)


def _with_members(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        of = schema.get("properties", {})
        return Members({key: accepted_of(some, of.get(key, {})) for key, some in value.items()})
    if isinstance(value, list):
        return [_with_members(item, schema.get("items", {})) for item in value]
    return value


def concrete(value: Any) -> list[Any]:
    """Return plain values that an acceptable one stands for: the first of all, and each other choice once."""
    if isinstance(value, dict):
        return [dict(one) for one in combinations(value, set())]
    if isinstance(value, list):
        options = [concrete(item) for item in value]
        first = [some[0] for some in options]
        return [first] + [[*first[:at], one, *first[at + 1 :]] for at, some in enumerate(options) for one in some[1:]]
    return [value]


def combinations(arguments: Mapping[str, list[Any]], required: set[str]) -> Iterator[list[tuple[str, Any]]]:
    """Yield choices of arguments: the first of all, each other value once, and what may be left out left out."""
    options = {
        name: [one for value in values if value != _LEFT_OUT for one in concrete(value)]
        for name, values in arguments.items()
    }
    first = {name: some[0] for name, some in options.items() if some}
    yield list(first.items())
    for name, some in options.items():
        for one in some[1:]:
            yield list({**first, name: one}.items())
    optional = {name for name, values in arguments.items() if _LEFT_OUT in values} - required
    if optional:
        yield [(name, one) for name, one in first.items() if name not in optional]
        for name in sorted(optional & first.keys()):
            yield [(key, one) for key, one in first.items() if key != name]


def correct(item: Item) -> Iterator[list[Call]]:
    """Yield correct answers to a question, their calls in the order of its answers."""
    choices = [[dict(one) for one in combinations(arguments, item.required(name))] for name, arguments in item.truth]
    names = [name for name, _ in item.truth]
    first = [some[0] for some in choices]
    yield list(zip(names, first, strict=True))
    for at, some in enumerate(choices):
        for one in some[1:]:
            yield list(zip(names, [*first[:at], one, *first[at + 1 :]], strict=True))
    for at, arguments in enumerate(first):
        for key, value in arguments.items():
            if isinstance(value, float) and value.is_integer():
                yield list(zip(names, [*first[:at], {**arguments, key: int(value)}, *first[at + 1 :]], strict=True))
            if isinstance(value, str):
                louder = {**arguments, key: value.upper().replace(" ", "-")}
                yield list(zip(names, [*first[:at], louder, *first[at + 1 :]], strict=True))


def broken(item: Item, calls: Sequence[Call]) -> Iterator[tuple[str, list[Call]]]:
    """Yield a correct answer broken in one way at a time, each with the name of the way."""
    for at, (name, arguments) in enumerate(calls):
        before, after = list(calls[:at]), list(calls[at + 1 :])
        parameters = item.parameters(name)
        for key in parameters.get("required", ()):
            if key in arguments:
                less = {other: value for other, value in arguments.items() if other != key}
                yield "required argument dropped", [*before, (name, less), *after]
        for key, value in arguments.items():
            accepted = item.truth[at][1][key]
            yield "wrong type", [*before, (name, {**arguments, key: _other_type(value)}), *after]
            changed = _changed(value)
            if not _among(changed, accepted):
                yield "value outside the set", [*before, (name, {**arguments, key: changed}), *after]
        yield "argument invented", [*before, (name, {**arguments, "invented_argument": 1}), *after]
        yield "wrong name", [*before, (f"{name}_v2", arguments), *after]
        for tool in item.tools:
            if tool["function"]["name"] != name:
                yield "wrong name", [*before, (tool["function"]["name"], arguments), *after]
        yield "extra call", [*calls, (name, arguments)]
        yield "call missing", [*before, *after]
        yield from _repeated(item, calls, at)
    for tool in item.tools:
        yield "extra call", [*calls, (tool["function"]["name"], {})]


def _repeated(item: Item, calls: Sequence[Call], at: int) -> Iterator[tuple[str, list[Call]]]:
    """Yield another call of the same tool in place of the one at an index, where that may not be this one."""
    allowed = item.truth[at][1]
    for other, (name, there) in enumerate(calls):
        differs = any(not _among(value, allowed.get(key, [])) for key, value in there.items())
        if other != at and name == calls[at][0] and differs:
            yield "another call repeated", [*calls[:at], (name, there), *calls[at + 1 :]]


def _other_type(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return [value]
    return json.dumps(value)


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value} elsewhere"
    if isinstance(value, list):
        return [*value[:-1], _changed(value[-1])] if value else [0]
    if isinstance(value, dict):
        key = next(iter(value))
        return {**value, key: _changed(value[key])}
    return "something"


def _among(value: Any, accepted: Sequence[Any]) -> bool:
    """Tell whether a changed value is itself one of the acceptable ones, texts aside from how they are written."""

    def plain(one: Any) -> str:
        return "".join(sign for sign in json.dumps(one).lower() if sign.isalnum())

    return any(plain(value) == plain(one) for some in accepted if some != _LEFT_OUT for one in concrete(some))


def taken(item: Item, calls: Sequence[Call]) -> bool:
    """Tell whether the product takes these calls for the expected ones."""
    made = [ToolCall(f"call_{number}", name, json.dumps(arguments)) for number, (name, arguments) in enumerate(calls)]
    return calls_mismatch(made, item.expected, item.tools) is None


@dataclass
class Tally:
    """How many answers there were, how many were taken, and the first that should not have been."""

    n: int = 0
    taken: int = 0
    example: str = ""


def measure(items: Sequence[Item]) -> tuple[Tally, dict[str, Tally]]:
    """Return the tally of correct answers, and of broken ones by the way that they are broken."""
    right, wrong = Tally(), {}
    for item in items:
        for number, calls in enumerate(correct(item)):
            _count(right, item, calls, want=True)
            if len(calls) > 1:
                _count(right, item, calls[::-1], want=True)
            if number < 2:
                for way, bad in broken(item, calls):
                    _count(wrong.setdefault(way, Tally()), item, bad, want=False)
    return right, wrong


def _count(tally: Tally, item: Item, calls: Sequence[Call], *, want: bool) -> None:
    was = taken(item, calls)
    tally.n += 1
    tally.taken += was
    if was is not want and not tally.example:
        tally.example = f"{item.id}: {json.dumps(calls)}"


def main(folder: Path) -> int:
    total: Counter[str] = Counter()
    failed = False
    for category in CATEGORIES:
        items = load(folder, category)
        right, wrong = measure(items)
        failed |= right.taken != right.n
        print(f"{category}: {len(items)} questions")
        print(f"  {'correct answers taken':28}{right.taken:7,} of {right.n:7,}  {right.taken / right.n:8.2%}")
        for way, tally in sorted(wrong.items()):
            refused = tally.n - tally.taken
            total.update(n=tally.n, refused=refused)
            print(f"  {way:28}{refused:7,} of {tally.n:7,}  {refused / tally.n:8.2%} refused")
        for example in (right.example, *(tally.example for tally in wrong.values())):
            if example:
                print(f"    {example[:300]}")
    share = total["refused"] / total["n"]
    print(f"broken answers refused: {total['refused']:,} of {total['n']:,} ({share:.3%})")
    return int(failed or share < 0.995)


if __name__ == "__main__":
    data = os.environ.get("LLMMIGRATE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(data) / "bfcl"))
