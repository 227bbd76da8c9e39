"""What an event is worth: the one place where rules are asked.

For each kind of event there is a function that gives what is due by each rule, from the rules in
force, the event and what rules ask about the member. It changes nothing and awards nothing: caps
and budgets come after it. The ledger scores events with it, and so does whoever wants to know what
another rule set would have given, or why an event earned what it did.

With a `trace`, each rule that is looked at is told of in it, in the order of looking; without one
that costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pointstream.contracts.inputs import (
    ActivityRecorded,
    CheckinRecorded,
    MemberRegistered,
    OrderPaid,
    ReferralFirstOrder,
    ReferralRegistered,
)
from pointstream.ledger.basket import Left
from pointstream.ledger.book import Book
from pointstream.ledger.facts import Facts
from pointstream.ledger.records import Order, Run
from pointstream.ledger.scored import Due, LookedAt, Trace
from pointstream.ledger.stacking import multiplied, one_per_group
from pointstream.rules.index import Rewards, RuleTable
from pointstream.rules.ladders import PLAIN
from pointstream.rules.model import OrderReward, Reward, Scoped

__all__ = [
    "Due",
    "LookedAt",
    "Trace",
    "left_of",
    "score_activity",
    "score_check_in",
    "score_first_order",
    "score_order",
    "score_referral",
    "score_registered",
]

_Rewarding = TypeVar("_Rewarding", bound=Reward)


def score_order(
    table: RuleTable, event: OrderPaid, order: Order, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score an order, as it was paid; `order` is its record, as yet without awards."""
    earning_minor = order.earning_left_minor
    multiplier = facts.multiplier
    dues: list[Due] = []
    multipliers: list[OrderReward] = []
    grouped = False
    for reward in _matching(table.orders, event, facts, trace):
        if reward.more_permille:
            multipliers.append(reward)
            continue
        kept: list[Any] | None = None
        if reward.effect is None:
            points = reward.points(earning_minor)
        else:
            kept = reward.effect.keep(event, facts)
            points = reward.effect.points(kept, Left(order))
        by_tier = PLAIN
        if multiplier != PLAIN and reward.multiplied:
            by_tier = multiplier
            points = points * multiplier // PLAIN
        if points:
            dues.append(Due(reward, points, None, by_tier, kept))
            grouped = grouped or reward.group is not None
        if trace is not None:
            says = f"{points} points for {earning_minor} minor units"
            if by_tier != PLAIN:
                says += f", with the tier's {by_tier} thousandths"
            numbers = {"earning_minor": earning_minor, "tier_permille": by_tier}
            _matched(trace, reward, points, says, **numbers, **_counted(reward, kept, order))
    if grouped:
        dues = one_per_group(dues, trace)
    return multiplied(dues, multipliers, trace) if multipliers else dues


def left_of(
    book: Book,
    order: Order,
    basket: Left,
    ruleset_hash: str,
    rule_id: str,
    multiplier: int,
    kept: list[Any] | None,
    due: int,
) -> int:
    """Return what a rule still gives for what is left of an order; at first it gave `due`.

    The rest is as the order's record keeps it: what else decided was a fact of its moment.
    """
    reward = book.rule_set(ruleset_hash).orders[rule_id]
    if reward.keep_on_refund and order.money_left_minor:
        return due
    if reward.more_permille:
        parts = sum(left_of(book, order, basket, *part) for part in kept or ())
        return parts * reward.more_permille // PLAIN
    if reward.effect is None:
        points = reward.points(basket.earning_minor)
    else:
        points = reward.effect.points(kept or [], basket)
    return points * multiplier // PLAIN


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
    for reward in _matching(table.check_ins, event, facts, trace):
        if again and not (reward.every_time and may_repeat):
            if trace is not None:
                trace.append(LookedAt.of(reward, False, 0, "the day has had a check-in already"))
            continue
        points = _fixed(reward, reward.points, event)
        dues.append(Due(reward, points))
        bonus = 0
        if joined is not None:
            # What this day adds: summed up over a run, each bonus is paid once, whatever rule held
            # when it was earned and whichever day closed the gap.
            due = reward.bonuses_due(days) - sum(reward.bonuses_due(run.days) for run in joined)
            if due > 0:
                bonus = due * reward.streak_points
                dues.append(Due(reward, bonus, "streak"))
        if trace is not None:
            says = f"{points} points"
            if bonus:
                says += f" and {bonus} for {days} days in a row"
            _matched(trace, reward, points + bonus, says, for_day=points, days=days, streak=bonus)
    return _one_per_group(dues, trace)


