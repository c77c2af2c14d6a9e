"""Scaffolds: the files of a new project, and new documents from Jinja2 templates."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from llmmigrate.clock import to_text
from llmmigrate.document import Document, PromptFiles, load_text
from llmmigrate.document.schema import NAME, schema_text
from llmmigrate.document.source import MAX_BYTES
from llmmigrate.exceptions import DocumentInvalid, RefusedError, TargetNotFound
from llmmigrate.graph import Graph
from llmmigrate.head_files import write_head
from llmmigrate.metrics.catalogue import CATALOGUE
from llmmigrate.models import Usage, costmap, pricing
from llmmigrate.preflight import Finding, check_document, family
from llmmigrate.settings import CONFIG_NAME, Settings

_CONFIG = """\
# llmmigrate: where things are. Every key is optional; paths are relative to this file.
migrations = "migrations"
template = "{template}"                         # what new documents are made from: llmmigrate list-templates
# templates = "templates"                      # a folder whose documents/*.yaml.j2 come before the shipped templates
# database_url = "sqlite:///llmmigrate.db"     # or "env:NAME": the URL stands in the environment, never here
# flagd = "flags.json"                         # a flag file that follows the routing, for OpenFeature in any language
# trust_as = false                             # whether a name given with --as may approve
# [environments.staging]                       # llmmigrate -n staging …
# database_url = "env:STAGING_DATABASE_URL"
# [groups]
# ml-leads = ["maria@example.com"]             # who may approve what owners.approvers of a document asks for
"""

_WORDS = ("null", "true", "false")


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that was written, what a person should still look at, and the files that were made beside it."""

    file: Path
    document: Document
    findings: list[Finding]
    beside: list[Path]


def init(folder: Path, *, template: str = "generic") -> list[Path]:
    """Create the configuration, the folder of documents, their schema and a first suite; return what was made.

    `template` is what new documents are made from. Raises RefusedError, with nothing written, where there is a project
    already, and TargetNotFound for an unknown template.
    """
    config, versions = folder / CONFIG_NAME, folder / "migrations" / "versions"
    if template not in (known := templates(None)):
        raise TargetNotFound(
            f"no template {template!r}; there are {', '.join(known)}", hint="llmmigrate list-templates"
        )
    if config.exists():
        raise RefusedError(f"{config} exists already: this folder is set up", hint="llmmigrate status")
    if versions.parent.exists() and (not versions.parent.is_dir() or any(versions.parent.iterdir())):
        raise RefusedError(f"{versions.parent} is not empty", hint="llmmigrate init ANOTHER_FOLDER")
    versions.mkdir(parents=True, exist_ok=True)
    config.write_text(_CONFIG.format(template=template), "utf-8")
    (versions / ".gitkeep").touch()
    schema = versions.parent / NAME
    schema.write_text(schema_text(), "utf-8")
    suite = folder / "regression" / "example.yaml"
    if suite.exists():
        return [config, versions, schema]
    suite.parent.mkdir(exist_ok=True)
    suite.write_text(_environment(None).get_template("suites/starter.yaml.j2").render(), "utf-8")
    return [config, versions, schema, suite]


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
    template: str | None = None,
    revision: str | None = None,
    current_params: Mapping[str, Any] | None = None,
    target_params: Mapping[str, Any] | None = None,
    current_api_base: str | None = None,
    target_api_base: str | None = None,
) -> NewDocument:
    """Write the next document on a route's head, checked before it is written.

    `current` may be left out where the route has a head; its parameters are then the head's, and the target's are the
    same unless they are given. The addresses are those of servers of one's own; `current_api_base` is the head's, too.
    The head file of the route is written too. Raises RefusedError, TargetNotFound for an unknown template,
    DocumentInvalid where the values make no valid document, GraphError where the route's line is at fault; then nothing
    is written.
    """
    head = graph.head(route)
    if head is not None and current not in (None, head.migration.target.model):
        raise RefusedError(
            f"route {route} stands on {head.migration.target.model} ({head.migration.revision}), not {current}",
            hint=f"leave --from out, or give --from {head.migration.target.model}",
        )
    if head is not None and current_api_base not in (None, head.migration.target.api_base):
        raise RefusedError(
            f"route {route} stands on {head.migration.target.api_base or 'no address'} "
            f"({head.migration.revision}), not {current_api_base}",
            hint="leave --from-api-base out",
        )
    current = current or (head.migration.target.model if head is not None else None)
    if current is None:
        raise RefusedError(f"route {route} has no document yet: say what it runs on now", hint="add --from MODEL")
    revision = revision or secrets.choice("abcdef") + secrets.token_hex(6)[1:]
    if graph.get(revision) is not None:
        raise RefusedError(f"revision {revision} exists already", hint="leave --rev-id out")
    own = head.migration.target if head is not None else None
    params = current_params if current_params is not None else own.params if own is not None else {}
    values = {
        "revision": revision,
        "down_revision": head.migration.revision if head is not None else None,
        "route": route,
        "message": message,
        "created": to_text(now),
        "current": current,
        "current_system": own.system if own is not None else None,
        "current_api_base": own.api_base if own is not None else current_api_base,
        "current_limits": own.limits.model_dump(exclude_none=True) if own is not None and own.limits else None,
        "params": params,
        "target": target,
        "target_params": target_params if target_params is not None else params,
        "target_api_base": target_api_base,
        "facts": {"current": _facts(current), "target": _facts(target), "source": costmap.source()},
        "driver": driver,
        "judge": _judge(current, target),
        "wanted": _WANTED,
        "reasons": _REASONS,
        "measured": _measured(current, target),
    }
    text = _render(settings, template or settings.template, values)
    name = f"{now:%Y_%m_%d}_{revision}_{_slug(message)}.yaml"
    try:
        document = load_text(text, name, prompts=PromptFiles(settings.root))
    except DocumentInvalid as error:
        error.hint = "correct the options (or the template); nothing was written"
        raise
    made_for = document.migration.route
    whole = Graph([*graph.documents, document])
    whole.line(made_for)
    settings.versions.mkdir(parents=True, exist_ok=True)
    file = settings.versions / name
    with file.open("x", encoding="utf-8") as handle:
        handle.write(text)
    write_head(settings.heads, made_for, document.migration.revision)
    beside = _companions(settings, document)
    return NewDocument(file, document, check_document(settings, whole, document, now=now), beside)


