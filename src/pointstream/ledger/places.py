"""Where each key of the state belongs when the number of partitions changes.

Nearly every key has an owner (a member, an entity, an item, a budget, a rule set) and goes to the
partition that has the owner's key among so many, where its inputs and messages will arrive. What a
partition was told by others it has like every other one: new ones get a copy. What is about the
partition as such is made anew.

| fate | kinds |
|---|---|
| moves to its owner | accounts, lots, orders, holds, flags, what is remembered, limits, … |
| copied, the same everywhere | items, rule and detector sets as told, candidates, walks |
| gathered from everywhere | digests of erased members, rule sets of orders |
| made anew | partition time and sweep, points outstanding, windows, sums of erased accounts |
| waited for | a resync: it counts partitions, and ends by itself |

Of a digest (`e`) nobody can tell whose it is, so every partition gets all of them: 17 bytes each. A
rule set that orders were scored with (`r`) is named by its content.

What is copied must be the same in all partitions. It is when every message is taken and no walk is
under way; else nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from pointstream.ledger.codec import (
    decode_account,
    decode_list,
    decode_sums,
    encode_list,
    encode_sums,
)
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.outstanding import PLACES
from pointstream.ledger.records import FLOWS, ErasedSums, Totals
from pointstream.ledger.state import (
    ERASED_SUMS_KEY,
    MEMORY_START,
    OUTSTANDING_KEY,
    PARTITION_KEY,
    WINDOWS_KEY,
    parked_key,
    time_bytes,
    timer_key,
)

__all__ = [
    "FATES",
    "TIMER_FATES",
    "Fate",
    "erased_sums",
    "fate_of",
    "is_walking",
    "outstanding_of",
    "owner_of",
    "partition_value",
    "renumbered",
    "windows_value",
]

Pair = tuple[bytes, bytes]


class Fate(StrEnum):
    """What becomes of a key when the number of partitions changes."""

    MOVES = "moves"
    COPIED = "copied"
    GATHERED = "gathered"
    REMADE = "remade"
    AWAITED = "awaited"
    """It must have come to its end before."""


FATES: Final[dict[bytes, Fate]] = {
    **{bytes([kind]): Fate.MOVES for kind in b"abcdfghlmnpqsuvwyBCDEFGHLMOPSW"},
    **{bytes([kind]): Fate.COPIED for kind in b"0ijko"},
    **{bytes([kind]): Fate.GATHERED for kind in b"er"},
    **{bytes([kind]): Fate.REMADE for kind in b"xz"},
    b"1": Fate.AWAITED,
}
"""By kind of key; timers (`t`) go by what they are for."""

TIMER_FATES: Final[dict[bytes, Fate]] = {
    **{bytes([kind]): Fate.MOVES for kind in b"afhpv"},
    **{bytes([kind]): Fate.COPIED for kind in b"0jk"},
    b"1": Fate.AWAITED,
}
"""By the first byte of what is due."""

_TIMER: Final = b"t"
_WHAT: Final = 9
"""Where in a timer's key begins what is due."""


def fate_of(key: bytes) -> Fate:
    """Return what becomes of a key. Raises `StateCorrupt` for a kind that is not known."""
    fate = TIMER_FATES.get(key[_WHAT : _WHAT + 1]) if key[:1] == _TIMER else FATES.get(key[:1])
    if fate is None:
        raise StateCorrupt(f"a key of the unknown kind {key[:1]!r}")
    return fate


def owner_of(key: bytes) -> bytes:
    """Return the key, as topics and messages have it, of what a key that moves belongs to."""
    kind, rest = key[:1], key[1:]
    if kind == _TIMER:
        return key[_WHAT + 1 :].partition(b"\0")[0]
    if kind == b"g":
        return rest.partition(b"\0")[2]
    if kind == b"y":
        return rest.removeprefix(DETECTOR_SETS.owned.encode())
    if kind == b"c":
        return rest
    return rest.partition(b"\0")[0]


