"""Plans: how long each gate takes at a rate of requests, and what it can see, by the gates' own functions.

A rule is asked as the runner asks it, on cells that hold what is expected after so many requests
(`foresight.expected`). No formula of a gate stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from llmmigrate.foresight.expected import Figures
from llmmigrate.gates.find import find, samples
from llmmigrate.gates.questions import Question, questions
from llmmigrate.gates.verdicts import decide
from llmmigrate.metrics.cells import Cell
from llmmigrate.metrics.counting import Arm
from llmmigrate.preflight.deadlines import retires
from llmmigrate.stages import Plan, Stage, plan_of
from llmmigrate.support import undecided
from llmmigrate.units import Amount, format_duration, format_share

if TYPE_CHECKING:
    from llmmigrate.document import Migration

LONGEST_S = 180 * 86400.0
"""A gate that takes longer is called one that cannot be passed."""

_SHORTEST_S = 60.0
_FEWEST = 100
"""Requests below which an expectation says nothing of what there will be."""

_PRECISION = 1.05
_MOST = {"share": 1.0, "mean": 20.0, "s": 300.0, "relative": 20.0}
"""The largest changes that are looked for, by what they are of."""


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One rule in one stage.

    `passes_s` is when it passes where both arms are equal, with `samples` requests of the candidate; None for one that
    is only watched, or never passes. `effect` is the smallest change that it stops in the shortest time of the stage,
    `effect_longest` in its longest, in `unit`; None where it sees none.
    """

    rule: str
    metric: str
    title: str
    need: str
    limit: str
    passes_s: float | None
    samples: float | None
    effect: float | None
    effect_longest: float | None
    unit: str
    undecided: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "metric": self.metric,
            "need": self.need,
            "limit": self.limit,
            "passes_s": self.passes_s,
            "samples": round(self.samples) if self.samples is not None else None,
            "detects": self.effect,
            "detects_longest": self.effect_longest,
            "unit": self.unit,
            "undecided": self.undecided,
        }


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: its share, its shortest and longest time, how long it is expected to take, and its rules.

    `expected_s` is None where a rule that has to be proved never passes; `cost` is that of mirrored calls in US
    dollars, None where nothing is mirrored or no price is known.
    """

    name: str
    share: float
    mirror: bool
    min_s: float
    max_s: float
    expected_s: float | None
    rules: tuple[RulePlan, ...]
    cost: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.name,
            "share": self.share,
            "mirror": self.mirror,
            "min_s": self.min_s,
            "max_s": self.max_s,
            "expected_s": self.expected_s,
            "cost_usd": self.cost,
            "rules": [rule.to_json() for rule in self.rules],
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """The plan of a migration: its stages, its time from start to end, what it costs, and what a person should know.

    `total_s` is None where a gate never passes. `latest_start` is the last moment at which it ends before either model
    retires, with the model and its day; None where neither day is known.
    """

    per_second: float
    stages: tuple[StagePlan, ...]
    total_s: float | None
    judge_cost: float | None
    latest_start: datetime | None
    deadline: tuple[str, date] | None
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "requests_per_second": self.per_second,
            "stages": [stage.to_json() for stage in self.stages],
            "total_s": self.total_s,
            "shadow_cost_usd": next((stage.cost for stage in self.stages if stage.mirror), None),
            "judge_cost_usd": self.judge_cost,
            "latest_start": self.latest_start.isoformat() if self.latest_start is not None else None,
            "deadline": {"model": self.deadline[0], "retires": str(self.deadline[1])} if self.deadline else None,
            "advice": list(self.advice),
        }


def outlook(migration: Migration, *, per_second: float, figures: Figures) -> Outlook:
    """Plan a migration at a rate of requests; `figures` are control's, and the candidate's where both are equal.

    Pure; takes about a second.
    """
    plan = plan_of(migration)
    stages = tuple(
        _stage(migration, plan, stage, per_second, figures)
        for stage in plan.stages
        if stage.serves_candidate and stage.waived is None
    )
    times = [stage.expected_s for stage in stages]
    total_s = None if None in times else sum(one for one in times if one is not None)
    days = [(endpoint.model, day) for endpoint in (migration.current, migration.target) if (day := retires(endpoint))]
    deadline = min(days, key=lambda one: one[1], default=None)
    latest = None
    if deadline is not None:
        longest = total_s if total_s is not None else sum(stage.max_s for stage in stages)
        latest = datetime.combine(deadline[1], time(), UTC) - timedelta(seconds=longest)
    judge = migration.monitoring.judge
    known_s = sum(one or stage.max_s for one, stage in zip(times, stages, strict=True))
    judge_cost = judge.budget * known_s if judge is not None and judge.budget is not None else None
    advice = tuple(line for stage in stages for line in _advice(migration, plan, stage, per_second, figures))
    return Outlook(per_second, stages, total_s, judge_cost, latest, deadline, advice)


def _stage(migration: Migration, plan: Plan, stage: Stage, per_second: float, figures: Figures) -> StagePlan:
    longest = stage.max_s if stage.max_s is not None else stage.min_s
    rules = tuple(_rule(stage, one, per_second, figures) for one in _asked(migration, plan, stage))
    needed = [stage.min_s, stage.min_pairs / per_second]
    needed.append(plan.min_samples / (per_second * (1.0 if stage.mirror else stage.share)))
    unknown = False
    for rule in rules:
        if rule.need == "prove":
            unknown |= rule.passes_s is None
            needed.append(rule.passes_s or 0.0)
    expected = None if unknown else max(needed)
    each = _mirrored_cost(migration, figures) if stage.mirror else None
    cost = per_second * (expected or longest) * each if each is not None else None
    return StagePlan(stage.name, stage.share, stage.mirror, stage.min_s, longest, expected, rules, cost)


def _mirrored_cost(migration: Migration, figures: Figures) -> float | None:
    """Return what mirroring one request costs in US dollars; None where neither document nor route says."""
    projected = migration.monitoring.projection.get("cost_per_request")
    own = figures.means["cost_per_request"].mean if "cost_per_request" in figures.known else None
    candidate = projected if projected is not None else own
    if candidate is None:
        return None
    return candidate + migration.shadow.aa_share * (own if own is not None else candidate)


def _asked(migration: Migration, plan: Plan, stage: Stage) -> list[Question]:
    return [one for one in questions(migration, plan, stage) if not one.rule.worse]


def _rule(stage: Stage, question: Question, per_second: float, figures: Figures) -> RulePlan:
    limit = question.rule.limit
    assert limit is not None
    lacking = undecided(question.rule)
    if lacking is None and question.rule.baseline == "projection" and question.projection is None:
        lacking = f"the document projects no {question.metric.title}"
    passes_s = effect = longest = None
    if lacking is None:
        if question.need == "prove":
            passes_s = passes_after(question, stage, per_second, figures)
        effect = detectable(question, stage, per_second, figures, stage.min_s)
        longest = detectable(question, stage, per_second, figures, stage.max_s or stage.min_s)
    share = 1.0 if stage.mirror else stage.share
    return RulePlan(
        rule=question.name,
        metric=question.metric.name,
        title=question.metric.title,
        need="prove" if lacking is not None else question.need,
        limit=f"{limit.form} {limit.amount}",
        passes_s=passes_s,
        samples=passes_s * per_second * share if passes_s is not None else None,
        effect=effect,
        effect_longest=longest,
        unit=_unit(question),
        undecided=lacking,
    )


def _unit(question: Question) -> str:
    """Name the unit of a change that is looked for."""
    limit = question.rule.limit
    assert limit is not None
    if question.metric.kind == "mean":
        return "relative"
    if question.metric.q is not None:
        return "relative" if limit.amount.unit == "%" else "s_change"
    return "pp"


def cells_after(
    seconds: float, stage: Stage, per_second: float, metric: str, control: Figures, candidate: Figures
) -> dict[tuple[Arm, str], Cell]:
    """Return both arms' expected cells of a metric after so much time in a stage; none below a hundred requests."""
    requests = per_second * seconds
    served = requests if stage.mirror else requests * stage.share
    arms: tuple[tuple[Arm, Figures, float], ...] = (
        ("control", control, requests if stage.mirror else requests - served),
        ("candidate", candidate, served),
    )
    found = {(arm, metric): figures.cell(metric, n) for arm, figures, n in arms if n >= _FEWEST}
    return {key: cell for key, cell in found.items() if cell is not None}


