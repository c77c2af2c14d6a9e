"""Scenarios: what traffic a simulation has, how each arm behaves, and what changes on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmmigrate import scaffold
from llmmigrate.document.loader import placed
from llmmigrate.document.model import Duration, File, Money, Share, Text
from llmmigrate.document.source import Wording, read
from llmmigrate.exceptions import DocumentInvalid, Problem, TargetNotFound
from llmmigrate.metrics.counting import Arm

DEFAULT = "no-change"

_WORDING = Wording(
    "a scenario is a mapping of keys such as description, traffic and changes",
    "a scenario is a few kB",
    "nested too deeply",
)

Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Demand(_Strict):
    """How requests come: `rps` a second on average, in units such as conversations.

    By day and night their rate swings by `swing` of itself. `log` is a file of arrivals in the form of the Azure LLM
    inference trace, beside the scenario, that units begin by instead. A unit has `requests_per_unit` requests on
    average (geometric), a mean `gap` apart; `alike` is how much of what makes one fail or slow is the unit's own, from
    0 to 1 (the correlation of normal variables behind its outcomes).
    """

    rps: Positive = 2.0
    swing: Share = 0.0
    log: File | None = None
    requests_per_unit: Annotated[float, Field(ge=1, le=1000)] = 3.0
    gap: Duration = 60.0
    alike: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Behaviour(_Strict):
    """How an arm answers; whatever is not written is as it was (`USUAL` for control, control's for the candidate).

    Times are lognormal by their median and 99th percentile, and then `latency_added` longer; a share `slow_share` takes
    `slow_added` more. Tokens are lognormal by mean and coefficient of variation, `cost` is the mean that goes with
    them. `malformed` answers cannot be read: they are failures beside `errors`. Shares that are never written are not
    measured. `same_tools` and `same_text` are shares of mirrored answers that agree with the user's.
    """

    errors: Share | None = None
    malformed: Share | None = None
    latency_p50: Duration | None = None
    latency_p99: Duration | None = None
    latency_added: Duration | None = None
    slow_share: Share | None = None
    slow_added: Duration | None = None
    first_token_p50: Duration | None = None
    first_token_p99: Duration | None = None
    tokens: Positive | None = None
    tokens_cv: Positive | None = None
    cost: Money | None = None
    tools_valid: Share | None = None
    schema_valid: Share | None = None
    refusals: Share | None = None
    cut_off: Share | None = None
    same_tools: Share | None = None
    same_text: Share | None = None

    def over(self, below: Behaviour) -> Behaviour:
        """Return this behaviour where it says something, and another one elsewhere."""
        own = {name: value for name in Behaviour.model_fields if (value := getattr(self, name)) is not None}
        return below.model_copy(update=own)


USUAL = Behaviour.model_construct(
    errors=0.01,
    malformed=0.0,
    latency_p50=1.0,
    latency_p99=3.2,
    latency_added=0.0,
    slow_share=0.0,
    slow_added=0.0,
    tokens=400.0,
    tokens_cv=0.5,
    cost=0.004,
    tools_valid=0.98,
    schema_valid=0.99,
    refusals=0.02,
    cut_off=0.01,
    same_tools=0.95,
    same_text=0.6,
)
"""How an arm answers of which a scenario says nothing; the times are those that the benchmarks of the gates have."""


class Change(Behaviour):
    """What an arm does differently: `after` a time from the entry of the stage `since` (None: from the start) on.

    It `lasts` for ever where no time is given, and takes effect with an interval.
    """

    since: Annotated[str, Field(pattern=r"^(shadow|canary:[0-9.]+|observation)$")] | None = None
    after: Duration = 0.0
    lasts: Duration | None = None
    arm: Literal["candidate", "control", "both"] = "candidate"

    def active(self, now_s: float, entered: dict[str, float]) -> bool:
        """Tell whether it is in force, by when each stage was first entered (seconds since the start)."""
        begins = 0.0 if self.since is None else entered.get(self.since)
        if begins is None or now_s < begins + self.after:
            return False
        return self.lasts is None or now_s < begins + self.after + self.lasts


class Scenario(_Strict):
    """One scenario file."""

    description: Text
    traffic: Demand = Demand()
    control: Behaviour = Behaviour()
    candidate: Behaviour = Behaviour()
    changes: list[Change] = Field(default_factory=list)

    @model_validator(mode="after")
    def _times(self) -> Scenario:
        for arm in self.arms.values():
            for name in ("latency", "first_token"):
                p50, p99 = getattr(arm, f"{name}_p50"), getattr(arm, f"{name}_p99")
                if (p50 is None) != (p99 is None) or (p50 is not None and not 0 < p50 < p99):
                    raise ValueError(f"{name}: the p50 must be above 0 and below the p99")
        return self

    @cached_property
    def arms(self) -> dict[Arm, Behaviour]:
        """How each arm answers before anything changes."""
        control = self.control.over(USUAL)
        return {"control": control, "candidate": self.candidate.over(control)}

    def now(self, name: Arm, now_s: float, entered: dict[str, float]) -> Behaviour:
        """Return how an arm answers at a time; later changes in the file come before earlier ones."""
        found = self.arms[name]
        for change in self.changes:
            if change.arm in (name, "both") and change.active(now_s, entered):
                found = change.over(found)
        return found

    @property
    def alike(self) -> bool:
        """Whether both arms answer the same way, all the time: then every rollback is a false one."""
        return self.arms["control"] == self.arms["candidate"] and all(change.arm == "both" for change in self.changes)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario with its name, and the folder that files which it names are in."""

    name: str
    scenario: Scenario
    folder: Path

    def at(self, rps: float | None) -> Loaded:
        """Return the scenario with another rate of requests, where one is given."""
        if rps is None:
            return self
        traffic = self.scenario.traffic.model_copy(update={"rps": rps})
        return replace(self, scenario=self.scenario.model_copy(update={"traffic": traffic}))


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with the product, by name."""
    return {file.stem: file for file in sorted((scaffold.shipped_templates() / "scenarios").glob("*.yaml"))}


def load(named: str | None) -> Loaded:
    """Read a scenario: a file, or the name of a shipped one, `no-change` by default.

    Raises TargetNotFound where there is none, DocumentInvalid with every problem at its place.
    """
    known = shipped()
    file = known.get(named or DEFAULT) or Path(named or DEFAULT)
    try:
        raw = file.read_bytes()
    except OSError as error:
        hint = f"a file, or one of {', '.join(known)}"
        raise TargetNotFound(f"there is no scenario {named!r} ({error.strerror})", hint=hint) from error
    source = read(raw, file.name, wording=_WORDING)
    try:
        scenario = Scenario.model_validate(source.data)
    except ValidationError as error:
        raise DocumentInvalid(sorted(_problems(source, error), key=lambda one: (one.line, one.column))) from error
    return Loaded(file.stem, scenario, file.parent)


def _problems(source: Any, error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors():
        yield placed(source, detail)
