"""What rules may ask about a member, as of the event that is scored.

Everything here is read when a rule asks for it and not before: an event whose rules ask nothing
costs no read of the state.

How many orders a member has had is always counted, in the account: the rule about the first order
is often written when there have been many. What was paid by day is kept only from when a rule in
force first asks for it (`paying.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from pointstream.contracts.wire import epoch_ms
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list
from pointstream.ledger.paying import paid_minor
from pointstream.ledger.records import Account
from pointstream.ledger.state import profile_key
from pointstream.ledger.tiers import multiplier_at, tier_at
from pointstream.rules.ladders import PLAIN

__all__ = ["Facts"]


class Facts:
    """One member at the moment of one event."""

    def __init__(self, book: Book, account: Account, at_ms: int) -> None:
        """`at_ms` is the event's own date."""
        self._book = book
        self._account = account
        self.at_ms = at_ms

    @property
    def multiplier(self) -> int:
        """What multiplies the points of `spend` rules, in thousandths. Asked once, not kept."""
        if not self._book.programme.ladders:
            return PLAIN
        return multiplier_at(self._book, self._account, self.at_ms)

    @cached_property
    def local(self) -> datetime:
        """The event's moment as a wall clock in the programme's time zone shows it."""
        return self._book.programme.calendar.local(self.at_ms)

    @property
    def segments(self) -> Sequence[str]:
        """The member's segments, as they were told last."""
        return self._account.segments

    @property
    def orders(self) -> int:
        """How many orders of the member came before this event, returned ones too."""
        return self._account.orders

    def tier(self, ladder: str | None) -> str | None:
        """Return the member's tier at the event's moment; of the first ladder if none is named.

        None if there is no such ladder.
        """
        if ladder is None:
            return tier_at(self._book, self._account, self.at_ms)
        for each in self._book.programme.ladders:
            if each.id == ladder:
                return tier_at(self._book, self._account, self.at_ms, each)
        return None

    @property
    def tiers(self) -> frozenset[str]:
        """The member's tiers at the event's moment, on all ladders."""
        ladders = self._book.programme.ladders
        found = [tier_at(self._book, self._account, self.at_ms, each) for each in ladders]
        return frozenset(tier for tier in found if tier is not None)

    @cached_property
    def _profile(self) -> dict[str, list[Any]]:
        value = self._book.state.get(profile_key(self._account.member))
        profile: dict[str, list[Any]] = {} if value is None else decode_list(value)[0]
        return profile

    def profile(self, name: str) -> Any:
        """Return what member events told last, None if nothing."""
        told = self._profile.get(name)
        return None if told is None else told[0]

    @property
    def joined_days(self) -> int | None:
        """How many local days ago the member joined; 0 on the day itself."""
        joined_at = self.profile("joined_at")
        if joined_at is None:
            return None
        calendar = self._book.programme.calendar
        joined_ms = epoch_ms(datetime.fromisoformat(joined_at))
        return calendar.local_day(self.at_ms) - calendar.local_day(joined_ms)

    @property
    def age(self) -> int | None:
        """The member's age in years, if the year of birth is known."""
        birthday = self.profile("birthday")
        if birthday is None or len(birthday) == len("MM-DD"):
            return None
        born, today = date.fromisoformat(birthday), self.local.date()
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day))

    def near_birthday(self, unit: str) -> bool:
        """Tell whether the birthday is in the local day, week (from Monday) or month.

        29 February is the 28th where there is none.
        """
        birthday = self._account.birthday
        if not birthday:
            return False
        month, day = divmod(birthday, 100)
        today = self.local.date()
        if unit == "month":
            return today.month == month
        if unit == "day":
            return _is_anniversary(today, month, day)
        monday = today - timedelta(days=today.weekday())
        return any(_is_anniversary(monday + timedelta(days=n), month, day) for n in range(7))

    def spend_minor(self, days: int) -> int:
        """Return what the member paid in so many local days up to the event's, as far as it was
        counted, without the event itself."""
        return paid_minor(self._book, self._account.member, self.at_ms, days)


def _is_anniversary(today: date, month: int, day: int) -> bool:
    if (month, day) == (2, 29) and (today.month, today.day) == (2, 28):
        return (today + timedelta(days=1)).month == 3
    return (today.month, today.day) == (month, day)
