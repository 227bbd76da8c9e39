"""Conditions compiled to plain callables, once, when a rule set is first seen.

An order can lose money and lines again, by refunds. What a condition asks about these is looked at
again then, with what is left; everything else was a fact of the order's moment and stays as it was
found. So a condition of an order rule has two parts: what is *kept* of it with the award, and
whether it *still* holds, given that and what is left of the order.

With less left of an order, a condition may stop to hold, but never starts to: it would depend on
the order of refunds what is taken back. So only lower bounds are looked at again, and whether a
line that was found is still there; upper bounds, `all_lines` and what `not` turns into one stay as
they were found.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from operator import attrgetter
from typing import Any, Final

from pointstream.contracts.askable import WEEKDAYS
from pointstream.contracts.conditions import Comparison, Condition, LineCondition
from pointstream.rules.model import Basket, MemberFacts

__all__ = ["Still", "asks_spend", "compile_condition", "compile_line", "compile_still", "value_of"]

Holds = Callable[[Any, MemberFacts], bool]
Kept = list[Any]

_EPOCH: Final = date(1970, 1, 1).toordinal()


# --- values --------------------------------------------------------------------------------------


def _earning_minor(event: Any, _: MemberFacts) -> int:
    if not event.lines:
        return int(event.paid_minor)
    return sum(line.paid_minor for line in event.lines if line.earns)


def _quantity(event: Any, _: MemberFacts) -> int:
    lines = getattr(event, "lines", None)
    return int(event.quantity) if lines is None else sum(line.quantity for line in lines)


_VALUES: Final[dict[str, Callable[[Any, MemberFacts], Any]]] = {
    "earning_minor": _earning_minor,
    "quantity": _quantity,
    "order_number": lambda _, facts: facts.orders + 1,
    "hour": lambda _, facts: facts.local.hour,
    "minute_of_day": lambda _, facts: facts.local.hour * 60 + facts.local.minute,
    "weekday": lambda _, facts: WEEKDAYS[facts.local.weekday()],
    "day_of_month": lambda _, facts: facts.local.day,
    "month": lambda _, facts: facts.local.month,
    "date": lambda _, facts: facts.local.date().isoformat(),
    "member.tier": lambda _, facts: facts.tier(None),
    "member.segments": lambda _, facts: facts.segments,
    "member.home_store_id": lambda _, facts: facts.profile("home_store_id"),
    "member.joined_days": lambda _, facts: facts.joined_days,
    "member.age": lambda _, facts: facts.age,
    "member.orders": lambda _, facts: facts.orders,
}


def _own_minor(event: Any) -> int:
    """Return what an event adds to the money spent before it; a friend's first order adds none."""
    return int(event.paid_minor) if event.type == "order.paid" else 0


def value_of(condition: Comparison) -> Callable[[Any, MemberFacts], Any]:
    """Return what gives the value of a field; `birthday` has none, but is asked (`_near`)."""
    field = condition.field or ""
    known = _VALUES.get(field)
    if known is not None:
        return known
    if field == "spend_minor":
        days = getattr(condition, "days", None) or 1
        return lambda event, facts: facts.spend_minor(days) + _own_minor(event)
    if field.startswith("member.tags."):
        tag = field.removeprefix("member.tags.")
        return lambda _, facts: (facts.profile("tags") or {}).get(tag)
    if field.startswith("member.tiers."):
        ladder = field.removeprefix("member.tiers.")
        return lambda _, facts: facts.tier(ladder)
    get = attrgetter(field)
    return lambda event, _: get(event)


def _same_kind(value: Any, operand: Any) -> bool:
    # True is not 1 here: a tag that is true is not a tag that is one.
    return isinstance(value, bool) is isinstance(operand, bool)