def is_walking(key: bytes) -> bool:
    """Tell whether a key is the timer of a walk that is under way in its partition."""
    what = key[_WHAT:]
    return key[:1] == _TIMER and what[:1] == b"j" and bool(what.split(b"\0", 2)[2])


def partition_value(values: Iterable[bytes]) -> Pair:
    """Return the time of partitions of which these are made: the latest, the sweep at its start.

    Time that passes at once is made up for like that of a standstill: what is due rings in order,
    each at its own moment.
    """
    latest_ms = max((int.from_bytes(value[1:9], "big") for value in values), default=0)
    value = b"\x01%b%b%b" % (time_bytes(latest_ms), bytes(4), MEMORY_START)
    return PARTITION_KEY, value


def windows_value(values: Sequence[bytes]) -> Pair | None:
    """Return for how long events were to be remembered: of each part whatever is shorter.

    Raises `StateCorrupt` when the partitions were opened by different programmes.
    """
    if not values:
        return None
    read = [decode_list(value) for value in values]
    if any(now != read[0][0] for now, _ in read):
        raise StateCorrupt("some partitions have not been opened with the present programme yet")
    until: dict[tuple[int, ...], int] = {}
    for _, before in read:
        for row in before:
            windows = tuple(row[1:])
            until[windows] = max(row[0], until.get(windows, 0))
    rows = sorted([until_ms, *windows] for windows, until_ms in until.items())
    return WINDOWS_KEY, encode_list([read[0][0], rows])


def outstanding_of(accounts: Iterable[Pair]) -> Pair | None:
    """Return the points that the accounts of a partition have together; None if there are none."""
    sums: dict[str, list[int]] = {}
    for key, value in accounts:
        for wallet, totals in decode_account(key, value).wallets.items():
            places = [getattr(totals, place) for place in PLACES]
            if any(places):
                before = sums.get(wallet, [0] * len(places))
                sums[wallet] = [a + b for a, b in zip(before, places, strict=True)]
    if not sums:
        return None
    return OUTSTANDING_KEY, encode_list([[wallet, *each] for wallet, each in sorted(sums.items())])


def erased_sums(values: Iterable[bytes], shares: Sequence[ErasedSums]) -> list[Pair | None]:
    """Return the sums of erased accounts for each new partition.

    `shares` are what the ledger entries of erased members add up to there. What entries do not tell
    (how many accounts had none, what was written off) goes to the first one.
    """
    rest = ErasedSums()
    for value in values:
        _add(rest, decode_sums(value), 1)
    for share in shares:
        _add(rest, share, -1)
    made = [*shares]
    if made:
        _add(made[0], rest, 1)
    return [
        (ERASED_SUMS_KEY, encode_sums(sums)) if sums.accounts or sums.wallets else None
        for sums in made
    ]


def _add(sums: ErasedSums, other: ErasedSums, sign: int) -> None:
    sums.accounts += sign * other.accounts
    for wallet, totals in other.wallets.items():
        own = sums.wallets.setdefault(wallet, Totals())
        for name in FLOWS:
            setattr(own, name, getattr(own, name) + sign * getattr(totals, name))


def renumbered(parked: Iterable[Pair]) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the writes that number the records that wait for an order from 0 on, in their order.

    Where they go on, offsets begin anew: what comes for the same order must stand behind them.
    """
    before, number = b"", 0
    for key, value in parked:
        member, order, _ = key[1:].split(b"\0", 2)
        prefix = b"%b\0%b" % (member, order)
        before, number = prefix, number + 1 if prefix == before else 0
        new = parked_key(member, order.decode(), number)
        if new != key:
            due_ms: int = decode_list(value)[0]
            yield key, None
            yield timer_key(due_ms, b"p" + key[1:]), None
            yield new, value
            yield timer_key(due_ms, b"p" + new[1:]), b"\x01"
