"""Local days and calendar periods of one time zone.

A local day is counted as days since 1970-01-01, so that "the next day" is plus one whatever the
clock change of that night. All instants are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from calendar import isleap, monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pointstream.contracts.programme import Activation, EndOf, Expiry
from pointstream.rules.model import Period

__all__ = ["Calendar"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MS: Final = timedelta(milliseconds=1)
_CACHE_LIMIT: Final = 100_000


class Calendar:
    """The calendar of one time zone. Holds only caches of pure results."""

    def __init__(self, time_zone: str) -> None:
        self.zone: Final = ZoneInfo(time_zone)
        # Offsets change on whole minutes since 1972, and nearly all events of a batch share a few.
        self._offset_by_minute: dict[int, int] = {}

    def local_day(self, at_ms: int) -> int:
        """Return the local day (days since 1970-01-01) on which the instant falls."""
        return (at_ms + self._offset_ms(at_ms)) // 86_400_000

    def start_of_day_ms(self, day: int) -> int:
        """Return the instant at which a local day begins."""
        local = date.fromordinal(_EPOCH_ORDINAL + day)
        return self._instant_ms(datetime(local.year, local.month, local.day))

    def start_of_later_day_ms(self, day: int, months: int, days: int) -> int:
        """Return when the local day begins that is so many months, then days, after another."""
        later = _add_months(date.fromordinal(_EPOCH_ORDINAL + day), months) + timedelta(days=days)
        return self._instant_ms(datetime(later.year, later.month, later.day))

    def month_of_day(self, day: int) -> int:
        """Return the month in which a local day falls, counted from January of the year 0."""
        local = date.fromordinal(_EPOCH_ORDINAL + day)
        return local.year * 12 + local.month - 1

    def is_anniversary(self, at_ms: int, month: int, day: int) -> bool:
        """Tell whether an instant falls on a day of the year; 29 February is the 28th elsewhen."""
        local = date.fromordinal(_EPOCH_ORDINAL + self.local_day(at_ms))
        if month == 2 and day == 29 and not isleap(local.year):
            day = 28
        return local.month == month and local.day == day

    def start_of_month_ms(self, month: int) -> int:
        """Return when a month begins, counted from January of the year 0."""
        return self._instant_ms(datetime(month // 12, month % 12 + 1, 1))

    def period(self, unit: Period, at_ms: int) -> tuple[int, int | None]:
        """Return the number of the local unit in which an instant falls, and the first instant
        after it; None for a lifetime, which does not end."""
        day = self.local_day(at_ms)
        if unit is Period.DAY:
            return day, self.start_of_day_ms(day + 1)
        if unit is Period.WEEK:
            # 1970-01-01 was a Thursday; weeks begin on Monday.
            week = (day + 3) // 7
            return week, self.start_of_day_ms(week * 7 + 4)
        if unit is Period.MONTH:
            month = self.month_of_day(day)
            return month, self.start_of_month_ms(month + 1)
        return 0, None

    def activates_at_ms(self, policy: Activation, earned_at_ms: int) -> int:
        """Return when points earned at an instant become spendable."""
        at_ms = earned_at_ms + policy.after // _MS
        if policy.end_of is EndOf.DAY:
            return self.start_of_day_ms(self.local_day(at_ms) + 1)
        if policy.on_days:
            # The day that begins at that moment or next.
            return self._first_of_days_ms(policy.on_days, self.local_day(at_ms - 1) + 1)
        return at_ms

    def expires_at_ms(self, policy: Expiry, earned_at_ms: int) -> int | None:
        """Return the first instant at which points earned then are gone, or None for never.

        For a sliding policy `earned_at_ms` is the latest activity.
        """
        if policy.period is None and not policy.months and not policy.days:
            return None
        if policy.period is None and policy.end_of is EndOf.NONE:
            local = self._local(earned_at_ms)
            moved = _add_months(local.date(), policy.months) + timedelta(days=policy.days)
            return self._instant_ms(datetime.combine(moved, local.time()))
        return self.expires_at_end_ms(policy, self.local_day(earned_at_ms))

    def expires_at_end_ms(self, policy: Expiry, earned_day: int) -> int:
        """Return the expiry of points earned on a local day, for a policy with `end_of` or a
        `period`."""
        start = date.fromordinal(_EPOCH_ORDINAL + earned_day)
        if policy.period is not None:
            start = _first_day_after(policy.period, start)
            end = _add_months(start, policy.months) + timedelta(days=policy.days)
            return self._instant_ms(datetime(end.year, end.month, end.day))
        moved = _add_months(start, policy.months) + timedelta(days=policy.days)
        end = _first_day_after(policy.end_of, moved)
        return self._instant_ms(datetime(end.year, end.month, end.day))

    def _first_of_days_ms(self, days: tuple[int, ...], first_day: int) -> int:
        """Return the beginning of the first of some days of the month, from a local day on."""
        latest = max(days)
        number = first_day
        while True:
            day = date.fromordinal(_EPOCH_ORDINAL + number)
            last = monthrange(day.year, day.month)[1]
            if day.day in days or (day.day == last and latest > last):
                return self.start_of_day_ms(number)
            number += 1

    def local(self, at_ms: int) -> datetime:
        """Return what a wall clock shows at an instant, without a zone."""
        return self._local(at_ms)

    def _local(self, at_ms: int) -> datetime:
        return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self.zone).replace(tzinfo=None)

    def _instant_ms(self, local: datetime) -> int:
        # A wall time that a clock change skips or repeats is taken with the offset before it.
        return (local.replace(tzinfo=self.zone) - _EPOCH) // _MS

    def _offset_ms(self, at_ms: int) -> int:
        minute = at_ms // 60_000
        offset = self._offset_by_minute.get(minute)
        if offset is None:
            utc = _EPOCH + timedelta(minutes=minute)
            span = utc.astimezone(self.zone).utcoffset()
            assert span is not None
            offset = span // _MS
            if len(self._offset_by_minute) >= _CACHE_LIMIT:
                self._offset_by_minute.clear()
            self._offset_by_minute[minute] = offset
        return offset


def _add_months(day: date, months: int) -> date:
    """Add calendar months; a day that the month does not have becomes its last day."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _first_day_after(unit: EndOf, day: date) -> date:
    """Return the first day after the unit in which a day falls."""
    if unit is EndOf.DAY:
        return day + timedelta(days=1)
    if unit is EndOf.MONTH:
        return _add_months(day.replace(day=1), 1)
    if unit is EndOf.QUARTER:
        return _add_months(day.replace(day=1), 3 - (day.month - 1) % 3)
    return date(day.year + 1, 1, 1)
