"""Which flushes of a replica have been counted: exactly once each, in any order, with gaps known."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class SequenceLog:
    """The highest sequence number counted (numbers start at 1), and those below it that never arrived."""

    highest: int = 0
    missing: set[int] = field(default_factory=set)

    def accept(self, seq: int) -> bool:
        """Note a number; True the first time it is seen, False for a repetition."""
        if seq > self.highest:
            self.missing.update(range(self.highest + 1, seq))
            self.highest = seq
            return True
        if seq in self.missing:
            self.missing.discard(seq)
            return True
        return False
