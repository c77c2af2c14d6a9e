"""What changed between two models' answers to the same prompts, in sentences for people, with how sure each is.

Means are compared by the paired bootstrap, shares by McNemar's exact test with Newcombe's paired range; Holm's
correction over all that is compared (`equivalence_intervals` has the sources). Pairs are taken as independent: give one
answer a prompt. It says what changed, not whether that is good: a suite's invariants say that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from llmmigrate.regression.changes_traits import COUNTS, SIGNS, Traits, traits
from llmmigrate.regression.equivalence_intervals import Pairs, holm, mcnemar, paired_bootstrap, paired_difference
from llmmigrate.regression.formats_changes import printable
from llmmigrate.regression.language import UNKNOWN
from llmmigrate.regression.refusals import refusal_change

ALPHA = 0.05
"""The chance that anything is claimed where nothing changed."""

FEWEST = 20
"""Pairs below which nothing is claimed."""

_EXAMPLES = 3
_LEAST_OPENING = 0.02


@dataclass(frozen=True, slots=True)
class Claim:
    """One trait of both models' answers.

    `before` and `after` are means, a median or shares; `change` and its 95% range are relative for a `mean`, in shares
    for a `share`. `p` is Holm's adjusted p-value, `changed` whether it is at most 5%. `examples` are places of pairs
    that changed most. `held` says why nothing can be claimed of it.
    """

    trait: str
    kind: Literal["mean", "share"]
    before: float
    after: float
    change: float
    interval: tuple[float, float]
    p: float
    sentence: str
    examples: tuple[int, ...] = ()
    changed: bool = False
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, surest first; what did not, as far as can be told; why nothing can be claimed, if so."""

    pairs: int
    changed: tuple[Claim, ...]
    unchanged: tuple[Claim, ...]
    held: str | None = None


def changes(before: Sequence[str], after: Sequence[str]) -> Changes:
    """Compare two lists of answers to the same prompts; raises ValueError where they differ in length.

    Fewer than 20 pairs claim nothing.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} answers cannot be paired with {len(after)}")
    if len(before) < FEWEST:
        return Changes(len(before), (), (), f"{len(before)} pairs: fewer than {FEWEST} claim nothing")
    one, two = [traits(text) for text in before], [traits(text) for text in after]
    claims = [*_means(one, two), *_shares(one, two), *_openings(one, two), *_languages(one, two), _refusals(one, two)]
    adjusted = iter(holm([claim.p for claim in claims if claim.held is None]))
    found = [claim if claim.held is not None else _decided(claim, next(adjusted)) for claim in claims]
    found.sort(key=lambda claim: (claim.p, -abs(claim.change)))
    changed, unchanged = ([claim for claim in found if claim.changed is so] for so in (True, False))
    return Changes(len(before), tuple(changed), tuple(unchanged))


def _decided(claim: Claim, p: float) -> Claim:
    return replace(claim, p=p, changed=p <= ALPHA)


def _means(one: Sequence[Traits], two: Sequence[Traits]) -> list[Claim]:
    found = [_mean(trait, *_both(trait, one, two)) for trait in COUNTS]
    found.append(_mean("words", *_both("words", one, two), median=True))
    return [claim for claim in found if claim is not None]


def _both(trait: str, one: Sequence[Traits], two: Sequence[Traits]) -> tuple[list[float], list[float]]:
    return [answer.counts[trait] for answer in one], [answer.counts[trait] for answer in two]


def _mean(trait: str, one: list[float], two: list[float], *, median: bool = False) -> Claim | None:
    """Compare means or medians, relative to the first; None where the first model has none, which its share tells.

    A few endless answers move a mean and leave the median where it was: that is why words have both.
    """
    found = paired_bootstrap(one, two, median=median)
    if not math.isfinite(found.estimate):
        return None
    before, after = (float(np.median(some) if median else np.mean(some)) for some in (one, two))
    size, up = _percent(abs(found.estimate)), found.estimate > 0
    says = f"answers have {size} {'more' if up else 'fewer'} {trait}"
    if trait == "words":
        who = "the median answer is" if median else "answers are"
        says = f"{who} {size} {'longer' if up else 'shorter'}"
    low, high = _magnitudes(found.interval, found.estimate)
    average = "" if median else ", on average"
    sentence = f"{says} ({low} to {high}): {_number(before)} {trait} before, {_number(after)} after{average}"
    return Claim(
        f"median {trait}" if median else trait,
        "mean",
        before,
        after,
        found.estimate,
        found.interval,
        found.p,
        sentence,
        _largest(np.array(two) - np.array(one), found.estimate),
    )


def _shares(one: Sequence[Traits], two: Sequence[Traits]) -> list[Claim]:
    """Compare signs, and how many answers are longer than any before: of two alike, k are so once in 2^k."""
    longest = max(answer.counts["words"] for answer in one)
    found = [
        _share(trait, f"answers that {words}", [answer.signs[trait] for answer in one], [b.signs[trait] for b in two])
        for trait, words in SIGNS.items()
    ]
    longer = [answer.counts["words"] > longest for answer in two]
    found.append(_share("longest", f"answers of more than {longest:.0f} words", [False] * len(one), longer))
    return found


def _openings(one: Sequence[Traits], two: Sequence[Traits]) -> list[Claim]:
    """Compare how often answers open with the same two words, of those that open at least 2% of either model's."""
    counted = [Counter(answer.opening for answer in answers if answer.opening) for answers in (one, two)]
    common = {words for counts in counted for words, times in counts.items() if times >= _LEAST_OPENING * len(one)}
    return [
        _share(
            f"opening: {words}",
            f'answers that open with "{printable(words)}"',
            [answer.opening == words for answer in one],
            [answer.opening == words for answer in two],
        )
        for words in sorted(common)
    ]


