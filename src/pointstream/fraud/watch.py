"""What is remembered of a member, so that later events can be held against it.

All of it is one value per member, and bounded: `ROWS_MAX` events, `PLACES_MAX` places,
`DEVICES_MAX` devices, `RETURNS_MAX` returned orders, and of each thing that is counted in buckets
as many as are asked for. Where more would be needed, the oldest goes: then less is counted than
there was, never more.

An event that came late is kept from when it came: of a burst that is late as a whole, each event
finds the others.

It is stored as two lines of JSON; the second is the member's `presence`, decoded only where it is
asked for. Between two events of a member both are bytes: thousands of members are held, and to go
through the small objects of one that was not used for long takes longer than to make them anew.
"""

from __future__ import annotations

from bisect import insort
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads
from pointstream.fraud.presence import Presence

__all__ = [
    "AFTER_MS",
    "AT",
    "DEVICE",
    "DEVICES_MAX",
    "EVENT_ID",
    "KIND",
    "LATE_MS",
    "MONEY",
    "PERCENT",
    "PLACES_MAX",
    "POINTS",
    "RETURNS_MAX",
    "ROWS_MAX",
    "SUM_MAX",
    "Watch",
]

LATE_MS: Final = 86_400_000
"""How late an event may come and still be counted exactly."""

ROWS_MAX: Final = 256
PLACES_MAX: Final = 16
DEVICES_MAX: Final = 16
RETURNS_MAX: Final = 64

SUM_MAX: Final = 2**53 - 1
"""No sum is more than a number that every reader of a flag reads as it was written."""

AT, KIND, MONEY, POINTS, EVENT_ID, DEVICE = range(6)
"""What a row has in which place: time, type, minor units, points, event id, device or None; and
last, when it was taken, if that was later than it occurred."""

PERCENT, AFTER_MS = 3, 4
"""In a returned order: how much of its money was given back, how long after it was paid."""

Row = list[Any]


