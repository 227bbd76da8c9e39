"""What scoring an event comes to, and, for who asks why, how it came to that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pointstream.rules.ladders import PLAIN
from pointstream.rules.model import Reward, Unmet

__all__ = ["CapLook", "Due", "Granted", "LookedAt", "Trace", "note_granted"]


@dataclass(slots=True)
class Due:
    """What one rule gives for one event, before caps and budgets."""

    reward: Reward
    points: int
    """Above 0; of a check-in 0 where nothing was drawn: the day is used up all the same."""
    reason: str | None = None
    """What the entry says it is for, besides the rule."""
    multiplier: int = PLAIN
    """Of the member's tier, in thousandths; it is in `points`."""
    kept: list[Any] | None = None
    """What refunds must know to tell what is left of it; None if the order's money tells it."""


@dataclass(frozen=True, slots=True)
class CapLook:
    """One limit of one cap, as it was found when points were about to be given."""

    name: bytes
    """Of the cap, as in keys: what it belongs to, NUL between."""
    period: str
    """`event`, or the period by its letter in keys."""
    limit: int
    used: int
    """Points, before."""

    @property
    def left(self) -> int:
        """How many points it lets through."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of one award that was due."""

    due: int
    left: int
    """After caps. With a budget, this is what the budget was asked for."""
    caps: tuple[CapLook, ...]
    budget: str | None
    reason: str | None


@dataclass(slots=True)
class LookedAt:
    """One rule that was looked at for an event, and what became of it."""

    rule_id: str
    rule_version: int
    ruleset_hash: str
    matched: bool
    points: int
    """What is due by it: 0 if it does not match, or gives nothing."""
    says: str
    """The condition that failed, or the arithmetic."""
    unmet: list[Unmet] = field(default_factory=list)
    """What the event does not fit, comparison by comparison."""
    numbers: dict[str, int] = field(default_factory=dict)
    """What the arithmetic begins with, by name."""
    lost_to: str | None = None
    """The rule that gives in its group, in its place."""
    granted: list[Granted] = field(default_factory=list)

    @classmethod
    def of(cls, reward: Reward, matched: bool, points: int, says: str, **numbers: int) -> LookedAt:
        """Return what became of a rule."""
        names = reward.rule_id, reward.rule_version, reward.ruleset_hash
        if matched:
            # The loser of a group is left with no points, and was due some all the same.
            numbers["due"] = points
        return cls(*names, matched, points, says, numbers=numbers)


Trace = list[LookedAt]


def note_granted(trace: Trace, reward: Reward, granted: Granted) -> None:
    """Note with a rule that was looked at what came of an award of it."""
    for looked in trace:
        if (looked.ruleset_hash, looked.rule_id) == (reward.ruleset_hash, reward.rule_id):
            looked.granted.append(granted)
            return
