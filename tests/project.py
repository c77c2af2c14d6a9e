"""A project on the real clock, for processes and benchmarks: its routes begin in shadow, or straight in a canary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from llmmigrate import scaffold, settings
from llmmigrate.document import load_folder
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import RouteState
from llmmigrate.runner import upgrade
from llmmigrate.store import Store

CONTROL, TARGET = "hosted_vllm/old", "hosted_vllm/new"


def without_shadow(text: str) -> str:
    """Edit a document so that it begins with its canary: shadow is waived."""
    text, waived = re.subn(r"(?m)^shadow:\n(  .*\n)+", 'shadow: {waived: "tested elsewhere"}\n', text)
    assert waived == 1
    return text


def straight_to_canary(text: str) -> str:
    """Edit a document so that it begins with a canary of 50%."""
    text, cut = re.subn(r"(?m)^    - \{traffic: (5|25)%.*\n", "", without_shadow(text))
    assert cut == 2
    return text


_EDITS = {"canary:5": without_shadow, "canary:50": straight_to_canary}


class Project:
    """A folder with a configuration and documents; `url` is its store, None for the usual SQLite file."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        scaffold.init(folder)
        if url is not None:
            with (folder / settings.CONFIG_NAME).open("a") as config_file:
                config_file.write(f'database_url = "{url}"\n')
        self.config = settings.load(folder / settings.CONFIG_NAME, environ={})

    @property
    def url(self) -> str:
        return self.config.database_url

    def graph(self) -> Graph:
        return Graph(load_folder(self.config.versions, root=self.config.root))

    def add(self, route: str, phase: str, *, addresses: Mapping[str, str] | None = None) -> None:
        """Add a document of a route that is to begin at a phase; `addresses` are servers by model."""
        made = scaffold.new(
            self.config,
            self.graph(),
            message="m",
            route=route,
            current=CONTROL,
            target=TARGET,
            driver="t",
            now=datetime.now(UTC),
            template="demo",
        )
        text = made.file.read_text("utf-8")
        for model, address in (addresses or {}).items():
            text, found = re.subn(f'(?m)^  model: "?{model}\\b.*\n', f"\\g<0>  api_base: {address}\n", text)
            assert found == 1
        made.file.write_text(_EDITS.get(phase, str)(text), "utf-8")

    def enter(self, store: Store, route: str, phase: str) -> RouteState:
        """Begin an attempt of a route's document, and again where one was rolled back; it is at the phase then."""
        graph = self.graph()
        store.telemetry.heartbeat(at=store.real_now())
        revision = graph.resolve(route).revision
        state = upgrade(store, graph, route, revision, actor="t", retry="again", to=phase, confirm_s=0).last.state
        assert state.phase == phase, state
        return state
