"""The command that asks both models what an application depends on: test."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.live import Live
from rich.text import Text

from llmmigrate.cli.context import TARGETS, Format, MaybeTarget, Project, exits, project
from llmmigrate.cli.suite_result import announce, show
from llmmigrate.exceptions import ExitCode, RefusedError
from llmmigrate.files import replace_file
from llmmigrate.units import format_duration, parse_money

if TYPE_CHECKING:
    from llmmigrate.document import Document
    from llmmigrate.document.prompts import Side as Name
    from llmmigrate.regression.asking import Side
    from llmmigrate.regression.reckoning import Reckoning
    from llmmigrate.regression.results import SuiteResult
    from llmmigrate.regression.running import Moment
    from llmmigrate.regression.suite import Suite
    from llmmigrate.store import Store
    from llmmigrate.store.evidence import KeptAnswers


_JUNIT, _HTML = "<?xml", "<!doctype html"
"""How the reports begin that are written here."""


def register(app: typer.Typer) -> None:
    app.command("test", context_settings=TARGETS)(exits(suite_of_both))


def suite_of_both(
    context: typer.Context,
    target: MaybeTarget = None,
    repeat: Annotated[
        int | None, typer.Option("--repeat", metavar="N", help="Answers a case; by default the document's.")
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option("--max-cost", metavar="$", help="Ask no more once this is spent, such as $5.")
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", help="Calls to one model at a time.")] = 8,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, for CI.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write both models' answers side by side.")
    ] = None,
    allow_python: Annotated[
        bool, typer.Option("--allow-python", help="Let the suite call functions of the project.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Use no answers of an earlier run.")] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Run the regression suite on both models.

    Each case several times on the target, on control, and on control again: what control does to itself is its noise.
    Answers are kept, so that a run that was interrupted goes on. Exit 0 where nothing that control passes got worse, 3
    where too little is known, 5 where something did.

    \b
    Example: llmmigrate test support --max-cost $5 --html suite.html
    Example: llmmigrate test 3f9a --repeat 5 --junit suite.xml
    """
    run = project(context, format)
    limit = _money(max_cost)
    document = run.document(target)
    asked = document.migration.regression
    if asked.suite is None:
        raise RefusedError(
            f"{document.revision} has no suite, and says why: {asked.waived}", hint="regression: {suite: FILE}"
        )
    if repeat is not None and not 1 <= repeat <= 100:
        raise RefusedError("--repeat must be from 1 to 100")
    if not 1 <= at_once <= 200:
        raise RefusedError("--at-once must be from 1 to 200")
    for file, start in ((junit, _JUNIT), (html, _HTML)):
        _may_write(file, start)
    store = run.store(create=True)
    trial = prepare(run, store, document, repetitions=repeat, max_cost=limit, fresh=fresh)
    result = run_and_keep(run, store, trial, at_once=at_once, python=allow_python)
    _write(run, trial, result, junit=junit, html=html)
    return int({"pass": ExitCode.DONE, "hold": ExitCode.HOLD, "fail": ExitCode.ROLLED_BACK}[result.verdict])


@dataclass(frozen=True, slots=True)
class Trial:
    """A document's suite before it is run: what is asked of which models, with which answers of earlier runs."""

    document: Document
    suite: Suite
    control: Side
    target: Side
    repetitions: int
    max_cost: float | None
    answers: KeptAnswers
    reckoning: Reckoning


def prepare(
    run: Project,
    store: Store,
    document: Document,
    *,
    repetitions: int | None = None,
    max_cost: float | None = None,
    fresh: bool = False,
) -> Trial:
    """Read a document's suite and say what running it asks for and costs at most; raises DocumentInvalid."""
    from llmmigrate.regression.reckoning import reckon
    from llmmigrate.regression.suite import load_suite
    from llmmigrate.store.evidence import KEPT_FRESH, KeptAnswers

    asked, root = document.migration.regression, run.settings.root
    assert asked.suite is not None
    suite = load_suite(root / asked.suite, root=root)
    control, target = _side(document, "current"), _side(document, "target")
    times = repetitions or asked.repetitions
    answers = KeptAnswers(store.telemetry, store.now(), fresh=timedelta(0) if fresh else KEPT_FRESH)
    reckoning = reckon(suite, control=control, target=target, repetitions=times, answers=answers)
    announce(run, suite, times, reckoning, max_cost)
    return Trial(document, suite, control, target, times, max_cost, answers, reckoning)


