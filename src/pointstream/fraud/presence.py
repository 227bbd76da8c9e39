"""Where a member was seen: what it tells the owners of devices and networks.

A member knows, of each of the `PLACES_MAX` devices and addresses where it was seen last, when it
told so; and its own latest events there, for the case that somebody asks. It tells

- that it is there, where it has told nothing for `TOLD_EVERY_MS` before or after,
- each appearance at once, where it was asked to,
- all that it has, where it alone makes a burst: more than an eighth of what a limit allows.

All of it is part of what is remembered of the member (`watch`). A place is named `d` and a device,
or `i` and an address. Who asks names the device in the same way, or `n` and a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pointstream.fraud.crowd import FEW, TOLD_EVERY_MS, Appearance
from pointstream.fraud.sighting import TYPES
from pointstream.fraud.watch import (
    ADDRESS,
    AT,
    DEVICE,
    EVENT_ID,
    IP,
    KIND,
    MONEY,
    NETWORK,
    POINTS,
    ROWS_MAX,
    TOLD,
    TOLD_MAX,
    Row,
    Watch,
    keep_latest,
)

__all__ = [
    "ASKED_FOR_MS",
    "NOTHING",
    "Burst",
    "CountedThere",
    "Telling",
    "asked_by",
    "tell",
    "wanted_by",
]

ASKED_FOR_MS: Final = 2 * TOLD_EVERY_MS
"""Who is asked at one time tells all appearances until so much later."""


class Burst(NamedTuple):
    """A limit of a sum, of which one member's share may matter."""

    limit: int
    within_ms: int
    weight: Callable[[Appearance], int]
    counts: bool
    """Whether each event counts as 1 at most."""


class CountedThere(NamedTuple):
    """What is counted at devices, or in networks."""

    types: frozenset[str]
    """Of the events that count there."""
    bursts: Sequence[Burst]


NOTHING: Final = CountedThere(frozenset(), ())


class Telling(NamedTuple):
    """What is to be told to the owner of a device or network."""

    appearances: list[Appearance]
    all_until_ms: int
    """Until when this member tells all it has of its own accord; 0: it does not."""


def tell(
    watch: Watch, member_id: str, row: Row, name: str, known: Row, counted: CountedThere
) -> Telling | None:
    """Return what must be told of an event that was noted, and was at a place; if anything.

    `known` is what is remembered of the place. It goes to the owner of the device, or of the
    network of the address: `wanted_by`.
    """
    at_ms: int = row[AT]
    if watch.may_be_asked:
        by = wanted_by(watch, name)
        if at_ms < watch.rest_as_is.asked.get(by, 0):
            return Telling([_appearance(watch, member_id, name, row)], 0)
    for burst in counted.bursts:
        if _bursts(watch, name, at_ms, burst, counted.types):
            by = wanted_by(watch, name)
            appearances = asked_by(watch, member_id, by, at_ms, counted.types)
            return Telling(appearances, at_ms + ASKED_FOR_MS)
    told: list[int] = known[TOLD]
    for told_ms in reversed(told):
        if abs(at_ms - told_ms) < TOLD_EVERY_MS:
            return None
    told.append(at_ms)
    told.sort()
    del told[:-TOLD_MAX]
    return Telling([_appearance(watch, member_id, name, row)], 0)


def wanted_by(watch: Watch, name: str) -> str:
    """Return by what name the owner of a place asks."""
    return name if name[0] == "d" else f"n{watch.addresses[name[1:]][NETWORK]}"


def asked_by(
    watch: Watch, member_id: str, by: str, at_ms: int, types: frozenset[str]
) -> list[Appearance]:
    """Return the latest appearances at a device or in a network; those to come are told too."""
    asked = watch.rest.asked
    asked.pop(by, None)
    asked[by] = at_ms + ASKED_FOR_MS
    keep_latest(asked)
    return _appearances(watch, member_id, by, types)


def _appearances(watch: Watch, member_id: str, by: str, types: frozenset[str]) -> list[Appearance]:
    wanted, found = by[1:], []
    for row in watch.rows:
        if TYPES[row[KIND]] not in types:
            continue
        if by[0] == "d":
            if row[DEVICE] == wanted:
                found.append(_appearance(watch, member_id, by, row))
        elif row[IP] is not None:
            place = watch.addresses.get(row[IP])
            if place is not None and place[NETWORK] == wanted:
                found.append(_appearance(watch, member_id, "i" + row[IP], row))
    return found


def _appearance(watch: Watch, member_id: str, name: str, row: Row) -> Appearance:
    address = watch.addresses[name[1:]][ADDRESS] if name[0] == "i" else ""
    type_ = TYPES[row[KIND]]
    return Appearance(row[AT], member_id, row[EVENT_ID], type_, address, row[POINTS], row[MONEY])


def _bursts(watch: Watch, name: str, at_ms: int, burst: Burst, types: frozenset[str]) -> bool:
    share = burst.limit // FEW
    if burst.counts and len(watch.rows) <= min(share, ROWS_MAX // 2 - 1):
        return False
    near = [
        appearance
        for appearance in _appearances(watch, "", wanted_by(watch, name), types)
        if abs(appearance.at_ms - at_ms) < burst.within_ms
    ]
    if len(watch.rows) == ROWS_MAX and 2 * len(near) >= ROWS_MAX:
        # There may have been more than is kept.
        return True
    return sum(map(burst.weight, near)) > share