def _comparison(operator: str, operand: Any) -> Callable[[Any], bool]:
    """Return what tells whether a value compares so. What is not there is None."""
    match operator:
        case "eq":
            return lambda value: value == operand and _same_kind(value, operand)
        case "ne":
            return lambda value: not (value == operand and _same_kind(value, operand))
        case "in" | "not_in":
            # By kind and value: a set would hold True and 1 for the same.
            allowed = frozenset((type(value) is bool, value) for value in operand)
            wanted = operator == "in"
            return lambda value: ((type(value) is bool, value) in allowed) is wanted
        case "contains":
            return lambda value: value is not None and operand in value
        case "exists":
            return lambda value: (value is not None and value != () and value != []) is operand
        case "between":
            low, high = operand
            return lambda value: _ordered(value, low) and low <= value <= high
        case "lt":
            return lambda value: _ordered(value, operand) and value < operand
        case "le":
            return lambda value: _ordered(value, operand) and value <= operand
        case "gt":
            return lambda value: _ordered(value, operand) and value > operand
        case _:
            return lambda value: _ordered(value, operand) and value >= operand


def _ordered(value: Any, operand: Any) -> bool:
    return type(value) is type(operand)


# --- conditions as of the event's moment ---------------------------------------------------------


def compile_condition(condition: Condition) -> Holds:
    """Return what tells whether a condition holds for an event, as of its own moment."""
    if condition.all is not None:
        parts = [compile_condition(part) for part in condition.all]
        return lambda event, facts: all(part(event, facts) for part in parts)
    if condition.any is not None:
        parts = [compile_condition(part) for part in condition.any]
        return lambda event, facts: any(part(event, facts) for part in parts)
    if condition.not_ is not None:
        inner = compile_condition(condition.not_)
        return lambda event, facts: not inner(event, facts)
    if condition.any_line is not None:
        line = compile_line(condition.any_line)
        return lambda event, _: any(line(each) for each in event.lines)
    if condition.all_lines is not None:
        line = compile_line(condition.all_lines)
        return lambda event, _: bool(event.lines) and all(line(each) for each in event.lines)
    if condition.field == "birthday":
        operand = condition.operand
        units = (operand,) if isinstance(operand, str) else operand
        return lambda _, facts: any(facts.near_birthday(unit) for unit in units)
    value = value_of(condition)
    compares = _comparison(condition.operator, condition.operand)
    return lambda event, facts: compares(value(event, facts))


def compile_line(condition: LineCondition) -> Callable[[Any], bool]:
    """Return what tells whether a condition holds for a line of an order, as it was paid."""
    if condition.all is not None:
        parts = [compile_line(part) for part in condition.all]
        return lambda line: all(part(line) for part in parts)
    if condition.any is not None:
        parts = [compile_line(part) for part in condition.any]
        return lambda line: any(part(line) for part in parts)
    if condition.not_ is not None:
        inner = compile_line(condition.not_)
        return lambda line: not inner(line)
    get = attrgetter(condition.field or "")
    compares = _comparison(condition.operator, condition.operand)
    return lambda line: compares(get(line))


def asks_spend(condition: Condition | None) -> bool:
    """Tell whether a condition asks what the member has paid in a window."""
    if condition is None:
        return False
    parts = (*(condition.all or ()), *(condition.any or ()))
    return (
        condition.field == "spend_minor"
        or asks_spend(condition.not_)
        or any(asks_spend(part) for part in parts)
    )


# --- what is left of an order --------------------------------------------------------------------


class Still:
    """A condition of an order rule, as it is looked at again after refunds."""

    def __init__(self) -> None:
        self._keep: list[Callable[[Any, MemberFacts], Any]] = []
        self._holds: Callable[[Kept, Basket], bool] = lambda kept, basket: True

    def keep(self, event: Any, facts: MemberFacts) -> Kept:
        """Return what must be kept with the award: flags, and places of lines."""
        return [keep(event, facts) for keep in self._keep]

    def holds(self, kept: Kept, basket: Basket) -> bool:
        """Tell whether the condition holds for what is left of the order."""
        return self._holds(kept, basket)

    def kept_as(self, keep: Callable[[Any, MemberFacts], Any]) -> int:
        """Let something be kept; return its place."""
        self._keep.append(keep)
        return len(self._keep) - 1


def compile_still(condition: Condition | None) -> Still | None:
    """Return how a condition is looked at after refunds; None if it stays as it was found."""
    if condition is None or not _is_about_rest(condition):
        return None
    still = Still()
    still._holds = _rest(condition, still, negated=False)
    return still


_REST: Final[dict[str, Callable[[Basket], int]]] = {
    "paid_minor": lambda basket: basket.paid_minor,
    "earning_minor": lambda basket: basket.earning_minor,
}


