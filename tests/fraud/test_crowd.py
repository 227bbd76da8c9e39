"""Who was seen where: little is told, and nothing is missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointstream.fraud.crowd import (
    APPEARANCES_MAX,
    FEW,
    TOLD_EVERY_MS,
    Appearance,
    Crowd,
    distinct_around,
    sum_around,
)
from pointstream.fraud.presence import ASKED_FOR_MS, Burst, CountedThere, Telling, asked_by, tell
from pointstream.fraud.sighting import KIND_OF
from pointstream.fraud.watch import PLACES_MAX, ROWS_MAX, Watch

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MEMBERS = "abcdefghijkl"
TYPES = frozenset(["checkin.recorded"])

Event = tuple[str, int]
"""Member and time."""


def events(hours: int, most: int) -> st.SearchStrategy[list[Event]]:
    """Events of a few members in any order, no two of one member at one time."""
    one = st.tuples(st.sampled_from(MEMBERS), st.integers(0, hours).map(lambda h: h * HOUR_MS))
    return st.lists(one, max_size=most, unique=True)


def see(
    watch: Watch, member: str, at_ms: int, device: str, event_id: str, bursts: Sequence[Burst] = ()
) -> Telling | None:
    """A member is seen on a device; what it tells."""
    watch.see_device(device, at_ms)
    row = [at_ms, KIND_OF["checkin.recorded"], 0, 0, event_id, device, 0, None, None]
    watch.add_row(row, at_ms, 400 * DAY_MS)
    counted = CountedThere(TYPES, bursts)
    return tell(watch, member, row, f"d{device}", watch.devices[device], counted)


class World:
    """Members and the owner of one device, who tell each other what they have to."""

    def __init__(self, within_ms: int, limit: int, *, members: bool) -> None:
        self.within_ms, self.limit, self.members = within_ms, limit, members
        self.watches: dict[str, Watch] = {}
        self.crowd = Crowd()
        self.told = 0
        self.observed = 0
        self.asked: deque[tuple[str, int]] = deque()

    def happens(self, event: Event) -> None:
        """A member is seen at the device; what follows is told at once."""
        member, at_ms = event
        watch = self.watches.setdefault(member, Watch())
        # What was kept is what comes back.
        watch = self.watches[member] = Watch.of_body(watch.body(), 0)
        bursts = [] if self.members else [Burst(self.limit, self.within_ms, lambda _: 1, True)]
        telling = see(watch, member, at_ms, "D", f"{member}{at_ms}", bursts)
        if telling is not None:
            if telling.all_until_ms:
                self.crowd.note_asked(member, telling.all_until_ms)
            self._take(telling.appearances)
        while self.asked:
            name, asked_ms = self.asked.popleft()
            self._take(asked_by(self.watches[name], name, "dD", asked_ms, TYPES))

    def _take(self, appearances: list[Appearance]) -> None:
        self.crowd = Crowd.of_row(self.crowd.row())
        for each in appearances:
            self.told += 1
            if self.crowd.add(each):
                self.observed = max(self.observed, self._observed(each.at_ms))
                limit = self.limit if self.members else None
                for name in self.crowd.to_ask(each.at_ms, self.within_ms, limit):
                    self.crowd.note_asked(name, each.at_ms + ASKED_FOR_MS)
                    self.asked.append((name, each.at_ms))

    def _observed(self, at_ms: int) -> int:
        near = self.crowd.around(at_ms, self.within_ms)
        if self.members:
            return distinct_around(near, at_ms, self.within_ms)[0]
        return sum_around(near, at_ms, self.within_ms, lambda _: 1)[0]


def most(given: list[Event], within_ms: int, *, members: bool) -> int:
    """How many there are in the fullest window of all: the plain way."""
    windows = (
        [event for event in given if start_ms <= event[1] < start_ms + within_ms]
        for _, start_ms in given
    )
    sizes = (len({name for name, _ in window}) if members else len(window) for window in windows)
    return max(sizes, default=0)


@given(events(hours=24 * 60, most=40), st.integers(1, 6), st.sampled_from([1, 24, 24 * 5]))
@example([(name, hour * HOUR_MS) for hour in (0, 8 * 24) for name in MEMBERS], 6, 24)
@example([(n, h * HOUR_MS) for n in "abcd" for h in (0, 100, 160)], 3, 24)
@example([(n, h * HOUR_MS) for n, h in (("a", 0), ("a", 167), ("b", 452), ("b", 286))], 1, 24 * 5)
def test_more_members_than_allowed_are_found_whatever_the_order(
    given_events: list[Event], limit: int, hours: int
) -> None:
    """Against a count of everything: too many are found if and only if there were too many."""
    world = World(hours * HOUR_MS, limit, members=True)
    for event in given_events:
        world.happens(event)
    real = most(given_events, hours * HOUR_MS, members=True)
    assert (world.observed > limit) == (real > limit)
    if real > limit:
        assert world.observed == real


@given(events(hours=24 * 10, most=60), st.integers(1, 40), st.sampled_from([1, 24, 48]))
@example([(n, h * HOUR_MS) for h in range(3) for n in MEMBERS], 24, 24)
@example([("a", h * HOUR_MS) for h in range(20)], 10, 24)
@example([("a", h * HOUR_MS) for h in range(5)] + [("b", h * HOUR_MS) for h in range(9)], 13, 24)
def test_more_events_than_allowed_are_found_whoever_made_them(
    given_events: list[Event], limit: int, hours: int
) -> None:
    """One member alone, or many with a few each."""
    world = World(hours * HOUR_MS, limit, members=False)
    for event in given_events:
        world.happens(event)
    real = most(given_events, hours * HOUR_MS, members=False)
    assert (world.observed > limit) == (real > limit)


def test_who_is_alone_on_a_device_tells_once_a_week() -> None:
    """What most members cost."""
    world = World(DAY_MS, 5, members=True)
    for hour in range(0, 28 * 24, 6):
        world.happens(("a", hour * HOUR_MS))
    assert world.told == 4
    assert TOLD_EVERY_MS == 7 * DAY_MS


def test_a_known_appearance_counts_once() -> None:
    """Told again when somebody asks, it is nothing new."""
    crowd = Crowd()
    one = Appearance(5, "a", "e", "t", "", 0, 0)
    assert crowd.add(one)
    assert not crowd.add(one)
    assert crowd.seen == [one]


def test_what_is_kept_is_bounded() -> None:
    """However many come, the latest are kept; what is older than all of them is not taken."""
    crowd, watch = Crowd(), Watch()
    for nth in range(1_000, 3_000):
        crowd.add(Appearance(nth, f"m{nth}", "e", "t", "", 0, 0))
        crowd.note_asked(f"m{nth}", nth)
        watch.see_address(f"10.0.{nth % 256}.1", nth)
        see(watch, "m", nth, f"D{nth}", f"e{nth}")
        asked_by(watch, "m", f"dD{nth}", nth, TYPES)
    assert len(crowd.seen) == len(crowd.asked) == APPEARANCES_MAX
    assert crowd.seen[-1].at_ms == 2_999
    assert not crowd.add(Appearance(5, "m", "e", "t", "", 0, 0))
    assert len(watch.rows) == ROWS_MAX
    assert len(watch.devices) == len(watch.addresses) == PLACES_MAX
    assert len(watch.rest.asked) == PLACES_MAX


def test_different_members_are_kept_before_many_events_of_one() -> None:
    """A network with many events a day still knows all of its members of that day."""
    crowd = Crowd()
    for nth in range(2_000):
        crowd.add(Appearance(nth, f"m{nth % 200}", f"e{nth}", "t", "", 0, 0))
    assert len(crowd.seen) == APPEARANCES_MAX
    assert distinct_around(crowd.seen, 1_999, 1_000)[0] == 200


def test_only_members_of_the_network_are_asked_for_an_address() -> None:
    """A network counts for itself, and for each of its addresses."""
    crowd = Crowd()
    for nth in range(FEW + 2):
        crowd.add(Appearance(nth, f"m{nth}", "e", "t", f"10.0.0.{nth % 2}", 0, 0))
    assert crowd.to_ask(0, DAY_MS, 5, "10.0.0.1") == []
    assert len(crowd.to_ask(0, DAY_MS, 4, "10.0.0.1")) == 5
    assert len(crowd.to_ask(0, DAY_MS, 5)) == FEW + 2


def test_another_name_counts_as_the_same_member() -> None:
    """A member who was erased leaves a digest, one who was merged the survivor."""
    crowd = Crowd(
        [Appearance(1, "a", "e1", "t", "", 0, 0), Appearance(2, "b", "e2", "t", "", 0, 0)]
    )
    crowd.note_asked("a", 9)
    assert crowd.rename("a", "b")
    assert distinct_around(crowd.seen, 1, 10)[0] == 1
    assert crowd.asked == {}
    assert not crowd.rename("a", "b")


def test_a_flag_is_told_what_it_does_not_have() -> None:
    """However many there are already: each appearance is named once to one flag."""
    crowd = Crowd()
    window = [Appearance(nth, f"m{nth}", "e", "t", "", 0, 0) for nth in range(5)]
    assert crowd.to_name("d", "f1", window[:3], window[2]) == window[:3]
    assert crowd.to_name("d", "f1", window[:4], window[3]) == [window[3]]
    between = Appearance(2, "z", "e", "t", "", 0, 0)
    assert crowd.to_name("d", "f1", [*window[:3], between, window[3]], between) == [between]
    assert crowd.to_name("d", "f2", window, window[4]) == window


@pytest.mark.parametrize("until", [0, 1])
def test_where_members_were_seen_is_joined_by_a_merge(until: int) -> None:
    """What both told counts as told; what was asked of one is asked of the survivor."""
    one, other = Watch(), Watch()
    for watch, device, at_ms in ((one, "D1", 1), (other, "D1", 2), (other, "D2", 3)):
        see(watch, "m", at_ms, device, f"e{at_ms}")
    if until:
        asked_by(other, "m", "dD2", 3, TYPES)
    one.join(other)
    assert (see(one, "m", 4, "D2", "e4") is not None) == bool(until)
    assert [each.event_id for each in asked_by(one, "m", "dD1", 4, TYPES)] == ["e1", "e2"]


def test_only_events_that_count_there_are_handed_in() -> None:
    """Others would only push out what the owner needs."""
    watch = Watch()
    see(watch, "m", 1, "D", "e1")
    watch.add_row([2, KIND_OF["order.paid"], 0, 0, "e2", "D", 0, None, None], 2, DAY_MS)
    assert [each.event_id for each in asked_by(watch, "m", "dD", 3, TYPES)] == ["e1"]
