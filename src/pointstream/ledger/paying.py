"""What a member has paid by local day, for rules that ask what was spent in a window.

It is counted from when a rule in force first asks for it, and only while one does: what came before
counts as nothing. An order counts on its own date, less what is refunded of it. A day is kept until
no window can reach back to it any more.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.wire import dumps
from pointstream.ledger.book import Book
from pointstream.ledger.codec import remembered, remembered_body, remembered_until_ms
from pointstream.ledger.state import paid_key, paid_prefix

__all__ = ["count_moved_day", "count_paid", "paid_minor", "uncount_paid"]

_KEPT_DAYS: Final = 367
"""One more than the longest window: the day itself is in it."""


def paid_minor(book: Book, member: bytes, at_ms: int, days: int) -> int:
    """Return what was paid on the local day of a moment and the days before it, in minor units."""
    last = book.programme.calendar.local_day(at_ms)
    first = max(0, last - days + 1)
    found = book.state.scan(paid_key(member, first), paid_key(member, last + 1))
    return sum(
        remembered_body(value)[0] for _, value in found if remembered_until_ms(value) > book.now_ms
    )


def count_paid(book: Book, member: bytes, minor: int, at_ms: int) -> None:
    """Count what was paid at a moment."""
    _add(book, paid_key(member, book.programme.calendar.local_day(at_ms)), minor, at_ms)


def uncount_paid(book: Book, member: bytes, minor: int, at_ms: int) -> None:
    """Take off what was refunded of an order of a moment, if its day was counted."""
    key = paid_key(member, book.programme.calendar.local_day(at_ms))
    if minor and book.state.get(key) is not None:
        _add(book, key, -minor, at_ms)


def count_moved_day(book: Book, member: bytes, rest: bytes, value: bytes) -> None:
    """Count for a member what another one paid on a day, who is the same person."""
    key = paid_prefix(member) + rest
    there = book.state.get(key)
    if there is None or remembered_until_ms(there) <= book.now_ms:
        book.memory.put(key, value)
        return
    minor = remembered_body(there)[0] + remembered_body(value)[0]
    book.state.put(key, remembered(remembered_until_ms(there), dumps([minor])))


def _add(book: Book, key: bytes, minor: int, at_ms: int) -> None:
    calendar = book.programme.calendar
    there = book.state.get(key)
    sum_minor = max(0, (0 if there is None else remembered_body(there)[0]) + minor)
    until_ms = calendar.start_of_day_ms(calendar.local_day(at_ms) + _KEPT_DAYS)
    value = remembered(until_ms, dumps([sum_minor]))
    if there is None:
        book.memory.put(key, value)
    else:
        book.state.put(key, value)
