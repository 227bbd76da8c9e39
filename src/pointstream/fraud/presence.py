"""Where a member was seen: what it tells the owners of devices and networks, and what it keeps.

A member keeps, of each of the `PLACES_MAX` devices and addresses where it was seen last, when it
told so; and its own `RECENT_MAX` latest events there, for the case that somebody asks. It tells

- that it is there, where it has told nothing for `TOLD_EVERY_MS` before or after,
- each appearance at once, where it was asked to,
- all that it has, where it alone makes a burst: more than an eighth of what a limit allows.

This is done for every event, so all of it is plain lists, as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pointstream.fraud.crowd import FEW, TOLD_EVERY_MS, Appearance
from pointstream.fraud.networks import address_of

__all__ = ["ASKED_FOR_MS", "PLACES_MAX", "RECENT_MAX", "Burst", "Presence", "Telling"]

PLACES_MAX: Final = 16
RECENT_MAX: Final = 32
ASKED_FOR_MS: Final = 2 * TOLD_EVERY_MS
"""Who is asked at one time tells all appearances until so much later."""

_TOLD_MAX: Final = 4

_LAST, _TOLD, _ADDRESS, _NETWORK = range(4)
"""What is known of a place: when the member was seen there last, the latest times of which it told,
earliest first; of an address what it means, and its network."""

_AT, _EVENT_ID, _TYPE, _DEVICE, _IP, _POINTS, _MONEY = range(7)
"""What is known of an event: as `Presence.note` gets it."""


class Burst(NamedTuple):
    """A limit of a sum, of which one member's share may matter."""

    limit: int
    within_ms: int
    weight: Callable[[Appearance], int]
    counts: bool
    """Whether each event counts as 1 at most."""


class Telling(NamedTuple):
    """What is to be told to the owner of a device or network."""

    appearances: list[Appearance]
    all_until_ms: int
    """Until when this member tells all it has of its own accord; 0: it does not."""


