"""The published JSON Schema of documents: for editors, and for whoever writes documents by program."""

from __future__ import annotations

import json
from typing import Any

from llmmigrate.document.model import Migration

NAME = "migration.schema.json"
"""The file that the first line of each scaffold names, beside the folder of documents."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a migration document."""
    schema = Migration.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmmigrate migration document",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_text() -> str:
    """Write the schema as the file that is shipped into projects."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
