"""How a survivor takes over what was remembered of a merged member, its profile and counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pointstream.contracts.wire import dumps
from pointstream.ledger.arrival import Arrival
from pointstream.ledger.caps import count_moved
from pointstream.ledger.codec import (
    decode_list,
    encode_list,
    remembered,
    remembered_body,
    remembered_until_ms,
)
from pointstream.ledger.members import PROFILE_FIELDS, birthday_of
from pointstream.ledger.paying import count_moved_day
from pointstream.ledger.referring import join_family
from pointstream.ledger.shares import decode_share, put_share, share_of, stronger
from pointstream.ledger.state import merged_key, profile_key, under_way_key
from pointstream.ledger.suspicion import time_limit_of, time_limit_timer
from pointstream.ledger.watching import join_watch

__all__ = ["REMEMBERED", "remember"]


def remember(arrival: Arrival, kind: bytes, rest: bytes, value: bytes) -> bool:
    """Remember what the survivor does not know itself; whether that was so."""
    key = b"%b%b\0%b" % (kind, arrival.account.member, rest)
    new = arrival.counts(key, value)
    if new:
        arrival.book.memory.put(key, value)
    return new


def _flag(arrival: Arrival, rest: bytes, value: bytes) -> None:
    remember(arrival, b"F", rest, value)


def _share(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Have a share in a flag from now on; two shares in one flag are one."""
    book, account, flag_id = arrival.book, arrival.account, rest.decode()
    share, own = decode_share(flag_id, value), share_of(book, account, flag_id)
    if own is not None:
        share.action = stronger(share.action, own.action)
        share.froze = share.froze or own.froze
        share.bases = {**own.bases, **share.bases}
        share.holds = {**own.holds, **share.holds}
    put_share(book, account, share)


def _open_flag(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Own a flag, or what it knows of a member, from now on; an id names one flag only."""
    book, member = arrival.book, arrival.account.member
    book.state.put(b"f%b\0%b" % (member, rest), value)
    due_ms = 0 if b"\0" in rest else time_limit_of(decode_list(value))
    if due_ms:
        book.timers.put(due_ms, time_limit_timer(member.decode(), rest.decode()))


def _line(arrival: Arrival, rest: bytes, value: bytes) -> None:
    remember(arrival, b"L", rest, value)


def _event(arrival: Arrival, rest: bytes, value: bytes) -> None:
    remember(arrival, b"M", rest, value)


def _profile(arrival: Arrival, rest: bytes, value: bytes) -> None:
    book, account = arrival.book, arrival.account
    key = profile_key(account.member)
    there = book.state.get(key)
    own: dict[str, list[Any]] = decode_list(there)[0] if there is not None else {}
    theirs: dict[str, list[Any]] = decode_list(value)[0]
    newer = {
        name: told for name, told in theirs.items() if name not in own or own[name][1] < told[1]
    }
    own.update(newer)
    book.state.put(key, encode_list([{n: own[n] for n in PROFILE_FIELDS if n in own}]))
    if "segments" in newer:
        account.segments = list(newer["segments"][0])
    if "birthday" in newer:
        account.birthday = birthday_of(newer["birthday"][0])


def _sent(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Count what both have sent on a day: the limit is one member's."""
    book = arrival.book
    key = b"S%b\0%b" % (arrival.account.member, rest)
    there = book.state.get(key)
    if there is None or remembered_until_ms(there) <= book.now_ms:
        book.memory.put(key, value)
    else:
        points = remembered_body(there)[0] + remembered_body(value)[0]
        book.state.put(key, remembered(remembered_until_ms(there), dumps([points])))


def _redeemed(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Count what both have redeemed of a limited item."""
    book, key = arrival.book, b"n%b\0%b" % (arrival.account.member, rest)
    there = book.state.get(key)
    if there is not None:
        value = encode_list([decode_list(there)[0] + decode_list(value)[0]])
    book.state.put(key, value)


def _capped(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Count what caps have counted of both: they are one member's."""
    until_ms, points = remembered_until_ms(value), remembered_body(value)[0]
    count_moved(arrival.book, arrival.account.member, rest, until_ms, points)


def _paid(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Count what both have paid on a day."""
    count_moved_day(arrival.book, arrival.account.member, rest, value)


def _watch(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Hold both members' events against what comes from now on."""
    join_watch(arrival.book, arrival.account.member, value)


def _family(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Let the chains of referrals that lead to both, and on from both, be one member's."""
    join_family(arrival.book, arrival.account.member_id, value)


def _under_way(arrival: Arrival, rest: bytes, value: bytes) -> None:
    """Let an award wait on; the answer of its budget is passed on to the survivor."""
    arrival.book.state.put(under_way_key(arrival.account.member, rest.decode()), value)


def _rule_set(arrival: Arrival, rest: bytes, value: bytes) -> None:
    key = b"r" + rest
    if arrival.book.state.get(key) is None:
        arrival.book.state.put(key, value)


def _merged_before(arrival: Arrival, rest: bytes, value: bytes) -> None:
    arrival.book.state.put(merged_key(arrival.account.member, rest), value)


REMEMBERED: Final[dict[str, Callable[[Arrival, bytes, bytes], None]]] = {
    "m": _profile,
    "r": _rule_set,
    "C": _capped,
    "D": _paid,
    "F": _flag,
    "G": _family,
    "L": _line,
    "M": _event,
    "S": _sent,
    "b": _share,
    "W": _watch,
    "f": _open_flag,
    "n": _redeemed,
    "s": _merged_before,
    "u": _under_way,
}
"""By the kind of key: how it is taken over, given what follows the member in it, and its value."""
