"""A run of a suite on a terminal: before it what it costs at most; after it what flips, each invariant, the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmmigrate.units import format_duration

if TYPE_CHECKING:
    from llmmigrate.cli.context import Project
    from llmmigrate.regression.observed import Observed
    from llmmigrate.regression.reckoning import Reckoning
    from llmmigrate.regression.results import SuiteResult
    from llmmigrate.regression.suite import Suite

_FLIPS = 10
_CHANGES = 6


def announce(run: Project, suite: Suite, times: int, told: Reckoning, max_cost: float | None) -> None:
    """Say before a run how much it asks for and what that costs at most, beside the ceiling that was set."""
    cases = "1 case" if len(suite.cases) == 1 else f"{len(suite.cases):,} cases"
    often = "once" if times == 1 else f"{times} times"
    if told.calls == 0:
        run.say(f"{suite.name}: {cases}, {often} each: all {told.kept:,} answers are kept from an earlier run")
        return
    run.say(
        f"{suite.name}: {cases}, {often} each: up to {told.target.calls:,} calls of {told.target.model} "
        f"and {told.control.calls:,} of {told.control.model}, which is asked twice"
    )
    if told.kept:
        run.say(f"{told.kept:,} more answers are kept from an earlier run: they cost nothing (--fresh asks anew)")
    if told.least_s >= 1:
        run.say(f"calls are spaced to keep beneath the declared limits: at least {format_duration(told.least_s)}")
    for line in _ceiling(told, max_cost):
        run.say(line)


def _ceiling(told: Reckoning, max_cost: float | None) -> Iterator[str]:
    """Say what a run costs at most: by prices and lengths, and by `max_cost`."""
    from llmmigrate.models import costmap
    from llmmigrate.regression.reckoning import CALLS

    where = f", where no answer calls more than {CALLS} tools" if told.calls_tools else ""
    most = f"${_cents(told.known_usd)}"
    if told.at_most_usd is not None:
        yield f"at most {most} by the prices of {costmap.source()}{where}"
    else:
        yield from told.unknown
        if told.known_usd:
            yield f"all other calls cost at most {most} by the prices of {costmap.source()}{where}"
    if told.open_ended and told.known_usd:
        number = "no answer has" if told.open_ended == told.calls else f"{told.open_ended:,} answers have no"
        yield f"{number} max_tokens: reckoned as long as the models can write"
    if max_cost is None:
        return
    shown = f"{max_cost:,.2f}" if round(max_cost, 2) == max_cost else f"{max_cost:g}"
    if told.at_most_usd is not None and told.at_most_usd <= max_cost:
        yield f"that is within --max-cost ${shown}"
    else:
        yield f"no more is asked once ${shown} is spent (--max-cost); calls under way by then are paid too"
    if told.unpriced:
        yield "an answer whose price is not known ends the run, since --max-cost cannot be kept to without one"


def _cents(usd: float) -> str:
    """Write dollars rounded up, so that what is said to be the most is it."""
    return f"{math.ceil(round(usd * 100, 6)) / 100:,.2f}"


def show(run: Project, result: SuiteResult) -> None:
    """Print a run, what got worse first and the verdict last."""
    for line in (*_flips(result), *_worse(result), *_undecided(result)):
        run.say(line)
    for one in result.verdicts:
        counts = [_number(len(found), name) for name, found in (("flip", one.flips), ("gain", one.gains)) if found]
        run.say(f"  {one.verdict:<4}  {', '.join([one.invariant, *counts])}")
        run.say(f"        {one.reason}")
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


def _number(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _worse(result: SuiteResult) -> Iterator[str]:
    """Name the cases that got worse without a flip, where an invariant fails for them."""
    found: dict[str, list[str]] = {}
    for one in result.verdicts:
        for shift in one.worse if one.verdict == "fail" else ():
            found.setdefault(str(shift), []).append(one.invariant)
    for words, names in list(found.items())[:_FLIPS]:
        yield f"  worse  {words} ({', '.join(names)})"
    if len(found) > _FLIPS:
        yield f"  and {len(found) - _FLIPS} more: --html FILE shows all of them"


def _undecided(result: SuiteResult) -> Iterator[str]:
    for one in result.undecided[:_FLIPS]:
        yield f"  never decided  {one.case} (line {one.line}): {one.kind} {one.why}"
    if len(result.undecided) > _FLIPS:
        yield f"  and {len(result.undecided) - _FLIPS} more: --html FILE shows all of them"


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

    for name, count in result.spent.errors.items():
        yield f"  failed calls: {count:,} {name}, such as {excerpt(result.spent.examples.get(name, ''), 200)}"
    cost = f"${result.spent.cost:,.2f}" + (
        f" and {result.spent.unpriced:,} answers without a price" if result.spent.unpriced else ""
    )
    yield f"{result.spent.calls:,} calls, {result.spent.kept:,} answers of an earlier run, {cost}"