class Watch:
    """What is remembered of one member. After `body` nothing of it is there until `open`."""

    __slots__ = (
        "_body",
        "_presence",
        "_seen",
        "counts",
        "devices",
        "places",
        "returns",
        "rows",
        "told",
        "until_ms",
    )

    def __init__(self) -> None:
        self.until_ms = 0
        """Until when all of it counts."""
        self.rows: list[Row] = []
        """Events, by time."""
        self.places: list[list[Any]] = []
        """Where the member was: time, latitude, longitude, event id, and when it was taken."""
        self.devices: list[list[Any]] = []
        """Device, when it was first seen, when it was last seen."""
        self.returns: list[list[Any]] = []
        """Returned orders: when, what stands for the order, event id, percent, how long after it
        was paid, and when it was taken."""
        self.counts: dict[str, list[list[int]]] = {}
        """By what is counted: numbers of buckets, in rising order, and their sums."""
        self.told: dict[str, Any] = {}
        """What others told of this member, or were told: the ledger's `referring`."""
        self._presence: Presence | None = None
        self._seen = b""
        self._body = b""

    @classmethod
    def of_body(cls, body: bytes, until_ms: int) -> Watch:
        """Return what was stored."""
        watch = cls()
        watch.until_ms = until_ms
        watch._body = body
        return watch.open()

    @property
    def presence(self) -> Presence:
        """Where the member was seen, as far as others count it."""
        if self._presence is None:
            self._presence = Presence(loads(self._seen) if self._seen else None)
        return self._presence

    def body(self) -> bytes:
        """Return what `of_body` makes this of again, and keep no more than that until `open`."""
        if self._presence is not None:
            self._seen = dumps(self._presence.row())
            self._presence = None
        main = dumps([self.rows, self.places, self.devices, self.returns, self.counts, self.told])
        self._body = b"%b\n%b" % (main, self._seen)
        del self.rows, self.places, self.devices, self.returns, self.counts, self.told
        return self._body

    def open(self) -> Watch:
        """Have everything at hand, if it is not."""
        if self._body:
            main, _, self._seen = self._body.partition(b"\n")
            (
                self.rows,
                self.places,
                self.devices,
                self.returns,
                self.counts,
                self.told,
            ) = loads(main)
            self._body = b""
        return self

    def add_row(self, row: Row, now_ms: int, keep_ms: int) -> None:
        """Note an event; forget those that no later event can be held against.

        `keep_ms` is the longest window, in which two events can count together.
        """
        rows = self.rows
        before_ms = now_ms - keep_ms - LATE_MS
        if rows and rows[0][AT] < before_ms:
            _forget(rows, before_ms)
        if rows and rows[-1][AT] > row[AT]:
            insort(rows, row, key=_time)
        else:
            rows.append(row)
        if len(rows) > ROWS_MAX:
            del rows[0]

    def add_place(self, place: list[Any], now_ms: int, keep_ms: int) -> None:
        """Note where the member was."""
        places = self.places
        before_ms = now_ms - keep_ms - LATE_MS
        if places and places[0][0] < before_ms:
            _forget(places, before_ms)
        if places and places[-1][0] > place[0]:
            insort(places, place, key=_time)
        else:
            places.append(place)
        if len(places) > PLACES_MAX:
            del places[0]

    def add_return(self, returned: list[Any], now_ms: int, keep_ms: int) -> None:
        """Note a returned order; one that was given back in parts is known by the last part."""
        _forget(self.returns, now_ms - keep_ms - LATE_MS)
        self.returns = [known for known in self.returns if known[1] != returned[1]]
        insort(self.returns, returned, key=_time)
        if len(self.returns) > RETURNS_MAX:
            del self.returns[0]

    def see_device(self, device: str, at_ms: int) -> bool:
        """Note a device; whether that changed anything but when it was last seen."""
        for known in self.devices:
            if known[0] == device:
                if at_ms > known[2]:
                    known[2] = at_ms
                if at_ms < known[1]:
                    known[1] = at_ms
                    return True
                return False
        self.devices.append([device, at_ms, at_ms])
        if len(self.devices) > DEVICES_MAX:
            # The one that was not seen for the longest time; of two such, the one known longer.
            self.devices.remove(min(self.devices, key=lambda known: int(known[2])))
        return True

    def first_seen_ms(self, device: str) -> int | None:
        """Return when a device was first seen with the member."""
        for known in self.devices:
            if known[0] == device:
                return int(known[1])
        return None

    def count(self, what: str, bucket: int, value: int, keep: int) -> None:
        """Add to a bucket; forget the oldest of more than `keep`."""
        sums = self.counts.get(what)
        if sums is None:
            self.counts[what] = [[bucket, value]]
            return
        last = sums[-1]
        if last[0] == bucket:
            last[1] = min(last[1] + value, SUM_MAX)
            return
        if last[0] < bucket:
            sums.append([bucket, value])
            if len(sums) > keep:
                del sums[0]
            return
        for place in range(len(sums) - 1, -1, -1):
            if sums[place][0] == bucket:
                sums[place][1] = min(sums[place][1] + value, SUM_MAX)
                return
            if sums[place][0] < bucket:
                sums.insert(place + 1, [bucket, value])
                break
        else:
            sums.insert(0, [bucket, value])
        if len(sums) > keep:
            del sums[0]

    def counted(self, what: str) -> list[list[int]]:
        """Return the buckets of what is counted, in rising order."""
        return self.counts.get(what, [])

    def forget_counts(self, counted: frozenset[str]) -> None:
        """Forget what nobody counts any more."""
        if not counted.issuperset(self.counts):
            self.counts = {what: sums for what, sums in self.counts.items() if what in counted}

    def join(self, other: Watch) -> None:
        """Take over what was remembered of a member who was merged into this one."""
        self.until_ms = max(self.until_ms, other.until_ms)
        self.rows = sorted([*self.rows, *other.rows], key=_time)[-ROWS_MAX:]
        self.places = sorted([*self.places, *other.places], key=_time)[-PLACES_MAX:]
        self.returns = sorted([*self.returns, *other.returns], key=_time)[-RETURNS_MAX:]
        for device, first_ms, last_ms in other.devices:
            # The latest first: by the earliest alone it might be the one that is forgotten.
            self.see_device(device, last_ms)
            self.see_device(device, first_ms)
        for what, sums in other.counts.items():
            longest = max(len(sums), len(self.counted(what)))
            for bucket, value in sums:
                self.count(what, bucket, value, longest)
        self.presence.join(other.presence)
        for name, told in other.told.items():
            own = self.told.setdefault(name, told)
            if name == "by":
                known = {row[0] for row in own}
                own.extend(row for row in told if row[0] not in known)
            else:
                own.update((key, max(at_ms, own.get(key, 0))) for key, at_ms in told.items())


def _time(row: Row) -> int:
    at_ms: int = row[0]
    return at_ms


def _forget(rows: list[Row], before_ms: int) -> None:
    """Drop what both happened and was taken before a moment."""
    rows[:] = [row for row in rows if row[0] >= before_ms or row[-1] >= before_ms]
