"""Where things are: `llmmigrate.toml`, or `[tool.llmmigrate]` in `pyproject.toml`, or the environment."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmmigrate.exceptions import SettingsError
from llmmigrate.units import parse_share

CONFIG_NAME = "llmmigrate.toml"
MAX_INPUT_TYPE_LENGTH = 64
_TEXTS = {"migrations", "templates", "template", "database_url", "flagd"}
_KEYS = {*_TEXTS, "groups", "trust_as", "environments", "routes"}


@dataclass(frozen=True, slots=True)
class InputType:
    """A rule of a route that names a kind of request; one fits that has all that the rule asks for.

    `pattern` is searched in the last user message, one of `tools` must be offered, and each of `attributes` must have
    one of the values.
    """

    name: str
    pattern: re.Pattern[str] | None = None
    tools: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """What routers do with a route's requests beside serving them.

    `input_types` are tried in their order; `sample` is the share of requests whose texts are kept, redacted.
    """

    input_types: tuple[InputType, ...] = ()
    sample: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved configuration; paths are absolute, `database_url` is ready for SQLAlchemy.

    `template` is what `new` takes where none is named. `groups` names the people of each group; `trust_as`
    lets a name given with `--as` stand for a person. `flagd` is a flag file that follows the routing. `environments`
    are the URLs of other stores by name, as they are written; `environment` is the one whose settings are in force.
    `routes` says more of some of the routes.
    """

    root: Path
    migrations: Path
    templates: Path | None
    database_url: str
    file: Path | None
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trust_as: bool = False
    flagd: Path | None = None
    template: str = "generic"
    environments: dict[str, str] = field(default_factory=dict)
    environment: str | None = None
    routes: dict[str, RouteSettings] = field(default_factory=dict)

    @property
    def versions(self) -> Path:
        """The folder of the migration documents."""
        return self.migrations / "versions"

    @property
    def heads(self) -> Path:
        """The folder of the head files, one a route."""
        return self.migrations / "heads"

    def groups_of(self, person: str) -> list[str]:
        """Return the groups that a person belongs to, sorted."""
        return sorted(group for group, people in self.groups.items() if person in people)


