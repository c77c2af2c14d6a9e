"""From a rule to the method that decides on it: by what is measured, and what the rule sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from llmmigrate.gates import means, rates, times
from llmmigrate.gates.finding import INCIDENT, Direction, Finding
from llmmigrate.gates.late import Cells, Kept, rate_change
from llmmigrate.gates.questions import ALPHA, Question
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.catalogue import Form
from llmmigrate.metrics.counting import ARMS

if TYPE_CHECKING:
    from llmmigrate.document import Limit

_DIRECTIONS: dict[Form, Direction] = {"increase": 1, "decrease": -1, "drop": -1, "change": 0}

Samples = tuple[Sample, Sample]
"""What is known of control and of the candidate."""


def samples(question: Question, cells: Cells) -> Samples:
    """Return both arms' samples of the metric that a rule is about."""
    control, candidate = (Sample(cells.get((arm, question.metric.cell))) for arm in ARMS)
    return control, candidate


def find(
    question: Question,
    both: Samples,
    *,
    recent: Mapping[float, Cells] | None = None,
    kept: Mapping[str, Kept] | None = None,
) -> Finding:
    """Return what there is to say of a rule that sets a limit: over the whole stage, else of a late change.

    `both` are the arms' samples of its metric over the whole stage, `recent` is what came since the last restart of
    each period in seconds, `kept` the state of the detectors.
    """
    limit = question.rule.limit
    assert limit is not None
    control, candidate = both
    found = _whole(question, control, candidate, limit)
    if found.failed:
        return _incident(question, control, candidate, found, limit)
    if question.rate_limit is not None:
        return rate_change(question, kept or {}, found.bound) or found
    for period_s, since in (recent or {}).items():
        stricter = question.of_restart(period_s)
        control, candidate = samples(question, since)
        fresh = _whole(stricter, control, candidate, limit)
        if fresh.failed:
            late = replace(fresh, note="a late change, seen since a restart of the figures")
            return _incident(stricter, control, candidate, late, limit)
    return found


def _whole(question: Question, control: Sample, candidate: Sample, limit: Limit) -> Finding:
    form, amount, q = limit.form, limit.amount, question.metric.q
    if form in ("above", "below"):
        if q is not None:
            return times.against_limit(question, candidate, q, amount.value)
        if question.metric.kind == "mean":
            return means.against_limit(question, candidate, amount.value)
        return rates.against_limit(question, candidate, amount.value, below=form == "below")
    direction = _DIRECTIONS[form]
    if q is not None:
        relative = amount.unit == "%"
        return times.against_control(question, control, candidate, q, amount.value, direction, relative=relative)
    if amount.unit == "pp":
        return rates.against_control(question, control, candidate, amount.value, direction)
    return means.relative_change(question, _baseline(question, control), candidate, amount.value, direction)


def _baseline(question: Question, control: Sample) -> means.Baseline:
    if question.rule.baseline == "projection" and question.projection is not None:
        return means.Baseline.projected(question.projection)
    return means.Baseline.of(control)


def _incident(question: Question, control: Sample, candidate: Sample, found: Finding, limit: Limit) -> Finding:
    """Turn a failure by a fixed limit into an incident where control is past it too, and the candidate no worse."""
    if limit.form not in ("above", "below"):
        return found
    usual = replace(question, alpha_fail=ALPHA)
    if not _whole(usual, control, control, limit).failed:
        return found
    q = question.metric.q
    if q is not None:
        worse = times.slower(control, candidate, q)
    elif question.metric.kind == "mean":
        worse = means.higher(control, candidate)
    else:
        worse = rates.worse(control, candidate, limit.amount.value, below=limit.form == "below")
    return found if worse else replace(found, incident=True, note=INCIDENT)