def passes_after(question: Question, stage: Stage, per_second: float, figures: Figures) -> float | None:
    """Return after how many seconds a rule passes where both arms are equal, to 5%; None for not in half a year."""
    equal = _at_projection(question, figures)

    def passed(seconds: float) -> bool:
        cells = cells_after(seconds, stage, per_second, question.metric.cell, figures, equal)
        return decide(question, cells).verdict == "pass"

    return _first(passed, _SHORTEST_S, LONGEST_S)


def _at_projection(question: Question, figures: Figures) -> Figures:
    """Return the candidate's figures where it is what it is compared with."""
    metric = question.metric.cell
    if question.rule.baseline != "projection" or question.projection is None or metric not in figures.means:
        return figures
    return figures.changed(metric, question.projection / figures.means[metric].mean - 1)


def detectable(question: Question, stage: Stage, per_second: float, figures: Figures, seconds: float) -> float | None:
    """Return the smallest change of the candidate on which a rule fails after so much time in a stage.

    Of shares in points, of means relative, of times in the unit of the rule; None where it sees none.
    """
    limit, metric = question.rule.limit, question.metric.cell
    assert limit is not None
    equal = _at_projection(question, figures)
    relative = limit.amount.unit == "%" and question.metric.q is not None
    sign = -1.0 if limit.form in ("below", "drop", "decrease") else 1.0
    if metric in figures.shares:
        most = figures.shares[metric] if sign < 0 else 1 - figures.shares[metric]
    elif metric in figures.means:
        most = 1.0 if sign < 0 else _MOST["mean"]
    elif metric in figures.times:
        most = (1.0 if sign < 0 else _MOST["relative"]) if relative else _MOST["s"]
    else:
        return None

    def failed(change: float) -> bool:
        moved = equal.changed(metric, sign * change, relative=relative)
        cells = cells_after(seconds, stage, per_second, metric, figures, moved)
        return find(question.whole(), samples(question, cells)).failed

    found = _first(failed, most / 1e5, most)
    return sign * found if found is not None else None


