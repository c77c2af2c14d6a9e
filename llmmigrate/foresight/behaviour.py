"""What comes of simulated requests, drawn many at a time and counted into the tallies that routers keep."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from llmmigrate.foresight.scenario import Behaviour
from llmmigrate.foresight.traffic import LATENT, Requests
from llmmigrate.gates.quantiles import UPPER_S
from llmmigrate.metrics.counting import UNIT_BUCKETS, Tally

Array = npt.NDArray[np.float64]

_P99 = float(ndtri(0.99))
_FAILS, _SIZE, _TIME, _ANSWER = range(LATENT)
"""What the normal variables of a unit are about."""

_SHARES = {
    "tool_call_accuracy": "tools_valid",
    "schema_validity": "schema_valid",
    "refusal_rate": "refusals",
    "truncated_rate": "cut_off",
}
"""The metrics that are shares of answers, with the keys of a scenario."""


def tally(places: npt.NDArray[np.int8], values: Array | None = None, *, times: bool = False) -> Tally:
    """Count values by their unit buckets, ones where none are given; `times` are counted in their bins as well."""
    n = np.bincount(places, minlength=UNIT_BUCKETS).tolist()
    total = n if values is None else np.bincount(places, values, UNIT_BUCKETS).tolist()
    squares = total if values is None else np.bincount(places, values * values, UNIT_BUCKETS).tolist()
    made = Tally({bucket: [*sums] for bucket, sums in enumerate(zip(n, total, squares, strict=True)) if sums[0]})
    if times and values is not None:
        bins, counts = np.unique(np.searchsorted(UPPER_S, values), return_counts=True)
        made.histogram = dict(zip(bins.tolist(), counts.tolist(), strict=True))
    return made


def outcomes(
    requests: Requests, behaviour: Behaviour, alike: float, random: np.random.Generator, *, wanted: frozenset[str]
) -> dict[str, Tally]:
    """Draw what comes of requests to one arm; return its tallies by metric, as `metrics.outcome` defines them.

    `alike` is the part of a unit in the normal variables behind each outcome, `wanted` are the metrics to be made
    beside the error rate.
    """
    places = requests["place"]
    normal = math.sqrt(alike) * requests["own"]
    normal += math.sqrt(1 - alike) * random.standard_normal(normal.shape)
    malformed = normal[:, _FAILS] > -ndtri(behaviour.malformed)
    failed = malformed | (normal[:, _FAILS] < ndtri(behaviour.errors))
    answered = ~failed
    cells = {"error_rate": tally(places, failed.astype(float))}
    if "malformed_rate" in wanted:
        read = answered | malformed
        cells["malformed_rate"] = tally(places[read], malformed[read].astype(float))
    if "latency" in wanted:
        cells["latency"] = tally(places, _latency(normal[:, _TIME], behaviour, random), times=True)
    if "first_token" in wanted and behaviour.first_token_p50 is not None and behaviour.first_token_p99 is not None:
        first = _lognormal(normal[:, _TIME], behaviour.first_token_p50, behaviour.first_token_p99)
        cells["first_token"] = tally(places, first, times=True)
    kept = places[answered]
    tokens = _tokens(normal[answered, _SIZE], behaviour)
    if "tokens_per_request" in wanted:
        cells["tokens_per_request"] = tally(kept, tokens)
    if behaviour.cost is not None and behaviour.tokens is not None and "cost_per_request" in wanted:
        cells["cost_per_request"] = tally(kept, tokens * (behaviour.cost / behaviour.tokens))
    for metric, key in _SHARES.items():
        share = getattr(behaviour, key)
        if share is not None and metric in wanted:
            apart = math.sqrt(alike) * requests["own"][answered, _ANSWER]
            apart += math.sqrt(1 - alike) * random.standard_normal(len(kept))
            cells[metric] = tally(kept, (apart < ndtri(share)).astype(float))
    return {metric: found for metric, found in cells.items() if found.buckets}


def agreement(
    requests: Requests, behaviour: Behaviour, random: np.random.Generator, *, wanted: frozenset[str]
) -> dict[str, Tally]:
    """Draw whether answers beside a user's request were the same as the user's."""
    found = {}
    for metric, share in (("tool_agreement", behaviour.same_tools), ("text_agreement", behaviour.same_text)):
        if share is not None and metric in wanted and len(requests):
            found[metric] = tally(requests["place"], (random.random(len(requests)) < share).astype(float))
    return found


def _tokens(normal: Array, behaviour: Behaviour) -> Array:
    assert behaviour.tokens is not None
    assert behaviour.tokens_cv is not None
    sigma = math.sqrt(math.log1p(behaviour.tokens_cv**2))
    return np.asarray(behaviour.tokens * np.exp(sigma * normal - sigma**2 / 2))


def _latency(normal: Array, behaviour: Behaviour, random: np.random.Generator) -> Array:
    assert behaviour.latency_p50 is not None
    assert behaviour.latency_p99 is not None
    times = _lognormal(normal, behaviour.latency_p50, behaviour.latency_p99) + (behaviour.latency_added or 0.0)
    if behaviour.slow_share:
        times += np.where(random.random(len(times)) < behaviour.slow_share, behaviour.slow_added or 0.0, 0.0)
    return times


def _lognormal(normal: Array, p50: float, p99: float) -> Array:
    return np.asarray(p50 * np.exp(math.log(p99 / p50) / _P99 * normal))
