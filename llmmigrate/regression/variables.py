"""`{{name}}` in the texts of a case: replaced by what `vars` say, and by nothing else.

No template language: nothing is computed, a value is never read as a template again, and what stands in a value cannot
change the structure around it. `{{order.id}}` looks inside objects, `{{items.0}}` inside lists. Only the texts of cases
that have variables are read this way; `{{{{` there is a plain `{{`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmmigrate.document.source import Path

_PLACE = re.compile(r"\{\{\{\{|\{\{([^{}]{0,200})\}\}")
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)


class UnknownVariable(ValueError):
    """Say which place in a text cannot be filled; `path` is where the text stands."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def filled(value: Any, variables: Mapping[str, Any], path: Path = (), *, whole: bool = False) -> Any:
    """Return plain data with every text filled in; raises UnknownVariable.

    Where `whole` values are taken, a text that is nothing but one place becomes the value itself: a number, an object.
    """
    if isinstance(value, str):
        return _text(value, variables, path, whole=whole)
    if isinstance(value, list):
        return [filled(item, variables, (*path, index), whole=whole) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: filled(item, variables, (*path, key), whole=whole) for key, item in value.items()}
    return value


def names_in(text: str) -> set[str]:
    """Return the names that a text asks for, with what is looked up inside them: `order.id`."""
    return {found[1].strip() for found in _PLACE.finditer(text) if found[1] is not None}


def _text(text: str, variables: Mapping[str, Any], path: Path, *, whole: bool) -> Any:
    only = _PLACE.fullmatch(text) if whole else None
    if only is not None and only[1] is not None:
        return _value(only[1], variables, path)

    def replaced(found: re.Match[str]) -> str:
        if found[1] is None:
            return "{{"
        value = _value(found[1], variables, path)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _PLACE.sub(replaced, text)


def _value(place: str, variables: Mapping[str, Any], path: Path) -> Any:
    name = place.strip()
    if not _NAME.fullmatch(name):
        raise UnknownVariable(path, f"{{{{{name[:60]}}}}} is no name of a variable: nothing is computed here")
    value: Any = variables
    for key in name.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise UnknownVariable(path, f"{{{{{name}}}}} is not in vars")
    return value
