"""From a file to a checked migration, with every error at its place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from llmmigrate.document.canonical import content_hash
from llmmigrate.document.model import Migration
from llmmigrate.document.source import Source, read
from llmmigrate.exceptions import DocumentInvalid, Problem


@dataclass(frozen=True, slots=True)
class Document:
    """A migration with the text it came from and its content hash."""

    name: str
    text: str
    migration: Migration
    hash: str


@lru_cache(maxsize=256)
def load_text(text: str, name: str) -> Document:
    """Check one document given as text; raises DocumentInvalid with all problems at once."""
    source = read(text.encode("utf-8"), name)
    try:
        migration = Migration.model_validate(source.data)
    except ValidationError as error:
        raise DocumentInvalid([_placed(source, detail) for detail in error.errors()]) from error
    return Document(name, text, migration, content_hash(source.data))


def load_file(file: Path) -> Document:
    """Read and check one document; raises DocumentInvalid."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentInvalid([Problem(file.name, 1, 1, "", f"not UTF-8 text (byte {error.start})")]) from error
    except OSError as error:
        raise DocumentInvalid([Problem(file.name, 1, 1, "", f"cannot be read: {error.strerror}")]) from error
    return load_text(text, file.name)


def load_folder(folder: Path) -> list[Document]:
    """Read all `*.yaml` and `*.yml` of a folder by name; raises DocumentInvalid with every problem."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in sorted(file for ending in ("*.yaml", "*.yml") for file in folder.glob(ending)):
        try:
            documents.append(load_file(file))
        except DocumentInvalid as error:
            problems.extend(error.problems)
    if problems:
        raise DocumentInvalid(problems)
    return documents


def _placed(source: Source, detail: object) -> Problem:
    assert isinstance(detail, dict)
    path = tuple(detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        return source.problem(path, "this version knows no such key (it is refused rather than ignored)")
    if kind == "missing":
        return source.problem(path, "is missing")
    message = str(detail["msg"]).removeprefix("Value error, ")
    return source.problem(path, message[:1].lower() + message[1:] if kind != "value_error" else message)
