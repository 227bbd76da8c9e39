"""Rules in words, for tables and reports."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from pointstream.contracts.rulesets import (
    ActivityRule,
    CheckInRule,
    MultiplierRule,
    OrderBonusRule,
    QuantityRule,
    ReferralRule,
    RegisteredRule,
    Rule,
    SpendRule,
)

__all__ = ["gives", "money"]

_REFERRALS: Final = {"registered": "a friend who joins", "first_order": "a friend's first order"}
#: What the words say already, or what is told beside them.
_SAID: Final = frozenset(
    ("id", "kind", "description", "wallet", "effective_from", "effective_to", "points", "draw")
)


def money(minor: int) -> str:
    """Return an amount of minor units as people write it: 1,234.50."""
    return f"{minor // 100:,}.{minor % 100:02d}"


def gives(rule: Rule) -> str:
    """Return what a rule gives for what, in a sentence, with all that it asks for."""
    said = set(_SAID)
    if isinstance(rule, SpendRule):
        words = f"{_points(rule.points)} for every full {money(rule.per_minor or 0)} of an order"
        if rule.rates:
            words = "by a rate table, points for the money of an order"
        said.add("per_minor")
    elif isinstance(rule, OrderBonusRule):
        words = f"{_given(rule)} for an order"
    elif isinstance(rule, CheckInRule):
        words = f"{_given(rule)} for a check-in"
        if rule.streak is not None:
            every = "every" if rule.streak.repeat else "the first"
            words += f", {rule.streak.points:,} more on {every} {rule.streak.days} days in a row"
            said.add("streak")
    elif isinstance(rule, ReferralRule):
        words = f"{_given(rule)} for {_REFERRALS[rule.when]}"
        said.add("when")
    elif isinstance(rule, ActivityRule):
        per = "" if rule.per_minor is None else f" for every full {money(rule.per_minor)} of"
        words = f"{_given(rule)}{per or ' for'} {rule.activity}"
        said.update(("activity", "per_minor"))
    elif isinstance(rule, QuantityRule):
        pieces = "piece" if rule.per_pieces == 1 else f"{rule.per_pieces:,} pieces"
        words = f"{_points(rule.points)} for every {pieces} of an order"
        said.add("per_pieces")
    elif isinstance(rule, MultiplierRule):
        of = "what spend rules give" if rule.of == "base" else "what all other rules give"
        words = f"{rule.factor} times {of} for an order"
        said.update(("factor", "of"))
    else:
        words = f"{_given(rule)} for registering"
    minimum = getattr(rule, "min_minor", 0)
    if isinstance(minimum, int) and minimum and "min_minor" not in said:
        words += f", from {money(minimum)} on"
        said.add("min_minor")
    more = rule.model_dump(mode="json", exclude_defaults=True, exclude=said)
    return "; ".join((words, *(f"{name}: {_value(value)}" for name, value in more.items())))


def _given(
    rule: OrderBonusRule | CheckInRule | ReferralRule | ActivityRule | RegisteredRule,
) -> str:
    # Of a draw not all: who can read the seed knows every prize before it is drawn.
    if rule.draw is not None:
        return f"a draw from {len(rule.draw.prizes):,} prizes"
    return _points(rule.points or 0)


def _points(points: int) -> str:
    return "1 point" if points == 1 else f"{points:,} points"


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return "yes" if value is True else "no" if value is False else str(value)
