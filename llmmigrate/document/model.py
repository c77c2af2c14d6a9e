"""The document as typed values. Unknown keys are refused, never ignored.

What must hold between its parts is in `cross`. What this release cannot act on is in `llmmigrate.support`: it is read,
shown by `check`, and holds the gates that it is about.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from llmmigrate.clock import from_text
from llmmigrate.metrics.catalogue import FORMS, Form, metric_of
from llmmigrate.units import (
    Amount,
    HoldRange,
    format_duration,
    parse_amount,
    parse_duration,
    parse_hold,
    parse_money,
    parse_share,
    parse_spending,
    shown,
)

OBSERVATION_S = 14 * 86400.0


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _no_word(value: str) -> str:
    if value in ("head", "heads", "base", "current"):
        raise ValueError(f"{value} has a meaning of its own and cannot be a revision or a route")
    return value


def _day(value: object) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a day; write it such as 2027-05-01") from error


def _reference(value: str) -> str:
    if not value.startswith("env:") or not value[4:].isidentifier():
        raise ValueError("write env:NAME: addresses and keys stand in the environment, never in a document")
    return value


def _plain(value: object) -> object:
    """Refuse parameters that cannot be sent as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is not a number that can be sent")
    return value


def _projected(value: object) -> float:
    """Read a projected figure in the metric's own unit: money, a time, a percentage, or a plain count."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("expected a figure such as $0.0123 or 812")
    number = float(value) if isinstance(value, (int, float)) else parse_amount(value).value
    if not 0 < number < math.inf:
        raise ValueError(f"{shown(value)} is no figure to compare with")
    return number


def _file(value: str) -> str:
    parts = value.replace("\\", "/").split("/")
    if not value.strip() or value.startswith(("/", "~")) or ".." in parts or ":" in parts[0]:
        raise ValueError("write a path inside the project, relative to its configuration")
    return value


def _written(pattern: str, *examples: str) -> WithJsonSchema:
    """Describe to editors how an amount is written."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)})


_N = r"[0-9]+(\.[0-9]+)?"
_TIME = rf"{_N} ?(ms|s|m|h|d|w)"

Share = Annotated[float, BeforeValidator(parse_share), _written(rf"{_N} ?%", "5%")]
AnyAmount = Annotated[
    Amount,
    BeforeValidator(parse_amount),
    _written(rf"(\$ ?{_N}|{_N} ?(%|pp|ms|s|m|h|d|w))", "5%", "5pp", "200ms", "$0.02"),
]
Duration = Annotated[float, BeforeValidator(parse_duration), _written(_TIME, "6h", "14d")]
Money = Annotated[float, BeforeValidator(parse_money), _written(rf"\$ ?{_N}", "$500")]
Spending = Annotated[float, BeforeValidator(parse_spending), _written(rf"\$ ?{_N}/(hour|day|week|month)", "$50/day")]
Hold = Annotated[HoldRange, BeforeValidator(parse_hold), _written(rf"{_TIME}(\.\.{_TIME})?", "6h..48h")]
When = Annotated[
    datetime,
    BeforeValidator(lambda value: from_text(str(value))),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Projected = Annotated[
    float,
    BeforeValidator(_projected),
    WithJsonSchema({"type": ["string", "number"], "examples": ["$0.0123", 812]}),
]
Text = Annotated[str, AfterValidator(_text)]
File = Annotated[str, AfterValidator(_file)]
Reference = Annotated[str, AfterValidator(_reference)]
RouteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"), AfterValidator(_no_word)]
RevisionId = Annotated[str, Field(pattern=r"^[a-z0-9_]{4,40}$"), AfterValidator(_no_word)]
MetricName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,62}|\*)$")]
Reached = Annotated[str, Field(pattern=r"^(shadow|canary(:[0-9.]+)?|observation|completed)$")]
Groups = list[Text]


class Limit(NamedTuple):
    """What a rule sets: the form, and its amount."""

    form: Form
    amount: Amount


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


PerMinute = Annotated[int, Field(ge=1, le=10**12, strict=True)]


class Limits(_Strict):
    """What your account may ask of a model a minute: `rpm` requests, `tpm` tokens of prompts and answers together."""

    rpm: PerMinute | None = None
    tpm: PerMinute | None = None

    @model_validator(mode="after")
    def _some(self) -> Limits:
        if self.rpm is None and self.tpm is None:
            raise ValueError("write what your account may ask a minute: rpm, tpm or both, such as {rpm: 500}")
        return self


