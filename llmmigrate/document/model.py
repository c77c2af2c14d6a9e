"""The document as typed values. Keys that this version cannot act on are refused, never ignored."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from llmmigrate.clock import from_text
from llmmigrate.metrics.catalogue import CATALOGUE, REQUIRED_IN_ROLLBACK
from llmmigrate.units import HoldRange, format_duration, parse_duration, parse_hold, parse_increase, parse_share

OBSERVATION_DAYS = 14


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _no_word(value: str) -> str:
    if value in ("head", "heads", "base", "current"):
        raise ValueError(f"{value} has a meaning of its own and cannot be a revision")
    return value


Share = Annotated[float, BeforeValidator(parse_share)]
Increase = Annotated[float, BeforeValidator(parse_increase)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Hold = Annotated[HoldRange, BeforeValidator(parse_hold)]
When = Annotated[datetime, BeforeValidator(lambda value: from_text(str(value)))]
Text = Annotated[str, AfterValidator(_text)]
RouteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
RevisionId = Annotated[str, Field(pattern=r"^[a-z0-9_]{4,40}$"), AfterValidator(_no_word)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(_Strict):
    """A model with its parameters: they move as one unit."""

    model: Text
    params: dict[str, Any] = Field(default_factory=dict)
    retires: str | None = None


class Owners(_Strict):
    driver: Text
    approvers: dict[str, list[Text]] = Field(default_factory=dict)
    rollback: list[Text] = Field(default_factory=list)


class Regression(_Strict):
    """The regression suite; this version runs none, so a document says why it does without."""

    waived: Text


class Shadow(_Strict):
    traffic: Share = 1.0
    duration: Duration
    min_pairs: int = Field(ge=1, strict=True)

    @model_validator(mode="after")
    def _all_traffic(self) -> Shadow:
        if self.traffic != 1.0:
            raise ValueError("shadow.traffic must be 100%: this version mirrors every request or none")
        return self


class Step(_Strict):
    traffic: Share
    hold: Hold


class Canary(_Strict):
    unit: Literal["conversation", "user", "request"] = "conversation"
    steps: list[Step] = Field(min_length=1)
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
    duration: Duration
    shorter_because: Text | None = None

    @model_validator(mode="after")
    def _two_weeks(self) -> Observation:
        if self.duration < OBSERVATION_DAYS * 86400 and self.shorter_because is None:
            raise ValueError(
                f"{format_duration(self.duration)} is shorter than {OBSERVATION_DAYS} days; "
                "say why in observation.shorter_because"
            )
        return self


class Rule(_Strict):
    """A trigger on a metric: exactly one of `above`, `increase` or `waived`."""

    metric: str
    above: Share | None = None
    increase: Increase | None = None
    waived: Text | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Rule:
        metric = CATALOGUE.get(self.metric)
        if metric is None:
            raise ValueError(f"unknown metric {self.metric!r}; known are {', '.join(sorted(CATALOGUE))}")
        given = [form for form in ("above", "increase", "waived") if getattr(self, form) is not None]
        if len(given) != 1:
            raise ValueError("a rule has exactly one of above, increase, waived")
        if given[0] != "waived":
            if not metric.measured:
                raise ValueError(f"{self.metric} is not measured by this version; waive it with a reason")
            if given[0] not in metric.forms:
                raise ValueError(f"{self.metric} takes {' or '.join(sorted(metric.forms))}, not {given[0]}")
            if getattr(self, given[0]) == 0 or self.above == 1:
                raise ValueError(f"{given[0]} must leave room on both sides of the limit")
        return self


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
    regression: Regression
    shadow: Shadow
    canary: Canary
    observation: Observation
    rollback: list[Rule] = Field(min_length=1)
    pause: list[Rule] = Field(default_factory=list)
    rollback_procedure: Text

    @model_validator(mode="after")
    def _whole(self) -> Migration:
        if self.current == self.target:
            raise ValueError("current and target are the same: there is nothing to migrate")
        named = {rule.metric for rule in self.rollback}
        missing = [metric for metric in REQUIRED_IN_ROLLBACK if metric not in named]
        if missing:
            raise ValueError(f"rollback must name or waive {', '.join(missing)}")
        stages = {"shadow", "canary", "observation", *(f"canary:{s.traffic * 100:.6g}" for s in self.canary.steps)}
        unknown = sorted(set(self.owners.approvers) - stages)
        if unknown:
            raise ValueError(
                f"owners.approvers names no stage {', '.join(unknown)}; there are {', '.join(sorted(stages))}"
            )
        if all(rule.waived is not None for rule in self.rollback):
            raise ValueError("every rollback rule is waived: nothing could ever stop this migration")
        return self
