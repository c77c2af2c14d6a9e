"""What a document may ask for and this release cannot act on yet: it holds the gate that it is about.

Nothing is half obeyed. When a release learns to act on something, its line here goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmmigrate.metrics.catalogue import metric_of

if TYPE_CHECKING:
    from llmmigrate.document import Migration, Rule


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that this release cannot act on.

    `path` is its place in the document; `holds` the stage that cannot be left because of it, None where it is a rule,
    which holds every stage that it is evaluated in.
    """

    path: tuple[str | int, ...]
    words: str
    holds: str | None = None


def unsupported(migration: Migration) -> Iterator[Lack]:
    """Yield what a document asks for and this release cannot act on."""
    before_users = "shadow" if migration.shadow.waived is None else "regression"
    asked: tuple[tuple[object, tuple[str | int, ...], str, str], ...] = (
        (migration.requires, ("requires",), "cannot look into other environments", "regression"),
        (migration.monitoring.notify, ("monitoring", "notify"), "notifies nobody", before_users),
        (
            migration.observation.drill_every,
            ("observation", "drill_every"),
            "runs no drills",
            migration.canary.steps[-1].name,
        ),
        (migration.success_criteria, ("success_criteria",), "evaluates no success criteria", "observation"),
    )
    for value, path, words, holds in asked:
        if value:
            yield Lack(path, f"this release {words}", holds)
    rules = {"rollback": migration.rollback, "pause": migration.pause}
    for section, index, rule in ((name, i, rule) for name, some in rules.items() for i, rule in enumerate(some)):
        words_of_rule = undecided(rule)
        if words_of_rule is not None:
            yield Lack((section, index), words_of_rule)


def undecided(rule: Rule) -> str | None:
    """Say why this release cannot come to a verdict on a rule; None where it can, or where the rule is waived."""
    if rule.waived is not None:
        return None
    metric = metric_of(rule.metric)
    if rule.limit is None:
        known = metric.kind == "any" or metric.decided
        return None if known and rule.by is None else f"this release does not decide on {metric.title}, worse"
    if rule.limit.form not in metric.decided:
        return f"this release does not decide on {metric.title}, {rule.limit.form}"
    if rule.baseline == "projection" and metric.kind != "mean":
        return "this release compares nothing but means with a projection"
    return None
