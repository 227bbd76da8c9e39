"""What an event is worth: the one place where rules are asked.

For each kind of event there is a function that gives what is due by each rule, from the rules in
force, the event and what rules ask about the member. It changes nothing and awards nothing: caps
and budgets come after it. The ledger scores events with it, and so does whoever wants to know what
another rule set would have given, or why an event earned what it did.

With a `trace`, each rule that is looked at is told of in it, in the order of looking; without one
that costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pointstream.contracts.inputs import (
    ActivityRecorded,
    CheckinRecorded,
    OrderPaid,
    ReferralFirstOrder,
    ReferralRegistered,
)
from pointstream.ledger.facts import Facts
from pointstream.ledger.records import Order, Run
from pointstream.rules.ladders import PLAIN
from pointstream.rules.model import Reward, RuleTable

__all__ = [
    "Due",
    "LookedAt",
    "Trace",
    "score_activity",
    "score_check_in",
    "score_first_order",
    "score_order",
    "score_referral",
]


@dataclass(slots=True)
class Due:
    """What one rule gives for one event, before caps and budgets. Points are above 0."""

    reward: Reward
    points: int
    reason: str | None = None
    """What the entry says it is for, besides the rule."""
    multiplier: int = PLAIN
    """Of the member's tier, in thousandths; it is in `points`."""


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


Trace = list[LookedAt]


def score_order(
    table: RuleTable, event: OrderPaid, order: Order, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score an order, as it was paid; `order` is its record, as yet without awards."""
    earning_minor = order.earning_left_minor
    multiplier = facts.multiplier
    dues: list[Due] = []
    for reward in table.orders:
        if reward.matches is not None and not reward.matches(event, facts):
            if trace is not None:
                _failed(trace, reward, event, facts)
            continue
        points = reward.points(earning_minor)
        by_tier = PLAIN
        if multiplier != PLAIN and reward.multiplied:
            by_tier = multiplier
            points = points * multiplier // PLAIN
        if points:
            dues.append(Due(reward, points, None, by_tier))
        if trace is not None:
            says = f"{points} points for {earning_minor} minor units"
            if by_tier != PLAIN:
                says += f", with the tier's {by_tier} thousandths"
            _matched(trace, reward, points, says)
    return dues


def score_check_in(
    table: RuleTable,
    event: CheckinRecorded,
    facts: Facts,
    *,
    again: bool,
    may_repeat: bool,
    joined: list[Run] | None,
    days: int,
    trace: Trace | None = None,
) -> list[Due]:
    """Score a check-in.

    `again` says that the local day has had one; `may_repeat` that it would be noticed if this one
    came twice all the same. `joined` are the runs of days that it makes one of `days` days, None if
    it is in no streak.
    """
    dues: list[Due] = []
    for reward in table.check_ins:
        if reward.matches is not None and not reward.matches(event, facts):
            if trace is not None:
                _failed(trace, reward, event, facts)
            continue
        if again and not (reward.every_time and may_repeat):
            if trace is not None:
                trace.append(_looked(reward, False, 0, "the day has had a check-in already"))
            continue
        dues.append(Due(reward, reward.points))
        bonus = 0
        if joined is not None:
            # What this day adds: summed up over a run, each bonus is paid once, whatever rule held
            # when it was earned and whichever day closed the gap.
            due = reward.bonuses_due(days) - sum(reward.bonuses_due(run.days) for run in joined)
            if due > 0:
                bonus = due * reward.streak_points
                dues.append(Due(reward, bonus, "streak"))
        if trace is not None:
            says = f"{reward.points} points"
            if bonus:
                says += f" and {bonus} for {days} days in a row"
            _matched(trace, reward, reward.points + bonus, says)
    return dues


def score_referral(
    table: RuleTable, event: ReferralRegistered, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score the registration of somebody whom the member referred."""
    dues: list[Due] = []
    for reward in table.referrals.get("registered", ()):
        if reward.matches is not None and not reward.matches(event, facts):
            if trace is not None:
                _failed(trace, reward, event, facts)
            continue
        dues.append(Due(reward, reward.points))
        if trace is not None:
            _matched(trace, reward, reward.points, f"{reward.points} points")
    return dues


def score_first_order(
    table: RuleTable, event: ReferralFirstOrder, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score the first order of somebody whom the member referred."""
    dues: list[Due] = []
    for reward in table.referrals.get("first_order", ()):
        if reward.matches is not None and not reward.matches(event, facts):
            if trace is not None:
                _failed(trace, reward, event, facts)
            continue
        if event.paid_minor < reward.min_minor:
            if trace is not None:
                says = f"min_minor: {event.paid_minor} is below {reward.min_minor}"
                trace.append(_looked(reward, False, 0, says))
            continue
        dues.append(Due(reward, reward.points))
        if trace is not None:
            _matched(trace, reward, reward.points, f"{reward.points} points")
    return dues


def score_activity(
    table: RuleTable, event: ActivityRecorded, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score an activity."""
    dues: list[Due] = []
    for reward in table.activities.get(event.activity, ()):
        if reward.matches is not None and not reward.matches(event, facts):
            if trace is not None:
                _failed(trace, reward, event, facts)
            continue
        points = reward.points(event.quantity, event.value_minor)
        if points:
            dues.append(Due(reward, points, event.activity))
        if trace is not None:
            of = (
                f"a quantity of {event.quantity}"
                if reward.per_minor is None
                else f"{event.value_minor or 0} minor units"
            )
            _matched(trace, reward, points, f"{points} points for {of}")
    return dues


def _matched(trace: Trace, reward: Reward, points: int, says: str) -> None:
    trace.append(_looked(reward, True, points, says))


def _failed(trace: Trace, reward: Reward, event: Any, facts: Facts) -> None:
    trace.append(_looked(reward, False, 0, reward.why_not(event, facts)))


def _looked(reward: Reward, matched: bool, points: int, says: str) -> LookedAt:
    return LookedAt(reward.rule_id, reward.rule_version, reward.ruleset_hash, matched, points, says)
