"""Kill a process with SIGKILL at every statement of an action, then look at what is left and let it be finished.

The places are found by tracing: the child counts the moments before and after each statement and before each commit,
and kills itself at the one it is told. Nothing is listed by hand.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, make_url, text

from llmmigrate import scaffold, settings
from llmmigrate.clock import VirtualClock
from llmmigrate.document import load_folder
from llmmigrate.graph import Graph
from llmmigrate.metrics.counting import ASSIGNED, SPLIT
from llmmigrate.metrics.outcome import Outcome
from llmmigrate.routing.recorder import Recorder
from llmmigrate.runner import downgrade, undo, upgrade
from llmmigrate.store import Store
from llmmigrate.store.folding import by_arm, fold, read_cells
from tests.conftest import ROUTE, START
from tests.invariants import broken

_REQUESTS = 2400


@dataclass(frozen=True)
class Scene:
    """A store in a certain state, as a template to copy, and the action that is to be killed in it."""

    name: str
    clock: VirtualClock
    template: Path
    database: str | None
    action: Callable[[Store], object]
    expected: tuple[str, str | None, int]
    counted: int


class Stage:
    """Builds scenes in a folder, on SQLite or (with `admin`, the URL of a PostgreSQL server) on PostgreSQL."""

    _databases = count()

    def __init__(self, folder: Path, admin: str | None) -> None:
        self._folder = folder
        self._admin = create_engine(make_url(admin), isolation_level="AUTOCOMMIT") if admin else None
        self._url = make_url(admin) if admin else None
        self._numbers = count()
        scaffold.init(folder)
        self.config = settings.load(folder / settings.CONFIG_NAME, environ={})
        for current, target in (("fake/old", "fake/new"), (None, "fake/next")):
            scaffold.new(
                self.config,
                self.graph(),
                message="m",
                route=ROUTE,
                current=current,
                target=target,
                driver="t",
                now=START,
                template="demo",
                revision=f"crash{next(self._numbers)}",
            )

    def close(self) -> None:
        if self._admin is not None:
            self._admin.dispose()

    def graph(self) -> Graph:
        return Graph(load_folder(self.config.versions, root=self.config.root))

    def scenes(self) -> list[Scene]:
        """Return every scene, each prepared by the real code."""
        first = "crash0"

        def advance(store: Store) -> object:
            store.telemetry.heartbeat(at=store.real_now())
            return upgrade(store, self.graph(), ROUTE, first, actor="t", confirm_s=0)

        def back(store: Store) -> object:
            return downgrade(store, ROUTE, actor="t", reason="x", confirm_s=0)

        def below(store: Store) -> object:
            state = store.route(ROUTE)
            if state.status == "completed":
                return undo(store, ROUTE, None, expect=first, actor="t", reason="x", confirm_s=0)
            return advance(store)

        return [
            self._scene("begin", [], advance),
            self._scene("fold in shadow", [("shadow", 0)], advance),
            self._scene("enter the canary", [("shadow", 0)], advance, hours=50),
            self._scene("roll back by hand", [("canary:5", 0)], back),
            self._scene("roll back by trigger", [("canary:5", 1)], advance),
            self._scene("undo what is completed", [("completed", 0)], below),
        ]

    def _scene(
        self, name: str, ways: list[tuple[str, int]], action: Callable[[Store], object], *, hours: int = 1
    ) -> Scene:
        place, database = self._place()
        clock = VirtualClock(START)
        store = self._open(place, database, clock)
        recorder, seq = Recorder(), 0
        for goal, failing in ways:
            for _ in range(200):
                store.telemetry.heartbeat(at=store.real_now())
                state = upgrade(store, self.graph(), ROUTE, "crash0", actor="t", confirm_s=0).last.state
                if goal in (state.phase, state.status):
                    break
                seq = self._traffic(store, recorder, clock, state.generation, seq)
            seq = self._traffic(store, recorder, clock, state.generation, seq, failing=failing, hours=hours)
        store.close()
        copy = self._copy(place, database)
        store = self._open(*copy, clock)
        action(store)
        action(store)
        state = store.route(ROUTE)
        expected = (state.status, state.phase, state.version)
        counted = self._counted(store)
        faults = broken(store)
        store.close()
        self._drop(*copy)
        assert not faults, (name, faults)
        return Scene(name, clock, place, database, action, expected, counted)

    def _traffic(
        self,
        store: Store,
        recorder: Recorder,
        clock: VirtualClock,
        generation: int,
        seq: int,
        *,
        failing: int = 0,
        hours: int = 8,
    ) -> int:
        """Let hours pass with requests of both arms, flushed each ten minutes."""
        for moment in range(6 * hours):
            for number in range(_REQUESTS // 48):
                for arm in ("control", "candidate"):
                    error = "timeout" if failing and arm == "candidate" else None
                    unit = f"{seq}-{moment}-{number}"
                    recorder.observe(ROUTE, generation, arm, unit, "", Outcome(error_class=error, tokens=100))
                    recorder.count(ROUTE, generation, arm, SPLIT, unit, 0.5)
                recorder.count(ROUTE, generation, "candidate", ASSIGNED, unit)
            clock.advance(600)
            recorder.cut(clock.monotonic())
            for number, payload, _ in recorder.waiting():
                store.telemetry.put_flush("run", number, payload, at=store.now())
                recorder.delivered(number)
                seq = number
        return seq

    @staticmethod
    def _counted(store: Store) -> int:
        """Return how many requests all cells together hold, after folding what still waits."""
        total = 0
        with store.telemetry.writing() as connection:
            fold(connection)
            for generation in range(40):
                cells = by_arm(read_cells(connection, ROUTE, generation))
                total += sum(cell.n for (_, metric), cell in cells.items() if metric == "error_rate")
        return total

    def kill(self, scene: Scene, point: int) -> bool:
        """Kill the action at a point, check what is left, finish it, check the end; False where it came to its end."""
        place, database = self._copy(scene.template, scene.database)
        child = quiet_fork()
        if child == 0:
            _perish_at(point)
            try:
                scene.action(self._open(place, database, scene.clock))
            except BaseException:  # noqa: BLE001 (the child must end here, whatever it is)
                traceback.print_exc(file=sys.stderr)
                os._exit(70)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, (scene.name, point)
        store = self._open(place, database, scene.clock)
        try:
            left = broken(store)
            assert not left, (scene.name, point, "left behind", left)
            scene.action(store)
            scene.action(store)
            state = store.route(ROUTE)
            assert (state.status, state.phase, state.version) == scene.expected, (scene.name, point, state)
            assert self._counted(store) == scene.counted, (scene.name, point, "counts")
            after = broken(store)
            assert not after, (scene.name, point, "at the end", after)
        finally:
            store.close()
            self._drop(place, database)
        return killed

    def _place(self) -> tuple[Path, str | None]:
        place = self._folder / f"store{next(self._numbers)}"
        place.mkdir()
        if self._admin is None:
            return place, None
        database = f"crash_{os.getpid()}_{next(self._databases)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {database}"))
        return place, database

    def _copy(self, place: Path, database: str | None) -> tuple[Path, str | None]:
        copy = self._folder / f"store{next(self._numbers)}"
        shutil.copytree(place, copy)
        if database is None or self._admin is None:
            return copy, None
        name = f"crash_{os.getpid()}_{next(self._databases)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {database}"))
        return copy, name

    def _drop(self, place: Path, database: str | None) -> None:
        shutil.rmtree(place)
        if database is not None and self._admin is not None:
            with self._admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {database} WITH (FORCE)"))

    def _open(self, place: Path, database: str | None, clock: VirtualClock) -> Store:
        if database is None:
            return Store.open(f"sqlite:///{place / 'a.db'}", clock=clock, create=True)
        assert self._url is not None
        url = self._url.set(database=database).render_as_string(hide_password=False)
        return Store.open(url, clock=clock, create=True)


def quiet_fork() -> int:
    """Fork; numeric libraries keep threads that do no harm here, of which newer Pythons warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _perish_at(point: int) -> None:
    """Let this process kill itself at the given moment of the statements to come."""
    moments = count(1)

    def moment(*_args: object, **_options: object) -> None:
        if next(moments) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, moment)


def kill_everywhere(stage: Stage, *, every: int = 1, say: Callable[[str], None] = lambda line: None) -> int:
    """Kill each scene at every point (or each `every`th); return the number of kills."""
    kills = 0
    for scene in stage.scenes():
        here = 0
        for point in count(1, every):
            if not stage.kill(scene, point):
                break
            here += 1
        say(f"  {scene.name}: {here} kills")
        kills += here
    return kills
