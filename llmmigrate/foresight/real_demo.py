"""The demonstration on a real small model: two migrations in real time, streamed calls through `AsyncRouter`.

The application reads a name and a street out of orders, as JSON. The first migration has the server hold every answer
to the application's schema, and completes. The second cuts answers off, which is fine for the orders that shadow sees;
then orders with long names come in, the candidate's JSON breaks, and its rule rolls it back. Nothing here decides
anything: it sends orders and lets a controller look each second, as `llmmigrate run` does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from threading import Event
from typing import Any

from llmmigrate import scaffold, settings
from llmmigrate.document import load_folder
from llmmigrate.exceptions import LlmmigrateError, ModelError
from llmmigrate.foresight.demo import Scene, share_of
from llmmigrate.foresight.small_model import ServedModel, serve
from llmmigrate.graph import Graph
from llmmigrate.lifecycle import RouteState, Transition
from llmmigrate.models import Completion
from llmmigrate.routing.async_router import AsyncRouter
from llmmigrate.routing.validity import schema_valid
from llmmigrate.runner import Controller, RouteRound, TickResult
from llmmigrate.store import Store

ROUTE = "orders"
NAMES = ("smollm2-plain", "smollm2-schema", "smollm2-brief")
"""What the one set of weights is served as: free to write anything, held to the schema, and cut off besides."""

MODELS = tuple(f"hosted_vllm/{name}" for name in NAMES)
"""LiteLLM's prefix for OpenAI-compatible servers of one's own, whichever they are."""

CUT_OFF = 24
"""Tokens: enough for every short order, too few for a long one."""

_PLAIN: dict[str, Any] = {"temperature": 0, "max_tokens": 96, "response_format": {"type": "text"}}
_SCHEMA: dict[str, Any] = {"temperature": 0, "max_tokens": 96}
_BRIEF: dict[str, Any] = {"temperature": 0, "max_tokens": CUT_OFF}

FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "address",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 60}, "street": {"type": "string", "maxLength": 60}},
            "required": ["name", "street"],
            "additionalProperties": False,
        },
    },
}
"""What the application asks for with each call, and what each answer is held against."""

_TAUGHT = (
    ("system", "Extract name and street as JSON."),
    ("user", "Order for Eva Lind, 5 Oak Street, Oslo."),
    ("assistant", '{"name":"Eva Lind","street":"5 Oak Street"}'),
    ("user", "Deliver to John Ford, 33 Bell Road, Bristol."),
    ("assistant", '{"name":"John Ford","street":"33 Bell Road"}'),
)

CUSTOMERS = 3
"""Orders under way at once."""

LONG_OF_THREE = 2
LONG_ONES = f"from here on, {LONG_OF_THREE} of 3 orders have long names, as shadow never saw them"
"""What changes when the second migration reaches its canary."""

AFTERWARDS = 24
"""Orders that are still taken when the story is over."""

LONGEST_S = 20 * 60.0
_ORDERS = Path(__file__).parent / "demo_data" / "orders.jsonl"
_ACTOR = "demo@example.com"


@dataclass(frozen=True, slots=True)
class Change:
    """One migration of the demonstration."""

    revision: str
    message: str
    target: str
    params: dict[str, Any]
    breaks: bool = False


CHANGES = (
    Change("bbbb00000001", "Hold answers to the schema", MODELS[1], _SCHEMA),
    Change("bbbb00000002", f"Cut answers off at {CUT_OFF} tokens", MODELS[2], _BRIEF, breaks=True),
)


@dataclass(slots=True)
class Answers:
    """Users' answers: those that the application could read, those that it could not, and calls that failed.

    `first` is the number of the first order among them.
    """

    first: int
    read: int = 0
    broken: int = 0
    failed: int = 0

    @property
    def count(self) -> int:
        return self.read + self.broken + self.failed


@dataclass(slots=True)
class RealStory:
    """What happened. `served` has users' answers per (revision, phase, name of the model), in the order of time.

    `broken` are answers that the application could not read, as (name, order, answer); `read` has the last one that it
    could, per name and order. `tokens` are those of users' answers.
    """

    folder: Path
    revisions: tuple[str, ...]
    history: list[dict[str, Any]] = field(default_factory=list)
    served: dict[tuple[str, str, str], Answers] = field(default_factory=dict)
    broken: list[tuple[str, str, str]] = field(default_factory=list)
    read: dict[tuple[str, str], str] = field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


def play_real(
    folder: Path,
    *,
    watch: Callable[[Scene], None] | None = None,
    on_served: Callable[[ServedModel], None] | None = None,
) -> RealStory:
    """Serve the model and play both migrations in a folder that gets a project of its own; return what happened.

    `on_served` is called once the model answers, `watch` with every piece of an answer. Takes minutes, and uses
    loopback only. Raises LlmmigrateError where the model cannot be served, or its server ends.
    """
    scaffold.init(folder)
    config = settings.load(folder / settings.CONFIG_NAME, environ={})
    with serve(NAMES, log=folder / "model.log") as served:
        if on_served is not None:
            on_served(served)
        for change in CHANGES:
            write(config, change, served)
        return follow(config, CHANGES, served, watch=watch)


def write(config: settings.Settings, change: Change, served: ServedModel) -> Path:
    """Write the document of a change on the route's head; return its file."""
    graph = Graph(load_folder(config.versions, root=config.root))
    first = graph.head(ROUTE) is None
    return scaffold.new(
        config,
        graph,
        message=change.message,
        route=ROUTE,
        current=MODELS[0] if first else None,
        current_params=_PLAIN if first else None,
        target=change.target,
        target_params=change.params,
        current_api_base=f"{served.address}/v1",
        target_api_base=f"{served.address}/v1",
        driver=_ACTOR,
        now=datetime.now(UTC),
        template="real-demo",
        revision=change.revision,
    ).file


