"""Which kinds of key belong to one member, so that none stays behind.

A merge must move everything that a member has, an erasure must delete it. Both go by the table
here: a kind of key that is not in it would be lost with a merge, and outlive an erasure. A test
holds the table against the list in `state.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pointstream.ledger.codec import decode_hold, decode_list
from pointstream.ledger.records import HoldState
from pointstream.ledger.state import NEVER, KeyValues, prefix_stop

__all__ = [
    "MEMBER_KINDS",
    "OTHER_KINDS",
    "MemberKey",
    "MemberKind",
    "belongings",
    "timer_of",
]


@dataclass(frozen=True, slots=True)
class MemberKind:
    """A kind of key that begins with the member."""

    kind: bytes
    single: bool = False
    """Whether a member has one such key, with nothing after the id."""


@dataclass(frozen=True, slots=True)
class MemberKey:
    """One key of a member, and what it holds."""

    kind: bytes
    rest: bytes
    """What follows the member's id and a NUL; nothing in a single key."""
    key: bytes
    value: bytes


MEMBER_KINDS: Final = (
    MemberKind(b"m", single=True),
    MemberKind(b"q"),
    MemberKind(b"l"),
    # The lots of a hold before the hold: it must not end, by a command or by its time, before all
    # of them are there.
    MemberKind(b"h"),
    MemberKind(b"H"),
    MemberKind(b"u"),
    # What paid for an order before the order, and both before what waits for one: a refund that
    # is released on arrival finds everything that it concerns.
    MemberKind(b"P"),
    MemberKind(b"O"),
    MemberKind(b"B"),
    MemberKind(b"C"),
    MemberKind(b"D"),
    MemberKind(b"F"),
    MemberKind(b"L"),
    MemberKind(b"b"),
    MemberKind(b"M"),
    MemberKind(b"S"),
    MemberKind(b"W", single=True),
    MemberKind(b"G", single=True),
    MemberKind(b"d"),
    MemberKind(b"f"),
    MemberKind(b"n"),
    MemberKind(b"s"),
    MemberKind(b"p"),
    # Ended before anything is moved: what waits for consent is answered, and a member with
    # transfers under way is neither merged nor erased.
    MemberKind(b"v"),
    MemberKind(b"w"),
)
"""All that a member has besides the account itself, in the order in which a merge moves it."""

OTHER_KINDS: Final = frozenset(
    (b"0", b"1", b"E", b"a", b"c", b"e", b"g", b"i", b"j", b"k", b"o", b"r", b"t", b"x", b"y", b"z")
)
"""The account itself, and kinds that are no member's or hold no readable id. The timers of a
member are found by what they are set for: the account, or one of its keys (`timer_of`)."""


def belongings(state: KeyValues, member: bytes) -> Iterator[MemberKey]:
    """Yield all keys of a member but the account's, kind by kind. Writing meanwhile is allowed."""
    for kind in MEMBER_KINDS:
        if kind.single:
            key = kind.kind + member
            value = state.get(key)
            if value is not None:
                yield MemberKey(kind.kind, b"", key, value)
            continue
        prefix = b"%b%b\0" % (kind.kind, member)
        size = len(prefix)
        for key, value in list(state.scan(prefix, prefix_stop(prefix))):
            yield MemberKey(kind.kind, key[size:], key, value)


def timer_of(kind: bytes, key: bytes, value: bytes) -> tuple[int, bytes] | None:
    """Return when a timer is due that is set for a key of a member, and what it names."""
    if kind == b"p":
        return int(decode_list(value)[0]), key
    if kind == b"H":
        hold = decode_hold(value)
        if hold.state is HoldState.OPEN and hold.due_ms != NEVER:
            return hold.due_ms, b"h" + key[1:]
    return None
