"""Format stability: what a program that reads the answers would trip over, place by place, in words for people.

A profile counts what there is; two profiles are compared, with control's second run for its own noise. Counts are of
answers, and take each as independent of the others: give one answer a case, or read what is `beyond_chance` as a hint.
Whether a suite passes is for `equivalence` to say, this is for what changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from llmmigrate.regression.formats_kinds import kind_of
from llmmigrate.regression.formats_reading import Reading, read

ROOT = ""
"""The path of a whole answer; `refund.items[].id` is a key of every entry of a list."""

ABSENT, PRESENT = "absent", "present"

_MOST_KEYS, _DEEPEST, _EXAMPLES = 200, 40, 3
_MOST_VALUES, _LONGEST_VALUE = 64, 60
_ENUM_VALUES, _ENUM_REPEATS = 12, 3


class Feature(NamedTuple):
    """Something that may be so at a path: `about` names the question, `is_so` the answer to it.

    The questions are `form`, `key` (absent or present), `kind`, `value` (of a string with few values), `order` (of
    keys) and `schema`.
    """

    path: str
    about: str
    is_so: str


class Count(NamedTuple):
    """How often something was so, of how many times that it might have been."""

    times: int
    of: int

    @property
    def share(self) -> float:
        """The share, 0 of none."""
        return self.times / self.of if self.of else 0.0


@dataclass(slots=True)
class Profile:
    """What there is in a list of answers.

    `found` counts features, and `examples` has the places in the list of the first answers with each. `objects` counts
    the objects at a path, `held` how often a path held a value, `seen_in` in which answers it did. `parents` has the
    path of the object that a key is of, `orders` the orders of keys that objects at a path had.
    """

    answers: int = 0
    found: Counter[Feature] = field(default_factory=Counter)
    examples: dict[Feature, list[int]] = field(default_factory=dict)
    objects: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    seen_in: dict[str, set[int]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    orders: dict[str, Counter[tuple[str, ...]]] = field(default_factory=dict)

    def count(self, feature: Feature) -> Count:
        """Return how often a feature was so, of the answers, of the objects that its key may be of, or of the entries.

        A key is absent where the object that it might be of is there without it.
        """
        path, about, is_so = feature
        if about in ("form", "schema"):
            return Count(self.found[feature], self.answers)
        above = self.objects[self.parents[path]] if path in self.parents else self.held[path]
        return Count(above - self.held[path] if is_so == ABSENT else self.found[feature], above)

    def shown(self, feature: Feature) -> tuple[int, ...]:
        """Return the places of the first answers in which a feature was so."""
        if feature.about == "key" and feature.is_so == ABSENT and feature.path in self.parents:
            there = self.seen_in.get(self.parents[feature.path], set())
            return tuple(sorted(there - self.seen_in.get(feature.path, set()))[:_EXAMPLES])
        return tuple(self.examples.get(feature, ()))

    def enumerations(self) -> dict[str, dict[str, int]]:
        """Return the strings at each path with their counts, where they are few and come again."""
        found: dict[str, dict[str, int]] = {}
        for feature, times in self.found.items():
            if feature.about == "value":
                found.setdefault(feature.path, {})[feature.is_so] = times
        return {path: values for path, values in found.items() if self._few(path, values)}

    def kinds(self) -> dict[str, str]:
        """Return the commonest kind at each path."""
        found: dict[str, tuple[int, str]] = {}
        for feature, times in self.found.items():
            if feature.about == "kind":
                found[feature.path] = max(found.get(feature.path, (0, "")), (times, feature.is_so))
        return {path: kind for path, (_, kind) in found.items()}

    def _few(self, path: str, values: dict[str, int]) -> bool:
        return few_and_repeated(values) and sum(values.values()) == self.found[Feature(path, "kind", "a string")]


def few_and_repeated(values: Mapping[str, int]) -> bool:
    """Tell whether strings with their counts look like those of a fixed set: at most twelve, three times each."""
    return len(values) <= _ENUM_VALUES and sum(values.values()) >= _ENUM_REPEATS * len(values)


def profile(answers: Iterable[str], schema: Mapping[str, Any] | None = None) -> Profile:
    """Count what there is in answers, JSON or not.

    Where a JSON Schema (draft 2020-12) is given, each answer is held against it. References to other documents are
    never fetched. Raises jsonschema's SchemaError for a schema that is none.
    """
    validator = None
    if schema is not None:
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=Registry())
    collected = _Collector()
    for text in answers:
        collected.add(read(text), validator)
    return collected.profile


class _Collector:
    """Adds one answer after another to a profile."""

    def __init__(self) -> None:
        self.profile = Profile()
        self._keys: dict[str, set[str]] = {}
        self._number = 0

    def add(self, reading: Reading, validator: Draft202012Validator | None) -> None:
        self._number = self.profile.answers
        self.profile.answers += 1
        self._note(Feature(ROOT, "form", reading.form))
        if reading.leading:
            self._note(Feature(ROOT, "form", "leading"))
        if reading.trailing:
            self._note(Feature(ROOT, "form", "trailing"))
        if reading.form in ("json", "fenced", "in prose"):
            self._value(ROOT, reading.value, 0)
        if validator is not None and not _valid(validator, reading):
            self._note(Feature(ROOT, "schema", "invalid"))

    def _note(self, feature: Feature) -> None:
        self.profile.found[feature] += 1
        examples = self.profile.examples.setdefault(feature, [])
        if len(examples) < _EXAMPLES and self._number not in examples:
            examples.append(self._number)

    def _value(self, path: str, value: Any, depth: int) -> None:
        self.profile.held[path] += 1
        self.profile.seen_in.setdefault(path, set()).add(self._number)
        kind = kind_of(value)
        self._note(Feature(path, "kind", kind))
        if depth > _DEEPEST:
            return
        if isinstance(value, dict):
            self._object(path, value, depth)
        elif isinstance(value, list):
            for entry in value:
                self._value(f"{path}[]", entry, depth + 1)
        elif kind == "a string" and len(value) <= _LONGEST_VALUE:
            self._string(path, value)

    def _object(self, path: str, value: dict[str, Any], depth: int) -> None:
        """Count an object's keys; past 200 of them at a path keys are data, and new ones are left out."""
        self.profile.objects[path] += 1
        known = self._keys.setdefault(path, set())
        self.profile.orders.setdefault(path, Counter())[tuple(value)[:_MOST_KEYS]] += 1
        for key, held in value.items():
            if key not in known and len(known) >= _MOST_KEYS:
                continue
            known.add(key)
            below = joined(path, key)
            self.profile.parents[below] = path
            self._note(Feature(below, "key", PRESENT))
            self._value(below, held, depth + 1)

    def _string(self, path: str, value: str) -> None:
        feature = Feature(path, "value", value)
        known = self._keys.setdefault(f"{path}=", set())
        if value in known or len(known) < _MOST_VALUES:
            known.add(value)
            self._note(feature)


def joined(path: str, key: str) -> str:
    """Return the path of a key; one with a dot or a bracket in it is quoted."""
    plain = key if key and not set(key) & set(".[]`") else f'"{key}"'
    return f"{path}.{plain}" if path else plain


def _valid(validator: Draft202012Validator, reading: Reading) -> bool:
    """Tell whether an answer fits a schema; one that is not JSON alone does not, and what cannot be told does not."""
    if reading.form != "json" or reading.trailing:
        return False
    try:
        return bool(validator.is_valid(reading.value))
    except (Unresolvable, RecursionError):
        return False