class Endpoint(_Strict):
    """A model with its parameters and prompt: they move as one unit. `model` is a LiteLLM model string.

    `retires` and `limits` are what is known of it, and no part of what is served.
    """

    model: Text
    params: dict[str, Annotated[Any, AfterValidator(_plain)]] = Field(default_factory=dict)
    system: File | None = None
    api_base: Text | None = None
    retires: Day | None = None
    limits: Limits | None = None


class Owners(_Strict):
    """Who drives, approves, watches and may roll back; groups are named in the configuration."""

    driver: Text
    approvers: dict[str, Groups] = Field(default_factory=dict)
    regression: Groups = Field(default_factory=list)
    monitor: Groups = Field(default_factory=list)
    rollback: Groups = Field(default_factory=list)


class Regression(_Strict):
    """The suite that both models must pass before any traffic, or why there is none."""

    suite: File | None = None
    repetitions: int = Field(default=3, ge=1, le=100, strict=True)
    waived: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Regression:
        if (self.suite is None) == (self.waived is None):
            raise ValueError("name a suite, or say why there is none: waived: …")
        return self


class Shadow(_Strict):
    """Every request also goes to the candidate; no user sees its answer, and its tool calls are never executed.

    For a share of units, `aa_share`, control is called a second time too: how much it differs from itself is the noise
    that differences are held against. `budget` bounds what all of these calls cost.
    """

    traffic: Share = 1.0
    duration: Duration = 7 * 86400.0
    min_pairs: int = Field(default=2000, ge=1, strict=True)
    aa_share: Share = 0.0
    budget: Money | None = None
    tools: Literal["stub"] = "stub"
    waived: Text | None = None

    @model_validator(mode="after")
    def _all_traffic(self) -> Shadow:
        if self.traffic != 1.0:
            raise ValueError("shadow.traffic must be 100%: this version mirrors every request or none")
        if self.budget == 0:
            raise ValueError("a budget of nothing mirrors nothing: waive shadow instead")
        return self


class Step(_Strict):
    traffic: Share
    hold: Hold = HoldRange(6 * 3600.0, 48 * 3600.0)

    @property
    def name(self) -> str:
        """The name of the stage: `canary:5`."""
        return f"canary:{self.traffic * 100:.6g}"


class Cohort(_Strict):
    """Units by attribute: only those included, never those excluded."""

    include: dict[Text, list[Text]] | None = None
    exclude: dict[Text, list[Text]] | None = None


_STEPS = [{"traffic": "5%"}, {"traffic": "25%"}, {"traffic": "50%"}, {"traffic": "100%"}]


class Canary(_Strict):
    """The share of users on the candidate, step by step."""

    unit: Literal["conversation", "user", "request"] = "conversation"
    cohort: Cohort = Cohort()
    steps: list[Step] = Field(default_factory=lambda: [Step.model_validate(step) for step in _STEPS], min_length=1)
    holdback: Share = 0.05
    on_candidate_error: Literal["fallback", "surface"] = "fallback"

    @model_validator(mode="after")
    def _rising(self) -> Canary:
        shares = [step.traffic for step in self.steps]
        if any(low >= high for low, high in pairwise(shares)):
            raise ValueError("each step must take more traffic than the one before")
        if shares[0] <= 0 or shares[-1] != 1.0:
            raise ValueError("steps must begin above 0% and end at 100%")
        if not 0 < self.holdback <= 0.5:
            raise ValueError("holdback must be above 0% and at most 50%: without it nothing is left to compare with")
        return self


class Observation(_Strict):
    """The time after 100% in which the way back stays open; less than two weeks say why in `waived`."""

    duration: Duration = OBSERVATION_S
    drill_every: Duration | None = None
    waived: Text | None = None

    @model_validator(mode="after")
    def _two_weeks(self) -> Observation:
        if self.duration < OBSERVATION_S and self.waived is None:
            raise ValueError(f"{format_duration(self.duration)} is shorter than 14 days; say why in observation.waived")
        return self


