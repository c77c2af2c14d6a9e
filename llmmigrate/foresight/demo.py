"""The demonstration: two whole migrations on a virtual clock, through the same tick, store and gates as `upgrade`.

The first moves a route from one recorded model version to the next and completes. The second moves it on to another
host of the same model, which starts to fail at 25%: its trigger rolls it back. Nothing here decides anything; it sends
requests, lets time pass and calls the controller, as an application and `llmmigrate run` would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mmh3

from llmmigrate import scaffold, settings
from llmmigrate.clock import VirtualClock
from llmmigrate.document import load_folder
from llmmigrate.exceptions import ModelError
from llmmigrate.foresight.recordings import Material, material
from llmmigrate.foresight.traffic import stretched
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import RouteState, Transition
from llmmigrate.models import ChatRequest, Completion, ModelClient, RecordedClient
from llmmigrate.routing.router import Router
from llmmigrate.routing.snapshot import Snapshot
from llmmigrate.runner import Controller
from llmmigrate.store import Store
from llmmigrate.verdict import MetricVerdict

ROUTE = "support-agent"
STEP_S = 15 * 60.0
REQUESTS_PER_HOUR = 200.0
REQUESTS_PER_CONVERSATION = 3
USUAL_ERRORS = 0.004
FAILING_ERRORS = 0.15
FAILS_FROM = "canary:25"
AFTERWARDS_S = 6 * 3600.0
LONGEST_S = 60 * 86400.0
_SEED = 20260105
_DAYS = 23
"""How long ago the story begins: so that it ends about now, and its store can be looked at with real time."""


class Flaky(ModelClient):
    """A recorded client whose calls fail now and then, at a rate that can be changed while it runs.

    Which calls fail depends on the seed, the prompt and how often it was asked, not on the order of threads: the story
    is the same each time.
    """

    def __init__(self, client: ModelClient, seed: int) -> None:
        self._client = client
        self._seed = seed
        self._asked: Counter[str] = Counter()
        self.rate = USUAL_ERRORS

    async def complete(self, request: ChatRequest) -> Completion:
        prompt = str(request.messages[-1]["content"])
        self._asked[prompt] += 1
        if mmh3.hash(f"{prompt}{self._asked[prompt]}", self._seed, signed=False) < self.rate * 2**32:
            raise ModelError("overloaded", "the host is overloaded", latency_s=1.0)
        return await self._client.complete(request)


@dataclass(frozen=True, slots=True)
class Scene:
    """A moment of a demonstration, for those who watch: its time, state, verdicts, what it waits for.

    `under_way` are requests that are being answered: what was asked, and the answer so far. `note` says what else
    happens at a move.
    """

    at: datetime
    state: RouteState
    share: float
    verdicts: tuple[MetricVerdict, ...]
    waits: tuple[str, ...]
    requests: int
    moved: tuple[RouteState, RouteState, Transition] | None = None
    under_way: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(slots=True)
class Story:
    """What happened. `served` counts users' answers per (revision, phase, model); `failed` those that were errors."""

    described: list[str]
    folder: Path
    revisions: tuple[str, str]
    models: tuple[str, str, str]
    history: list[dict[str, Any]] = field(default_factory=list)
    served: Counter[tuple[str | None, str, str]] = field(default_factory=Counter)
    served_after_rollback: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None


def play(folder: Path, *, data: Path | None = None, watch: Callable[[Scene], None] | None = None) -> Story:
    """Play both migrations in a folder that gets a project of its own; return what happened.

    `data` is a folder with the recorded answers and the trace (see `recordings.material`); `watch` is called after
    every step. Takes some seconds; calls no model and no network.
    """
    played = material(data)
    new_host = f"{played.new_name}@other-host"
    scaffold.init(folder)
    config = settings.load(folder / settings.CONFIG_NAME, environ={})
    clock = VirtualClock(datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=_DAYS))
    first = _write(config, clock, "aaaa00000001", "Move the support agent to the next version", *_names(played))
    second = _write(config, clock, "aaaa00000002", "Move it to another host", played.new_name, new_host)
    story = Story(played.described, folder, (first, second), (played.old_name, played.new_name, new_host))
    clients = {
        played.old_name: Flaky(RecordedClient(played.old), _SEED),
        played.new_name: Flaky(RecordedClient(played.new), _SEED + 1),
        new_host: Flaky(RecordedClient(played.new), _SEED + 2),
    }
    store = Store.open(config.database_url, clock=clock, create=True)
    try:
        graph = Graph(load_folder(config.versions, root=config.root))
        _Player(story, store, graph, clock, played, clients, watch).play()
    finally:
        store.close()
    return story


