"""From a file to a checked migration, with every error at its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from llmmigrate.document.canonical import content_hash
from llmmigrate.document.cross import cross_problems, moving_parts
from llmmigrate.document.prompts import (
    PromptFiles,
    PromptReader,
    Side,
    nowhere,
    prompt_path,
    read_prompts,
    seal,
    unseal,
)
from llmmigrate.document.source import MAX_BYTES, Path, Source, read
from llmmigrate.exceptions import DocumentInvalid, Problem

if TYPE_CHECKING:
    from llmmigrate.document.model import Migration


@dataclass(frozen=True)
class Document:
    """A checked document: its text, its content hash, its values, and the texts of the prompts that it names."""

    name: str
    text: str
    hash: str
    source: Source = field(repr=False, compare=False)
    prompts: Mapping[str, str] = field(repr=False, compare=False, default_factory=dict)

    @cached_property
    def migration(self) -> Migration:
        """The document as typed values; raises DocumentInvalid with all problems at once.

        They are read when they are first asked for: what only looks at documents that were applied, and so were valid,
        needs few of them, and the model's library is slow to load.
        """
        from pydantic import ValidationError

        from llmmigrate.document import model

        source = self.source
        problems = [source.problem(path, message) for path, message in cross_problems(source.data)]
        if not problems and self.prompts and self.moves("current") == self.moves("target"):
            problems = [source.problem(("target",), "current and target are the same, and so are their prompts")]
        try:
            migration = model.Migration.model_validate(source.data)
        except ValidationError as error:
            problems += [placed(source, detail) for detail in error.errors()]
            raise DocumentInvalid(_in_order(problems)) from error
        if problems:
            raise DocumentInvalid(_in_order(problems))
        return migration

    @property
    def revision(self) -> str:
        return str(self.source.data["revision"])

    @property
    def down_revision(self) -> str | None:
        down = self.source.data.get("down_revision")
        return str(down) if down is not None else None

    @property
    def route(self) -> str:
        return str(self.source.data["route"])

    @property
    def sealed(self) -> str:
        """The text with the prompts, as history keeps it: `load_applied` reads it."""
        return seal(self.text, self.prompts)

    def system(self, side: Side) -> str | None:
        """Return the text of a side's prompt, None where it has none."""
        path = prompt_path(self.source.data, side)
        return self.prompts[path] if path is not None else None

    def moves(self, side: Side) -> dict[str, Any]:
        """Return what moves as one unit: model, parameters, prompt (its text) and address, without what is empty."""
        parts, text = moving_parts(self.source.data[side]), self.system(side)
        return {**parts, "system": text} if text is not None else parts

    def value(self, *path: str, default: Any = None) -> Any:
        """Return what is written at a path of keys, `default` where nothing is."""
        data: Any = self.source.data
        for key in path:
            data = data.get(key) if isinstance(data, dict) else None
        return default if data is None else data

    def problem(self, path: Path, message: str) -> Problem:
        """Place a message at a path of the document, or at its nearest written parent."""
        return self.source.problem(path, message)


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def load_text(
    text: str, name: str, *, prompts: PromptReader = nowhere, trusted: frozenset[str] = frozenset()
) -> Document:
    """Check one document given as text; raises DocumentInvalid with all problems at once.

    `prompts` reads those that it names. One whose content hash is `trusted` was checked before, when it was applied.
    """
    source = _parsed(text, name)
    texts, problems = read_prompts(source, prompts)
    if problems:
        try:
            _ = Document(name, text, "", source).migration
        except DocumentInvalid as error:
            problems += error.problems
        raise DocumentInvalid(_in_order(problems))
    return _checked(text, name, tuple(texts.items()), trusted)


def load_applied(sealed: str, name: str) -> Document:
    """Read a document as it was applied, with its prompts, from what history keeps; raises DocumentInvalid."""
    text, prompts = unseal(sealed)
    return _checked(text, name, tuple(prompts.items()), frozenset())


def edited_part(document: Document, sealed: str | None) -> str:
    """Name the file in which a document differs from what was applied: a prompt, where only that was edited."""
    before = load_applied(sealed, document.name).prompts if sealed is not None else {}
    alike = document.sealed != sealed and document.prompts.keys() == before.keys()
    edited = [path for path, text in document.prompts.items() if alike and text != before[path]]
    return edited[0] if edited else document.name


@lru_cache(maxsize=256)
def _parsed(text: str, name: str) -> Source:
    return read(text.encode("utf-8"), name)