def _is_about_rest(condition: Condition) -> bool:
    parts = (*(condition.all or ()), *(condition.any or ()))
    if condition.not_ is not None:
        parts = (*parts, condition.not_)
    return (
        condition.field in _REST
        or condition.field == "quantity"
        or condition.any_line is not None
        or any(_is_about_rest(part) for part in parts)
    )


def _rest(condition: Condition, still: Still, *, negated: bool) -> Callable[[Kept, Basket], bool]:
    if not _is_about_rest(condition):
        return _found(condition, still, negated=negated)
    parts = condition.all or condition.any
    if parts is not None:
        joined = [_rest(part, still, negated=negated) for part in parts]
        if (condition.all is None) is negated:
            return lambda kept, basket: all(part(kept, basket) for part in joined)
        return lambda kept, basket: any(part(kept, basket) for part in joined)
    if condition.not_ is not None:
        return _rest(condition.not_, still, negated=not negated)
    if condition.any_line is not None:
        if negated:
            return _found(condition, still, negated=True)
        line = compile_line(condition.any_line)
        place = still.kept_as(
            lambda event, _: [number for number, each in enumerate(event.lines) if line(each)]
        )
        return lambda kept, basket: any(basket.has(number) for number in kept[place])
    return _bounds(condition, still, negated=negated)


def _found(condition: Condition, still: Still, *, negated: bool) -> Callable[[Kept, Basket], bool]:
    """Keep whether a condition held at the order's own moment."""
    holds = compile_condition(condition)
    place = still.kept_as(lambda event, facts: int(holds(event, facts) is not negated))
    return lambda kept, _: bool(kept[place])


def _bounds(condition: Condition, still: Still, *, negated: bool) -> Callable[[Kept, Basket], bool]:
    """Look at lower bounds of an amount again, and keep how upper bounds were found."""
    operator, operand = condition.operator, condition.operand
    if operator == "exists":
        return _found(condition, still, negated=negated)
    if negated:
        operator = _OPPOSITE[operator]
    values = operand if operator in ("in", "not_in") else (operand,)
    if operator in ("eq", "in"):
        parts = [_between(condition, still, value, value) for value in values]
        return lambda kept, basket: any(part(kept, basket) for part in parts)
    if operator in ("ne", "not_in"):
        parts = [_outside(condition, still, value, value) for value in values]
        return lambda kept, basket: all(part(kept, basket) for part in parts)
    if operator == "between":
        return _between(condition, still, *operand)
    if operator == "outside":
        return _outside(condition, still, *operand)
    if operator in ("gt", "ge"):
        return _at_least(condition, still, operand + (operator == "gt"))
    return _at_most(condition, still, operand - (operator == "lt"))


_OPPOSITE: Final = {
    "eq": "ne",
    "ne": "eq",
    "in": "not_in",
    "not_in": "in",
    "lt": "ge",
    "le": "gt",
    "gt": "le",
    "ge": "lt",
    "between": "outside",
}


def _at_least(condition: Condition, still: Still, bound: int) -> Callable[[Kept, Basket], bool]:
    amount = _REST.get(condition.field or "")
    if amount is not None:
        return lambda kept, basket: amount(basket) >= bound
    place = still.kept_as(lambda event, _: [line.quantity for line in event.lines])
    return lambda kept, basket: (
        sum(basket.pieces(number, each) for number, each in enumerate(kept[place])) >= bound
    )


def _at_most(condition: Condition, still: Still, bound: int) -> Callable[[Kept, Basket], bool]:
    value = value_of(condition)
    place = still.kept_as(lambda event, facts: int(value(event, facts) <= bound))
    return lambda kept, _: bool(kept[place])


def _between(
    condition: Condition, still: Still, low: int, high: int
) -> Callable[[Kept, Basket], bool]:
    above = _at_least(condition, still, low)
    below = _at_most(condition, still, high)
    return lambda kept, basket: below(kept, basket) and above(kept, basket)


def _outside(
    condition: Condition, still: Still, low: int, high: int
) -> Callable[[Kept, Basket], bool]:
    above = _at_least(condition, still, high + 1)
    below = _at_most(condition, still, low - 1)
    return lambda kept, basket: below(kept, basket) or above(kept, basket)