def _names(played: Material) -> tuple[str, str]:
    return played.old_name, played.new_name


def _write(
    config: settings.Settings, clock: VirtualClock, revision: str, message: str, current: str, target: str
) -> str:
    return scaffold.new(
        config,
        Graph(load_folder(config.versions, root=config.root)),
        message=message,
        route=ROUTE,
        current=current,
        target=target,
        driver="demo@example.com",
        now=clock.now(),
        template="demo",
        revision=revision,
    ).document.migration.revision


class _Player:
    """Sends the traffic and calls `upgrade`, step by step."""

    def __init__(
        self,
        story: Story,
        store: Store,
        graph: Graph,
        clock: VirtualClock,
        played: Material,
        clients: dict[str, Flaky],
        watch: Callable[[Scene], None] | None,
    ) -> None:
        self._story = story
        self._store = store
        self._controller = Controller(store, lambda: graph, actor="demo@example.com", on_transition=self._moved)
        self._clock = clock
        self._prompts = played.prompts
        self._clients = clients
        self._watch = watch
        self._start = clock.now()
        self._arrivals = stretched(played.arrivals, REQUESTS_PER_HOUR)
        self._next_arrival = next(self._arrivals)
        self._conversation_start = self._start

    def play(self) -> None:
        story = self._story
        story.started_at = self._start
        state = self._round()
        deadline = self._start + timedelta(seconds=LONGEST_S)
        with Router(store=self._store, clients=self._clients, clock=self._clock, background=False) as router:
            while state.status not in ("rolled_back", "paused") and self._clock.now() < deadline:
                router.poll()
                self._step(router)
                state = self._round()
                if state.status == "rolling_back":  # a router hears of it within a second
                    router.poll()
                    state = self._round()
            router.poll()
            until = self._clock.now() + timedelta(seconds=AFTERWARDS_S)
            while self._clock.now() < until:
                self._step(router, story.served_after_rollback)
        story.history = self._store.history(ROUTE)
        story.ended_at = self._clock.now()

    def _round(self) -> RouteState:
        [looked] = self._controller.once()
        if looked.error is not None:
            raise looked.error
        assert looked.tick is not None
        wait = looked.tick.wait
        waits = tuple(reason.detail for reason in wait.reasons) if wait is not None else ()
        self._show(looked.tick.state, looked.tick.verdicts, waits)
        return looked.tick.state

    def _moved(self, before: RouteState, after: RouteState, why: Transition) -> None:
        if after.revision == self._story.revisions[1] and after.phase == FAILS_FROM and after.status == "running":
            self._clients[self._story.models[2]].rate = FAILING_ERRORS
        self._show(after, (), (), (before, after, why))

    def _show(
        self,
        state: RouteState,
        verdicts: tuple[MetricVerdict, ...],
        waits: tuple[str, ...],
        moved: tuple[RouteState, RouteState, Transition] | None = None,
    ) -> None:
        if self._watch is not None:
            at, requests = self._clock.now(), self._story.requests
            self._watch(Scene(at, state, share_of(state), verdicts, waits, requests, moved))

    def _step(self, router: Router, served: Counter[str] | None = None) -> None:
        """Let a quarter of an hour pass: send its requests, and flush what was counted."""
        end = (self._clock.now() - self._start).total_seconds() + STEP_S
        state = self._store.route(ROUTE)
        while self._next_arrival < end:
            self._clock.advance(max(0.0, self._next_arrival - self._clock.monotonic()))
            model = self._request(router)
            self._story.served[(state.revision, _name(state), model)] += 1
            if served is not None:
                served[model] += 1
            self._next_arrival = next(self._arrivals)
        self._clock.advance(end - self._clock.monotonic())
        router.mirror.wait()
        router.flush()

    def _request(self, router: Router) -> str:
        """Send one user's request; return the model that answered, or "error"."""
        number = self._story.requests
        self._story.requests += 1
        if number % REQUESTS_PER_CONVERSATION == 0:
            self._conversation_start = self._clock.now()
        prompt = self._prompts[number * 7 % len(self._prompts)]
        try:
            answer = router.completion(
                route=ROUTE,
                messages=[{"role": "user", "content": prompt}],
                unit=f"conversation-{number // REQUESTS_PER_CONVERSATION}",
                started_at=self._conversation_start,
            )
        except ModelError:
            self._story.failed[_name(self._store.route(ROUTE))] += 1
            return "error"
        return answer.model


def _name(state: RouteState) -> str:
    return (state.phase or "pending") if state.status == "running" else state.status


def share_of(state: RouteState) -> float:
    """Return the share of units that a route's candidate serves."""
    return Snapshot.from_text(state.snapshot).share if state.snapshot is not None else 0.0
