"""Commands that look ahead: simulate, plan."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmmigrate.cli.context import TARGETS, Format, MaybeTarget, Project, exits, project
from llmmigrate.cli.render import RANGE_NOTE, metric_table
from llmmigrate.exceptions import ExitCode, RefusedError, StoreMissing
from llmmigrate.units import format_duration, parse_duration
from llmmigrate.verdict import worded

if TYPE_CHECKING:
    from llmmigrate.document import Document
    from llmmigrate.foresight.basis import Basis
    from llmmigrate.foresight.plan import Outlook, RulePlan
    from llmmigrate.foresight.simulate import Moment, Outcome, Rate, Simulation
    from llmmigrate.store import Store

_DAY_S = 86400.0
_MOST_RUNS = 10_000


def register(app: typer.Typer) -> None:
    app.command("simulate", context_settings=TARGETS)(exits(simulate))
    app.command("plan", context_settings=TARGETS)(exits(plan))


def simulate(
    context: typer.Context,
    target: MaybeTarget = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="FILE", help="A file, or the name of a shipped scenario.")
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", help="Stop after so many days; by default the document's longest time.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", help="Runs, each with the next seed: for rates.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="What chance begins with.")] = 1,
    interval: Annotated[str, typer.Option("--interval", help="How often the runner looks.")] = "10m",
    rps: Annotated[float | None, typer.Option("--rps", help="Requests a second, instead of the scenario's.")] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", metavar="FILE", help="A log of arrivals that units begin by.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Run a migration against simulated traffic.

    The real runner, store and gates on a virtual clock, in a temporary store. Exit 0 however it ends.

    \b
    Example: llmmigrate simulate --scenario late-errors
    Example: llmmigrate simulate support@head --scenario no-change --runs 20 --days 20
    """
    from llmmigrate.foresight import scenario as scenarios
    from llmmigrate.foresight import simulate as simulation

    run = project(context, format)
    if not 1 <= runs <= _MOST_RUNS:
        raise RefusedError(f"--runs must be from 1 to {_MOST_RUNS:,}")
    if seed < 0:
        raise RefusedError("--seed must not be below 0")
    if rps is not None and not 0 < rps <= 1000:
        raise RefusedError("--rps must be above 0, and 1000 at most")
    try:
        interval_s = parse_duration(interval)
    except ValueError as error:
        raise RefusedError(f"--interval: {error}") from error
    loaded = scenarios.load(scenario).at(rps)
    prepared = simulation.prepare(run.document(target), loaded, days=days, interval_s=interval_s, log=requests)
    watcher = _Progress(run, runs, prepared.longest_s)
    with watcher:
        ended = [prepared.run(seed + number, number=number, watch=watcher) for number in range(runs)]
    found = simulation.rates(loaded.scenario, ended)
    run.emit(
        {
            "route": prepared.document.route,
            "revision": prepared.document.revision,
            "scenario": {"name": loaded.name, "description": loaded.scenario.description},
            "interval_s": interval_s,
            "longest_s": prepared.longest_s,
            "assumed": list(prepared.assumed),
            "rates": {name: rate.to_json() for name, rate in found.items()},
            "runs": [one.to_json() for one in ended],
        }
    )
    run.say(f"{loaded.name}: {loaded.scenario.description}")
    _print_run(run, prepared, ended[0]) if runs == 1 else _print_runs(run, prepared, ended, found)
    for words in prepared.assumed:
        run.say(f"Assumed: {words}")
    return int(ExitCode.DONE)


class _Progress:
    """Show on a terminal how far the runs are; elsewhere nothing."""

    def __init__(self, run: Project, runs: int, longest_s: float) -> None:
        self._runs, self._longest_s = runs, longest_s
        shown = run.out.is_terminal and run.format is Format.table and not run.quiet
        self._live = Live(console=run.out, transient=True, refresh_per_second=5) if shown else None

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.__enter__()

    def __exit__(self, *exc: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*exc)

    def __call__(self, moment: Moment) -> None:
        if self._live is not None:
            line = (
                f"run {moment.run + 1} of {self._runs}   {_when(moment.at_s)} of {_when(self._longest_s)} at most   "
                f"{moment.state.phase or 'pending'}   {moment.requests:,} requests"
            )
            self._live.update(Text(line))


