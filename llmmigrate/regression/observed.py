"""What changed between the answers of a run of a suite, for people: formats place by place, traits, refusals by type.

Nothing here decides: the invariants of a suite do. It takes one answer a case, the first, so that answers are
independent of each other and ranges mean what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmmigrate.regression.changes import Changes, Claim, changes
from llmmigrate.regression.formats import profile
from llmmigrate.regression.formats_changes import Difference, compare
from llmmigrate.regression.given import Given
from llmmigrate.regression.refusals import Refusal, RefusalChange, RefusalRate, refusal_change
from llmmigrate.regression.watched import Answered, refusal_in

_MOST_FORMATS = 50
"""Differences of format that are kept: beyond them a format is another one."""


class TypeRefusals(NamedTuple):
    """How often answers to one input type decline; `input_type` None stands for all of them."""

    input_type: str | None
    change: RefusalChange


@dataclass(frozen=True, slots=True)
class Observed:
    """What changed over the `cases` that both models answered.

    `formats` are worst first, `changes` surest first, `refusals` begin with those over all input types. The examples of
    `formats` and `changes` are places in `cases`.
    """

    cases: tuple[str, ...]
    formats: tuple[Difference, ...]
    changes: Changes
    refusals: tuple[TypeRefusals, ...]

    def examples(self, found: Difference | Claim) -> list[str]:
        """Return the ids of the cases that show a change best."""
        return [self.cases[place] for place in found.examples]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The traits that changed beyond chance; refusals have their own place."""
        return tuple(claim for claim in self.changes.changed if claim.trait != "refusal")

    @property
    def sure_formats(self) -> tuple[Difference, ...]:
        """The differences of format beyond chance."""
        return tuple(one for one in self.formats if one.beyond_chance)

    @property
    def told(self) -> list[tuple[str, list[str]]]:
        """What changed beyond chance, formats first: a sentence, and the cases that show it best."""
        formats = [(one.sentence, self.examples(one)) for one in self.sure_formats]
        return formats + [(claim.sentence, self.examples(claim)) for claim in self.claims]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: differences beyond chance, and refusals whatever they are."""
        return {
            "cases": len(self.cases),
            "held": self.changes.held,
            "formats": [
                {
                    "path": one.feature.path,
                    "about": one.feature.about,
                    "is": one.feature.is_so,
                    "target": one.target._asdict(),
                    "control": one.control._asdict(),
                    "again": one.again._asdict() if one.again is not None else None,
                    "p": one.p,
                    "sentence": one.sentence,
                    "examples": self.examples(one),
                }
                for one in self.sure_formats
            ],
            "traits": [
                {
                    "trait": claim.trait,
                    "kind": claim.kind,
                    "before": claim.before,
                    "after": claim.after,
                    "change": claim.change,
                    "interval": list(claim.interval),
                    "p": claim.p,
                    "sentence": claim.sentence,
                    "examples": self.examples(claim),
                }
                for claim in self.claims
            ],
            "refusals": [
                {
                    "input_type": one.input_type,
                    "control": _rate(one.change.before),
                    "target": _rate(one.change.after),
                    "pairs": one.change.pairs.n,
                    "change": one.change.difference,
                    "interval": list(one.change.interval),
                    "p": one.change.p,
                    "held": one.change.held,
                }
                for one in self.refusals
            ],
        }


def _rate(found: RefusalRate) -> dict[str, Any]:
    return {
        "rate": found.rate,
        "interval": list(found.interval),
        "refusals": found.refusals,
        "decided": found.decided,
        "uncertain": found.uncertain,
    }


def observe(cases: Sequence[Answered]) -> Observed:
    """Compare the first answers to each case; a case that one of the models has no answer to is left out."""
    both = [(case, _first(case.control), _first(case.target)) for case in cases]
    kept = [(case, old, new) for case, old, new in both if old is not None and new is not None]
    again = [found.text for found in (_first(case.again) for case, _, _ in kept) if found is not None]
    before, after = [old.text for _, old, _ in kept], [new.text for _, _, new in kept]
    differences = compare(profile(before), profile(after), profile(again) if again else None)
    kinds = [(case.input_type, refusal_in(old), refusal_in(new)) for case, old, new in kept]
    types = sorted({name for name, _, _ in kinds if name is not None})
    return Observed(
        tuple(case.case for case, _, _ in kept),
        tuple(differences[:_MOST_FORMATS]),
        changes(before, after),
        (
            TypeRefusals(None, _change(kinds)),
            *(TypeRefusals(name, _change(one for one in kinds if one[0] == name)) for name in types),
        ),
    )


def _first(run: Sequence[Given | None]) -> Given | None:
    return next((one for one in run if one is not None), None)


def _change(found: Iterable[tuple[str | None, Refusal, Refusal]]) -> RefusalChange:
    pairs = list(found)
    return refusal_change([old for _, old, _ in pairs], [new for _, _, new in pairs])
