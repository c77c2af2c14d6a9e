"""What a plan reckons with: a route's own traffic in the store, a log of requests, or a rate that somebody gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from llmmigrate.clock import from_text
from llmmigrate.exceptions import RefusedError
from llmmigrate.foresight.expected import Figures, measured, usual
from llmmigrate.foresight.traffic import read_arrivals
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import ASSIGNED, SPLIT
from llmmigrate.store import Store
from llmmigrate.store.folding import by_arm, read_cells

_WINDOW = timedelta(days=7)
_SHORTEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Basis:
    """A rate in requests a second, control's figures, and where the rate is from."""

    per_second: float
    figures: Figures
    source: str


def basis(store: Store | None, route: str, *, per_second: float | None = None, log: Path | None = None) -> Basis:
    """Find what to reckon with: the rate given, else that of a log, else the route's own of the last seven days.

    Figures are the route's own where its control has a thousand requests in the present generation. Raises RefusedError
    where no rate is known or a log cannot be read, and StoreError.
    """
    figures = _figures(store, route) if store is not None else usual()
    if per_second is not None:
        return Basis(per_second, figures, "as given")
    if log is not None:
        try:
            arrivals = read_arrivals(log)
        except (OSError, ValueError) as error:
            raise RefusedError(f"the log of requests cannot be used: {error}") from error
        return Basis((len(arrivals) - 1) / max(arrivals[-1], 1e-3), figures, f"of {log.name}")
    own = _rate(store, route) if store is not None else None
    if own is None:
        raise RefusedError(
            f"nothing is known of the traffic of {route}: the store has less than an hour of it",
            hint="llmmigrate plan --rps N, or --requests FILE",
        )
    return Basis(own, figures, "of the last seven days at most")


def _figures(store: Store, route: str) -> Figures:
    generation = store.route(route).generation
    with store.telemetry.reading() as connection:
        cells = by_arm(read_cells(connection, route, generation))
    control: dict[str, Cell] = {metric: cell for (arm, metric), cell in cells.items() if arm == "control"}
    return measured(control)


def _rate(store: Store, route: str) -> float | None:
    """Return the requests a second that users made, by the counters; None below an hour of them.

    In a canary both arms' decisions by chance are all requests; elsewhere control's are, since mirrored ones are beside
    them.
    """
    spans: dict[tuple[datetime, int], dict[tuple[str, str], int]] = {}
    for start, span_s, arm, metric, n, _ in store.telemetry.counters(route):
        if metric in (ASSIGNED, SPLIT):
            spans.setdefault((from_text(f"{start}Z"), span_s), {})[arm, metric] = n
    if not spans:
        return None
    end = max(at + timedelta(seconds=span_s) for at, span_s in spans)
    recent = {key: counts for key, counts in spans.items() if key[0] >= end - _WINDOW}
    began = min(at for at, _ in recent)
    seconds = (end - began).total_seconds()
    requests = 0
    for counts in recent.values():
        by_chance = counts.get(("control", SPLIT), 0) + counts.get(("candidate", SPLIT), 0)
        requests += by_chance or counts.get(("control", ASSIGNED), 0)
    return requests / seconds if seconds >= _SHORTEST_S and requests else None