def _when(seconds: float) -> str:
    return format_duration(seconds)


def _print_run(run: Project, prepared: Simulation, ended: Outcome) -> None:
    document = prepared.document
    run.say(f"{document.route} {document.revision}  {_ending(ended)}")
    for moved in ended.moves:
        run.say(f"  {_when(moved.at_s):>10}  {moved.start} → {moved.end}")
        run.say(f"              {moved.why}")
    for detail in ended.waits:
        run.say(f"  waits for: {detail}")
    if ended.metrics:
        run.show(metric_table(list(ended.metrics), indent=2))
        run.say(f"  {RANGE_NOTE}")
    reach = ended.reach
    run.say(
        f"{reach.requests:,} requests of users; the candidate was called {reach.candidate:,} times, and answered "
        f"{reach.served:,} requests of {reach.units:,} {document.migration.canary.unit}s."
    )
    if ended.changed_s is not None:
        since, unit = ended.since_change, document.migration.canary.unit
        run.say(
            f"Since the change after {_when(ended.changed_s)}: {_when(ended.at_s - ended.changed_s)}, "
            f"{since.candidate:,} requests of the candidate, {since.units:,} new {unit}s on it."
        )


def _ending(ended: Outcome) -> str:
    if ended.status == "running":
        return f"still at {ended.phase} after {_when(ended.at_s)}"
    at = f" at {ended.phase}" if ended.acted else ""
    return f"{ended.status.replace('_', ' ')}{at} after {_when(ended.at_s)}"


_TITLES = {
    "completed": "completed",
    "rolled_back": "rolled back",
    "paused": "paused for a person",
    "running": "still under way",
    "detected": "stopped after the change",
    "false_rollback": "rolled back though nothing was different",
    "false_pause": "paused though nothing was different",
}


def _print_runs(run: Project, prepared: Simulation, ended: list[Outcome], found: dict[str, Rate]) -> None:
    document = prepared.document
    every = _when(prepared.interval_s)
    run.say(f"{document.route} {document.revision}  {len(ended)} runs, the runner looks every {every}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  how it ended", "runs", "share", "95% range"):
        table.add_column(column, no_wrap=True)
    for name, rate in found.items():
        share = f"{rate.count / rate.of:.1%}" if rate.of else "–"
        low, high = rate.interval
        table.add_row(f"  {_TITLES[name]}", f"{rate.count} of {rate.of}", share, f"[{low:.1%}, {high:.1%}]")
    run.show(table)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  of the runs that ended", "median", "9 in 10 within"):
        table.add_column(column, no_wrap=True)
    over = [one for one in ended if one.status != "running"]
    stopped = [one for one in ended if one.acted and one.changed_s is not None]
    rows: list[tuple[str, list[float], bool]] = [("time", [one.at_s for one in over], True)]
    if stopped:
        rows += [
            ("time from the change to the stop", [one.at_s - (one.changed_s or 0.0) for one in stopped], True),
            ("requests of the candidate since", [one.since_change.candidate for one in stopped], False),
            ("requests of users answered by it since", [one.since_change.served for one in stopped], False),
        ]
    for title, values, timed in rows:
        if values:
            most = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
            cells = [_when(value) if timed else f"{value:,.0f}" for value in (median(values), most)]
            table.add_row(f"  {title}", *cells)
    run.show(table)
    for reason, count in _reasons(ended)[:5]:
        run.say(f"  {count} times: {reason}")


def _reasons(ended: list[Outcome]) -> list[tuple[str, int]]:
    """Return what stopped runs, the commonest first: how and where, and the rule where it was one."""
    found = Counter(
        f"{one.status.replace('_', ' ')} at {one.phase}" + (f" by {one.rule}" if one.rule else "")
        for one in ended
        if one.acted
    )
    return found.most_common()


