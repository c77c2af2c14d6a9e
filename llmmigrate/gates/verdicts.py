"""From cells to verdicts: one answer per rule, with its evidence, that never passes on no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from llmmigrate.gates import rates, times
from llmmigrate.gates.finding import Direction, Finding
from llmmigrate.gates.late import Cells, Kept, rate_change, window
from llmmigrate.gates.means import relative_change
from llmmigrate.gates.questions import Question, questions
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.catalogue import Form
from llmmigrate.metrics.cells import ARMS, Arm, Cell
from llmmigrate.stages import Plan, Stage
from llmmigrate.support import undecided
from llmmigrate.verdict import Answer, MetricVerdict, worded

if TYPE_CHECKING:
    from llmmigrate.document import Limit, Migration

_DIRECTIONS: dict[Form, Direction] = {"increase": 1, "decrease": -1, "drop": -1, "change": 0}

_CHANGES = {"%": "relative", "pp": "pp", "s": "s_change", "$": "USD"}


def evaluate(
    migration: Migration,
    plan: Plan,
    stage: Stage,
    cells: Mapping[tuple[Arm, str], Cell],
    *,
    kept: Mapping[str, Kept] | None = None,
) -> list[MetricVerdict]:
    """Answer every rule of a migration that is not waived, on the cells of the current generation.

    `cells` maps (arm, metric) to its sums, `kept` holds the state of what looks for late changes. The order is that of
    the document, rollback rules first. Empty only where every rule is waived, which a document may not be.
    """
    state = kept or {}
    recent = window(cells, state)
    verdicts = []
    for question in questions(migration, plan, stage):
        control, candidate = _samples(question, cells)
        limit = question.rule.limit
        lacking = undecided(question.rule)
        if limit is None or lacking is not None:
            verdicts.append(_undecided(question, control, candidate, lacking or "the rule sets no limit"))
            continue
        found = _find(question, control, candidate, limit)
        late = None if found.failed else _late(question, limit, found, recent, state)
        verdicts.append(_answer(question, control, candidate, late or found))
    return verdicts


def _samples(question: Question, cells: Mapping[tuple[Arm, str], Cell]) -> tuple[Sample, Sample]:
    control, candidate = (Sample(cells.get((arm, question.metric.cell))) for arm in ARMS)
    return control, candidate


def _late(
    question: Question, limit: Limit, found: Finding, recent: Cells | None, state: Mapping[str, Kept]
) -> Finding | None:
    """Return what fails by a change that the whole stage does not show yet, None where nothing does."""
    if question.rate_limit is not None:
        return rate_change(question, state, found.bound)
    if recent is None:
        return None
    stricter = replace(question, alpha_fail=question.alpha_restart)
    fresh = _find(stricter, *_samples(question, recent), limit)
    return replace(fresh, note="a late change, seen since the last restart of the figures") if fresh.failed else None


def _find(question: Question, control: Sample, candidate: Sample, limit: Limit) -> Finding:
    form, amount, q = limit.form, limit.amount, question.metric.q
    if form in ("above", "below"):
        if q is not None:
            return times.against_limit(question, candidate, q, amount.value)
        return rates.against_limit(question, candidate, amount.value, below=form == "below")
    direction = _DIRECTIONS[form]
    if q is not None:
        relative = amount.unit == "%"
        return times.against_control(question, control, candidate, q, amount.value, direction, relative=relative)
    if amount.unit == "pp":
        return rates.against_control(question, control, candidate, amount.value, direction)
    return relative_change(question, control, candidate, amount.value, direction)


def _unit(limit: Limit | None, own: str) -> str:
    """Name the unit of a rule's figures: the metric's own for fixed limits, else that of the change."""
    if limit is None or limit.form in ("above", "below"):
        return own
    return _CHANGES[limit.amount.unit]


def _undecided(question: Question, control: Sample, candidate: Sample, why: str) -> MetricVerdict:
    """Hold where this release cannot come to a verdict: a rule is never passed by being ignored."""
    metric, limit = question.metric, question.rule.limit
    return MetricVerdict(
        metric=metric.name,
        title=metric.title,
        rule=question.name,
        action=question.action,
        need="prove",
        verdict="hold",
        estimate=None,
        interval=None,
        limit=limit.amount.value if limit is not None else 0.0,
        unit=_unit(limit, metric.unit),
        n_candidate=candidate.n,
        n_control=control.n,
        reason=f"{why}: waive the rule, or accept the risk",
    )


def _answer(question: Question, control: Sample, candidate: Sample, found: Finding) -> MetricVerdict:
    metric = question.metric
    unit = _unit(question.rule.limit, metric.unit)
    missing = _missing(question, control, candidate)
    known = found.finite and found.interval is not None and all(map(math.isfinite, found.interval))
    answer: Answer
    if known and found.failed:
        limit = worded(found.limit, unit)
        answer, reason = "fail", f"all of the range is past {limit}, by a test that allows for constant looking"
    elif missing is not None:
        answer, reason = "hold", missing
    elif not known:
        answer, reason = "hold", "the figures allow no range yet"
    elif found.passed:
        answer, reason = "pass", f"all of the range is inside {worded(found.bound, unit)}{found.note}"
    else:
        answer, reason = (
            "hold",
            f"the range still reaches past {worded(found.bound, unit)}: more requests narrow it{found.note}",
        )
    return MetricVerdict(
        metric=metric.name,
        title=metric.title,
        rule=question.name,
        action=question.action,
        need=question.need,
        verdict=answer,
        estimate=found.estimate,
        interval=found.interval if known else None,
        limit=found.limit,
        unit=unit,
        n_candidate=candidate.n,
        n_control=control.n,
        reason=reason,
        note=found.note if answer == "fail" else "",
    )


def _missing(question: Question, control: Sample, candidate: Sample) -> str | None:
    for name, sample in (("candidate", candidate), ("control", control)):
        if sample.n == 0:
            return f"no data from the {name} yet"
        if sample.n < question.minimum:
            return f"{sample.n:,} of {question.minimum:,} requests from the {name}"
    return None