def _first(holds: Callable[[float], bool], low: float, high: float) -> float | None:
    """Return the least value between two at which something begins to hold, to 5%; None where it does not."""
    if holds(low):
        return low
    value = low
    while not holds(value):
        if value >= high:
            return None
        low, value = value, min(value * 4, high)
    while value / low > _PRECISION:
        middle = (low * value) ** 0.5
        low, value = (low, middle) if holds(middle) else (middle, value)
    return value


def _advice(migration: Migration, plan: Plan, stage: StagePlan, per_second: float, figures: Figures) -> list[str]:
    """Say in words which rules a stage cannot decide in its time, and what would help."""
    lines = []
    where = (
        f"at {stage.name}" if stage.mirror else f"at {stage.name}, {format_share(stage.share)} of {per_second:g} req/s,"
    )
    for rule in stage.rules:
        what = f"{stage.name}: {rule.title}, {rule.limit}"
        if rule.undecided is not None:
            lines.append(f"{what}: {rule.undecided}: waive it, or its gate stays shut")
        elif rule.need == "prove" and (rule.passes_s is None or rule.passes_s > stage.max_s):
            needs = f"needs {format_duration(rule.passes_s)}" if rule.passes_s is not None else "takes over 180 d"
            instead = _instead(migration, plan, stage, rule, per_second, figures)
            longest = format_duration(stage.max_s)
            lines.append(
                f"{rule.title}, {rule.limit}: cannot be proved {where} within {longest}: it {needs}; {instead}"
            )
        elif rule.need == "prove" and rule.passes_s is not None and rule.passes_s > stage.min_s:
            lines.append(
                f"{rule.title}, {rule.limit}: {stage.name} takes about {format_duration(rule.passes_s)} "
                f"rather than {format_duration(stage.min_s)}: it needs {rule.samples:,.0f} requests of the candidate"
            )
        if rule.undecided is None and rule.effect_longest is None:
            lines.append(f"{what}: no change that it would stop can be seen in {format_duration(stage.max_s)}")
    return lines


def _instead(
    migration: Migration, plan: Plan, stage: StagePlan, rule: RulePlan, per_second: float, figures: Figures
) -> str:
    """Say what could be gated on in the place of a rule that takes too long."""
    own = plan.stage(stage.name)
    question = next(one for one in _asked(migration, plan, own) if one.name == rule.rule)
    if question.metric.q == 0.99:
        cheaper = question.rule.model_copy(update={"metric": question.metric.name.replace("p99", "p95")})
        seconds = passes_after(replace(question, rule=cheaper), own, per_second, figures)
        if seconds is not None and seconds <= stage.max_s:
            return f"gate on p95 here ({format_duration(seconds)}), or raise the share"
    limit = question.rule.limit
    assert limit is not None
    wider = question.rule.model_copy(update={limit.form: Amount(limit.amount.value * 2, limit.amount.unit)})
    seconds = passes_after(replace(question, rule=wider), own, per_second, figures)
    if seconds is not None and seconds <= stage.max_s:
        return f"a longer hold, a larger share, or a limit of {wider.limit.amount if wider.limit else ''} would do"
    return "a longer hold or a larger share, or a named person accepts the risk"
