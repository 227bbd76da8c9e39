"""What rules may ask about a member, as of the event that is scored.

Everything here is read when a rule asks for it and not before: an event whose rules ask nothing
costs no read of the state.
"""

from __future__ import annotations

from functools import cached_property

from pointstream.ledger.book import Book
from pointstream.ledger.records import Account
from pointstream.ledger.tiers import multiplier_at
from pointstream.rules.ladders import PLAIN

__all__ = ["Facts"]


class Facts:
    """One member at the moment of one event."""

    def __init__(self, book: Book, account: Account, at_ms: int) -> None:
        """`at_ms` is the event's own date."""
        self._book = book
        self._account = account
        self.at_ms = at_ms

    @cached_property
    def multiplier(self) -> int:
        """What multiplies the points of `spend` rules, in thousandths."""
        if not self._book.programme.ladders:
            return PLAIN
        return multiplier_at(self._book, self._account, self.at_ms)
