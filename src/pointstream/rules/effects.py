"""What a rule gives: effects compiled to plain callables.

An effect of an order rule gives the points for what is left of an order, at first all of it. It
never gives more for less: refunds take back E - points(rest), and would depend on their order
otherwise.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Callable
from hashlib import sha256
from itertools import accumulate
from typing import Any, Final

from pointstream.contracts.rulesets import (
    Draw,
    OrderBonusRule,
    QuantityRule,
    SpendRule,
)
from pointstream.rules.conditions import Still, compile_line, compile_still
from pointstream.rules.model import Basket, MemberFacts

__all__ = ["OrderEffect", "compile_draw", "compile_order_effect", "drawn"]


def drawn(seed: str, event_id: str, weights: int) -> int:
    """Return the lot that an event draws: a number of at least 0 and below `weights`.

    It is HMAC-SHA256 with the seed as key and the event's id as message, both as UTF-8, read as one
    big-endian number, modulo the sum of all weights. Anybody who knows the seed can check it.
    """
    digest = hmac.new(seed.encode(), event_id.encode(), sha256).digest()
    return int.from_bytes(digest, "big") % weights


def compile_draw(draw: Draw) -> Callable[[str], int]:
    """Return what gives the points that an event's id draws."""
    ends = list(accumulate(prize.weight for prize in draw.prizes))
    points = [prize.points for prize in draw.prizes]
    return lambda event_id: points[bisect_right(ends, drawn(draw.seed, event_id, ends[-1]))]


class OrderEffect:
    """What an order rule gives, where it is more than a function of the order's earning money."""

    def __init__(
        self,
        rule: SpendRule | OrderBonusRule | QuantityRule,
        still: Still | None,
    ) -> None:
        self._still = still
        self._line = compile_line(rule.lines) if rule.lines is not None else None
        self._draw = (
            compile_draw(rule.draw)
            if isinstance(rule, OrderBonusRule) and rule.draw is not None
            else None
        )
        self._counts = isinstance(rule, QuantityRule)
        self._points = _points(rule)

    def keep(self, event: Any, facts: MemberFacts) -> list[Any]:
        """Return what must be kept with the award of an order that matches."""
        lines = None
        if self._line is not None:
            lines = [number for number, line in enumerate(event.lines) if self._line(line)]
        elif self._counts:
            lines = list(range(len(event.lines)))
        own: Any = None
        if self._draw is not None:
            own = self._draw(event.event_id)
        elif self._counts:
            own = [event.lines[number].quantity for number in lines or ()]
        return [self._still.keep(event, facts) if self._still is not None else None, lines, own]

    def points(self, kept: list[Any], basket: Basket) -> int:
        """Return the points for what is left of an order."""
        found, lines, own = kept
        if self._still is not None and not self._still.holds(found, basket):
            return 0
        return self._points(basket, lines, own)


def compile_order_effect(
    rule: SpendRule | OrderBonusRule | QuantityRule,
) -> OrderEffect | None:
    """Return the effect of an order rule, or None if earning money alone decides on it."""
    still = compile_still(rule.when)
    if (
        still is None
        and rule.lines is None
        and not isinstance(rule, QuantityRule)
        and not (isinstance(rule, SpendRule) and (rule.per_line or rule.rates))
        and not (isinstance(rule, OrderBonusRule) and rule.draw is not None)
    ):
        return None
    return OrderEffect(rule, still)


_Points = Callable[[Basket, list[int] | None, Any], int]


def _points(rule: SpendRule | OrderBonusRule | QuantityRule) -> _Points:
    if isinstance(rule, QuantityRule):
        return _per_quantity(rule)
    if isinstance(rule, OrderBonusRule):
        return _bonus(rule)
    return _spend(rule)


def _per_quantity(rule: QuantityRule) -> _Points:
    def per_quantity(basket: Basket, lines: list[int] | None, own: Any) -> int:
        pieces = sum(
            basket.pieces(number, quantity)
            for number, quantity in zip(lines or (), own, strict=True)
        )
        return rule.points * (pieces // rule.per_pieces)

    return per_quantity


def _bonus(rule: OrderBonusRule) -> _Points:
    def bonus(basket: Basket, lines: list[int] | None, own: Any) -> int:
        minor = basket.money(lines)
        if minor < rule.min_minor or minor <= 0:
            return 0
        return int(own) if rule.points is None else rule.points

    return bonus


def _spend(rule: SpendRule) -> _Points:
    per_amount = per_amount_of(rule)

    def spend(basket: Basket, lines: list[int] | None, own: Any) -> int:
        minor = basket.money(lines)
        if minor < rule.min_minor:
            return 0
        if rule.per_line:
            return sum(per_amount(line_minor) for line_minor in basket.each(lines))
        return per_amount(minor)

    return spend


def per_amount_of(rule: SpendRule) -> Callable[[int], int]:
    """Return the points for an amount, by the rule's rate or by the best of the rates reached."""
    if not rule.rates:
        points, per_minor = rule.points, rule.per_minor
        assert per_minor is not None
        return lambda minor: points * (minor // per_minor)
    rates: Final = tuple((rate.from_minor, rate.points, rate.per_minor) for rate in rule.rates)

    def best(minor: int) -> int:
        # The best, not the last that is reached: of a rate table that someone wrote with a step
        # down, a refund must not give more for less.
        return max(
            (points * (minor // per) for from_minor, points, per in rates if from_minor <= minor),
            default=0,
        )

    return best
