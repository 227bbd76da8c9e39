"""What is remembered of a member, so that later events can be held against it.

All of it is one value per member, and bounded: `ROWS_MAX` events, `PLACES_MAX` devices and as many
addresses, `RETURNS_MAX` returned orders, and of each thing that is counted in buckets as many as
are asked for. Where more would be needed, the oldest goes: then less is counted than there was,
never more.

An event that came late is kept from when it came: of a burst that is late as a whole, each event
finds the others.

Nearly every event changes it, so each event is in it once, as a plain list, and it is stored as two
lines of JSON: what most events need, and `Rest`, which few members have, decoded only where it is
asked for. Between two batches both are bytes: thousands of members are held, and to go through the
small objects of one that was not used for long takes longer than to make them anew.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads
from pointstream.fraud.networks import address_of

__all__ = [
    "ADDRESS",
    "AFTER_MS",
    "AT",
    "BUCKET",
    "DEVICE",
    "EVENT_ID",
    "FIRST",
    "IP",
    "KIND",
    "LAST",
    "LATE",
    "LATE_MS",
    "MONEY",
    "NETWORK",
    "PERCENT",
    "PLACE",
    "PLACES_MAX",
    "POINTS",
    "REFERRERS_MAX",
    "RETURNS_MAX",
    "ROWS_MAX",
    "SUM",
    "SUM_MAX",
    "TOLD",
    "TOLD_MAX",
    "TOTAL",
    "Rest",
    "Row",
    "Watch",
    "keep_latest",
    "time_of",
]

LATE_MS: Final = 86_400_000
"""How late an event may come and still be counted exactly."""

ROWS_MAX: Final = 256
PLACES_MAX: Final = 16
RETURNS_MAX: Final = 64
REFERRERS_MAX: Final = 8
TOLD_MAX: Final = 4

SUM_MAX: Final = 2**53 - 1
"""No sum is more than a number that every reader of a flag reads as it was written."""

AT, KIND, MONEY, POINTS, EVENT_ID, DEVICE, LATE, IP, PLACE = range(9)
"""What a row has in which place: time, type, minor units, points, event id; device or None; when it
was taken, if that was later than it occurred, else 0; address or None; latitude and longitude, or
None."""

PERCENT, AFTER_MS = 3, 4
"""In a returned order: how much of its money was given back, how long after it was paid."""

LAST, FIRST, TOLD, ADDRESS, NETWORK = range(5)
"""What is known of a device or an address: when the member was seen there last and first, the
latest times of which it told, earliest first; of an address what it means, and its network."""

BUCKET, SUM, TOTAL, OLDER = range(4)
"""What is known of something that is counted: the number of its latest bucket, the sum of that and
of all; those before as text, oldest first, each as `SUM+APART `, its sum and how many buckets later
the next one is. Nearly every event adds to the latest, and hardly any asks for the others: a month
of numbers would take longer to decode than all else."""

Row = list[Any]

time_of: Final[Callable[[Row], int]] = itemgetter(AT)
"""When something was that is remembered."""


class Rest:
    """What few members have."""

    __slots__ = ("asked", "returns", "told")

    def __init__(
        self,
        returns: list[Row] | None = None,
        told: dict[str, Any] | None = None,
        asked: dict[str, int] | None = None,
    ) -> None:
        self.returns: list[Row] = returns if returns is not None else []
        """Returned orders: when, what stands for the order, event id, percent, how long after it
        was paid, and when it was taken."""
        self.told: dict[str, Any] = told if told is not None else {}
        """What others told of this member, or were told: the ledger's `referring` and `tallies`.
        At most `REFERRERS_MAX` referrers, and `PLACES_MAX` of devices and of shops."""
        self.asked: dict[str, int] = asked if asked is not None else {}
        """Which owners want all appearances, and of events up to which time: `presence`."""


class Watch:
    """What is remembered of one member. After `body` nothing of it is there until `open`."""

    __slots__ = (
        "_main",
        "_rest",
        "_rest_body",
        "addresses",
        "calm",
        "counts",
        "devices",
        "may_be_asked",
        "rows",
        "until_ms",
    )

    def __init__(self) -> None:
        self.until_ms = 0
        """Until when all of it counts."""
        self.rows: list[Row] = []
        """Events, by time."""
        self.devices: dict[str, Row] = {}
        """Devices it was seen with, in the order in which they came."""
        self.addresses: dict[str, Row] = {}
        """Addresses it was seen at, likewise."""
        self.counts: dict[str, Row] = {}
        """By what is counted: its sums in buckets of time."""
        self._rest: Rest | None = None
        self._rest_body: bytes | None = b""
        """`rest` as it is stored; None if it is to be encoded anew."""
        self._main = b""
        """All but `rest` as it was stored last; empty while that is at hand."""
        self.may_be_asked = False
        """Whether anybody may be in `Rest.asked`."""
        self.calm: tuple[str, int] | None = None
        """A device of which `Rest.told` has nothing to do, and until when: so `told` need not be
        decoded to see that again."""

    @classmethod
    def of_body(cls, body: bytes, until_ms: int) -> Watch:
        """Return what was stored."""
        # Not `cls()`: it would make what is thrown away at once, for every event.
        watch = cls.__new__(cls)
        watch.until_ms = until_ms
        watch._rest = watch.calm = None
        watch._main, _, rest_body = body.partition(b"\n")
        watch._rest_body = rest_body
        # Without decoding it: what it ends with is `asked`.
        watch.may_be_asked = rest_body != b"" and not rest_body.endswith(b"{}]")
        watch.open()
        for what, known in watch.counts.items():
            if type(known[-1]) is not str:
                # As the first workers wrote it: each bucket followed by its sum.
                sums = list(zip(known[::2], known[1::2], strict=True))
                watch.counts[what] = _counted(sums)
        return watch

    @property
    def rest(self) -> Rest:
        """What few members have, to be changed; to be asked for where it is needed only."""
        rest = self.rest_as_is
        self._rest_body = self.calm = None
        self.may_be_asked = True
        return rest

    @property
    def rest_as_is(self) -> Rest:
        """The same, to be looked at: it is not encoded anew."""
        if self._rest is None:
            self._rest = Rest(*loads(self._rest_body)) if self._rest_body else Rest()
        return self._rest

    @property
    def has_rest(self) -> bool:
        """Whether there is anything in `rest`."""
        # Not whether it was asked for: one that was read anew would not know of that.
        return self._rest_body != b"" if self._rest_body is not None else _there(self.rest_as_is)

    def body(self) -> bytes:
        """Return what `of_body` makes this of again, and keep no more than that until `open`."""
        if self._rest_body is None:
            rest = self.rest_as_is
            listed = [rest.returns, rest.told, rest.asked]
            self._rest_body = dumps(listed) if _there(rest) else b""
            self.may_be_asked = bool(rest.asked)
        self._rest = None
        self._main = dumps([self.rows, self.devices, self.addresses, self.counts])
        del self.rows, self.devices, self.addresses, self.counts
        return b"%b\n%b" % (self._main, self._rest_body)

    def open(self) -> Watch:
        """Have everything at hand, if it is not."""
        if self._main:
            self.rows, self.devices, self.addresses, self.counts = loads(self._main)
            self._main = b""
        return self

    def add_row(self, row: Row, now_ms: int, keep_ms: int) -> None:
        """Note an event; forget those that no later event can be held against.

        `keep_ms` is the longest window, in which two events can count together.
        """
        rows = self.rows
        before_ms = now_ms - keep_ms - LATE_MS
        if rows and rows[0][AT] < before_ms:
            stop = bisect_left(rows, before_ms, key=time_of)
            rows[:stop] = [row for row in rows[:stop] if row[LATE] >= before_ms]
        if rows and rows[-1][AT] > row[AT]:
            insort(rows, row, key=time_of)
        else:
            rows.append(row)
        if len(rows) > ROWS_MAX:
            del rows[0]

    def add_return(self, returned: Row, now_ms: int, keep_ms: int) -> None:
        """Note a returned order; one that was given back in parts is known by the last part."""
        before_ms = now_ms - keep_ms - LATE_MS
        rest = self.rest
        returns = [
            known
            for known in rest.returns
            if known[1] != returned[1] and (known[0] >= before_ms or known[-1] >= before_ms)
        ]
        insort(returns, returned, key=time_of)
        rest.returns = returns[-RETURNS_MAX:]

    def see_device(self, device: str, at_ms: int) -> None:
        """Note a device."""
        known = self.devices.get(device)
        if known is None:
            _add(self.devices, device, [at_ms, at_ms, []])
        elif at_ms > known[LAST]:
            known[LAST] = at_ms
        elif at_ms < known[FIRST]:
            known[FIRST] = at_ms

    def see_address(self, ip: str, at_ms: int) -> bool:
        """Note an address; False if it is none."""
        known = self.addresses.get(ip)
        if known is None:
            address = address_of(ip)
            if address is None:
                return False
            _add(self.addresses, ip, [at_ms, at_ms, [], address.ip, address.network])
        elif at_ms > known[LAST]:
            known[LAST] = at_ms
        elif at_ms < known[FIRST]:
            known[FIRST] = at_ms
        return True

    def count(self, what: str, bucket: int, value: int, keep: int) -> None:
        """Add to a bucket; forget the oldest of more than `keep`."""
        known = self.counts.get(what)
        if known is None:
            self.counts[what] = [bucket, value, value, ""]
            return
        latest, latest_sum, total, older = known
        if bucket == latest:
            known[SUM] = added = min(latest_sum + value, SUM_MAX)
            known[TOTAL] = total + added - latest_sum
        elif bucket > latest:
            older += f"{latest_sum}+{bucket - latest} "
            known[:] = bucket, value, total + value, older
            if older.count("+") >= keep:
                oldest, _, known[OLDER] = older.partition(" ")
                known[TOTAL] -= int(oldest.partition("+")[0])
        else:
            sums = dict(self.counted(what))
            sums[bucket] = min(sums.get(bucket, 0) + value, SUM_MAX)
            self.counts[what] = _counted(sorted(sums.items())[-keep:])

    def counted(self, what: str) -> list[tuple[int, int]]:
        """Return the buckets of what is counted, in rising order, and their sums."""
        known = self.counts.get(what)
        if known is None:
            return []
        bucket, latest_sum, _, older = known
        sums = [(bucket, latest_sum)]
        for each in reversed(older.split()):
            value, _, apart = each.partition("+")
            bucket -= int(apart)
            sums.append((bucket, int(value)))
        sums.reverse()
        return sums

    def forget_counts(self, counted: frozenset[str]) -> None:
        """Forget what nobody counts any more."""
        if not counted.issuperset(self.counts):
            self.counts = {what: sums for what, sums in self.counts.items() if what in counted}

    def join(self, other: Watch) -> None:
        """Take over what was remembered of a member who was merged into this one."""
        self.until_ms = max(self.until_ms, other.until_ms)
        self.rows = sorted([*self.rows, *other.rows], key=time_of)[-ROWS_MAX:]
        _join(self.devices, other.devices)
        _join(self.addresses, other.addresses)
        for what, theirs in other.counts.items():
            own = self.counts.get(what)
            longest = 1 + max(each[OLDER].count("+") for each in (theirs, own) if each is not None)
            for bucket, value in other.counted(what):
                self.count(what, bucket, value, longest)
        if other.has_rest:
            self._join_rest(other.rest)

    def _join_rest(self, other: Rest) -> None:
        rest = self.rest
        rest.returns = sorted([*rest.returns, *other.returns], key=time_of)[-RETURNS_MAX:]
        for by, until_ms in other.asked.items():
            rest.asked[by] = max(until_ms, rest.asked.get(by, 0))
        keep_latest(rest.asked)
        for name, told in other.told.items():
            own = rest.told.setdefault(name, told)
            if name == "by":
                known = {row[0] for row in own}
                own.extend(row for row in told if row[0] not in known)
                del own[:-REFERRERS_MAX]
            else:
                own.update((key, max(at_ms, own.get(key, 0))) for key, at_ms in told.items())
                keep_latest(own)


def keep_latest(known: dict[str, Any]) -> None:
    """Forget what was noted first, of more than `PLACES_MAX`."""
    while len(known) > PLACES_MAX:
        del known[next(iter(known))]


def _there(rest: Rest) -> bool:
    return bool(rest.returns or rest.told or rest.asked)


def _add(places: dict[str, Row], name: str, known: Row) -> None:
    """Note a new place; of more than `PLACES_MAX` forget another, not seen for the longest time."""
    if len(places) == PLACES_MAX:
        # Not the new one, though it may be of a time before all others.
        del places[min(places, key=lambda each: int(places[each][LAST]))]
    places[name] = known


def _counted(sums: Sequence[tuple[int, int]]) -> Row:
    """Return buckets in rising order, and their sums, as they are kept."""
    older = [f"{value}+{after - bucket} " for (bucket, value), (after, _) in pairwise(sums)]
    bucket, value = sums[-1]
    return [bucket, value, sum(each for _, each in sums), "".join(older)]


def _join(own: dict[str, Row], other: dict[str, Row]) -> None:
    for name, theirs in other.items():
        known = own.get(name)
        if known is None:
            own[name] = theirs
            continue
        known[LAST] = max(known[LAST], theirs[LAST])
        known[FIRST] = min(known[FIRST], theirs[FIRST])
        known[TOLD] = sorted({*known[TOLD], *theirs[TOLD]})[-TOLD_MAX:]
    while len(own) > PLACES_MAX:
        del own[min(own, key=lambda each: int(own[each][LAST]))]