def plan(
    context: typer.Context,
    target: MaybeTarget = None,
    rps: Annotated[
        float | None, typer.Option("--rps", help="Requests a second; by default the route's own, by the store.")
    ] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", metavar="FILE", help="A log of requests, for their rate.")
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Say how long each gate takes, and what it can see.

    By the gates' own functions, where both models are equal. Exit 6 where it is too late to end before a model retires.

    \b
    Example: llmmigrate plan support --rps 0.5
    """
    from llmmigrate.foresight.basis import basis
    from llmmigrate.foresight.plan import outlook

    run = project(context, format)
    if rps is not None and not 0 < rps <= 1e6:
        raise RefusedError("--rps must be above 0, and a million at most")
    document = run.document(target)
    found = basis(_store(run), document.route, per_second=rps, log=requests)
    told = outlook(document.migration, per_second=found.per_second, figures=found.figures)
    late = told.latest_start is not None and told.latest_start < datetime.now(UTC)
    known = sorted(found.figures.known)
    body = {"route": document.route, "revision": document.revision, "source": found.source, "measured": known}
    run.emit({**body, "too_late": late, **told.to_json()})
    run.say(f"{document.route} {document.revision}  at {found.per_second:.3g} req/s ({found.source})")
    _print_plan(run, told)
    _print_sums(run, document, told, found, late=late)
    return int(ExitCode.UNFIT if late else ExitCode.DONE)


def _store(run: Project) -> Store | None:
    try:
        return run.look()
    except StoreMissing:
        return None


def _print_plan(run: Project, told: Outlook) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  stage", "takes", "rule", "proved after", "stops, in the shortest time", "in the longest"):
        table.add_column(column, no_wrap=True)
    for stage in told.stages:
        takes = _when(stage.expected_s) if stage.expected_s is not None else f"over {_when(stage.max_s)}"
        for number, rule in enumerate(stage.rules):
            first = (f"  {stage.name}", takes) if number == 0 else ("", "")
            seen = (_seen(rule, rule.effect), _seen(rule, rule.effect_longest))
            table.add_row(*first, f"{rule.title} {rule.limit}", _proved(rule), *seen)
    run.show(table)


def _proved(rule: RulePlan) -> str:
    if rule.need == "watch":
        return "watched"
    if rule.passes_s is None or rule.samples is None:
        return "never"
    return f"{_when(rule.passes_s)}, {rule.samples:,.0f} requests"


def _seen(rule: RulePlan, effect: float | None) -> str:
    return worded(effect, rule.unit) if effect is not None else "–"


def _print_suite(run: Project, document: Document) -> None:
    """Say how many cases the suite has, and how many a healthy target needs to pass."""
    from llmmigrate.exceptions import DocumentError
    from llmmigrate.regression.equivalence_power import cases_needed
    from llmmigrate.regression.suite import load_suite

    asked, root = document.migration.regression, run.settings.root
    if asked.suite is None:
        return
    try:
        cases = len(load_suite(root / asked.suite, root=root).cases)
    except DocumentError as error:
        run.say(f"The regression suite cannot be read: {error.message}")
        return
    needed = cases_needed(None, repetitions=asked.repetitions)
    enough = f"a target that is no worse passes from about {needed} on" if needed is not None else "no size is enough"
    run.say(
        f"The suite has {cases} cases, asked {asked.repetitions} times; where control fails 10% by itself, {enough}."
    )


def _print_sums(run: Project, document: Document, told: Outlook, found: Basis, *, late: bool) -> None:
    if told.total_s is not None:
        run.say(f"From start to end {_when(told.total_s)}, where both models are equal.")
    else:
        run.say("It does not end by itself: a gate stays shut.")
    shadow = next((stage for stage in told.stages if stage.mirror), None)
    if shadow is not None and shadow.cost is not None:
        run.say(f"Shadow costs about ${shadow.cost:,.2f}.")
    elif shadow is not None:
        run.say("What shadow costs is not known: write monitoring.projection.cost_per_request.")
    if told.judge_cost is not None:
        run.say(f"The judge costs ${told.judge_cost:,.2f} at most, by its budget.")
    _print_suite(run, document)
    if told.latest_start is not None and told.deadline is not None:
        when = f"{told.latest_start:%Y-%m-%d %H:%M} UTC"
        past = ": that is past" if late else ""
        run.say(f"Start by {when}{past}: {told.deadline[0]} retires on {told.deadline[1]}.")
    else:
        run.say("Nobody knows when either model retires: write current.retires and target.retires.")
    known = sorted(found.figures.known)
    whose = f"its own ({', '.join(known)}), else usual" if known else "usual: nothing was measured yet"
    run.say(f"Figures of control are {whose}. What is stopped is the smallest change of all of its requests.")
    for line in told.advice:
        run.say(f"  {line}")
