"""Estimates: what real prompts are to both models, in tokens, in dollars, and against limits; or not known.

Each model counts by its own tokenizer (`models.tokens`). Where one cannot be had, everything that rests on it is
`None`, and the estimate says why: it never passes on a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from llmmigrate.exceptions import ModelError
from llmmigrate.foresight.estimated import (
    PLACES,
    Counted,
    Estimate,
    Failure,
    Need,
    Prompt,
    SideEstimate,
    prompts_in_words,
)
from llmmigrate.models import costmap, pricing
from llmmigrate.models.base import ChatRequest, Usage, longest_answer
from llmmigrate.models.images import attachments
from llmmigrate.models.tokens import TokenCounter, Unknown, counter_for
from llmmigrate.stages import plan_of

if TYPE_CHECKING:
    from llmmigrate.document import Document, Endpoint
    from llmmigrate.document.prompts import Side

AT_ONCE = 8
"""Counts that are asked of a server at the same time."""

MORE_TOKENS = 0.15
"""From here on a longer prompt is worth a warning (TOK-01): it moves cost, and what fits into a context."""

FEWEST_ANSWERS = 30
"""Prompts without an answer are taken to be answered as long as the others where so many others are: their mean length
is then known to about a third (1.96 / sqrt(30), where lengths vary as much as they are long on average)."""

ROLLBACK = "rollback"
"""The need of control when all of its traffic comes back at once, beside those of stages."""


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
            why = "; ".join(one.why for one in failures[:PLACES])
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
            where = ", ".join(side.overflows[:PLACES])
            fits = f"{prompts_in_words(len(side.overflows))} {'does' if len(side.overflows) == 1 else 'do'}"
            found.append(f"CTX-01: {fits} not fit into the {side.context:,} tokens of {side.model}: {where}")
    facts = costmap.facts(target.model)
    if control.warm is not None and control.cold is not None and control.warm < control.cold:
        if facts.cached_input_cost is None:
            found.append("CACHE-01: the target's cached tokens have no price of their own: they are charged in full")
        found.append("CACHE-01: its cache is cold whenever its share grows: reckon with the cold cost for a while")
    return found
