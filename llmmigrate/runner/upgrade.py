"""What `upgrade` and the controller do with a route: ticks, until there is nothing more to do now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmmigrate.document import Document, edited_part
from llmmigrate.exceptions import DocumentEdited, DocumentError, ExitCode, LostRace, RefusedError, StoreUnavailable
from llmmigrate.graph import Graph, no_document
from llmmigrate.lifecycle import SUITE, Reason, RouteState, Transition, Wait, finish_rollback, next_step, requests
from llmmigrate.runner.rollback import CONFIRM_S, confirm
from llmmigrate.runner.tick import TickResult, begin, collect, consented, reconcile, tick, unconfirmed
from llmmigrate.runner.write import applied, is_draining
from llmmigrate.stages import plan_of
from llmmigrate.store import Store
from llmmigrate.store.evidence import latest_run
from llmmigrate.store.folding import fold
from llmmigrate.targets import TrafficTarget

RACES = 200
"""How often a route may be moved by others before a command gives up."""

_PATIENCE_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a store that does not answer is asked again; then it is an error."""

SuiteHash = Callable[[Document], str]
"""Return the hash of the suite that a document names, as it is now; raises DocumentError."""

OnTransition = Callable[[RouteState, RouteState, Transition], None]


@dataclass(slots=True)
class UpgradeResult:
    """All transitions that an upgrade made, as (before, after, why), and the tick it ended on.

    `unfit` says what keeps it from advancing: a document that was edited, or a suite that cannot be read.
    """

    last: TickResult
    transitions: list[tuple[RouteState, RouteState, Transition]] = field(default_factory=list)
    unfit: DocumentError | None = None
    reached: bool = False

    @property
    def draining(self) -> bool:
        """Whether a person has begun the way back, and open conversations may still end on the candidate."""
        state = self.last.state
        return state.status == "paused" and is_draining(state)

    @property
    def exit_code(self) -> ExitCode:
        """The answer to a script: done, held, paused, rolled back or a failed suite, or unfit."""
        status = self.last.state.status
        if self.reached:
            return ExitCode.DONE
        if status == "paused":
            return ExitCode.HOLD if self.draining else ExitCode.PAUSED
        if status in ("rolling_back", "rolled_back"):
            return ExitCode.ROLLED_BACK
        if self.unfit is not None:
            return ExitCode.UNFIT
        failed = self.last.wait is not None and self.last.wait.verdict == "fail"
        return ExitCode.ROLLED_BACK if failed else ExitCode.HOLD


