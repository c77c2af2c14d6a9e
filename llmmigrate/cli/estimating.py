"""The command that reckons with real prompts: estimate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from llmmigrate.cli.context import TARGETS, Format, MaybeTarget, Project, exits, project
from llmmigrate.exceptions import DocumentInvalid, ExitCode, RefusedError, StoreMissing
from llmmigrate.files import replace_file

if TYPE_CHECKING:
    from llmmigrate.document import Document
    from llmmigrate.foresight.estimated import Estimate, SideEstimate

_SHOWN = 3


def register(app: typer.Typer) -> None:
    app.command("estimate", context_settings=TARGETS)(exits(estimate))


def estimate(
    context: typer.Context,
    target: MaybeTarget = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE.jsonl", help="Captured requests, with their answers where known."),
    ] = None,
    rps: Annotated[
        float | None, typer.Option("--rps", help="Requests a second; by default the route's own, by the store.")
    ] = None,
    peak: Annotated[float, typer.Option("--peak", help="How many times that the busiest minute has.")] = 1.0,
    write: Annotated[
        bool, typer.Option("--write", help="Write the projection into the document, where it was never applied.")
    ] = False,
    format: Annotated[Format | None, typer.Option("--format", help="How to print.")] = None,  # noqa: A002
) -> int:
    """Reckon what real prompts are to both models: tokens, cost, what does not fit, limits a minute.

    By each model's own tokenizer: OpenAI's are local, Anthropic and Google count where their keys are set, a server of
    your own counts for its model. Exit 3 where one cannot be had, since nothing is guessed; 5 where prompts do not fit.

    \b
    Example: llmmigrate estimate support --prompts requests.jsonl --rps 2
    Example: llmmigrate estimate support --prompts requests.jsonl --write
    """
    from llmmigrate.foresight.estimate import estimate as estimated
    from llmmigrate.foresight.prompts import read_prompts

    run = project(context, format)
    if prompts is None:
        raise RefusedError("an estimate is of real prompts", hint="llmmigrate estimate --prompts FILE.jsonl")
    if rps is not None and not 0 < rps <= 1e6:
        raise RefusedError("--rps must be above 0, and a million at most")
    if not 1 <= peak <= 1000:
        raise RefusedError("--peak must be from 1 to 1000")
    document = run.document(target)
    found, wrong = read_prompts(prompts)
    told = estimated(document, found, per_second=rps if rps is not None else _own_rate(run, document), peak=peak)
    body = {"route": document.route, "revision": document.revision, "unreadable": len(wrong), **told.to_json()}
    if write:
        body["written"] = _write(run, document, told)
    run.emit(body)
    _print(run, document, told, wrong)
    if told.target.overflows or told.control.overflows:
        return int(ExitCode.ROLLED_BACK)
    return int(ExitCode.HOLD if told.unknown else ExitCode.DONE)


def _own_rate(run: Project, document: Document) -> float | None:
    from llmmigrate.foresight.basis import basis

    try:
        return basis(run.look(), document.route).per_second
    except (StoreMissing, RefusedError):
        return None


def _write(run: Project, document: Document, told: Estimate) -> dict[str, str]:
    """Write what is projected into the document, and nothing else of it; raises RefusedError with nothing written."""
    from llmmigrate.document import PromptFiles, load_text
    from llmmigrate.document.editing import edited
    from llmmigrate.document.source import read

    figures = told.projection()
    if document.revision in _applied(run):
        raise RefusedError(
            f"{document.revision} was applied already: an applied document is not rewritten",
            hint="put the projection into the next revision",
        )
    written = {name: _amount(name, value) for name, value in figures.items()}
    source = read(document.text.encode("utf-8"), document.name)
    known = document.migration.monitoring.projection
    kept = {name: source.data["monitoring"]["projection"][name] for name in known if name not in written}
    projection = {**kept, **written}
    if "monitoring" in source.data:
        text = edited(document.text, source, [(("monitoring", "projection"), projection)])
    else:
        listed = ", ".join(f"{name}: {value}" for name, value in projection.items())
        text = f"{document.text.rstrip()}\n\nmonitoring:\n  projection: {{{listed}}}    # llmmigrate estimate\n"
    file = run.settings.versions / document.name
    try:
        if file.read_text("utf-8") != document.text:
            raise RefusedError(f"{file.name} was changed meanwhile", hint="the same command again")
        again = load_text(text, document.name, prompts=PromptFiles(run.settings.root))
    except DocumentInvalid as error:
        raise RefusedError(f"{file.name} is not written so that it can be changed in place") from error
    watched = document.migration.monitoring.model_copy(update={"projection": again.migration.monitoring.projection})
    if again.migration != document.migration.model_copy(update={"monitoring": watched}):
        raise RefusedError(f"{file.name} is not written so that it can be changed in place")
    replace_file(file, text.encode("utf-8"))
    return {name: str(value) for name, value in written.items()}


def _applied(run: Project) -> set[str]:
    try:
        return {str(row["revision"]) for row in run.look().history() if row["revision"] is not None}
    except StoreMissing:
        return set()


def _amount(name: str, value: float) -> str | int:
    """Write a figure as documents do, with four digits that count."""
    if name != "cost_per_request":
        return round(value)
    digits = max(2, 3 - math.floor(math.log10(value))) if value > 0 else 2
    return f"${value:.{digits}f}"


def _print(run: Project, document: Document, told: Estimate, wrong: list[str]) -> None:
    from llmmigrate.foresight.estimated import prompts_in_words

    run.say(f"{document.route} {document.revision}: {prompts_in_words(told.prompts)}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  model", "tokenizer", "prompt, mean", "p95", "longest", "answer", "cost, cold", "warm", "a month"):
        table.add_column(column, no_wrap=True)
    for words, side in (("control", told.control), ("target", told.target)):
        table.add_row(f"  {words} {side.model}", side.source or "unknown", *_figures(side), _usd(told.month(side.warm)))
    run.show(table)
    for line in (*_sums(told), *_rates(told), *_doubts(told, wrong)):
        run.say(line)


def _sums(told: Estimate) -> Iterator[str]:
    if told.ratio is not None:
        yield f"The same prompts are {_against(told.ratio - 1, ('fewer', 'as many', 'more'))} tokens to the target."
    if told.change is not None:
        change = _against(told.change, ("less", "as much", "more"))
        yield f"A request costs {change} with it, at the prices of {told.prices}: no batches, no tiers."
    if told.shadow_cost is not None:
        yield f"Shadow costs about {_usd(told.shadow_cost)}."


def _rates(told: Estimate) -> Iterator[str]:
    if told.per_second is None:
        yield "No rate of requests is known, so nothing is said of months and limits: --rps N."
        return
    yield "What the models must take a minute:"
    for need in told.needs:
        tokens = f"{need.tokens:,.0f} tokens" if need.tokens is not None else "tokens unknown"
        above = f"  above {' and '.join(need.exceeded)} of {need.side}.limits" if need.exceeded else ""
        yield f"  {need.stage:<12} {need.model}: {need.requests:,.0f} requests, {tokens}{above}"


def _doubts(told: Estimate, wrong: list[str]) -> Iterator[str]:
    yield from (f"warning: {words}" for words in told.warnings)
    yield from (f"assumed: {words}" for words in told.assumed)
    yield from (f"unknown: {words}" for words in told.unknown)
    yield from (f"not read: {words}" for words in wrong[:_SHOWN])
    if len(wrong) > _SHOWN:
        yield f"not read: {len(wrong) - _SHOWN} more"
    if told.unknown:
        yield "What is unknown is not guessed: this is no estimate yet."


def _figures(side: SideEstimate) -> tuple[str, ...]:
    tokens: tuple[Any, ...] = (side.input_mean, side.input_quantile(0.95), side.input_quantile(1.0), side.output_mean)
    return (*(f"{one:,.0f}" if one is not None else "–" for one in tokens), _usd(side.cold), _usd(side.warm))


def _against(change: float, words: tuple[str, str, str]) -> str:
    """Say a change in words for less, the same and more: `4.2% more`; the same where it would be written as 0.0%."""
    less, same, more = words
    figure = f"{abs(change):.1%}"
    return same if float(figure[:-1]) == 0 else f"{figure} {more if change > 0 else less}"


def _usd(value: float | None) -> str:
    """Write an amount in cents, one below a dollar with the four digits that count: $0.00003, never 3e-05."""
    if value is None:
        return "–"
    if value >= 1 or value <= 0:
        return f"${value:,.2f}"
    text = f"{value:.{max(2, 3 - math.floor(math.log10(value)))}f}".rstrip("0")
    return f"${text.ljust(len('0.00'), '0')}"
