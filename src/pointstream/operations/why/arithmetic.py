"""The arithmetic of one rule for one event, in words and numbers.

Money is shown in units of the currency with two decimals, rates and factors as they are written.
`floor(a / b)` is the full times that b is in a.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pointstream.contracts.rulesets import (
    ActivityRule,
    CheckInRule,
    Draw,
    MultiplierRule,
    OrderBonusRule,
    QuantityRule,
    Rule,
    SpendRule,
)
from pointstream.ledger.scored import LookedAt
from pointstream.operations.rulewords import money
from pointstream.rules.effects import drawn
from pointstream.rules.ladders import PLAIN

__all__ = ["arithmetic", "cap_named", "period_named"]

_PERIODS: Final[Mapping[str, str]] = {
    "event": "event",
    "d": "day",
    "w": "week",
    "m": "month",
    "l": "lifetime",
}


def arithmetic(rule: Rule, looked: LookedAt, event_id: str) -> str:
    """Return how a rule that matched came to what was due by it, before caps and budgets."""
    numbers = looked.numbers
    due = numbers["due"]
    draw = getattr(rule, "draw", None)
    if isinstance(rule, SpendRule):
        return _spent(rule, numbers, due)
    if isinstance(rule, QuantityRule):
        pieces = numbers.get("pieces", 0)
        return f"floor({pieces:,} pieces / {rule.per_pieces:,}) x {rule.points:,} = {due:,}"
    if isinstance(rule, MultiplierRule):
        of = "what spend rules give" if rule.of == "base" else "what all rules give"
        return f"floor({numbers['of']:,} x {rule.factor - 1}) = {due:,}, of {of} into its wallet"
    if isinstance(rule, OrderBonusRule):
        minor = numbers.get("counted_minor", numbers.get("earning_minor", 0))
        if not due and minor < max(rule.min_minor, 1):
            return f"{money(minor)} is below {money(max(rule.min_minor, 1))}: nothing"
        words = f"for {money(minor)}" + (f" of {money(rule.min_minor)}" if rule.min_minor else "")
        return f"{_drawn(draw, event_id)} {words}" if draw is not None else f"{due:,} {words}"
    if isinstance(rule, CheckInRule):
        words = _drawn(draw, event_id) if draw is not None else f"{numbers['for_day']:,}"
        if numbers["streak"]:
            return f"{words} + {numbers['streak']:,} for {numbers['days']} days in a row = {due:,}"
        return f"{words} for the day"
    if isinstance(rule, ActivityRule) and draw is None:
        if rule.per_minor is None:
            return f"{numbers['quantity']:,} x {rule.points or 0:,} = {due:,}"
        rate = f"{money(numbers['value_minor'])} / {money(rule.per_minor)}"
        return f"floor({rate}) x {rule.points or 0:,} = {due:,}"
    return _drawn(draw, event_id) if draw is not None else f"{due:,}"


def _spent(rule: SpendRule, numbers: Mapping[str, int], due: int) -> str:
    minor = numbers.get("counted_minor", numbers["earning_minor"])
    if minor < rule.min_minor:
        return f"{money(minor)} is below {money(rule.min_minor)}: nothing"
    if rule.rates:
        words = f"the best of the rates that {money(minor)} has reached"
    else:
        words = f"floor({money(minor)} / {money(rule.per_minor or 1)}) x {rule.points:,}"
    if rule.per_line:
        words += ", line by line"
    permille = numbers["tier_permille"]
    if permille != PLAIN:
        words = f"floor({words} x {permille / PLAIN:g} of the tier)"
    return f"{words} = {due:,}"


def _drawn(draw: Draw, event_id: str) -> str:
    weights = sum(prize.weight for prize in draw.prizes)
    lot = drawn(draw.seed, event_id, weights)
    passed = 0
    for prize in draw.prizes:
        passed += prize.weight
        if lot < passed:
            return f"lot {lot:,} of {weights:,} drawn: {prize.points:,}"
    raise AssertionError("a lot is below the sum of the weights")


def cap_named(name: bytes) -> str:
    """Return what a cap is called, by its name in keys: `shop-7: rule base`, `shop-7: cap both`."""
    rule_set, what, own = name.decode().split("\0")
    return f"{rule_set}: {what} {own}"


def period_named(period: str) -> str:
    """Return over what a limit counts: event, day, week, month or lifetime."""
    return _PERIODS[period]
