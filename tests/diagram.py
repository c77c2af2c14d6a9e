"""The life of a migration as a diagram, found by asking the code: every status, every fact, every request."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import product

from llmmigrate.document import load_text
from llmmigrate.exceptions import RefusedError
from llmmigrate.lifecycle import Facts, RouteState, Transition, finish_rollback, next_step, requests
from llmmigrate.stages import plan_of
from llmmigrate.verdict import MetricVerdict
from tests.test_document import EXAMPLE

STATUSES = ("pending", "running", "paused", "rolling_back", "rolled_back", "completed")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def edges() -> set[tuple[str, str, str]]:
    """Return every (from, event, to) that the pure decisions ever give."""
    plan = plan_of(load_text(EXAMPLE, "d").migration)
    found = set()
    for status, stage in product(STATUSES, plan.stages):
        state = RouteState("r", 1, status=status, revision="abcd", attempt=1, phase=stage.name, since=NOW)
        for transition in _decisions(plan, state):
            found.add((status, transition.event, transition.status))
    return found


def _decisions(plan, state):
    for answer, action in product(("pass", "hold", "fail"), ("rollback", "pause")):
        verdict = MetricVerdict("m", "m", "r", action, "prove", answer, 0.1, (0.0, 0.2), 0.1, "share", 999, 999, "")
        facts = Facts(
            NOW + timedelta(days=60),
            (verdict,),
            9e9,
            1.0,
            1.0,
            observed=(9999, 9999),
            assigned=(9999, 9999),
            watched=True,
        )
        if state.status in ("running", "paused"):
            decided = next_step(plan, state, facts)
            if isinstance(decided, Transition):
                yield decided
    if state.status == "rolling_back":
        yield finish_rollback(state, [])
    asked = (
        lambda: requests.roll_back(state, "x"),
        lambda: requests.drain(plan, state, 60.0, "x"),
        lambda: requests.undo(state, None, "x"),
        lambda: requests.step_back(plan, state, "shadow", "x"),
        lambda: requests.pause(state, "x"),
        lambda: requests.resume(state, "x"),
        lambda: requests.accept(state, "m", "x"),
        lambda: requests.extend(state, 1, "x"),
        lambda: requests.unattend(state, "x"),
        lambda: requests.acknowledge(state, "x"),
        lambda: requests.approve(state, "shadow", ["g"], ""),
        lambda: requests.stamp(state, "abcd", "", "", "x"),
        lambda: requests.stamp(state, None, "", "", "x"),
    )
    for ask in asked:
        try:
            transition = ask()
        except RefusedError:
            continue
        if transition is not None:
            yield transition
    if not state.active:
        yield requests.start(plan, "x")


def diagram() -> str:
    """Return the diagram in Mermaid's language, one line an edge, events of an edge together."""
    together: dict[tuple[str, str], list[str]] = {}
    for start, event, end in sorted(edges()):
        together.setdefault((start, end), []).append(event)
    lines = [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in sorted(together.items())]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> pending", *lines, "```"])


if __name__ == "__main__":
    sys.stdout.write(diagram() + "\n")
