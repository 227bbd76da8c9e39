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
    points: dict[tuple[str, str], int] = field(default_factory=dict)
    """Points moved, by the type of the movement and the wallet."""
    movements: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    flags: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `fraud-flags`."""
    set_aside: list[str] = field(default_factory=list)
    """Ids of rule sets."""

    def clear(self) -> None:
        """Begin anew."""
        self.outcomes.clear()
        self.points.clear()
        self.movements.clear()
        self.dead_letters.clear()
        self.flags.clear()
        self.set_aside.clear()

    def moved(self, entry: dict[str, Any]) -> None:
        """Count a ledger entry."""
        key = entry["type"], entry["wallet"]
        self.movements[key] += 1
        self.points[key] = self.points.get(key, 0) + entry["amount"]
