"""What the batch that is open has brought about, counted while it is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pointstream.ledger import DeadLetter

__all__ = ["Counts"]


@dataclass(slots=True)
class Counts:
    """The counts of one batch of one partition. True only once it is committed.

    The job clears it when a batch begins, and by then the one before it is committed: nobody else
    has to.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By topic suffix and outcome; `timers` stands in the place of the topic for timers."""
    moves: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By the type of the movement and the wallet: how many, and how many points."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    flags: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `fraud-flags`."""
    set_aside: list[str] = field(default_factory=list)
    """Ids of rule sets."""

    def clear(self) -> None:
        """Begin anew."""
        self.outcomes.clear()
        self.moves.clear()
        self.dead_letters.clear()
        self.flags.clear()
        self.set_aside.clear()

    def moved(self, entry: dict[str, Any]) -> None:
        """Count a ledger entry."""
        key = entry["type"], entry["wallet"]
        sums = self.moves.get(key)
        if sums is None:
            self.moves[key] = [1, entry["amount"]]
        else:
            sums[0] += 1
            sums[1] += entry["amount"]