def score_referral(
    table: RuleTable, event: ReferralRegistered, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score the registration of somebody whom the member referred."""
    dues: list[Due] = []
    for reward in _matching(table.referrals.get("registered"), event, facts, trace):
        _give_fixed(dues, reward, reward.points, event, trace)
    return _one_per_group(dues, trace)


def score_first_order(
    table: RuleTable, event: ReferralFirstOrder, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score the first order of somebody whom the member referred."""
    dues: list[Due] = []
    for reward in _matching(table.referrals.get("first_order"), event, facts, trace):
        if event.paid_minor < reward.min_minor:
            if trace is not None:
                says = f"min_minor: {event.paid_minor} is below {reward.min_minor}"
                trace.append(LookedAt.of(reward, False, 0, says))
            continue
        _give_fixed(dues, reward, reward.points, event, trace)
    return _one_per_group(dues, trace)


def score_activity(
    table: RuleTable, event: ActivityRecorded, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score an activity."""
    dues: list[Due] = []
    for reward in _matching(table.activities.get(event.activity), event, facts, trace):
        if reward.draws is not None:
            points = reward.draws(event.event_id)
        else:
            points = reward.points(event.quantity, event.value_minor)
        if points:
            dues.append(Due(reward, points, event.activity))
        if trace is not None:
            of = (
                f"a quantity of {event.quantity}"
                if reward.per_minor is None
                else f"{event.value_minor or 0} minor units"
            )
            numbers = {"quantity": event.quantity, "value_minor": event.value_minor or 0}
            _matched(trace, reward, points, f"{points} points for {of}", **numbers)
    return _one_per_group(dues, trace)


def score_registered(
    table: RuleTable, event: MemberRegistered, facts: Facts, trace: Trace | None = None
) -> list[Due]:
    """Score the registration of the member."""
    dues: list[Due] = []
    for reward in _matching(table.registered, event, facts, trace):
        _give_fixed(dues, reward, reward.points, event, trace)
    return _one_per_group(dues, trace)


def _matching(
    rewards: Rewards[_Rewarding] | None, event: Scoped, facts: Facts, trace: Trace | None
) -> Iterator[_Rewarding]:
    """Yield the rules whose scope and condition hold; note why the others do not."""
    if rewards is None:
        return
    # Who wants to know why rules do not match is told of all of them.
    for reward in rewards.candidates(event, facts) if trace is None else rewards:
        if reward.matches is None or reward.matches(event, facts):
            yield reward
        elif trace is not None:
            unmet = reward.why_not(event, facts)
            looked = LookedAt.of(reward, False, 0, "; ".join(map(str, unmet)))
            looked.unmet = unmet
            trace.append(looked)


def _give_fixed(
    dues: list[Due], reward: Reward, points: int, event: Scoped, trace: Trace | None
) -> None:
    """Add what a rule gives that always gives the same, or what is drawn instead."""
    points = _fixed(reward, points, event)
    if points:
        dues.append(Due(reward, points))
    if trace is not None:
        _matched(trace, reward, points, f"{points} points")


def _fixed(reward: Reward, points: int, event: Scoped) -> int:
    return points if reward.draws is None else reward.draws(event.event_id)


def _one_per_group(dues: list[Due], trace: Trace | None) -> list[Due]:
    if any(due.reward.group is not None for due in dues):
        return one_per_group(dues, trace)
    return dues


def _matched(trace: Trace, reward: Reward, points: int, says: str, **numbers: int) -> None:
    trace.append(LookedAt.of(reward, True, points, says, **numbers))


def _counted(reward: OrderReward, kept: list[Any] | None, order: Order) -> dict[str, int]:
    """Return what a rule counts of an order, where that is not all of its earning money."""
    if reward.effect is None or kept is None:
        return {}
    basket, (_, lines, own) = Left(order), kept
    counted = {"counted_minor": basket.money(lines)}
    if isinstance(own, list):
        pairs = zip(lines, own, strict=True)
        counted["pieces"] = sum(basket.pieces(number, each) for number, each in pairs)
    return counted