def _languages(one: Sequence[Traits], two: Sequence[Traits]) -> list[Claim]:
    """Compare how often answers are in a language, of those that are in at least one answer of either model."""
    return [
        _share(
            f"language: {code}",
            f'answers in the language "{code}"',
            [answer.language == code for answer in one],
            [answer.language == code for answer in two],
        )
        for code in sorted({answer.language for answer in (*one, *two)} - {UNKNOWN})
    ]


def _share(trait: str, what: str, first: list[bool], second: list[bool]) -> Claim:
    return _share_claim(trait, what, Pairs.of(first, second), first, second)


def _refusals(one: Sequence[Traits], two: Sequence[Traits]) -> Claim:
    """Compare refusals over the pairs in which both answers could be told."""
    found = refusal_change([answer.refusal for answer in one], [answer.refusal for answer in two])
    first, second = ([answer.refusal.kind == "refusal" for answer in answers] for answers in (one, two))
    claim = _share_claim("refusal", "refusals", found.pairs, first, second)
    return replace(claim, held=found.held)


def _share_claim(trait: str, what: str, pairs: Pairs, first: list[bool], second: list[bool]) -> Claim:
    n = max(pairs.n, 1)
    before, after = (pairs.both + pairs.first) / n, (pairs.both + pairs.second) / n
    interval = paired_difference(pairs)
    low, high = (f"{100 * end:+.1f}" for end in interval)
    sentence = f"{what}: {_percent(before)} before, {_percent(after)} after ({low} to {high} points)"
    turned = [
        place
        for place, (had, has) in enumerate(zip(first, second, strict=True))
        if had != has and has is (after >= before)
    ]
    return Claim(
        trait, "share", before, after, after - before, interval, mcnemar(pairs), sentence, tuple(turned[:_EXAMPLES])
    )


def _largest(gains: np.ndarray[tuple[int, ...], np.dtype[np.float64]], direction: float) -> tuple[int, ...]:
    order = np.argsort(-gains if direction > 0 else gains, kind="stable")
    return tuple(int(place) for place in order[:_EXAMPLES])


def _magnitudes(interval: tuple[float, float], estimate: float) -> tuple[str, str]:
    """Write a range for a sentence that already says which way; an end on the other side keeps its sign."""
    low, high = interval if estimate > 0 else (-interval[1], -interval[0])
    return f"{100 * low:.0f}", _percent(high)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if 0 < abs(share) < 0.1 else f"{100 * share:.0f}%"


def _number(mean: float) -> str:
    return f"{mean:.0f}" if mean >= 10 else f"{mean:.1f}"
