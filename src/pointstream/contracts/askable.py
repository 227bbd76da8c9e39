"""What conditions can ask, by the kind of event that a rule is about, and how it is compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Final

from pointstream.contracts.conditions import Condition, LineCondition, Where

__all__ = ["FIELDS", "LINE_FIELDS", "WEEKDAYS", "Earned", "Type", "mistakes"]

_DEPTH_MAX: Final = 12

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Type(StrEnum):
    """What a field holds."""

    TEXT = "a text"
    TEXTS = "a list of texts"
    NUMBER = "an integer"
    FLAG = "true or false"
    TAG = "a text, an integer, true or false"
    WEEKDAY = "one of mon, tue, wed, thu, fri, sat, sun"
    DATE = "a date, YYYY-MM-DD"
    NEAR = "one of day, week, month"


_EQUAL: Final = ("eq", "ne", "in", "not_in")
_ORDERED: Final = ("lt", "le", "gt", "ge", "between")

_OPERATORS_OF: Final[dict[Type, tuple[str, ...]]] = {
    Type.TEXT: (*_EQUAL, "exists"),
    Type.TEXTS: ("contains", "exists"),
    Type.NUMBER: (*_EQUAL, *_ORDERED, "exists"),
    Type.FLAG: ("eq", "ne", "exists"),
    Type.TAG: (*_EQUAL, *_ORDERED, "exists"),
    Type.WEEKDAY: _EQUAL,
    Type.DATE: (*_EQUAL, *_ORDERED),
    Type.NEAR: ("eq", "in"),
}


class Earned(StrEnum):
    """By what kind of event a rule earns."""

    ORDER = "order.paid"
    CHECK_IN = "checkin.recorded"
    REGISTERED = "referral.registered"
    FIRST_ORDER = "referral.first_order"
    ACTIVITY = "activity.recorded"
    MEMBER = "member.registered"


_EVERYWHERE: Final = {
    "store_id": Type.TEXT,
    "brand_id": Type.TEXT,
    "channel": Type.TEXT,
    "campaign_codes": Type.TEXTS,
    "source": Type.TEXT,
    "device_id": Type.TEXT,
    "hour": Type.NUMBER,
    "minute_of_day": Type.NUMBER,
    "weekday": Type.WEEKDAY,
    "day_of_month": Type.NUMBER,
    "month": Type.NUMBER,
    "date": Type.DATE,
    "birthday": Type.NEAR,
    "member.tier": Type.TEXT,
    "member.segments": Type.TEXTS,
    "member.home_store_id": Type.TEXT,
    "member.joined_days": Type.NUMBER,
    "member.age": Type.NUMBER,
    "member.orders": Type.NUMBER,
    "spend_minor": Type.NUMBER,
}

FIELDS: Final[dict[Earned, dict[str, Type]]] = {
    Earned.ORDER: {
        **_EVERYWHERE,
        "paid_minor": Type.NUMBER,
        "earning_minor": Type.NUMBER,
        "quantity": Type.NUMBER,
        "points_paid": Type.NUMBER,
        "order_number": Type.NUMBER,
    },
    Earned.CHECK_IN: {**_EVERYWHERE, "place": Type.TEXT},
    Earned.REGISTERED: {**_EVERYWHERE, "referee_id": Type.TEXT},
    Earned.FIRST_ORDER: {
        **_EVERYWHERE,
        "referee_id": Type.TEXT,
        "order_id": Type.TEXT,
        "paid_minor": Type.NUMBER,
    },
    Earned.ACTIVITY: {
        **_EVERYWHERE,
        "activity": Type.TEXT,
        "reference": Type.TEXT,
        "quantity": Type.NUMBER,
        "value_minor": Type.NUMBER,
    },
    Earned.MEMBER: _EVERYWHERE,
}
"""What can be asked, by the event that a rule is about. Besides, `member.tags.NAME` is a tag of the
member, and `member.tiers.LADDER` the tier on one of several ladders."""

LINE_FIELDS: Final[dict[str, Type]] = {
    "line_id": Type.TEXT,
    "sku": Type.TEXT,
    "category": Type.TEXT,
    "quantity": Type.NUMBER,
    "paid_minor": Type.NUMBER,
    "earns": Type.FLAG,
}
"""What can be asked of a line."""


def mistakes(
    condition: Condition | LineCondition, earned: Earned, where: Where
) -> Iterator[tuple[Where, str]]:
    """Yield what does not fit the event that a rule is about: the place, and what is allowed."""
    yield from _mistakes(condition, earned, where, 1)


def _mistakes(
    condition: Condition | LineCondition, earned: Earned, where: Where, depth: int
) -> Iterator[tuple[Where, str]]:
    if depth > _DEPTH_MAX:
        yield where, f"conditions are at most {_DEPTH_MAX} deep"
        return
    if condition.field is not None:
        yield from _of_comparison(condition, earned, where)
    for name in ("all", "any"):
        for place, part in enumerate(getattr(condition, name) or ()):
            yield from _mistakes(part, earned, (*where, name, place), depth + 1)
    if condition.not_ is not None:
        yield from _mistakes(condition.not_, earned, (*where, "not"), depth + 1)
    if isinstance(condition, Condition):
        for name in ("any_line", "all_lines"):
            line = getattr(condition, name)
            if line is None:
                continue
            if earned is not Earned.ORDER:
                yield (*where, name), f"only an order has lines; this rule is about {earned}"
            else:
                yield from _mistakes(line, earned, (*where, name), depth + 1)


def _of_comparison(
    condition: Condition | LineCondition, earned: Earned, where: Where
) -> Iterator[tuple[Where, str]]:
    field = condition.field
    assert field is not None
    fields = LINE_FIELDS if isinstance(condition, LineCondition) else FIELDS[earned]
    type_ = fields.get(field)
    if type_ is None and isinstance(condition, Condition):
        if field.startswith("member.tags.") and field != "member.tags.":
            type_ = Type.TAG
        elif field.startswith("member.tiers.") and field != "member.tiers.":
            type_ = Type.TEXT
    if type_ is None:
        there = ", ".join(fields)
        if isinstance(condition, Condition):
            there += ", member.tags.NAME, member.tiers.LADDER"
        yield (*where, "field"), f"unknown field {field!r}; there are {there}"
        return
    operator = condition.operator
    if operator not in _OPERATORS_OF[type_]:
        allowed = ", ".join(_OPERATORS_OF[type_])
        yield (*where, operator), f"{field} is {type_}; it can be compared by {allowed}"
        return
    if operator == "exists":
        return
    if operator in ("in", "not_in", "between"):
        values = [((*where, operator, place), v) for place, v in enumerate(condition.operand)]
    else:
        values = [((*where, operator), condition.operand)]
    for place, value in values:
        if not _fits(type_, value, ordered=operator in _ORDERED):
            what = Type.NUMBER if type_ is Type.TAG else type_
            what = Type.TEXT if type_ is Type.TEXTS else what
            yield place, f"{field} is compared with {what.value}, not with {value!r}"
    if operator == "between" and all(_fits(type_, v, ordered=True) for v in condition.operand):
        low, high = condition.operand
        if low > high:
            yield (*where, operator), "the first must not be more than the second"


def _fits(type_: Type, value: object, *, ordered: bool) -> bool:
    if type_ is Type.TAG:
        return type(value) is int if ordered else True
    if type_ is Type.NUMBER:
        return type(value) is int
    if type_ is Type.FLAG:
        return type(value) is bool
    if not isinstance(value, str):
        return False
    if type_ is Type.WEEKDAY:
        return value in WEEKDAYS
    if type_ is Type.NEAR:
        return value in ("day", "week", "month")
    if type_ is Type.DATE:
        try:
            return date.fromisoformat(value).isoformat() == value
        except ValueError:
            return False
    return True
