"""Caps: the most points that one member gets by a rule, or by several rules together.

What a cap has counted in one calendar unit has a key of its own, so rules without caps read and
write nothing for it. It counts by the event's own date, and is kept until no event of that unit can
be taken any more.

A counter holds what the member keeps: points that a refund has really taken back make room again,
points that it had to write off do not. So whoever buys, returns and buys again never keeps more
than the cap, and nobody who exchanges what they bought loses what the second purchase earns.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.wire import dumps
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, remembered, remembered_until_ms
from pointstream.ledger.scored import CapLook
from pointstream.ledger.state import NEVER, cap_key, caps_prefix, prefix_stop
from pointstream.rules.model import CompiledCap, Period

__all__ = ["Room", "count_moved", "counted", "make_room"]

_BODY: Final = 9


class Room:
    """What caps leave of the points that one event gives, rule by rule."""

    def __init__(self, book: Book, member: bytes, at_ms: int, *, counts: bool = True) -> None:
        """`at_ms` is the event's own date. With `counts=False` it is only looked at what would be
        left: nothing is written, and what one rule takes is counted for the others here."""
        self._book = book
        self._member = member
        self._at_ms = at_ms
        self._counts = counts
        self._by_event: dict[bytes, int] = {}

    def look(self, caps: tuple[CompiledCap, ...]) -> tuple[CapLook, ...]:
        """Return how all limits of caps stand, for who asks why less is granted than was due."""
        calendar, looks = self._book.programme.calendar, []
        for cap in caps:
            taken = self._by_event.get(cap.name, 0)
            if cap.event is not None:
                looks.append(CapLook(cap.name, "event", cap.event, taken))
            for period, limit in cap.limits:
                number, _ = calendar.period(period, self._at_ms)
                used = _points(
                    self._book.state.get(cap_key(self._member, cap.name, period, number))
                )
                looks.append(CapLook(cap.name, period.value, limit, used))
        return tuple(looks)

    def take(self, caps: tuple[CompiledCap, ...], points: int) -> int:
        """Cut points to what all caps leave, and count what is left of them."""
        if not caps:
            return points
        book, member, at_ms = self._book, self._member, self._at_ms
        for cap in caps:
            if cap.event is not None:
                points = min(points, cap.event - self._by_event.get(cap.name, 0))
            for period, limit in cap.limits:
                number, _ = book.programme.calendar.period(period, at_ms)
                key = cap_key(member, cap.name, period, number)
                counted_so_far = _points(book.state.get(key))
                if not self._counts:
                    counted_so_far += self._by_event.get(cap.name, 0)
                points = min(points, limit - counted_so_far)
        # A limit that was lowered may be behind what it has counted.
        points = max(points, 0)
        if points:
            for cap in caps:
                if cap.event is not None or not self._counts:
                    self._by_event[cap.name] = self._by_event.get(cap.name, 0) + points
                for period, _ in cap.limits if self._counts else ():
                    _add(book, member, cap, period, at_ms, points)
        return points


def make_room(
    book: Book, member: bytes, caps: tuple[CompiledCap, ...], points: int, at_ms: int
) -> None:
    """Count points no more, of an event dated `at_ms`: the member did not get or keep them."""
    if not points:
        return
    for cap in caps:
        for period, _ in cap.limits:
            _add(book, member, cap, period, at_ms, -points)


def counted(book: Book, member: bytes) -> list[tuple[bytes, int, int]]:
    """Return what all caps have counted of a member: its name in keys, until when, points."""
    prefix = caps_prefix(member)
    return [
        (key[len(prefix) :], remembered_until_ms(value), _points(value))
        for key, value in book.state.scan(prefix, prefix_stop(prefix))
        if remembered_until_ms(value) > book.now_ms
    ]


def count_moved(book: Book, member: bytes, name: bytes, until_ms: int, points: int) -> None:
    """Count for a member what another one's cap has counted, who is the same person."""
    key = caps_prefix(member) + name
    value = book.state.get(key)
    _put(book, key, value, until_ms, _points(value) + points)


def _add(
    book: Book, member: bytes, cap: CompiledCap, period: Period, at_ms: int, points: int
) -> None:
    number, end_ms = book.programme.calendar.period(period, at_ms)
    key = cap_key(member, cap.name, period, number)
    value = book.state.get(key)
    # One that was forgotten has none that could still use the room.
    sum_points = max(0, _points(value) + points)
    if value is None and not sum_points:
        return
    # When it is forgotten, all events of the unit must have become too old to be taken.
    until_ms = NEVER if end_ms is None else end_ms + book.programme.refund_window_ms
    _put(book, key, value, until_ms, sum_points)


def _put(book: Book, key: bytes, old: bytes | None, until_ms: int, points: int) -> None:
    value = remembered(until_ms, dumps([points]))
    if old is None:
        book.memory.put(key, value)
    else:
        book.state.put(key, value)


def _points(value: bytes | None) -> int:
    return 0 if value is None else int(decode_list(value, _BODY)[0])
