"""Which units may meet the candidate at all, by their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cohort:
    """Only units with an attribute among the included values, and never one with an excluded value."""

    include: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def admits(self, attributes: Mapping[str, object]) -> bool:
        """Tell whether a unit may meet the candidate.

        An attribute that a rule is about and the caller does not give cannot be judged: such a unit stays on control.
        """
        for name, values in self.include.items():
            if name not in attributes or str(attributes[name]) not in values:
                return False
        for name, values in self.exclude.items():
            if name not in attributes or str(attributes[name]) in values:
                return False
        return True


EVERYBODY = Cohort()
"""The cohort of a document that names none."""