_WANTED = {
    "latency_p99": "increase: 200ms",
    "quality": "drop: 5pp",
    "tool_call_accuracy": "drop: 10pp",
    "cost_per_request": "increase: 20%",
}
"""The rules that every rollback section names, beside the error rate."""

_REASONS = {
    "quality": "no judge configured",
    "tool_call_accuracy": "write the rule where this route calls tools",
    "cost_per_request": "no price is known for both models; tokens are watched below",
}

_JUDGES = ("openai/gpt-5.1", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro")


def _measured(current: str, target: str) -> set[str]:
    """Name the metrics that any route measures unaided with these models, and this release decides on."""
    decided = {name for name, metric in CATALOGUE.items() if metric.decided} - {"tool_call_accuracy"}
    priced = all(pricing.cost_usd(model, Usage(1, 1)) is not None for model in (current, target))
    return decided if priced else decided - {"cost_per_request"}


def _judge(current: str, target: str) -> str:
    """Choose a judge that is of neither model's family."""
    families = {family(current), family(target)}
    return next(judge for judge in _JUDGES if family(judge) not in families)


def _facts(model: str) -> dict[str, str | None]:
    """Write down what the cost map knows of a model: for a comment, and its last day."""
    known = costmap.facts(model)
    words = []
    if known.max_input_tokens is not None:
        words.append(f"{known.max_input_tokens:,} tokens in")
    if known.max_output_tokens is not None:
        words.append(f"{known.max_output_tokens:,} out")
    if known.input_cost is not None and known.output_cost is not None:
        words.append(f"${known.input_cost * 1e6:.4g} in and ${known.output_cost * 1e6:.4g} out a million")
    return {"words": ", ".join(words), "retires": known.retires.isoformat() if known.retires is not None else None}


def _companions(settings: Settings, document: Document) -> list[Path]:
    """Write a first suite and rubric where the document names ones that are not there; return what was made."""
    migration = document.migration
    judge = migration.monitoring.judge
    made = []
    for name, template in (
        (migration.regression.suite, "suites/starter.yaml"),
        (judge.rubric if judge is not None else None, "rubrics/starter.md"),
    ):
        if name is None or (settings.root / name).exists():
            continue
        file = settings.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_environment(settings).get_template(f"{template}.j2").render(route=migration.route), "utf-8")
        made.append(file)
    return made


def _slug(message: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:40].strip("_") or "migration"


def _environment(settings: Settings | None) -> SandboxedEnvironment:
    own = settings.templates if settings is not None else None
    folders = [folder for folder in (own, shipped_templates()) if folder is not None]
    environment = SandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(yaml=_scalar, name=_name)
    return environment


def _render(settings: Settings, template: str, values: dict[str, Any]) -> str:
    if template not in (known := templates(settings)):
        raise TargetNotFound(
            f"no template {template!r}; there are {', '.join(known)}", hint="llmmigrate list-templates"
        )
    try:
        text = _environment(settings).get_template(f"documents/{template}.yaml.j2").render(values)
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


def templates(settings: Settings | None) -> dict[str, str]:
    """Return the document templates, the user's and the shipped ones, with what each says it is for."""
    own = settings.templates if settings is not None else None
    folders = [folder / "documents" for folder in (shipped_templates(), own) if folder is not None]
    files = sorted((file for folder in folders for file in folder.glob("[!_]*.yaml.j2")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml.j2"): _purpose(file.read_text("utf-8")) for file in files}


def _purpose(text: str) -> str:
    """Read what a template is for from the comment that it begins with."""
    match = re.match(r"\{#-?\s*(.*?)\s*-?#\}", text, re.DOTALL)
    return " ".join(match[1].split()) if match is not None else ""
