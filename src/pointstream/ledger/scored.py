"""What scoring an event comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pointstream.rules.ladders import PLAIN
from pointstream.rules.model import Reward

__all__ = ["Due", "LookedAt", "Trace"]


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

    @classmethod
    def of(cls, reward: Reward, matched: bool, points: int, says: str) -> LookedAt:
        """Return what became of a rule."""
        return cls(reward.rule_id, reward.rule_version, reward.ruleset_hash, matched, points, says)


Trace = list[LookedAt]