def run_and_keep(run: Project, store: Store, trial: Trial, *, at_once: int = 8, python: bool = False) -> SuiteResult:
    """Run a suite, keep the run as evidence, and print it; raises StoreError."""
    from llmmigrate.models import default_clients
    from llmmigrate.regression.results import to_json
    from llmmigrate.regression.running import run_suite
    from llmmigrate.regression.watched import hooks
    from llmmigrate.store.evidence import RegressionRun, put_run

    document = trial.document
    if python:  # modules of the project, as the suite names them
        sys.path.insert(0, str(run.settings.root))
    clients = default_clients(recordings=run.settings.root / "recordings")

    async def ask(progress: _Progress) -> SuiteResult:
        try:
            return await run_suite(
                trial.suite,
                control=trial.control,
                target=trial.target,
                clients=clients,
                repetitions=trial.repetitions,
                answers=trial.answers,
                at_once=at_once,
                max_cost=trial.max_cost,
                hooks=hooks(python=python),
                watch=progress,
            )
        finally:
            await clients.close()

    try:
        with _Progress(run) as progress:
            result = asyncio.run(ask(progress))
    except KeyboardInterrupt:
        run.err.print(
            "\nInterrupted: what was answered is kept, and the same command goes on from there (without --fresh)."
        )
        raise
    wanted = document.migration.regression.repetitions
    if result.counts(wanted):
        evidence = RegressionRun(
            route=document.route,
            revision=document.revision,
            at=store.now(),
            document_hash=document.hash,
            suite_hash=trial.suite.hash,
            answer=result.verdict,
            body=to_json(result),
        )
        put_run(store.telemetry, evidence)
    show(run, result)
    if not result.counts(wanted):
        run.say(f"This is no evidence: the document asks for {wanted} repetitions.")
    return result


def _write(run: Project, trial: Trial, result: SuiteResult, *, junit: Path | None, html: Path | None) -> None:
    from llmmigrate.regression import reports
    from llmmigrate.regression.results import to_json
    from llmmigrate.scaffold import shipped_templates

    document = trial.document
    before = {**trial.reckoning.to_json(), "max_cost_usd": trial.max_cost}
    run.emit({"route": document.route, "revision": document.revision, **to_json(result), "before": before})
    if junit is not None:
        replace_file(junit, reports.junit(result).encode("utf-8"))
    if html is not None:
        template = (shipped_templates() / "reports" / "suite.html.j2").read_text("utf-8")
        names = {"control": document.migration.current.model, "target": document.migration.target.model}
        text = reports.page(result, template, title=f"{document.route} {document.revision}", **names)
        replace_file(html, text.encode("utf-8", "replace"))
        run.say(f"Both models' answers side by side: {html}")


def _may_write(file: Path | None, start: str) -> None:
    """Refuse, before anything is asked, a place for a report where none can stand, or where something else stands."""
    if file is None:
        return
    if not file.parent.is_dir():
        raise RefusedError(f"{file} cannot be written: {file.parent} is no folder")
    if file.is_dir():
        raise RefusedError(f"{file} cannot be written: it is a folder")
    if file.exists():
        with file.open("rb") as there:
            first = there.read(len(start))
        if first and first.lower() != start.encode():
            raise RefusedError(f"{file} is no earlier report: nothing is overwritten", hint="give another FILE")


def _side(document: Document, name: Name) -> Side:
    from llmmigrate.regression.asking import Side

    endpoint = getattr(document.migration, name)
    return Side(endpoint.model, endpoint.params, endpoint.api_base, document.system(name), endpoint.limits)


def _money(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_money(text if text.startswith("$") else f"${text}")
    except ValueError as error:
        raise RefusedError(f"--max-cost: {error}") from error


class _Progress:
    """Show on a terminal how far the suite is; elsewhere nothing."""

    def __init__(self, run: Project) -> None:
        shown = run.out.is_terminal and run.format is Format.table and not run.quiet
        self._live = Live(console=run.out, transient=True, refresh_per_second=5) if shown else None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*exc)

    def __call__(self, moment: Moment) -> None:
        if self._live is None:
            return
        asked = moment.done - moment.kept
        spent = time.monotonic() - self._began
        left = f", {format_duration(spent / asked * (moment.total - moment.done))} left" if asked >= 10 else ""
        kept = f", {moment.kept:,} of an earlier run" if moment.kept else ""
        failed = f", {moment.failed:,} failed" if moment.failed else ""
        line = f"{moment.done:,} of {moment.total:,} answers{kept}{failed}   ${moment.cost:,.2f}{left}"
        self._live.update(Text(line))
