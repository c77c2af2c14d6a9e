"""From cells to verdicts: one answer per rule, with its evidence, that never passes on no data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from llmmigrate.gates import ratios
from llmmigrate.gates.find import Samples, find, samples
from llmmigrate.gates.finding import Finding
from llmmigrate.gates.late import Cells, Kept, windows
from llmmigrate.gates.means import enough_for_mean
from llmmigrate.gates.questions import Question, alpha_of_split, questions, worse_of
from llmmigrate.gates.samples import Sample
from llmmigrate.metrics.counting import ARMS, MAX_INPUT_TYPES, SPLIT
from llmmigrate.stages import Plan, Stage
from llmmigrate.support import undecided
from llmmigrate.verdict import Answer, MetricVerdict, worded

if TYPE_CHECKING:
    from llmmigrate.document import Limit, Migration

_CHANGES = {"%": "relative", "pp": "pp", "s": "s_change", "$": "USD"}


def evaluate(
    migration: Migration,
    plan: Plan,
    stage: Stage,
    cells: Cells,
    *,
    types: Mapping[str, Cells] | None = None,
    kept: Mapping[str, Kept] | None = None,
) -> list[MetricVerdict]:
    """Answer every rule of a migration that is not waived, on the cells of the current generation.

    `cells` maps (arm, metric) to its sums over all input types, `types` holds the same by input type; `kept` is the
    state of what looks for late changes. The order is that of the document, rollback rules first; a rule may have
    several verdicts, and where users are served the split of traffic has one. Empty only where every rule is waived,
    which a document may not be.
    """
    state = kept or {}
    asked = questions(migration, plan, stage)
    recent = windows(asked, migration, cells, state)
    verdicts: list[MetricVerdict] = []
    for question in asked:
        lacking = undecided(question.rule)
        if lacking is not None:
            verdicts.append(_undecided(question, samples(question, cells), lacking))
        elif question.rule.worse:
            verdicts += _any_worse(question, migration, cells, recent)
        else:
            verdicts.append(decide(question, cells, recent=recent, kept=state))
            if question.rule.by is not None:
                verdicts += _by_type(question.of_type(), types or {})
    if stage.share > 0:
        verdicts.append(_split(cells, alpha_of_split(migration, plan)))
    return verdicts


def decide(
    question: Question,
    cells: Cells,
    *,
    recent: Mapping[float, Cells] | None = None,
    kept: Mapping[str, Kept] | None = None,
) -> MetricVerdict:
    """Answer one rule that sets a limit, on all input types together."""
    both = samples(question, cells)
    whole = _sized(question.whole(), both)
    return _answer(whole, both, find(whole, both, recent=recent, kept=kept))


def _sized(question: Question, both: Samples) -> Question:
    """Return the question with the requests that it needs: more where single requests cost very different sums."""
    if question.metric.unit != "USD":
        return question
    return replace(question, minimum=enough_for_mean(question.minimum, *both))


def _any_worse(
    question: Question, migration: Migration, cells: Cells, recent: Mapping[float, Cells]
) -> Iterator[MetricVerdict]:
    """Yield a failure per metric that is credibly worse, and one verdict on all that could be looked at."""
    asked = [(one, samples(one, cells)) for one in worse_of(question, migration)]
    sized = [(_sized(one, both), both) for one, both in asked]
    ready = [(one, both) for one, both in sized if _missing(one, both) is None]
    found = [_answer(one, both, find(one, both, recent=recent)) for one, both in ready]
    failed = [verdict for verdict in found if verdict.verdict == "fail"]
    yield from failed
    counts = [(verdict.n_candidate, verdict.n_control) for verdict in found]
    n_candidate, n_control = max(counts, default=(0, 0))
    answer: Answer = "hold" if failed or not found else "pass"
    reason = f"none of {len(found)} metrics is credibly worse by a quarter of its limit"
    if failed:
        reason = f"{len(failed)} of {len(found)} metrics are credibly worse by a quarter of their limit"
    elif not found:
        reason = f"no metric has {question.minimum:,} requests of both arms yet"
    yield MetricVerdict(
        metric=question.rule.metric,
        title=f"{question.metric.title}, worse",
        rule=question.name,
        action=question.action,
        need=question.need,
        verdict=answer,
        estimate=None,
        interval=None,
        limit=0.0,
        unit="relative",
        n_candidate=n_candidate,
        n_control=n_control,
        reason=reason,
    )


def _by_type(question: Question, types: Mapping[str, Cells]) -> Iterator[MetricVerdict]:
    """Yield a verdict per input type with enough requests of both arms, for no more types than share the error."""
    known = [(name, samples(question, cells)) for name, cells in types.items()]
    ready = [(name, both) for name, both in known if _missing(question, both) is None]
    ready.sort(key=lambda item: (-item[1][1].n, item[0]))
    for name, both in ready[:MAX_INPUT_TYPES]:
        verdict = _answer(question, both, find(question, both))
        yield replace(verdict, title=f"{verdict.title}, {name}", rule=f"{verdict.rule}:{name}")


def _split(cells: Cells, alpha: float) -> MetricVerdict:
    """Hold requests of both arms against the share that the candidate should have: pause where the data are broken."""
    control, candidate = (Sample(cells.get((arm, SPLIT))) for arm in ARMS)
    found = ratios.split(control, candidate, alpha=alpha)
    answer: Answer = "fail" if found.failed else "pass" if found.passed else "hold"
    reason = "requests went to the arms as they should"
    if found.failed:
        reason = "the data are broken: requests went to the arms in other shares than units were assigned by"
    elif found.estimate is None:
        reason = "no data on how requests were split yet"
    elif not found.passed:
        reason = "the split is off by more than a tenth, and more requests decide whether by chance"
    return MetricVerdict(
        metric=SPLIT,
        title="traffic split",
        rule=SPLIT,
        action="pause",
        need="watch",
        verdict=answer,
        estimate=found.estimate,
        interval=found.interval,
        limit=found.limit,
        unit="share",
        n_candidate=candidate.n,
        n_control=control.n,
        reason=reason,
        note="the data are broken: this is not the split that was assigned" if found.failed else "",
    )


def _unit(limit: Limit | None, own: str) -> str:
    """Name the unit of a rule's figures: the metric's own for fixed limits, else that of the change."""
    if limit is None or limit.form in ("above", "below"):
        return own
    return _CHANGES[limit.amount.unit]


def _undecided(question: Question, both: Samples, why: str) -> MetricVerdict:
    """Hold where this release cannot come to a verdict: a rule is never passed by being ignored."""
    metric, limit = question.metric, question.rule.limit
    control, candidate = both
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


def _answer(question: Question, both: Samples, found: Finding) -> MetricVerdict:
    metric = question.metric
    control, candidate = both
    unit = _unit(question.rule.limit, metric.unit)
    missing = _missing(question, both)
    known = found.finite and found.interval is not None and all(map(math.isfinite, found.interval))
    bound = worded(found.bound, unit)
    answer: Answer
    if known and found.failed:
        reason = f"all of the range is past {worded(found.limit, unit)}, by a test that allows for constant looking"
        answer, reason = "fail", f"{reason}: {found.note}" if found.note else reason
    elif missing is not None:
        answer, reason = "hold", missing
    elif not known:
        answer, reason = "hold", "the figures allow no range yet"
    elif found.passed:
        answer, reason = "pass", f"all of the range is inside {bound}{found.note}"
    else:
        answer, reason = "hold", f"the range still reaches past {bound}: more requests narrow it{found.note}"
    projected = question.rule.baseline == "projection"
    note = "against the projection" if projected else found.note
    return MetricVerdict(
        metric=metric.name,
        title=metric.title,
        rule=question.name,
        action="pause" if found.incident else question.action,
        need=question.need,
        verdict=answer,
        estimate=found.estimate if known else None,
        interval=found.interval if known else None,
        limit=found.limit,
        unit=unit,
        n_candidate=candidate.n,
        n_control=0 if projected else control.n,
        reason=reason,
        note=note if answer == "fail" else "",
    )


def _missing(question: Question, both: Samples) -> str | None:
    control, candidate = both
    arms = [("candidate", candidate), ("control", control)]
    if question.rule.baseline == "projection":
        if question.projection is None:
            return f"the document projects no {question.metric.title}: monitoring.projection"
        arms.pop()
    for name, sample in arms:
        if sample.n == 0:
            return f"no data from the {name} yet"
        if sample.n < question.minimum:
            return f"{sample.n:,} of {question.minimum:,} requests from the {name}"
    return None