def load(
    config: Path | None = None,
    *,
    database_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    section: str | None = None,
) -> Settings:
    """Find and read the configuration; reads files and the environment, writes nothing.

    The file is `config`, else `LLMMIGRATE_CONFIG`, else the nearest one at or above `cwd`; without any, defaults hold
    beside `cwd`. The store is `database_url`, else `LLMMIGRATE_DATABASE_URL`, else the file's, else
    `sqlite:///llmmigrate.db` beside the file. `section` names one of the file's `environments`, whose settings replace
    the others. Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    named = config or (Path(environ["LLMMIGRATE_CONFIG"]) if environ.get("LLMMIGRATE_CONFIG") else None)
    if named is not None and not named.is_file():
        raise SettingsError(f"no configuration at {named}", hint="llmmigrate init")
    file = named.absolute() if named is not None else _nearest(cwd.absolute())
    table = _table(file) if file is not None else {}
    environments = table.get("environments", {})
    if section is not None:
        if section not in environments:
            known = ", ".join(sorted(environments)) or "none"
            raise SettingsError(f"there is no environment {section!r}; the configuration has {known}")
        table |= environments[section]
    root = file.parent if file is not None else cwd.absolute()
    url = database_url or environ.get("LLMMIGRATE_DATABASE_URL") or table.get("database_url")
    return Settings(
        root=root,
        migrations=root / table.get("migrations", "migrations"),
        templates=root / table["templates"] if "templates" in table else None,
        database_url=_resolve_url(str(url or "sqlite:///llmmigrate.db"), root, environ),
        file=file,
        groups={group: tuple(people) for group, people in table.get("groups", {}).items()},
        trust_as=table.get("trust_as", False),
        flagd=root / table["flagd"] if "flagd" in table else None,
        template=table.get("template", "generic"),
        environments={name: str(own["database_url"]) for name, own in environments.items() if "database_url" in own},
        environment=section,
        routes={route: _route(file, route, own) for route, own in table.get("routes", {}).items()},
    )


def _nearest(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
        project = folder / "pyproject.toml"
        if project.is_file() and "llmmigrate" in _parse(project).get("tool", {}):
            return project
    return None


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error


def _table(file: Path) -> dict[str, Any]:
    data = _parse(file)
    table = data.get("tool", {}).get("llmmigrate", {}) if file.name == "pyproject.toml" else data
    _check(file, table)
    environments = table.get("environments", {})
    if not isinstance(environments, dict) or not all(isinstance(own, dict) for own in environments.values()):
        raise SettingsError(f"{file}: environments must be a table of tables, such as [environments.staging]")
    for name, own in environments.items():
        if "environments" in own:
            raise SettingsError(f"{file}: environment {name} cannot have environments of its own")
        _check(file, own)
    return dict(table)


def _check(file: Path, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            raise SettingsError(f"{file}: unknown key {key!r}; known are {', '.join(sorted(_KEYS))}")
        if key in _TEXTS and not isinstance(value, str):
            raise SettingsError(f"{file}: {key} must be a string")
        if key == "trust_as" and not isinstance(value, bool):
            raise SettingsError(f"{file}: trust_as must be true or false")
        if key == "routes":
            _check_routes(file, value)
        if key == "groups" and not _is_groups(value):
            raise SettingsError(f'{file}: groups must be a table of lists, such as ml-leads = ["maria@example.com"]')


_ROUTE_KEYS = {"input_types", "sample"}
_RULE_KEYS = {"name", "pattern", "tools", "attributes"}


def _check_routes(file: Path, routes: object) -> None:
    if not isinstance(routes, dict) or not all(isinstance(own, dict) for own in routes.values()):
        raise SettingsError(f"{file}: routes must be a table of tables, such as [routes.support]")
    for route, own in routes.items():
        unknown = sorted(set(own) - _ROUTE_KEYS)
        if unknown:
            raise SettingsError(f"{file}: routes.{route}: unknown key {unknown[0]!r}; known are input_types and sample")
        rules = own.get("input_types", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise SettingsError(f"{file}: write the rules of {route} as [[routes.{route}.input_types]]")


def _route(file: Path | None, route: str, own: Mapping[str, Any]) -> RouteSettings:
    """Read what is said of one route; raises SettingsError."""
    try:
        sample = parse_share(own.get("sample", "0%"))
    except ValueError as error:
        raise SettingsError(f"{file}: routes.{route}.sample: {error}") from error
    return RouteSettings(tuple(_input_type(file, route, rule) for rule in own.get("input_types", [])), sample)


def _input_type(file: Path | None, route: str, rule: Mapping[str, Any]) -> InputType:
    """Read one rule; raises SettingsError."""
    where = f"{file}: routes.{route}.input_types"
    name, pattern, tools, attributes = (rule.get(key) for key in ("name", "pattern", "tools", "attributes"))
    unknown = sorted(set(rule) - _RULE_KEYS)
    if unknown:
        raise SettingsError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_RULE_KEYS))}")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_INPUT_TYPE_LENGTH:
        raise SettingsError(f"{where}: every rule has a name of at most {MAX_INPUT_TYPE_LENGTH} characters")
    if len(rule) < 2:
        raise SettingsError(f"{where}: {name} asks for nothing: add pattern, tools or attributes")
    if tools is not None and not _is_texts(tools):
        raise SettingsError(f'{where}: {name}: tools is a list of names, such as ["refund"]')
    if attributes is not None and not _is_groups(attributes):
        raise SettingsError(f'{where}: {name}: attributes is a table of lists, such as {{tenant = ["acme"]}}')
    try:
        compiled = re.compile(pattern) if pattern is not None else None
    except (re.error, TypeError) as error:
        raise SettingsError(f"{where}: {name}: {pattern!r} is no pattern: {error}") from error
    values = {key: tuple(some) for key, some in (attributes or {}).items()}
    return InputType(name, compiled, tuple(tools or ()), values)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_groups(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_texts, value.values()))


def _resolve_url(url: str, root: Path, environ: Mapping[str, str]) -> str:
    if url.startswith("env:"):
        name = url[4:]
        if not environ.get(name):
            raise SettingsError(f"the database URL is {url}, but {name} is not set in the environment")
        url = environ[name]
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith("sqlite:////"):
        path = url[len(prefix) :]
        if path in ("", ":memory:"):
            raise SettingsError("an in-memory store would forget the history; name a file: sqlite:///llmmigrate.db")
        return f"{prefix}{root / path}"
    return url
