"""What an estimate is: prompts and what they are to a model, in tokens, in dollars and a minute; None is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from llmmigrate.exceptions import RefusedError

if TYPE_CHECKING:
    from llmmigrate.document import Limits
    from llmmigrate.document.prompts import Side

MONTH_S = 365.25 / 12 * 86400
"""The seconds of a mean month."""

FEWEST_TO_PROJECT = 100
"""A projection needs so many answers: their mean is known to a fifth by then, by the same rule, and rules on a
projection stop at a fifth unless the document says otherwise."""

PLACES = 3
"""Places, and reasons, that are told of many."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request that was made, with what is known of its answer: tokens as control counted them, or its text."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    output_tokens: int | None = None
    cached_tokens: int | None = None
    answer: str | None = None

    @property
    def answered(self) -> bool:
        """Whether it is known how long its answer was."""
        return self.output_tokens is not None or bool(self.answer)


@dataclass(frozen=True, slots=True)
class Counted:
    """One prompt in a model's tokens; `output` is None where nothing is known of its answer."""

    input: int
    output: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Prompts that could not be counted for one reason; `place` is that of the first."""

    why: str
    prompts: int
    place: str


@dataclass(frozen=True, slots=True)
class SideEstimate:
    """What the prompts are to one model: figures are None where they are not known, and `unknown` says why.

    `cold` is the mean cost of a request that finds nothing in the provider's prompt cache, `warm` that of one that
    finds there what was found when the prompts were recorded; both in US dollars. `failures` say why prompts were not
    counted: how many for each reason, and where the first is. `overflows` are the places of prompts that, with the
    longest answer they may have, do not fit into the model's context. `images` says by what images were counted.
    """

    model: str
    source: str | None
    unknown: str | None
    counts: tuple[Counted | None, ...]
    failures: tuple[Failure, ...] = ()
    images: str | None = None
    cold: float | None = None
    warm: float | None = None
    context: int | None = None
    overflows: tuple[str, ...] = ()
    unpriced: str | None = None

    @property
    def failed(self) -> int:
        """How many prompts were not counted, where others were."""
        return sum(one.prompts for one in self.failures)

    @property
    def uncounted(self) -> list[str]:
        """Say which prompts were not counted, and why, in sentences; of many reasons the first ones."""
        found = [
            f"{prompts_in_words(one.prompts)} could not be counted: {one.why} ({one.place})"
            for one in self.failures[:PLACES]
        ]
        others = sum(one.prompts for one in self.failures[PLACES:])
        return [*found, f"{prompts_in_words(others)} could not be counted for other reasons"] if others else found

    @property
    def known(self) -> list[Counted]:
        return [count for count in self.counts if count is not None]

    @property
    def input_mean(self) -> float | None:
        return fmean(count.input for count in self.known) if self.known else None

    @property
    def output_mean(self) -> float | None:
        outputs = [count.output for count in self.known if count.output is not None]
        return fmean(outputs) if outputs else None

    @property
    def tokens_mean(self) -> float | None:
        """The mean tokens of a request: prompt and answer."""
        if self.input_mean is None or self.output_mean is None:
            return None
        return self.input_mean + self.output_mean

    def input_quantile(self, q: float) -> int | None:
        """Return the tokens of a prompt that a share q of them does not exceed."""
        ordered = sorted(count.input for count in self.known)
        return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "tokenizer": self.source,
            "unknown": self.unknown,
            "counted": len(self.known),
            "failed": self.failed,
            "failures": [
                {"prompts": one.prompts, "why": one.why, "place": one.place} for one in self.failures[:PLACES]
            ],
            "input_tokens": {
                "mean": self.input_mean,
                "p50": self.input_quantile(0.5),
                "p95": self.input_quantile(0.95),
                "max": self.input_quantile(1.0),
            },
            "output_tokens_mean": self.output_mean,
            "cost_cold_usd": self.cold,
            "cost_warm_usd": self.warm,
            "unpriced": self.unpriced,
            "context": self.context,
            "overflows": len(self.overflows),
            "overflow_places": list(self.overflows[:PLACES]),
        }


@dataclass(frozen=True, slots=True)
class Need:
    """What a model must take a minute at a share of the traffic; tokens are None where they are not known.

    `limits` are what the document declares that it may be asked.
    """

    stage: str
    side: Side
    model: str
    requests: float
    tokens: float | None
    limits: Limits | None = None

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Name the declared limits that this is above: `rpm`, `tpm`."""
        if self.limits is None:
            return ()
        held = (("rpm", self.requests, self.limits.rpm), ("tpm", self.tokens, self.limits.tpm))
        return tuple(name for name, need, most in held if need is not None and most is not None and need > most)

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "model": self.model,
            "rpm": self.requests,
            "tpm": self.tokens,
            "limits": self.limits.model_dump() if self.limits is not None else None,
            "exceeded": list(self.exceeded),
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """The whole of it. `per_second` is None where no rate of requests is known: then neither are months and needs.

    `answered` are the prompts whose answers are known; `unanswered` says why nothing rests on them, None where it does.
    """

    prompts: int
    answered: int
    unanswered: str | None
    control: SideEstimate
    target: SideEstimate
    ratio: float | None
    per_second: float | None
    needs: tuple[Need, ...]
    shadow_cost: float | None
    prices: str
    warnings: tuple[str, ...]
    assumed: tuple[str, ...]

    @property
    def unknown(self) -> list[str]:
        """What is missing before this is an estimate, in sentences."""
        sides = (self.control, self.target)
        missing = [f"{side.model}: {side.unknown}" for side in sides if side.unknown is not None]
        missing += [f"{side.model}: {words}" for side in sides for words in side.uncounted]
        missing += [f"{side.model}: {side.unpriced}" for side in sides if side.unpriced is not None]
        return missing if self.unanswered is None else [*missing, self.unanswered]

    @property
    def change(self) -> float | None:
        """How much more a request costs than now, cold: 0.2 is 20% more."""
        if self.control.cold is None or self.target.cold is None or self.control.cold == 0:
            return None
        return self.target.cold / self.control.cold - 1

    def month(self, cost: float | None) -> float | None:
        """Return what a cost per request comes to in a month, in US dollars."""
        return cost * self.per_second * MONTH_S if cost is not None and self.per_second is not None else None

    def projection(self) -> dict[str, float]:
        """Return what a document may project of its target: the mean cost and tokens of a request.

        Raises RefusedError where they are not known, or from too few answers to hold a model to them.
        """
        cost, tokens = self.target.warm, self.target.tokens_mean
        if self.unknown or cost is None or tokens is None:
            raise RefusedError(f"nothing can be projected: {self.unknown[0] if self.unknown else 'no cost is known'}")
        if self.answered < FEWEST_TO_PROJECT:
            raise RefusedError(
                f"{prompts_in_words(self.answered)} with an answer are too few to project from: a projection is what "
                f"the target is held to, and needs {FEWEST_TO_PROJECT}",
                hint="more captured requests with their answers; or write monitoring.projection yourself",
            )
        return {"cost_per_request": cost, "tokens_per_request": tokens}

    def to_json(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts,
            "answers_known": self.answered,
            "control": {**self.control.to_json(), "month_usd": self.month(self.control.warm)},
            "target": {**self.target.to_json(), "month_usd": self.month(self.target.warm)},
            "tokens_ratio": self.ratio,
            "cost_change": self.change,
            "requests_per_second": self.per_second,
            "needs": [need.to_json() for need in self.needs],
            "shadow_cost_usd": self.shadow_cost,
            "prices": self.prices,
            "unknown": self.unknown,
            "warnings": list(self.warnings),
            "assumed": list(self.assumed),
        }


def prompts_in_words(number: int) -> str:
    return "1 prompt" if number == 1 else f"{number:,} prompts"