def upgrade(
    store: Store,
    graph: Graph,
    route: str,
    revision: str,
    *,
    actor: str,
    retry: str | None = None,
    restart: bool = True,
    to: str | None = None,
    confirm_s: float = CONFIRM_S,
    targets: Sequence[TrafficTarget] = (),
    suites: SuiteHash | None = None,
    on_transition: OnTransition | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> UpgradeResult:
    """Move a route towards a revision as far as the evidence allows now.

    `retry` is the reason for a new attempt of a revision that was rolled back; without `restart` nothing at all is
    begun on a route whose last attempt was. `to` names the stage to stop at: its triggers still fire. `suites` tells
    the hash of a document's suite as it is now: another one than was run is no evidence. Where another
    process moves the route at the same time, the state is read again and decided again; a store that does not answer is
    asked again for some seconds. A rollback is waited for, up to `confirm_s` seconds. Raises DocumentEdited where an
    edited document would have to be started, DocumentInvalid where one would whose suite cannot be read, GraphError
    where the route's line is at fault or it stands on a revision that no document has, RefusedError for a stage that
    the migration does not have, and StoreError.
    """
    transitions: list[tuple[RouteState, RouteState, Transition]] = []
    races, patience = 0, list(_PATIENCE_S)
    while True:
        try:
            state = store.route(route)
            edited = edited_document(graph, state)
            if state.status == "rolling_back":
                confirm(store, state, confirm_s)
            suite = _suite_now(state, suites)
            unfit = edited or (suite if isinstance(suite, DocumentError) else None)
            blocked = _blocked(state, revision, to, edited) or _another_suite(store, state, suite)
            result = _one_tick(
                store,
                graph,
                state,
                revision,
                actor=actor,
                edited=edited,
                blocked=blocked,
                retry=retry,
                restart=restart,
                targets=targets,
                suites=suites,
            )
        except LostRace:
            races += 1
            if races > RACES:
                raise
            continue
        except StoreUnavailable:
            if not patience:
                raise
            sleep(patience.pop(0))
            continue
        if result.transition is None:
            there = reached(graph, result.state, revision) or (to is not None and _is_at(result.state, revision, to))
            return UpgradeResult(result, transitions, unfit, there)
        retry = None
        transitions.append((state, result.state, result.transition))
        if on_transition is not None:
            on_transition(state, result.state, result.transition)


def _is_at(state: RouteState, revision: str, stage: str) -> bool:
    """Tell whether an attempt runs at a stage or a later one; raises RefusedError for a stage that it does not have."""
    if state.revision != revision or state.status != "running" or state.phase is None:
        return False
    plan = plan_of(applied(state).migration)
    names = [one.name for one in plan.stages]
    if stage not in names:
        raise RefusedError(f"this migration has no stage {stage!r}; it has {', '.join(names)}")
    return names.index(state.phase) >= names.index(stage)


def _blocked(state: RouteState, revision: str, to: str | None, edited: DocumentEdited | None) -> str | None:
    """Say why an attempt may not advance, though it may be rolled back."""
    if edited is not None:
        return edited.message
    return f"told to stop at {to}" if to is not None and _is_at(state, revision, to) else None


def suite_hash(document: Document, suites: SuiteHash | None) -> str | None:
    """Return the hash of a document's suite as it is now, None without one; raises DocumentInvalid."""
    return suites(document) if suites is not None and document.migration.regression.suite is not None else None


def _suite_now(state: RouteState, suites: SuiteHash | None) -> str | DocumentError | None:
    """Return the hash of the suite that an attempt waits for, or why it cannot be read."""
    if not state.active or state.phase != "regression":
        return None
    try:
        return suite_hash(applied(state), suites)
    except DocumentError as error:
        return error


def _another_suite(store: Store, state: RouteState, suite: str | DocumentError | None) -> str | None:
    """Say that an attempt waits for its suite, and that the suite is no longer the one that was run."""
    if isinstance(suite, DocumentError):
        return f"{SUITE} cannot be read: {suite.brief}"
    if suite is None or state.document_hash is None:
        return None
    with store.telemetry.reading() as connection:
        run = latest_run(connection, state.route, state.document_hash)
    if run is None or run.suite_hash == suite:
        return None
    return f"{SUITE} is no longer the one that was run: llmmigrate test {state.revision}"


def preview(
    store: Store, graph: Graph, route: str, revision: str, *, suites: SuiteHash | None = None
) -> Transition | Wait:
    """Return what an upgrade would do next on what has been folded so far; nothing is written.

    Raises StoreError, GraphError where the route stands on a revision that no document has, and DocumentInvalid where
    a document would be applied whose suite cannot be read.
    """
    state = store.route(route)
    if reached(graph, state, revision):
        return Wait("pass")
    if state.status == "rolling_back":
        return finish_rollback(state, [f"router {run_id}" for run_id in unconfirmed(store, state)])
    if state.status == "rolled_back":
        return Wait("fail", (Reason("trigger", "this attempt was rolled back, for good: --retry begins another"),))
    if not state.active:
        document = graph.after(route, state.completed_revision)
        if document is None:
            raise no_document(route, state.completed_revision or "base")
        suite_hash(document, suites)
        return requests.start(plan_of(document.migration), f"{document.migration.revision} would be applied")
    edited = edited_document(graph, state)
    own = applied(state)
    plan = plan_of(own.migration)
    with store.telemetry.reading() as connection:
        consent = consented(store, connection, state, plan)
        facts = collect(
            store, connection, state, own, plan, consent, now=store.now(), blocked=edited.message if edited else None
        )
    return next_step(plan, state, facts)


def reached(graph: Graph, state: RouteState, revision: str) -> bool:
    """Tell whether a route stands completed at a revision, or above it."""
    line = [document.migration.revision for document in graph.line(state.route)]
    if state.completed_revision not in line or revision not in line:
        return False
    return line.index(state.completed_revision) >= line.index(revision)


def edited_document(graph: Graph, state: RouteState) -> DocumentEdited | None:
    """Return the error where the route's document is no longer the one that was applied."""
    if state.revision is None or state.document_hash is None:
        return None
    document = graph.get(state.revision)
    if document is None:
        return DocumentEdited(state.revision, "the file is gone")
    if document.hash != state.document_hash:
        return DocumentEdited(state.revision, edited_part(document, state.document))
    return None


def _one_tick(
    store: Store,
    graph: Graph,
    state: RouteState,
    revision: str,
    *,
    actor: str,
    edited: DocumentEdited | None,
    blocked: str | None,
    retry: str | None,
    restart: bool,
    targets: Sequence[TrafficTarget],
    suites: SuiteHash | None,
) -> TickResult:
    if not state.active:
        reconcile(state, targets)
    if reached(graph, state, revision):
        with store.telemetry.writing() as connection:
            fold(connection)
        return TickResult(state, wait=Wait("pass"))
    if state.active:
        return tick(store, state, actor=actor, blocked=blocked, targets=targets)
    document = graph.after(state.route, state.completed_revision)
    if document is None:
        assert state.completed_revision is not None
        raise no_document(state.route, state.completed_revision)
    again = state.status == "rolled_back" and document.migration.revision == state.revision
    if (again and retry is None) or (state.status == "rolled_back" and not restart):
        return TickResult(state, wait=Wait("fail", (Reason("trigger", "this attempt was rolled back, for good"),)))
    if edited is not None and (again or state.status == "completed"):
        raise edited
    suite_hash(document, suites)
    reason = f"retry: {retry}" if again else "the document was applied"
    return begin(store, state, document, actor=actor, reason=reason)
