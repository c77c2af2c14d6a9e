"""Looks at the set-up itself: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from llmmigrate.document import load_folder
from llmmigrate.exceptions import DocumentInvalid, LlmmigrateError, StoreError, StoreMissing
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import WATCH_S
from llmmigrate.settings import Settings
from llmmigrate.store import Store
from llmmigrate.store.engine import parse_url
from llmmigrate.units import format_duration

MALICIOUS = {"litellm": ("1.82.7", "1.82.8")}
"""Releases that were compromised: PyPI advisories on litellm 1.82.7 and 1.82.8 (2026)."""

State = Literal["ok", "look", "broken"]


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing looked at: `broken` stops the product from working, `look` is worth a person's eye."""

    what: str
    state: State
    words: str
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(load: Callable[[], Settings], *, person: str | None) -> list[Sign]:
    """Look at everything; reads configuration, documents and the store, writes nothing and raises nothing of ours."""
    signs = list(_packages())
    try:
        settings = load()
    except LlmmigrateError as error:
        return [*signs, Sign("configuration", "broken", error.message, error.hint)]
    signs += [*_configuration(settings), *_documents(settings), *_people(settings, person), *_store(settings)]
    return signs


def _packages() -> Iterator[Sign]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Sign("python", "ok", python)
    for name, bad in MALICIOUS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Sign(name, "broken", "is not installed", f"pip install {name}")
            continue
        if found in bad:
            yield Sign(name, "broken", f"{found} is a compromised release", f"pip install --upgrade {name}")
        else:
            yield Sign(name, "ok", found)


def _configuration(settings: Settings) -> Iterator[Sign]:
    if settings.file is None:
        yield Sign("configuration", "look", f"none: defaults hold in {settings.root}", "llmmigrate init")
    else:
        yield Sign("configuration", "ok", str(settings.file))
    for name, url in settings.environments.items():
        if url.startswith("env:") and not os.environ.get(url[4:]):
            yield Sign(f"environment {name}", "look", f"{url[4:]} is not set", f"export {url[4:]}=…")
    if settings.flagd is not None and not settings.flagd.parent.is_dir():
        yield Sign("flagd file", "broken", f"there is no folder {settings.flagd.parent}", "make it, or correct flagd")


def _documents(settings: Settings) -> Iterator[Sign]:
    if not settings.versions.is_dir():
        yield Sign("documents", "look", f"there is no folder {settings.versions}", "llmmigrate init")
        return
    try:
        documents = load_folder(settings.versions, root=settings.root)
    except DocumentInvalid as error:
        yield Sign("documents", "broken", f"{len(error.problems)} errors", "llmmigrate check")
        return
    graph = Graph(documents)
    for fault in graph.faults:
        yield Sign("documents", "broken", fault.message, fault.hint)
    if not graph.faults:
        yield Sign("documents", "ok", f"{len(documents)} on {len(graph.routes)} routes")
    asked = {
        group
        for document in documents
        for groups in (document.migration.owners.rollback, *document.migration.owners.approvers.values())
        for group in groups
    }
    missing = sorted(group for group in asked if not settings.groups.get(group))
    if missing:
        yield Sign("groups", "look", f"{', '.join(missing)} have no people", "[groups] in the configuration names them")
    wanted = {name for document in documents for name in document.migration.monitoring.notify}
    unset = sorted(name[4:] for name in wanted if not os.environ.get(name[4:]))
    if unset:
        yield Sign("notifications", "look", f"{', '.join(unset)} not set in the environment", f"export {unset[0]}=…")


def _people(settings: Settings, person: str | None) -> Iterator[Sign]:
    if person is None:
        yield Sign("you", "look", "nobody: a name given with --as proves nothing", "git config user.email …")
        return
    groups = settings.groups_of(person)
    yield Sign("you", "ok", f"{person}, of {', '.join(groups) if groups else 'no group of approvers'}")


def _store(settings: Settings) -> Iterator[Sign]:
    try:
        shown = parse_url(settings.database_url).render_as_string(hide_password=True)
        store = Store.open_to_look(settings.database_url)
    except StoreMissing as error:
        yield Sign("store", "look", error.message, "llmmigrate upgrade makes it")
        return
    except StoreError as error:
        yield Sign("store", "broken", error.message, error.hint)
        return
    try:
        yield Sign("store", "ok", f"{shown}, {len(store.routes())} routes")
        faults = store.verify()
        yield (
            Sign("history", "broken", faults[0], "llmmigrate history --verify")
            if faults
            else Sign("history", "ok", "unbroken")
        )
        yield from _telemetry(store)
    finally:
        store.close()


def _telemetry(store: Store) -> Iterator[Sign]:
    try:
        now = store.real_now()
        beat = store.telemetry.last_heartbeat()
        living = [replica for replica in store.telemetry.replicas() if replica.lease_until > now]
        lost = store.telemetry.lost_flushes()
        silent = store.telemetry.silent_replicas(now)
    except StoreError as error:
        yield Sign("telemetry", "broken", error.message, "rollback still works; llmmigrate db upgrade mends the tables")
        return
    age = (now - beat.at).total_seconds() if beat is not None else None
    if age is None:
        yield Sign("controller", "look", "none was ever alive", "llmmigrate run")
    elif age > WATCH_S:
        yield Sign("controller", "look", f"silent for {format_duration(age)}", "llmmigrate run")
    else:
        yield Sign("controller", "ok", f"alive {format_duration(age)} ago")
    yield Sign("routers", "ok" if living else "look", f"{len(living)} alive")
    if lost:
        yield Sign("counts", "look", f"{lost} flushes of routers never arrived", "gates hold where that matters")
    if silent:
        found = f"{silent} routers were killed or are cut off: what they counted since their last flush is missing"
        yield Sign("counts", "look", found, "close routers when a process ends")
