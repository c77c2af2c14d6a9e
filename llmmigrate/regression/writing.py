"""Suites made by program: YAML that reads back as the same data, with what could not be taken said by name."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from llmmigrate.document.source import MAX_DEPTH, read
from llmmigrate.exceptions import DocumentInvalid

MAX_ID = 60
_ONE_LINE = 80
_DEEPEST = MAX_DEPTH - 2
_ONE_FOR_ALL = ("system", "tools", "tool_choice", "response_format", "params")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that an importer could not take: where it stands in what was read, and what it is."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Imported:
    """A suite as plain data, and what of its origin is not in it."""

    data: dict[str, Any]
    left_out: tuple[LeftOut, ...]

    @property
    def asserting(self) -> int:
        """How many cases can show that nothing got worse: those that assert anything, known failures aside."""
        return sum(bool(case.get("assert")) and case.get("kind") != "failure" for case in self.data["cases"])

    def text(self, *heading: str) -> str:
        """Return the suite as YAML, below a heading and what was left out; raises ValueError as `written` does."""
        comments = [*heading]
        if self.left_out:
            comments += ["Not taken over:", *(f"- {one}" for one in self.left_out)]
        return written(self.data, comments)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT002 (PyYAML's)
        """Indent the entries of a list, as people write them."""
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = all(sign.isprintable() or sign == "\n" for sign in text)
    style = None if plain and "\n" not in text else "|" if plain else '"'  # only quotes escape what does not print
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _short(value: Any) -> bool:
    """Tell whether a mapping or list reads better on one line: it is short."""
    return len(repr(value)) <= _ONE_LINE and "\\n" not in repr(value)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=_short(value))


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.SequenceNode:
    flow = not any(isinstance(item, (dict, list)) for item in value) and _short(value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _list)


def written(data: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return plain data as YAML that a suite is read from, below comments.

    Raises ValueError where it would not read back as the same data: it is too large, too deep, or not plain.
    """
    head = "".join(f"# {line}\n" for comment in comments for line in _lines(comment))
    try:
        body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        text = head + body
        back = read(text.encode("utf-8"), "suite").data
        same = json.dumps(back, sort_keys=True) == json.dumps(data, sort_keys=True)
    except (TypeError, yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError("this cannot be written as YAML: it is nested too deeply, or not plain data") from error
    except DocumentInvalid as error:
        raise ValueError(f"this cannot be written as a suite: {error.problems[0].message}") from error
    if not same:
        raise ValueError("this cannot be written as YAML: it does not read back as the same")
    return text


def _lines(comment: str) -> Iterable[str]:
    for line in comment.splitlines() or [""]:
        yield "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


def writable(value: Any, depth: int = 0) -> bool:
    """Tell whether plain data can stand in a case: text that is UTF-8, numbers that JSON has, and not too deep."""
    if isinstance(value, str):
        return not any("\ud800" <= sign <= "\udfff" for sign in value)
    if isinstance(value, dict):
        keys = all(isinstance(key, str) and writable(key) for key in value)
        return keys and depth < _DEEPEST and all(writable(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return depth < _DEEPEST and all(writable(item, depth + 1) for item in value)
    return value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


class LeftOuts:
    """Gathers what is left out of many like things: each is said once, with its first place and how often it came."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def __call__(self, where: str, what: str) -> None:
        self._first.setdefault(what, where)
        self._count[what] += 1

    def all(self) -> tuple[LeftOut, ...]:
        """Return them in the order in which each came first."""
        return tuple(
            LeftOut(where, what + (f" (and {self._count[what] - 1} more)" if self._count[what] > 1 else ""))
            for what, where in self._first.items()
        )


class Ids:
    """Gives ids that no other case has, from words that say what a case is about."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, words: str) -> str:
        """Return an id of letters, digits and hyphens; a number follows where it is taken."""
        stem = re.sub(r"[^a-z0-9]+", "-", words[:500].lower()).strip("-")[:MAX_ID].strip("-") or "case"
        found, number = stem, 2
        while found in self._taken:
            found, number = f"{stem}-{number}", number + 1
        self._taken.add(found)
        return found


def with_defaults(cases: Sequence[dict[str, Any]], **top: Any) -> dict[str, Any]:
    """Return a suite whose defaults say once what all of its cases say alike."""
    defaults: dict[str, Any] = {}
    if len(cases) > 1:
        for key in _ONE_FOR_ALL:
            if all(key in case and case[key] == cases[0].get(key) for case in cases):
                defaults[key] = cases[0][key]
        alike = {
            name: value
            for name, value in cases[0].get("vars", {}).items()
            if all(name in case.get("vars", {}) and case["vars"][name] == value for case in cases)
        }
        if alike:
            defaults["vars"] = alike
    rest = [_without(case, defaults) for case in cases]
    general = top.pop("defaults", {})
    joined = {**general, **defaults}
    return {**top, **({"defaults": joined} if joined else {}), "cases": rest}


def _without(case: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in case.items() if key not in defaults or key == "vars"}
    if "vars" in defaults and "vars" in rest:
        own = {name: value for name, value in rest["vars"].items() if name not in defaults["vars"]}
        rest = {key: value for key, value in rest.items() if key != "vars"} | ({"vars": own} if own else {})
    return rest
