"""Estimates: what real prompts are to both models, in tokens, in dollars, and against limits; or not known.

Each model counts by its own tokenizer (`models.tokens`). Where one cannot be had, everything that rests on it is
`None`, and the estimate says why: it never passes on a guess.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from llmmigrate.exceptions import ModelError, RefusedError
from llmmigrate.models import costmap, pricing
from llmmigrate.models.base import ChatRequest, Usage, longest_answer
from llmmigrate.models.images import attachments
from llmmigrate.models.tokens import TokenCounter, Unknown, counter_for
from llmmigrate.stages import plan_of

if TYPE_CHECKING:
    from llmmigrate.document import Document, Endpoint, Limits
    from llmmigrate.document.prompts import Side

AT_ONCE = 8
"""Counts that are asked of a server at the same time."""

MONTH_S = 365.25 / 12 * 86400
MORE_TOKENS = 0.15
"""From here on a longer prompt is worth a warning (TOK-01): it moves cost, and what fits into a context."""

FEWEST_ANSWERS = 30
"""Prompts without an answer are taken to be answered as long as the others where so many others are: their mean length
is then known to about a third (1.96 / sqrt(30), where lengths vary as much as they are long on average)."""

FEWEST_TO_PROJECT = 100
"""A projection needs so many answers: their mean is known to a fifth by then, by the same rule, and rules on a
projection stop at a fifth unless the document says otherwise."""

ROLLBACK = "rollback"
"""The need of control when all of its traffic comes back at once, beside those of stages."""

_PLACES = 3


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
            for one in self.failures[:_PLACES]
        ]
        others = sum(one.prompts for one in self.failures[_PLACES:])
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
                {"prompts": one.prompts, "why": one.why, "place": one.place} for one in self.failures[:_PLACES]
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
            "overflow_places": list(self.overflows[:_PLACES]),
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


def estimate(
    document: Document,
    prompts: Sequence[Prompt],
    *,
    per_second: float | None = None,
    peak: float = 1.0,
    watch: Callable[[int, int], None] | None = None,
    counters: Mapping[Side, TokenCounter | Unknown] | None = None,
) -> Estimate:
    """Estimate a migration on prompts that its route is asked.

    `per_second` is the mean rate of requests, `peak` how many times that the busiest minute has. `watch` is told how
    many of how many counts are made. `counters` replace those of the models. Calls providers' counters where keys for
    them are set.
    """
    migration = document.migration
    answered = sum(prompt.answered for prompt in prompts)
    unanswered = _unanswered(answered, len(prompts))
    if unanswered is not None:
        prompts = [replace(prompt, output_tokens=None, answer=None) for prompt in prompts]
    found = dict(counters or {})
    for name in ("current", "target"):
        side: Side = "current" if name == "current" else "target"
        endpoint = getattr(migration, name)
        found.setdefault(side, counter_for(endpoint.model, api_base=endpoint.api_base))
    control, target = asyncio.run(_count(document, prompts, found, watch or (lambda _done, _all: None)))
    assumed = []
    both = [(old, new) for old, new in zip(control.counts, target.counts, strict=True) if old and new]
    ratio = sum(new.input for _, new in both) / sum(old.input for old, _ in both) if both else None
    if ratio is not None:
        outputs = [old.output * ratio if old is not None and old.output is not None else None for old in control.counts]
        measured, target = target, _answered_by(target, outputs)
        if target != measured:
            assumed.append("answers of the target are as long as control's, in its own tokens")
    if unanswered is None and answered < len(prompts):
        control, target = (_answered_by(side, [side.output_mean] * len(prompts)) for side in (control, target))
        assumed.append(f"answers are known for {answered:,} of {len(prompts):,}: the others are as long on average")
    assumed += [
        f"images to {side.model} are as many tokens as {side.images} says" for side in (control, target) if side.images
    ]
    control, target = (_priced(side, prompts) for side in (control, target))
    if any(prompt.cached_tokens for prompt in prompts) and target.warm is not None:
        assumed.append("the target finds the same part of a prompt in its cache as control did")
    control = _fitted(control, migration.current, prompts)
    target = _fitted(target, migration.target, prompts)
    needs = _needs(document, control, target, per_second * peak) if per_second is not None else ()
    return Estimate(
        prompts=len(prompts),
        answered=answered,
        unanswered=unanswered,
        control=control,
        target=target,
        ratio=ratio,
        per_second=per_second,
        needs=needs,
        shadow_cost=_shadow(document, control, target, per_second),
        prices=costmap.source(),
        warnings=(*_warnings(control, target, ratio), *_above_limits(needs)),
        assumed=tuple(assumed),
    )


async def _count(
    document: Document,
    prompts: Sequence[Prompt],
    counters: Mapping[Side, TokenCounter | Unknown],
    watch: Callable[[int, int], None],
) -> tuple[SideEstimate, SideEstimate]:
    done = 0
    total = len(prompts) * sum(isinstance(counter, TokenCounter) for counter in counters.values())
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(counter: TokenCounter, request: ChatRequest, prompt: Prompt) -> Counted | ModelError:
        nonlocal done
        try:
            async with gate:
                tokens = await counter.count(request)
                output: float | None = None
                if prompt.answer:
                    output = float(await _text(counter, request, prompt.answer))
        except ModelError as error:
            return error
        finally:
            done += 1
            watch(done, total)
        return Counted(tokens, output)

    async def side(name: Side) -> SideEstimate:
        endpoint: Endpoint = getattr(document.migration, name)
        counter = counters[name]
        if isinstance(counter, Unknown):
            return SideEstimate(endpoint.model, None, counter.why, (None,) * len(prompts))
        requests = [_request(endpoint, document.system(name), prompt) for prompt in prompts]
        try:
            found = await asyncio.gather(
                *(one(counter, request, prompt) for request, prompt in zip(requests, prompts, strict=True))
            )
        finally:
            await counter.close()
        counts = tuple(None if isinstance(count, ModelError) else count for count in found)
        failures = _failures(found, prompts)
        if failures and not any(counts):
            why = "; ".join(one.why for one in failures[:_PLACES])
            return SideEstimate(endpoint.model, counter.source, why, counts)
        with_images = any(
            count is not None and next(attachments(prompt.messages), None) is not None
            for count, prompt in zip(counts, prompts, strict=True)
        )
        images = counter.images if with_images else None
        return SideEstimate(endpoint.model, counter.source, None, counts, failures, images)

    control, target = await asyncio.gather(side("current"), side("target"))
    recorded = [
        replace(count, output=float(prompt.output_tokens)) if count and prompt.output_tokens is not None else count
        for count, prompt in zip(control.counts, prompts, strict=True)
    ]
    return replace(control, counts=tuple(recorded)), target


def prompts_in_words(number: int) -> str:
    return "1 prompt" if number == 1 else f"{number:,} prompts"


def _unanswered(answered: int, prompts: int) -> str | None:
    """Say why the answers that are known say nothing of those that are not, None where they do."""
    if not answered:
        return "nothing is known of the answers: record usage, or the answers themselves"
    if answered < min(prompts, FEWEST_ANSWERS):
        return (
            f"answers are known for {answered:,} of {prompts_in_words(prompts)}: too few to say how long the others "
            f"are. It takes {FEWEST_ANSWERS}, or all of them"
        )
    return None


def _failures(found: Sequence[Counted | ModelError], prompts: Sequence[Prompt]) -> tuple[Failure, ...]:
    """Return why prompts were not counted, the most frequent reason first."""
    by: dict[str, list[str]] = {}
    for count, prompt in zip(found, prompts, strict=True):
        if isinstance(count, ModelError):
            by.setdefault(count.message, []).append(prompt.place)
    failures = [Failure(why, len(places), places[0]) for why, places in by.items()]
    return tuple(sorted(failures, key=lambda one: -one.prompts))


async def _text(counter: TokenCounter, request: ChatRequest, text: str) -> int:
    """Return about how many tokens a text is: as a message, less what a message of one letter is."""
    alone = replace(request, tools=(), system=None)
    whole = await counter.count(replace(alone, messages=[{"role": "user", "content": text}]))
    frame = await counter.count(replace(alone, messages=[{"role": "user", "content": "a"}]))
    return max(1, whole - frame + 1)


def _request(endpoint: Endpoint, system: str | None, prompt: Prompt) -> ChatRequest:
    return ChatRequest(endpoint.model, prompt.messages, tools=prompt.tools, system=system, api_base=endpoint.api_base)


def _answered_by(side: SideEstimate, outputs: Sequence[float | None]) -> SideEstimate:
    """Give answers these lengths where nothing else is known of them."""
    counts = (
        replace(count, output=output) if count is not None and count.output is None else count
        for count, output in zip(side.counts, outputs, strict=True)
    )
    return replace(side, counts=tuple(counts))


def _priced(side: SideEstimate, prompts: Sequence[Prompt]) -> SideEstimate:
    facts = costmap.facts(side.model)
    cold: list[float] = []
    warm: list[float] = []
    for count, prompt in zip(side.counts, prompts, strict=True):
        if count is None or count.output is None:
            continue
        usage = Usage(count.input, round(count.output))
        price = pricing.cost(facts, usage)
        if price is None:
            return replace(side, unpriced="the cost map has no prices of it: write monitoring.projection yourself")
        cold.append(price)
        cached = min(prompt.cached_tokens or 0, count.input)
        again = pricing.cost(facts, replace(usage, cached_tokens=cached))
        warm.append(price if again is None else again)
    return replace(side, cold=fmean(cold) if cold else None, warm=fmean(warm) if warm else None)


def _fitted(side: SideEstimate, endpoint: Endpoint, prompts: Sequence[Prompt]) -> SideEstimate:
    context = costmap.facts(side.model).max_input_tokens
    if context is None:
        return side
    over = []
    for count, prompt in zip(side.counts, prompts, strict=True):
        longest = longest_answer({**prompt.params, **endpoint.params}) or 0
        if count is not None and count.input + longest > context:
            over.append(prompt.place)
    return replace(side, context=context, overflows=tuple(over))


def _needs(document: Document, control: SideEstimate, target: SideEstimate, per_second: float) -> tuple[Need, ...]:
    """Return what both models must take a minute: the target at each stage, control at the start and to roll back."""

    def need(stage: str, name: Side, share: float) -> Need:
        side = control if name == "current" else target
        limits = getattr(document.migration, name).limits
        requests, each = per_second * 60 * share, side.tokens_mean
        return Need(stage, name, side.model, requests, each * requests if each is not None else None, limits)

    plan = plan_of(document.migration)
    serving = [stage for stage in plan.stages if stage.serves_candidate and stage.waived is None]
    found = [need(stage.name, "target", 1.0 if stage.mirror else stage.share) for stage in serving]
    return (*found, need(ROLLBACK, "current", 1.0))


def _above_limits(needs: Sequence[Need]) -> Iterator[str]:
    """Warn where a declared limit is first exceeded: of the target by stage, of control by a rollback."""
    told: set[tuple[Side, str]] = set()
    for need in needs:
        for name in need.exceeded:
            if (need.side, name) in told:
                continue
            told.add((need.side, name))
            asked, what = (need.requests, "requests") if name == "rpm" else (need.tokens, "tokens")
            when = "after a rollback" if need.stage == ROLLBACK else f"from {need.stage} on"
            yield (
                f"QUOTA-01: {when} {need.model} must take {asked:,.0f} {what} a minute, more than the "
                f"{getattr(need.limits, name):,} that {need.side}.limits.{name} declares: the rest is answered with 429"
            )


def _shadow(document: Document, control: SideEstimate, target: SideEstimate, per_second: float | None) -> float | None:
    """Return what mirroring for the shortest time of shadow costs, with the share that is asked of control again."""
    shadow = document.migration.shadow
    if shadow.waived is not None or per_second is None or target.cold is None:
        return None
    again = shadow.aa_share * control.cold if control.cold is not None else 0.0
    return (target.cold + again) * per_second * shadow.duration


def _warnings(control: SideEstimate, target: SideEstimate, ratio: float | None) -> list[str]:
    found = []
    if ratio is not None and ratio > 1 + MORE_TOKENS:
        found.append(f"TOK-01: the same prompts are {ratio - 1:.0%} more tokens to the target")
    if ratio is not None and ratio < 1 / (1 + MORE_TOKENS):
        found.append(f"TOK-01: on the way back the same prompts are {1 / ratio - 1:.0%} more tokens to control")
    for side in (target, control):
        if side.overflows:
            where = ", ".join(side.overflows[:_PLACES])
            fits = f"{prompts_in_words(len(side.overflows))} {'does' if len(side.overflows) == 1 else 'do'}"
            found.append(f"CTX-01: {fits} not fit into the {side.context:,} tokens of {side.model}: {where}")
    facts = costmap.facts(target.model)
    if control.warm is not None and control.cold is not None and control.warm < control.cold:
        if facts.cached_input_cost is None:
            found.append("CACHE-01: the target's cached tokens have no price of their own: they are charged in full")
        found.append("CACHE-01: its cache is cold whenever its share grows: reckon with the cold cost for a while")
    return found
