"""Tests of promptfoo: rows of a table, combinations of variables, variables inside variables.

Columns and the short form of assertions: `site/docs/configuration/test-cases.md` and `expected-outputs/index.md` of
promptfoo/promptfoo.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmmigrate.document.source import Path, Source, Wording, read
from llmmigrate.exceptions import DocumentInvalid
from llmmigrate.regression.promptfoo_assertions import KNOWN
from llmmigrate.regression.suite_model import MAX_CASES
from llmmigrate.regression.variables import UnknownVariable, filled

_TRUTH = re.compile(r"true|false", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?([0-9]+|0x[0-9a-fA-F]+)")


WORDING = Wording(
    "a promptfoo configuration is a mapping of keys such as prompts and tests",
    "write fewer tests, or several files",
    "nested too deeply",
)


def as_yaml_1_2(source: Source, text: str, value: Any = None, path: Path = ()) -> Any:
    """Return the data of a source as YAML 1.2 has it, which promptfoo reads: `yes` and `12:30` are texts there."""
    value = source.data if not path else value
    if isinstance(value, dict):
        return {key: as_yaml_1_2(source, text, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [as_yaml_1_2(source, text, item, (*path, number)) for number, item in enumerate(value)]
    if isinstance(value, (bool, int, float)):
        start, end = source.spans[path]
        raw = text[start:end].strip()
        plain = _TRUTH if isinstance(value, bool) else _INTEGER
        if (":" in raw or "_" in raw) if isinstance(value, float) else not plain.fullmatch(raw):
            return raw
    return value


def yaml_1_2(text: str, name: str) -> Any:
    """Read YAML of any kind, a list or a mapping, as promptfoo does; raises ValueError with the line."""
    nested = "it:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    try:
        return as_yaml_1_2(read(nested.encode(), name, wording=WORDING), nested)["it"]
    except DocumentInvalid as error:
        first = error.problems[0]
        raise ValueError(f"{name}:{max(1, first.line - 1)}:{max(1, first.column - 2)}: {first.message}") from error


def composed(variables: dict[str, Any]) -> dict[str, Any]:
    """Fill variables that stand in variables, as promptfoo does, a few levels deep."""
    for _ in range(5):
        plain = {name: value for name, value in variables.items() if not is_file(value)}
        again = {}
        for name, value in variables.items():
            others = {key: other for key, other in plain.items() if key != name}
            try:
                again[name] = value if is_file(value) else filled(value, others)
            except UnknownVariable:
                again[name] = value
        if again == variables:
            break
        variables = again
    return variables


def choices(variables: dict[str, Any], *, expand: bool) -> Iterator[dict[str, Any]]:
    """Yield each combination of variables that are lists, as promptfoo runs them."""
    lists = [name for name, value in variables.items() if expand and isinstance(value, list) and value]
    for values in itertools.islice(itertools.product(*(variables[name] for name in lists)), MAX_CASES):
        yield {**variables, **dict(zip(lists, values, strict=True))}


def of_row(row: Mapping[str | None, Any]) -> dict[str, Any]:
    """Read a row of a CSV file of tests: `__expected` and its like, every other column a variable."""
    test: dict[str, Any] = {"vars": {}, "assert": [], "options": {}, "metadata": {}}
    for column, value in row.items():
        key = (column or "").strip()
        if key.startswith("__expected"):
            if value:
                test["assert"].append(_expected(value))
        elif key in ("__prefix", "__suffix"):
            test["options"][key[2:]] = value
        elif key == "__description":
            test["description"] = value
        elif key.startswith("__metadata:"):
            test["metadata"][key.removeprefix("__metadata:")] = value
        elif key.startswith("__"):
            test[key] = value
        else:
            test["vars"][key] = value
    return {key: value for key, value in test.items() if value}


def _expected(text: str) -> dict[str, Any]:
    """Read the short form of an assertion: `type:value`, `type(threshold):value`, or a text that is to be equalled."""
    found = re.match(
        r"(?s)(?P<type>(?:not-)?[a-z][a-z0-9-]*)(?:\((?P<threshold>[0-9.]+)\))?(?::\s?(?P<value>.*))?$", text.strip()
    )
    kinds = (
        *KNOWN,
        "javascript",
        "python",
        "fn",
        "grade",
        "similar",
        "factuality",
        "levenshtein",
        "webhook",
        "rouge-n",
    )
    if found is None or found["type"].removeprefix("not-") not in kinds:
        return {"type": "equals", "value": text}
    kind = {"grade": "llm-rubric", "fn": "javascript"}.get(found["type"], found["type"])
    value: Any = found["value"]
    if kind.endswith(("-any", "-all")) and value is not None:
        value = [one.strip() for one in next(csv.reader([value], skipinitialspace=True), [])]
    threshold = {"threshold": float(found["threshold"])} if found["threshold"] else {}
    return {"type": kind, **({"value": value} if value is not None else {}), **threshold}


def is_file(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(item)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
