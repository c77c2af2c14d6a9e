"""From a file to a checked regression suite: every error at its place, every file that it names read and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from llmmigrate.document.source import Path, Source, Wording, read
from llmmigrate.exceptions import DocumentInvalid, Problem
from llmmigrate.redaction import secret_in
from llmmigrate.regression.building import Builder, placed_in
from llmmigrate.regression.cases import Case
from llmmigrate.regression.suite_files import FileReader, ProjectFiles, no_files
from llmmigrate.regression.suite_model import WrittenSuite


@dataclass(frozen=True, slots=True)
class Suite:
    """A checked suite.

    `hash` covers its content and that of every file it names; `files` are those, by SHA-256. `waived` has what is not
    watched of its answers, by name, with the reason.
    """

    name: str
    cases: tuple[Case, ...]
    hash: str
    files: Mapping[str, str]
    waived: Mapping[str, str]
    source: Source = field(repr=False, compare=False)


def load_suite(file: FilePath, *, root: FilePath | None = None) -> Suite:
    """Read and check a suite; `root` is the folder that its paths begin at, its own by default.

    Raises DocumentInvalid with all problems at once; they name the file as it is called from `root`.
    """
    root = root if root is not None else file.parent
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    try:
        raw = file.read_bytes()
    except OSError as error:
        words = f"the suite cannot be read: {error.strerror}"
        raise DocumentInvalid([Problem(name, 1, 1, "", words)]) from error
    return read_suite(raw, name, files=ProjectFiles(root))


def read_suite(raw: bytes, name: str, *, files: FileReader = no_files) -> Suite:
    """Check one suite given as bytes; raises DocumentInvalid with all problems at once."""
    source = read(raw, name, wording=_WORDING)
    try:
        suite = WrittenSuite.model_validate(source.data)
    except ValidationError as error:
        raise DocumentInvalid(_in_order([placed_in(source, detail) for detail in error.errors()])) from error
    builder = Builder(source, files)
    cases = [builder.case(number, suite) for number in range(len(suite.cases))]
    problems = [*builder.problems, *_twice(source, suite), *_secrets(source, source.data, ())]
    if problems:
        raise DocumentInvalid(_in_order(problems))
    return Suite(
        name=suite.name or FilePath(name).stem,
        cases=tuple(case for case in cases if case is not None),
        hash=suite_hash(source.data, builder.hashes),
        files=builder.hashes,
        waived={name: one.waived for name, one in suite.watch.items()},
        source=source,
    )


def suite_hash(data: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Return the SHA-256 (hex) of a suite's content; `files` are the hashes of those that it names, by path.

    Comments, white space and the order of keys do not change it. A null does: it may be an expected value.
    """
    text = json.dumps({"suite": data, "files": files}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a suite: for editors, and for whoever writes suites by program."""
    schema = WrittenSuite.model_json_schema(mode="validation", by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmmigrate regression suite",
        **{key: _any_of(value) for key, value in schema.items() if key != "title"},
    }


def _any_of(schema: Any) -> Any:
    """Say `anyOf` where a union is told apart by looking at the value: two branches may allow what one takes."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
    return [_any_of(item) for item in schema] if isinstance(schema, list) else schema


_WORDING = Wording(
    "a suite is a mapping with cases",
    "put long texts and images into files of their own",
    "nested too deeply: put schemas and tools into files of their own",
)


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _twice(source: Source, suite: WrittenSuite) -> list[Problem]:
    seen: dict[str, int] = {}
    problems = []
    for number, case in enumerate(suite.cases):
        if case.id in seen:
            problems.append(source.problem(("cases", number, "id"), f"case {seen[case.id] + 1} has this id already"))
        seen.setdefault(case.id, number)
    return problems


def _secrets(source: Source, value: Any, path: Path) -> list[Problem]:
    if isinstance(value, str):
        kind = secret_in(value)
        return [source.problem(path, f"holds {kind}: secrets never stand in a suite")] if kind is not None else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [problem for key, item in items for problem in _secrets(source, item, (*path, key))]
