"""What is left of an order, as rules look at it."""

from __future__ import annotations

from functools import cached_property

from pointstream.ledger.records import Order

__all__ = ["Left"]


class Left:
    """An order after the refunds so far. Lines are named by their place, from 0.

    A refund without lines is spread over all lines in proportion to what is left of them, as in
    `Order.earning_left_minor`. Nothing here grows by a refund, in whatever order they come.
    """

    def __init__(self, order: Order) -> None:
        self._order = order

    @cached_property
    def paid_minor(self) -> int:
        """What the order still is in money."""
        return self._order.money_left_minor

    @cached_property
    def earning_minor(self) -> int:
        """What of the money left earns."""
        return self._order.earning_left_minor

    @cached_property
    def gone(self) -> bool:
        """Whether nothing is left of the order. One that cost nothing is there until returned."""
        order = self._order
        return order.returned or (order.paid_minor > 0 and not self.paid_minor)

    @cached_property
    def _whole_minor(self) -> int:
        """What is left of all lines, without what is spread over them."""
        return sum(line.paid_minor - line.refunded_minor for line in self._order.lines)

    def has(self, number: int) -> bool:
        """Tell whether anything is left of a line."""
        return not self.gone and (
            not self._order.lines[number].paid_minor or self._left_minor(number) > 0
        )

    def pieces(self, number: int, quantity: int) -> int:
        """Return how many of a line's pieces are left, in proportion to its money, rounded down."""
        if self.gone:
            return 0
        paid_minor = self._order.lines[number].paid_minor
        if not paid_minor:
            return quantity
        return quantity * self._left_minor(number) // paid_minor

    def money(self, numbers: list[int] | None) -> int:
        """Return the earning money left of some lines, or of the whole order."""
        if numbers is None:
            return self.earning_minor
        lines = self._order.lines
        minor = sum(
            lines[number].paid_minor - lines[number].refunded_minor
            for number in numbers
            if lines[number].earns
        )
        return self._spread(minor)

    def each(self, numbers: list[int] | None) -> list[int]:
        """Return the earning money left of each of some lines, or of all; of an order without
        lines, that of the order."""
        lines = self._order.lines
        if not lines:
            return [self.earning_minor] if numbers is None else []
        return [
            self._left_minor(number)
            for number in (range(len(lines)) if numbers is None else numbers)
            if lines[number].earns
        ]

    def _left_minor(self, number: int) -> int:
        line = self._order.lines[number]
        return self._spread(line.paid_minor - line.refunded_minor)

    def _spread(self, minor: int) -> int:
        """Return a share of what is left of the lines after what is spread over all of them."""
        if self._order.returned or not self._whole_minor:
            return 0
        return minor * self.paid_minor // self._whole_minor
