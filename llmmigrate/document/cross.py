"""Checks across a document, on what is written, so that they are told together with the errors of single values.

Each yields a path and a message; parts that are not of the form that they should be are passed over here, since the
model tells them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmmigrate.document.source import Path
from llmmigrate.metrics.catalogue import CATALOGUE, REQUIRED_IN_ROLLBACK
from llmmigrate.redaction import secret_in
from llmmigrate.units import parse_share

Found = Iterator[tuple[Path, str]]

_MOVES = ("model", "params", "system", "api_base")
_KEY_NAMES = ("api_key", "apikey", "password", "secret", "authorization", "access_token")


def cross_problems(data: dict[str, Any]) -> Found:
    """Yield what is wrong between the parts of a document."""
    yield from _same(data)
    yield from _rollback(data)
    yield from _stages(data)
    yield from _metrics(data)
    yield from _secrets(data, ())


def moving_parts(end: dict[str, Any]) -> dict[str, Any]:
    """Return what of `current` or `target` moves as one unit, without what is empty."""
    return {key: end[key] for key in _MOVES if end.get(key)}


def _same(data: dict[str, Any]) -> Found:
    current, target = data.get("current"), data.get("target")
    if isinstance(current, dict) and isinstance(target, dict) and moving_parts(current) == moving_parts(target):
        yield ("target",), "current and target are the same: there is nothing to migrate"
    revision = data.get("revision")
    if revision is not None and revision == data.get("down_revision"):
        yield ("down_revision",), "is the document's own revision"


def _rules(data: dict[str, Any], section: str) -> list[tuple[Path, dict[str, Any]]]:
    rules = data.get(section)
    if not isinstance(rules, list):
        return []
    return [((section, index), rule) for index, rule in enumerate(rules) if isinstance(rule, dict)]


def _rollback(data: dict[str, Any]) -> Found:
    rules = _rules(data, "rollback")
    named = {str(rule.get("metric")) for _, rule in rules}
    missing = [metric for metric in REQUIRED_IN_ROLLBACK if metric not in named]
    if rules and missing:
        yield ("rollback",), f"must name or waive {', '.join(missing)}"
    if rules and not missing and all(rule.get("waived") for _, rule in rules):
        yield ("rollback",), "every rollback rule is waived: nothing could ever stop this migration"


def _stages(data: dict[str, Any]) -> Found:
    owners, canary = data.get("owners"), data.get("canary")
    approvers = owners.get("approvers") if isinstance(owners, dict) else None
    if not isinstance(approvers, dict):
        return
    steps = canary.get("steps", _DEFAULT_STEPS) if isinstance(canary, dict) else _DEFAULT_STEPS
    if not isinstance(steps, list):
        return
    stages = ["shadow", "canary", "observation"]
    for step in steps:
        try:
            stages.append(f"canary:{parse_share(step['traffic']) * 100:.6g}")
        except (ValueError, KeyError, TypeError):
            return
    for stage in approvers:
        if stage not in stages:
            yield ("owners", "approvers", stage), f"there is no stage {stage}; there are {', '.join(sorted(stages))}"


_DEFAULT_STEPS = [{"traffic": "5%"}, {"traffic": "25%"}, {"traffic": "50%"}, {"traffic": "100%"}]


def _metrics(data: dict[str, Any]) -> Found:
    monitoring = data.get("monitoring")
    sources = monitoring.get("sources") if isinstance(monitoring, dict) else None
    own = set(sources) if isinstance(sources, dict) else set()
    for name in sorted(own & set(CATALOGUE)):
        yield ("monitoring", "sources", name), "the router measures this itself: give the source another name"
    known = {"*", *own, *CATALOGUE}
    for section in ("rollback", "pause", "success_criteria"):
        for path, rule in _rules(data, section):
            name = rule.get("metric")
            if isinstance(name, str) and name not in known and not rule.get("waived"):
                yield (
                    (*path, "metric"),
                    f"nothing measures {name}: name its source under monitoring.sources; "
                    f"measured without one are {', '.join(CATALOGUE)}",
                )


def _secrets(value: Any, path: Path) -> Found:
    if isinstance(value, dict):
        for key, item in value.items():
            if str(key).lower() in _KEY_NAMES and item:
                yield (*path, key), "secrets never stand in a document: the environment holds them"
            else:
                yield from _secrets(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, index))
    elif isinstance(value, str):
        kind = secret_in(value)
        if kind is not None:
            yield path, f"holds {kind}: secrets never stand in a document, the environment holds them"
