"""A job whose number of partitions changes in the middle of its life."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

from pointstream.ledger import state as keys
from pointstream.ledger import timers
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.ledger.places import FATES, TIMER_FATES, Fate, fate_of, owner_of
from pointstream.operations.moving.repartition import NotDrained, repartition
from pointstream.operations.moving.verify import verify
from pointstream.operations.placement import partition_of

from .conftest import NewDriver
from .moving_support import a_life, a_programme, archive_of, entries_of, live, put_back, quiet


def test_every_kind_of_key_has_a_fate() -> None:
    """A kind that nobody thought of would stay behind, and its points with it."""
    told = set(re.findall(r"^    (\w) +\w", keys.__doc__ or "", flags=re.MULTILINE))
    assert {kind.decode() for kind in FATES} | {"t"} == told
    rung = inspect.getsource(timers.ring)
    kinds = set(re.findall(r'what\[:1\] [!=]= b"(.)"', rung)) | {DETECTOR_SETS.kind.decode()}
    assert {kind.decode() for kind in TIMER_FATES} == kinds


def test_nothing_is_moved_while_something_is_under_way(
    new_driver: NewDriver, tmp_path: Path
) -> None:
    """An input or message that nobody has taken, a resync, a walk half-way, or partitions that
    were not told the same: whoever moved it would lose it, or do it twice."""
    driver = new_driver(partitions=2, other=a_programme())
    live(driver, a_life(4, events=100))
    whole = archive_of(driver, tmp_path / "whole")
    out = tmp_path / "out"

    def refused(name: str, words: str, number: int, key: bytes, value: bytes | None) -> None:
        store = driver._stores[number].data
        before = store.get(key)
        if value is None:
            del store[key]
        else:
            store[key] = value
        with pytest.raises(NotDrained, match=words):
            repartition(archive_of(driver, tmp_path / name), out, 3, "points.")
        if before is None:
            del store[key]
        else:
            store[key] = before

    refused("resync", "a resync is on its way", 0, keys.resync_key("asker", "c1"), b"\x01[]")
    walking = keys.timer_key(driver.broker.now_ms, b"jnow\0at\0some-member")
    refused("walk", "a clear-out, a migration", 1, walking, b"\x01")
    refused("item", "not the same in all of them", 1, keys.item_key("cup"), b"\x01[1]")
    refused("no item", "not the same in all of them", 0, keys.item_key("cup"), None)
    driver.send("points.orders", b"m", b"{}")
    waiting = archive_of(driver, tmp_path / "waiting")
    with pytest.raises(NotDrained, match="not everything was taken: 1 on orders"):
        repartition(waiting, out, 3, "points.")
    assert repartition(whole, out, 3, "points.")[1].members > 5


@pytest.mark.parametrize(("seed", "before", "after"), [(1, 2, 5), (2, 3, 4), (3, 2, 1)])
def test_members_live_on_as_if_nothing_had_been(
    new_driver: NewDriver, tmp_path: Path, seed: int, before: int, after: int
) -> None:
    """Same entries, same balances, same values of every key that belongs to anybody."""
    programme, life = a_programme(), a_life(seed, events=160)
    middle = len(life) * 2 // 3
    never = new_driver(partitions=before, other=programme)
    live(never, life)

    first = new_driver(partitions=before, other=programme)
    live(first, life[:middle])
    archive = archive_of(first, tmp_path / "before")
    assert verify(archive).holds
    made, moved = repartition(archive, tmp_path / "after", after, "points.")
    found = verify(made)
    assert found.holds, found.breaches
    assert moved.members_moved > 3
    times = [
        {int.from_bytes(driver_state[b"z"][1:9], "big") for driver_state in states}
        for states in (
            [first.state(number) for number in range(before)],
            [
                dict(f[:2] for f in made.read("state", "internal.changelog", number))
                for number in range(after)
            ],
        )
    ]
    assert times[1] == {max(times[0])}
    second = new_driver(partitions=after, other=programme)
    second.broker.now_ms = first.broker.now_ms
    put_back(made, second)
    quiet(second)
    live(second, life[middle:])

    assert entries_of(second) == entries_of(never)
    for number in range(after):
        for key in second.state(number):
            if fate_of(key) is Fate.MOVES:
                assert partition_of(owner_of(key), after) == number
    # Records that wait for an order are numbered anew, and so are their timers.
    mine, its = (
        Counter(
            (key, value)
            for number in range(driver.partitions)
            for key, value in driver.state(number).items()
            if fate_of(key) is Fate.MOVES and key[:1] not in (b"p", b"t")
        )
        for driver in (second, never)
    )
    assert mine == its
    assert verify(archive_of(second, tmp_path / "end")).holds