@lru_cache(maxsize=256)
def _checked(text: str, name: str, prompts: tuple[tuple[str, str], ...], trusted: frozenset[str]) -> Document:
    source = _parsed(text, name)
    texts = dict(prompts)
    content = {**source.data, "prompts": texts} if texts else source.data
    document = Document(name, text, content_hash(content), source, texts)
    if document.hash not in trusted:
        _ = document.migration
    return document


def load_file(file: FilePath, *, root: FilePath, trusted: frozenset[str] = frozenset()) -> Document:
    """Read and check one document; `root` is the folder of its project, where prompts are. Raises DocumentInvalid."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentInvalid([Problem(file.name, 1, 1, "", f"not UTF-8 text (byte {error.start})")]) from error
    except OSError as error:
        raise DocumentInvalid([Problem(file.name, 1, 1, "", f"cannot be read: {error.strerror}")]) from error
    return load_text(text, file.name, prompts=PromptFiles(root), trusted=trusted)


def load_folder(folder: FilePath, *, root: FilePath) -> list[Document]:
    """Read all `*.yaml` and `*.yml` of a folder by name; raises DocumentInvalid with every problem."""
    documents, broken = load_readable(folder, root=root)
    if broken:
        raise DocumentInvalid([problem for error in broken for problem in error.problems])
    return documents


def load_readable(
    folder: FilePath, *, root: FilePath, trusted: frozenset[str] = frozenset()
) -> tuple[list[Document], list[DocumentInvalid]]:
    """Read what can be read of a folder; return the documents, and the error of each file that is none.

    An error names the route that its file is about, where the file still says so. Documents whose content hash is
    `trusted` were checked when they were applied, and are not checked again.
    """
    documents: list[Document] = []
    broken: list[DocumentInvalid] = []
    for file in sorted(file for ending in ("*.yaml", "*.yml") for file in folder.glob(ending)):
        try:
            documents.append(load_file(file, root=root, trusted=trusted))
        except DocumentInvalid as error:
            broken.append(DocumentInvalid(error.problems, route=_route_of(file)))
    return documents, broken


_ROUTE_LINE = re.compile(rb"""^route: *["']?([a-z0-9][a-z0-9._-]{0,62})["']? *(?:#.*)?\r?$""", re.MULTILINE)


def _route_of(file: FilePath) -> str | None:
    """Find the route that a broken document is about by its line, None where there is no such line."""
    try:
        with file.open("rb") as handle:
            found = _ROUTE_LINE.search(handle.read(MAX_BYTES))
    except OSError:
        return None
    return found[1].decode("ascii") if found is not None else None


def placed(source: Source, detail: object) -> Problem:
    """Place one error of the values' library where it is written, in words of our own."""
    assert isinstance(detail, dict)
    path = _written_path(source.data, detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        return source.problem(path, "this version knows no such key (it is refused rather than ignored)")
    if kind == "missing":
        return source.problem(path, "is missing")
    return source.problem(path, worded(detail))


_TYPES = {
    "model_type": "a mapping of keys", "dict_type": "a mapping of keys", "list_type": "a list",
    "bool_type": "true or false", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number",
}  # fmt: skip
_BOUNDS = {
    "greater_than_equal": "{ge:,.12g} or more", "greater_than": "more than {gt:,.12g}",
    "less_than_equal": "{le:,.12g} at most", "less_than": "less than {lt:,.12g}",
    "string_too_long": "a text of {max_length} characters at most",
    "too_short": "a list of {min_length} or more", "too_long": "a list of {max_length} at most",
    "string_pattern_mismatch": "written as the pattern {pattern} says",
}  # fmt: skip


def worded(detail: Mapping[str, Any]) -> str:
    """Say what an error of the values' library is about in words of whoever writes YAML or JSON."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind].format(**context)}"
    if kind == "string_type":
        plain = isinstance(detail["input"], (bool, int, float))
        return "must be a text: put it in quotes" if plain else "must be a text"
    if kind == "string_too_short":
        return "must not be empty" if context["min_length"] == 1 else f"must have {context['min_length']} characters"
    if kind == "literal_error":
        return f"must be {context['expected'].replace('True', 'true').replace('False', 'false')}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:] if kind != "value_error" else message


def _written_path(data: Any, loc: Path) -> Path:
    """Leave out of pydantic's place what stands in the model only: the branches of unions, the keys of mappings."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if inside:
            data = data[part]
        elif index < len(loc) - 1 or part == "[key]":
            continue
        path.append(part)
    return tuple(path)