class Presence:
    """Where one member was seen. A place is named `d` and a device, or `i` and an address.

    Who asks names the device in the same way, or `n` and a network.
    """

    __slots__ = ("asked", "places", "recent")

    def __init__(self, row: list[Any] | None = None) -> None:
        """`row` is what `row` returned; it is used, not copied."""
        places, asked, recent = row if row is not None else ({}, {}, [])
        self.places: dict[str, list[Any]] = places
        self.asked: dict[str, int] = asked
        """Who wants all appearances, and of events up to which time."""
        self.recent: list[list[Any]] = recent
        """In the order in which they were taken."""

    def row(self) -> list[Any]:
        """Return all of this as plain lists."""
        return [self.places, self.asked, self.recent]

    def note(
        self,
        at_ms: int,
        event_id: str,
        type: str,
        device: str,
        ip: str,
        points: int,
        money_minor: int,
        *,
        forget_before_ms: int,
    ) -> None:
        """Keep an event among the latest; no `device` or `ip` is an empty one.

        Events of before a time are not needed any more.
        """
        recent = self.recent
        if recent and recent[0][_AT] < forget_before_ms:
            first = 1
            while first < len(recent) and recent[first][_AT] < forget_before_ms:
                first += 1
            del recent[:first]
        recent.append([at_ms, event_id, type, device, ip, points, money_minor])
        if len(recent) > RECENT_MAX:
            del recent[0]
        here = ("d" + device if device else "", "i" + ip if ip else "")
        for name in here:
            if name:
                self._be_at(name, at_ms)
        self._bound(here)

    def tell(self, member_id: str, name: str, bursts: Sequence[Burst] = ()) -> Telling | None:
        """Return what must be told of the event noted last, which was at a place; if anything.

        It goes to the owner of the device, or of the network of the address: `wanted_by`.
        """
        event = self.recent[-1]
        place = self.places[name]
        at_ms = event[_AT]
        if self.asked and at_ms < self.asked.get(self.wanted_by(name), 0):
            return Telling([self._appearance(member_id, name, event)], 0)
        for burst in bursts:
            if self._bursts(name, at_ms, burst):
                by = self.wanted_by(name)
                return Telling(self.asked_by(member_id, by, at_ms), at_ms + ASKED_FOR_MS)
        told: list[int] = place[_TOLD]
        for told_ms in told:
            if -TOLD_EVERY_MS < at_ms - told_ms < TOLD_EVERY_MS:
                return None
        if not self.wanted_by(name):
            return None
        told.append(at_ms)
        told.sort()
        del told[:-_TOLD_MAX]
        return Telling([self._appearance(member_id, name, event)], 0)

    def wanted_by(self, name: str) -> str:
        """Return by what name the owner of a place asks; nothing where nobody does."""
        if name[0] == "d":
            return name
        place = self.places[name]
        return "n" + place[_NETWORK] if place[_NETWORK] else ""

    def asked_by(self, member_id: str, by: str, at_ms: int) -> list[Appearance]:
        """Return the latest appearances at a device or in a network; those to come are told too."""
        self.asked.pop(by, None)
        self.asked[by] = at_ms + ASKED_FOR_MS
        if len(self.asked) > PLACES_MAX:
            del self.asked[next(iter(self.asked))]
        return [self._appearance(member_id, name, event) for name, event in self._events_at(by)]

    def join(self, other: Presence) -> None:
        """Take over where a member was seen who was merged into this one."""
        for name, theirs in other.places.items():
            own = self.places.setdefault(name, theirs)
            own[_LAST] = max(own[_LAST], theirs[_LAST])
            own[_TOLD] = sorted({*own[_TOLD], *theirs[_TOLD]})[-_TOLD_MAX:]
        self._bound()
        for by, until_ms in other.asked.items():
            self.asked[by] = max(until_ms, self.asked.get(by, 0))
        while len(self.asked) > PLACES_MAX:
            del self.asked[next(iter(self.asked))]
        self.recent = [*other.recent, *self.recent][-RECENT_MAX:]

    def _be_at(self, name: str, at_ms: int) -> None:
        place = self.places.get(name)
        if place is not None:
            if at_ms > place[_LAST]:
                place[_LAST] = at_ms
            return
        place = self.places[name] = [at_ms, []]
        if name[0] == "i":
            address = address_of(name[1:])
            place += [address.ip, address.network] if address is not None else ["", ""]

    def _bound(self, here: Sequence[str] = ()) -> None:
        """Forget where the member was not seen for the longest time; not where it is `here`, which
        may be of a time before all others."""
        places = self.places
        while len(places) > PLACES_MAX:
            oldest = min((place[_LAST], name) for name, place in places.items() if name not in here)
            del places[oldest[1]]

    def _events_at(self, by: str) -> list[tuple[str, list[Any]]]:
        wanted = by[1:]
        if by[0] == "d":
            return [(by, event) for event in self.recent if event[_DEVICE] == wanted]
        found = []
        for event in self.recent:
            name = "i" + event[_IP]
            place = self.places.get(name)
            if place is not None and place[_NETWORK] == wanted:
                found.append((name, event))
        return found

    def _appearance(self, member_id: str, name: str, event: list[Any]) -> Appearance:
        at_ms, event_id, type_, _, _, points, money_minor = event
        address = self.places[name][_ADDRESS] if name[0] == "i" else ""
        return Appearance(at_ms, member_id, event_id, type_, address, points, money_minor)

    def _bursts(self, name: str, at_ms: int, burst: Burst) -> bool:
        share = burst.limit // FEW
        if burst.counts and len(self.recent) <= min(share, RECENT_MAX // 2 - 1):
            return False
        by = self.wanted_by(name)
        if not by:
            return False
        near = [
            self._appearance("", name, event)
            for name, event in self._events_at(by)
            if abs(event[_AT] - at_ms) < burst.within_ms
        ]
        if len(self.recent) == RECENT_MAX and 2 * len(near) >= RECENT_MAX:
            # There may have been more than is kept.
            return True
        return sum(map(burst.weight, near)) > share