class Rule(_Strict):
    """A trigger on a metric: one of `above`, `below`, `increase`, `decrease`, `drop`, `change`, `worse` or `waived`.

    All but `above` and `below` compare with control, or with the document's own `projection`.
    """

    metric: MetricName
    above: AnyAmount | None = None
    below: AnyAmount | None = None
    increase: AnyAmount | None = None
    decrease: AnyAmount | None = None
    drop: AnyAmount | None = None
    change: AnyAmount | None = None
    worse: Literal[True] | None = None
    baseline: Literal["control", "projection"] | None = None
    by: Literal["input_type"] | None = None
    waived: Text | None = None

    @cached_property
    def limit(self) -> Limit | None:
        """The form and amount of the rule; None where it is waived, or `worse`."""
        for form in FORMS:
            amount = getattr(self, form)
            if amount is not None:
                return Limit(form, amount)
        return None

    @model_validator(mode="after")
    def _one_form(self) -> Rule:
        given = [form for form in (*FORMS, "worse", "waived") if getattr(self, form) is not None]
        if len(given) != 1:
            raise ValueError(f"a rule has exactly one of {', '.join((*FORMS, 'worse', 'waived'))}")
        if self.metric == "*" and given != ["worse"]:
            raise ValueError('the metric "*" takes worse: true and nothing else')
        if self.waived is not None and (self.by is not None or self.baseline is not None):
            raise ValueError("a waived rule has no by and no baseline")
        limit = self.limit
        if limit is not None:
            self._fits(limit)
        return self

    def _fits(self, limit: Limit) -> None:
        metric = metric_of(self.metric)
        units = metric.forms.get(limit.form)
        if units is None:
            raise ValueError(f"{self.metric} takes {' or '.join(metric.forms)}, not {limit.form}")
        if limit.amount.unit not in units:
            raise ValueError(
                f"{limit.form}: {limit.amount} has the wrong unit for {self.metric}; "
                f"write it such as {' or '.join(_EXAMPLES[unit] for unit in units)}"
            )
        share = limit.form in ("above", "below") and limit.amount.unit == "%"
        if limit.amount.value == 0 or (share and limit.amount.value >= 1):
            raise ValueError(f"{limit.form} must leave room on both sides of the limit")
        if self.baseline is not None and limit.form in ("above", "below"):
            raise ValueError(f"{limit.form} is a fixed limit: it has no baseline")


_EXAMPLES = {"%": "5%", "pp": "5pp", "s": "200ms", "$": "$0.02"}


class Criterion(Rule):
    """What must be true, or must not be, at the end of observation."""

    must: Literal["hold", "not"]

    @model_validator(mode="after")
    def _decidable(self) -> Criterion:
        if self.waived is not None or self.limit is None:
            raise ValueError("a criterion sets a limit, such as {metric: quality, drop: 2pp, must: not}")
        return self


CriterionOrSentence = Annotated[
    Annotated[Criterion, Tag("rule")] | Annotated[Text, Tag("sentence")],
    Discriminator(lambda value: "rule" if isinstance(value, (dict, Criterion)) else "sentence"),
]
"""A rule with `must`, or a sentence that an approver answers."""


class MetricSource(_Strict):
    """Where a metric that no router sees comes from. Figures younger than `lag` are no evidence yet."""

    prometheus: Text | None = None
    sql: Text | None = None
    query: Text | None = None
    events: Text | None = None
    lag: Duration = 0.0

    @model_validator(mode="after")
    def _one_kind(self) -> MetricSource:
        given = [kind for kind in ("prometheus", "sql", "events") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("a source has exactly one of prometheus, sql, events")
        if (self.query is None) != (given[0] == "events"):
            raise ValueError("prometheus and sql want a query, events has none")
        return self


class Judge(_Strict):
    """The model that grades a sample of answers by a rubric."""

    model: Text
    sample: Share
    rubric: File
    budget: Spending | None = None


class Monitoring(_Strict):
    """What is watched besides the router's own figures, what was projected, and who hears of it."""

    sources: dict[MetricName, MetricSource] = Field(default_factory=dict)
    judge: Judge | None = None
    projection: dict[MetricName, Projected] = Field(default_factory=dict)
    notify: list[Reference] = Field(default_factory=list)


class Migration(_Strict):
    """One reviewed migration of one route from `current` to `target`."""

    revision: RevisionId
    down_revision: RevisionId | None = None
    route: RouteName
    message: Text
    created: When
    profile: Literal["standard", "demo"] = "standard"
    current: Endpoint
    target: Endpoint
    owners: Owners
    requires: dict[Text, Reached] = Field(default_factory=dict)
    regression: Regression
    shadow: Shadow = Shadow()
    canary: Canary = Field(default_factory=Canary)
    observation: Observation = Observation()
    rollback: list[Rule] = Field(min_length=1)
    pause: list[Rule] = Field(default_factory=list)
    monitoring: Monitoring = Monitoring()
    rollback_procedure: Text
    success_criteria: list[CriterionOrSentence] = Field(default_factory=list)
