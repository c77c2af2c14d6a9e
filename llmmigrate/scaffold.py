"""Scaffolds: the files of a new project, and new documents from Jinja2 templates."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.sandbox import SandboxedEnvironment

from llmmigrate.clock import to_text
from llmmigrate.document import Document, load_text
from llmmigrate.document.source import MAX_BYTES
from llmmigrate.exceptions import DocumentInvalid, RefusedError, TargetNotFound
from llmmigrate.graph import Graph
from llmmigrate.models.costmap import retirement
from llmmigrate.settings import CONFIG_NAME, Settings

_CONFIG = """\
# llmmigrate: where things are. Every key is optional; paths are relative to this file.
migrations = "migrations"
# templates = "templates"                      # your own document templates, before the shipped ones
# database_url = "sqlite:///llmmigrate.db"     # or "env:NAME": the URL stands in the environment, never here
# flagd = "flags.json"                         # a flag file that follows the routing, for OpenFeature in any language
# trust_as = false                             # whether a name given with --as may approve
# [groups]
# ml-leads = ["maria@example.com"]             # who may approve what owners.approvers of a document asks for
"""

_WORDS = ("null", "true", "false")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that was written, and what a person should still look at."""

    file: Path
    document: Document
    warnings: list[str]


def init(folder: Path) -> list[Path]:
    """Create the configuration and the folder of documents; return what was made.

    Raises RefusedError, with nothing written, where there is a project already.
    """
    config, versions = folder / CONFIG_NAME, folder / "migrations" / "versions"
    if config.exists():
        raise RefusedError(f"{config} exists already: this folder is set up", hint="llmmigrate status")
    if versions.parent.exists() and any(versions.parent.iterdir()):
        raise RefusedError(f"{versions.parent} is not empty", hint="llmmigrate init ANOTHER_FOLDER")
    versions.mkdir(parents=True, exist_ok=True)
    config.write_text(_CONFIG, "utf-8")
    (versions / ".gitkeep").touch()
    return [config, versions]


def new(
    settings: Settings,
    graph: Graph,
    *,
    message: str,
    route: str,
    current: str | None,
    target: str,
    driver: str,
    now: datetime,
    template: str = "generic",
    revision: str | None = None,
) -> NewDocument:
    """Write the next document on a route's head, checked before it is written.

    `current` may be left out where the route has a head. Raises RefusedError, TargetNotFound for an unknown template,
    DocumentInvalid where the values make no valid document; then nothing is written.
    """
    head = graph.head(route)
    if head is not None and current not in (None, head.migration.target.model):
        raise RefusedError(
            f"route {route} stands on {head.migration.target.model} ({head.migration.revision}), not {current}",
            hint=f"leave --from out, or give --from {head.migration.target.model}",
        )
    current = current or (head.migration.target.model if head is not None else None)
    if current is None:
        raise RefusedError(f"route {route} has no document yet: say what it runs on now", hint="add --from MODEL")
    revision = revision or secrets.choice("abcdef") + secrets.token_hex(6)[1:]
    if graph.get(revision) is not None:
        raise RefusedError(f"revision {revision} exists already", hint="leave --rev-id out")
    retires = {"current": _day(retirement(current)), "target": _day(retirement(target))}
    values = {
        "revision": revision,
        "down_revision": head.migration.revision if head is not None else None,
        "route": route,
        "message": message,
        "created": to_text(now),
        "current": current,
        "current_params": head.migration.target.params if head is not None else {},
        "target": target,
        "retires": retires,
        "driver": driver,
    }
    text = _render(settings, template, values)
    name = f"{now:%Y_%m_%d}_{revision}_{_slug(message)}.yaml"
    try:
        document = load_text(text, name)
    except DocumentInvalid as error:
        error.hint = "correct the options (or the template); nothing was written"
        raise
    graph_with = Graph([*(d for r in graph.routes for d in graph.line(r)), document])
    assert graph_with.get(revision) is not None
    settings.versions.mkdir(parents=True, exist_ok=True)
    file = settings.versions / name
    with file.open("x", encoding="utf-8") as handle:
        handle.write(text)
    return NewDocument(file, document, _warnings(document, retires))


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _warnings(document: Document, retires: dict[str, str | None]) -> list[str]:
    migration = document.migration
    waived = [rule.metric for rule in migration.rollback if rule.waived is not None]
    warnings = ["no regression suite (waived)"]
    if waived:
        warnings.append(f"not measured yet, waived: {', '.join(waived)}")
    unknown = [
        m.model
        for m, day in ((migration.current, retires["current"]), (migration.target, retires["target"]))
        if day is None
    ]
    if unknown:
        warnings.append(f"retirement date unknown: {', '.join(unknown)}")
    if migration.profile == "demo":
        warnings.append("profile demo: minimum counts are lowered, its evidence is no evidence for real users")
    return warnings


def _slug(message: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:40].strip("_") or "migration"


def _render(settings: Settings, template: str, values: dict[str, Any]) -> str:
    folders = [folder for folder in (settings.templates, shipped_templates()) if folder is not None]
    environment = SandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(folder / "documents") for folder in folders]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(yaml=_scalar, name=_name)
    try:
        text = environment.get_template(f"{template}.yaml.j2").render(values)
    except TemplateNotFound as error:
        raise TargetNotFound(f"no template {template!r}; there are {', '.join(templates(settings))}") from error
    except TemplateError as error:
        raise RefusedError(f"template {template} cannot be rendered: {error}") from error
    if len(text) > MAX_BYTES:
        raise RefusedError(f"template {template} renders to more than {MAX_BYTES:,} characters")
    return text


def _scalar(value: object) -> str:
    """Write a value as YAML that can only be that value (JSON is YAML)."""
    return json.dumps(value, ensure_ascii=False)


def _name(value: object) -> str:
    """Write an identifier plainly where YAML cannot take it for anything else, quoted otherwise."""
    return str(value) if re.fullmatch(r"[a-z_][a-z0-9_-]{3,}", str(value)) and value not in _WORDS else _scalar(value)


def shipped_templates() -> Path:
    """Return the folder of the templates that come with the product: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "templates"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "templates"


def templates(settings: Settings) -> list[str]:
    """Name the document templates, the user's and the shipped ones."""
    folders = [folder / "documents" for folder in (settings.templates, shipped_templates()) if folder is not None]
    return sorted({file.name.removesuffix(".yaml.j2") for folder in folders for file in folder.glob("*.yaml.j2")})
