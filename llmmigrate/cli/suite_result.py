"""A run of a suite on a terminal: what flips, each invariant, what changed, who declines, what it cost, the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from llmmigrate.cli.context import Project
    from llmmigrate.regression.observed import Observed
    from llmmigrate.regression.running import SuiteResult

_FLIPS = 10
_CHANGES = 6


def show(run: Project, result: SuiteResult) -> None:
    """Print a run, what got worse first and the verdict last."""
    for line in _flips(result):
        run.say(line)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  invariant", "verdict", "flips", "gains", "why"):
        table.add_column(column, no_wrap=column != "why")
    for one in result.verdicts:
        table.add_row(f"  {one.invariant}", one.verdict, str(len(one.flips)), str(len(one.gains)), one.reason)
    if result.verdicts:
        run.show(table)
    for line in (*_waived(result), *_changed(result.observed), *_declines(result.observed), *_spent(result)):
        run.say(line)
    run.say(f"{result.verdict}: {result.reason}")


def _flips(result: SuiteResult) -> Iterator[str]:
    from llmmigrate.regression.reports import failures_of, flips_of

    flipped = flips_of(result)
    by_id = {one.case.id: one for one in result.cases}
    for name, invariants in list(flipped.items())[:_FLIPS]:
        case = by_id[name]
        yield f"  flips  {name} (line {case.case.place[0]}) in {', '.join(invariants)}"
        for words in failures_of(case, "target")[:2]:
            yield f"         {words}"
    if len(flipped) > _FLIPS:
        yield f"  and {len(flipped) - _FLIPS} more: --html FILE shows all of them"


def _waived(result: SuiteResult) -> Iterator[str]:
    for name, why in result.waived.items():
        yield f"  not watched: {name}: {why}"


def _changed(observed: Observed) -> Iterator[str]:
    lines = [f"  {sentence} ({', '.join(ids)})" for sentence, ids in observed.told]
    if not lines:
        return
    yield f"What changed beyond chance, one answer a case of {len(observed.cases)}:"
    yield from lines[:_CHANGES]
    if len(lines) > _CHANGES:
        yield f"  and {len(lines) - _CHANGES} more: --html FILE"


def _declines(observed: Observed) -> Iterator[str]:
    for one in observed.refusals:
        before, after = one.change.before, one.change.after
        if not (before.refusals or after.refusals or one.change.held) or not before.decided + before.uncertain:
            continue
        who = "Declines" if one.input_type is None else f"  {one.input_type}"
        words = f"{who}: control {_rate(before.rate, before.interval)}, target {_rate(after.rate, after.interval)}"
        yield f"{words}; not told: {one.change.held}" if one.change.held else words


def _rate(rate: float | None, interval: tuple[float, float]) -> str:
    return f"{rate:.1%} ({interval[0]:.1%} to {interval[1]:.1%})" if rate is not None else "unknown"


def _spent(result: SuiteResult) -> Iterator[str]:
    from llmmigrate.regression.excerpts import excerpt

    for name, count in result.errors.items():
        yield f"  failed calls: {count:,} {name}, such as {excerpt(result.examples.get(name, ''), 200)}"
    cost = f"${result.cost:,.2f}" + (f" and {result.unpriced:,} answers without a price" if result.unpriced else "")
    yield f"{result.calls:,} calls, {result.kept:,} answers of an earlier run, {cost}"