def follow(
    config: settings.Settings,
    changes: Sequence[Change],
    served: ServedModel,
    *,
    watch: Callable[[Scene], None] | None = None,
) -> RealStory:
    """Send orders and let a controller look, until the last of the changes is completed, rolled back or paused."""
    story = RealStory(config.root, tuple(change.revision for change in changes))
    with (
        closing(Store.open(config.database_url, create=True)) as store,
        closing(Store.open(config.database_url)) as routers_store,
    ):
        graph = Graph(load_folder(config.versions, root=config.root))
        asyncio.run(_Player(story, changes, served, store, graph, watch).play(routers_store))
        story.history = store.history(ROUTE)
    story.served = dict(sorted(story.served.items(), key=lambda item: item[1].first))
    return story


class _Player:
    """Is the application, and hears what the controller does; all of it runs on one event loop but the controller."""

    def __init__(
        self,
        story: RealStory,
        changes: Sequence[Change],
        served: ServedModel,
        store: Store,
        graph: Graph,
        watch: Callable[[Scene], None] | None,
    ) -> None:
        self._story = story
        self._changes = {change.revision: change for change in changes}
        self._served = served
        self._store = store
        self._graph = graph
        self._watch = watch
        orders = [json.loads(line) for line in _ORDERS.read_text("utf-8").splitlines()]
        self._short, self._long = (
            cycle([str(o["text"]) for o in orders if o["long"] is kind]) for kind in (False, True)
        )
        self._numbers = count()
        self._long_ones = False
        self._state = RouteState(ROUTE)
        self._round: TickResult | None = None
        self._under_way: dict[int, tuple[str, str]] = {}
        self._fault: LlmmigrateError | None = None
        self._began = time.monotonic()
        self._left: int | None = None

    async def play(self, store: Store) -> None:
        loop = asyncio.get_running_loop()

        def on_loop(heard: Callable[..., None]) -> Callable[..., None]:
            def hear(*what: object) -> None:
                loop.call_soon_threadsafe(heard, *what)

            return hear

        controller = Controller(
            self._store,
            lambda: self._graph,
            actor=_ACTOR,
            interval_s=1.0,
            on_transition=on_loop(self._moved),
            on_round=on_loop(self._looked),
        )
        self._looked(await asyncio.to_thread(controller.once))
        stop = Event()
        looking = asyncio.create_task(asyncio.to_thread(controller.run, stop))
        try:
            async with AsyncRouter(store=store) as router:
                await self._open(router)
        finally:
            stop.set()
            await looking
        if self._fault is not None:
            raise self._fault
        self._story.seconds = time.monotonic() - self._began

    def _moved(self, before: RouteState, after: RouteState, why: Transition) -> None:
        self._state, self._round = after, None
        change, canary = self._changes.get(after.revision or ""), (after.phase or "").startswith("canary")
        begins = change is not None and change.breaks and canary and not self._long_ones
        self._long_ones = self._long_ones or begins
        self._show((before, after, why), LONG_ONES if begins else "")
        last = after.revision == self._story.revisions[-1]
        if after.status in ("rolled_back", "paused") or (after.status == "completed" and last):
            self._left = AFTERWARDS

    def _looked(self, rounds: Sequence[RouteRound]) -> None:
        for looked in rounds:
            self._fault = self._fault or looked.error
            if looked.tick is not None:
                self._state, self._round = looked.tick.state, looked.tick

    def _show(self, moved: tuple[RouteState, RouteState, Transition] | None = None, note: str = "") -> None:
        if self._watch is None:
            return
        verdicts = self._round.verdicts if self._round is not None else ()
        wait = self._round.wait if self._round is not None else None
        waits = tuple(reason.detail for reason in wait.reasons) if wait is not None else ()
        self._watch(
            Scene(
                at=datetime.now(UTC),
                state=self._state,
                share=share_of(self._state),
                verdicts=verdicts,
                waits=waits,
                requests=self._story.requests,
                moved=moved,
                note=note,
                under_way=tuple(self._under_way.values()),
            )
        )

    async def _open(self, router: AsyncRouter) -> None:
        """Take orders until the story is over, some at once."""
        customers = [asyncio.create_task(self._customer(router)) for _ in range(CUSTOMERS)]
        try:
            await asyncio.gather(*customers)
        finally:
            for customer in customers:
                customer.cancel()
            await asyncio.gather(*customers, return_exceptions=True)

    async def _customer(self, router: AsyncRouter) -> None:
        while self._fault is None and self._left != 0 and time.monotonic() < self._began + LONGEST_S:
            self._left = self._left - 1 if self._left is not None else None
            number = next(self._numbers)
            try:
                await self._order(router, number, self._text(number))
            finally:
                self._under_way.pop(number, None)

    def _text(self, number: int) -> str:
        return next(self._long if self._long_ones and number % 3 < LONG_OF_THREE else self._short)

    async def _order(self, router: AsyncRouter, number: int, text: str) -> None:
        """Have an order read, in pieces, and note what its customer got."""
        state, said = self._state, ""
        messages = [{"role": role, "content": content} for role, content in (*_TAUGHT, ("user", text))]
        self._story.requests += 1
        answer: Completion | None = None
        try:
            stream = router.astream(route=ROUTE, messages=messages, unit=f"order-{number}", response_format=FORMAT)
            async for chunk in stream:
                said += chunk.text
                self._under_way[number] = (text, said)
                self._show()
                answer = chunk.completion or answer
        except ModelError as error:
            if not self._served.alive:
                raise LlmmigrateError(
                    f"the model server ended midway (exit code {self._served.process.returncode})",
                    hint=f"its log is {self._served.log}; llmmigrate demo --fast does without it",
                ) from error
        self._note(state, number, text, answer)

    def _note(self, state: RouteState, number: int, text: str, answer: Completion | None) -> None:
        phase = (state.phase or "pending") if state.status == "running" else state.status
        name = answer.model.rpartition("/")[2] if answer is not None else "nobody"
        noted = self._story.served.setdefault((state.revision or "", phase, name), Answers(number))
        noted.first = min(noted.first, number)
        if answer is None:
            noted.failed += 1
            return
        self._story.tokens += answer.usage.completion_tokens
        if schema_valid(answer.text, FORMAT, ()):
            noted.read += 1
            self._story.read[name, text] = answer.text
        else:
            noted.broken += 1
            self._story.broken.append((name, text, answer.text))
