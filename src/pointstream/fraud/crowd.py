"""Who was seen where: what the owner of a device or a network knows of the members seen there.

A member is seen at a device or an address by each of its events that name it. If all of them were
told to the owner, every order would cost a message or two. So a member tells little as long as
nothing is wrong (`presence`): once in `TOLD_EVERY_MS` that it is there. That is enough to see
whether there *may* be too many: if so, the owner asks those who were there for all their
appearances, which they hand in, and go on to tell each at once. A window is then exact to the
millisecond, however late and in whatever order its events came.

An owner keeps `APPEARANCES_MAX` appearances, of about 100 bytes each: when there are more, first
the earliest go of members who were seen again since.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pointstream.fraud.windows import busiest

__all__ = [
    "APPEARANCES_MAX",
    "FEW",
    "TOLD_EVERY_MS",
    "Appearance",
    "Crowd",
    "distinct_around",
    "sum_around",
]

TOLD_EVERY_MS: Final = 7 * 86_400_000
"""How far apart two appearances are that are told of a member nobody asked."""

APPEARANCES_MAX: Final = 256

_NAMED_MAX: Final = 32

FEW: Final = 8
"""So many members cannot together exceed a limit of which none of them has an eighth."""


class Appearance(NamedTuple):
    """One event of a member, at the entity that keeps it."""

    at_ms: int
    member_id: str
    event_id: str
    type: str
    address: str
    """Within a network; empty at a device."""
    points: int
    """What the event earned at once, or the command named."""
    money_minor: int


class Crowd:
    """What one owner knows of one device or network."""

    __slots__ = ("asked", "named", "seen")

    def __init__(
        self,
        seen: list[Appearance] | None = None,
        asked: dict[str, int] | None = None,
        named: dict[str, list[Any]] | None = None,
    ) -> None:
        self.seen: list[Appearance] = seen if seen is not None else []
        """Earliest first."""
        self.asked: dict[str, int] = asked if asked is not None else {}
        """Members who tell all their appearances, and of events up to which time."""
        self.named: dict[str, list[Any]] = named if named is not None else {}
        """By suspicion: its flag, and from when to when its flag has the appearances already."""

    @classmethod
    def of_row(cls, row: list[Any]) -> Crowd:
        """Return what `row` made a list of."""
        return cls([Appearance(*fields) for fields in row[0]], *row[1:])

    def row(self) -> list[Any]:
        """Return all of this as plain lists."""
        return [[[*each] for each in self.seen], self.asked, self.named]

    @property
    def latest_ms(self) -> int:
        """When somebody was seen last; 0 if nobody was."""
        return self.seen[-1].at_ms if self.seen else 0

    def add(self, appearance: Appearance) -> bool:
        """Note a appearance; False if it is known, or older than all of the many that are kept."""
        seen = self.seen
        place = bisect_left(seen, appearance)
        if place < len(seen) and seen[place][:3] == appearance[:3]:
            return False
        if len(seen) >= APPEARANCES_MAX:
            oldest = self._least_needed()
            if not place and oldest == 0:
                return False
            del seen[oldest]
        insort(seen, appearance)
        return True

    def _least_needed(self) -> int:
        """Return the place of the earliest appearance of a member who was seen again since.

        So a network with many events a day has its different members kept. If all are different,
        the earliest of all.
        """
        times = Counter(each.member_id for each in self.seen)
        return next((n for n, each in enumerate(self.seen) if times[each.member_id] > 1), 0)

    def note_asked(self, member_id: str, until_ms: int) -> None:
        """Note that a member tells all its appearances up to a time."""
        self.asked[member_id] = max(until_ms, self.asked.get(member_id, 0))
        if len(self.asked) > APPEARANCES_MAX:
            # Those who were to stop first: they are asked again when it is needed.
            for name in sorted(self.asked, key=lambda name: (self.asked[name], name))[
                : len(self.asked) - APPEARANCES_MAX
            ]:
                del self.asked[name]

    def to_ask(self, at_ms: int, within_ms: int, limit: int | None, address: str = "") -> list[str]:
        """Return the members who must be asked, so that a window around a time is exact.

        With a `limit`, of different members: when more than that may have been there. Without, for
        sums: when more than `FEW` were, for each may have been there often. In any case when some
        tell all they have already: all of it counts only together. With an `address`, of a network
        only those who were there.
        """
        # Each of two may have been there so long before or after it told of.
        reach_ms = within_ms + 2 * TOLD_EVERY_MS
        start = bisect_left(self.seen, (at_ms - reach_ms,))
        stop = bisect_left(self.seen, (at_ms + reach_ms + 1,))
        there = dict.fromkeys(
            appearance.member_id
            for appearance in self.seen[start:stop]
            if not address or appearance.address == address
        )
        if len(there) <= (FEW if limit is None else limit) and not any(
            until_ms > at_ms for until_ms in self.asked.values()
        ):
            return []
        return [name for name in there if self.asked.get(name, 0) <= at_ms]

    def around(self, at_ms: int, within_ms: int) -> list[Appearance]:
        """Return the appearances that can be in one window of a length with a time, in order."""
        start = bisect_left(self.seen, (at_ms - within_ms + 1,))
        stop = bisect_left(self.seen, (at_ms + within_ms,))
        return self.seen[start:stop]

    def to_name(
        self, suspicion: str, flag_id: str, window: Sequence[Appearance], new: Appearance
    ) -> list[Appearance]:
        """Return the appearances of a window that a flag does not have yet; note that it has."""
        flag, from_ms, to_ms = self.named.get(suspicion, ("", 0, 0))
        first_ms, last_ms = window[0].at_ms, window[-1].at_ms
        if flag != flag_id or last_ms < from_ms or first_ms > to_ms:
            self.named.pop(suspicion, None)
            self.named[suspicion] = [flag_id, first_ms, last_ms]
            if len(self.named) > _NAMED_MAX:
                del self.named[next(iter(self.named))]
            return list(window)
        self.named[suspicion] = [flag_id, min(first_ms, from_ms), max(last_ms, to_ms)]
        return [
            appearance
            for appearance in window
            if appearance == new or not from_ms <= appearance.at_ms <= to_ms
        ]

    def rename(self, member_id: str, name: str) -> bool:
        """Let another name stand for a member; whether the member was there."""
        asked = self.asked.pop(member_id, None) is not None
        there = any(appearance.member_id == member_id for appearance in self.seen)
        if there:
            self.seen = sorted(
                appearance._replace(member_id=name)
                if appearance.member_id == member_id
                else appearance
                for appearance in self.seen
            )
        return there or asked


def distinct_around(
    seen: Sequence[Appearance], at_ms: int, within_ms: int
) -> tuple[int, Sequence[Appearance]]:
    """Return how many different members the fullest window with a time has, and its appearances.

    `seen` is in order. A window of the length W is half-open, [s, s + W), as in `windows`.
    """
    times = [appearance.at_ms for appearance in seen]
    first = bisect_left(times, at_ms - within_ms + 1)
    inside: dict[str, int] = {}
    stop, most, found = first, 0, seen[:0]
    # No window has more than the one that begins at its first appearance.
    while first < len(seen) and times[first] <= at_ms:
        while stop < len(seen) and times[stop] < times[first] + within_ms:
            name = seen[stop].member_id
            inside[name] = inside.get(name, 0) + 1
            stop += 1
        if len(inside) > most:
            most, found = len(inside), seen[first:stop]
        name = seen[first].member_id
        inside[name] -= 1
        if not inside[name]:
            del inside[name]
        first += 1
    return most, found


def sum_around(
    seen: Sequence[Appearance], at_ms: int, within_ms: int, weight: Callable[[Appearance], int]
) -> tuple[int, Sequence[Appearance]]:
    """Return the largest sum in a window with a time, and the appearances of that window."""
    times = [appearance.at_ms for appearance in seen]
    found = busiest(times, [weight(appearance) for appearance in seen], at_ms, within_ms)
    return max(found.total, 0), seen[found.first : found.stop]
