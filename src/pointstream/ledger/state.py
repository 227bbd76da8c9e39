"""Where things are kept: the keys of the state.

The first byte of a key is its kind, then come ids separated by NUL (no id holds a control
character). Times inside keys are eight bytes, big-endian, so that byte order is time order.

    0 detector-set NUL number                 version of a detector set, as its owner told it
    1 way name NUL command                    resync: `a` asked here, how many partitions are done;
                                              `w` under way here, how far its walk has come
    a member                                  account: totals, seq, streaks; of bounded size
    m member                                  profile: what member events told
    k rule-set NUL number                     version of a rule set, as its owner told it
    l member NUL wallet NUL expires earned id spendable lot, in the order of spending
    q member NUL wallet NUL activates expires earned id   pending lot, in the order of activation
    b member NUL flag                         a member's share in an open flag (`shares`)
    c item                                    catalogue item, as its owner took it
    d member NUL ladder NUL day               what a ladder measured on a local day (4 bytes)
    e hash                                    a member was erased: all that is left
    f owner NUL flag [NUL member]             open flag: what it is about; its members' events. Its
                                              owner is a member or an entity (`suspicion`)
    g kind NUL key                            limit over all partitions: what of it is given away
    h member NUL wallet NUL hold NUL expires earned id    lot reserved by a hold
    i item                                    catalogue item, as its owner told all partitions
    j name                                    walk over all accounts that the programme asked for
    n member NUL item                         how many of a limited item a member redeemed
    o rule-set                                candidate that runs in shadow, as its owner told it
    p member NUL order NUL offset             parked refund or cancellation, with the raw record
    r hash                                    a rule set that orders were scored with
    s member NUL merged                       a member who was merged into this one
    t due what                                timer: what is due when
    u member NUL ask_id                       award that waits for its budget
    v member NUL flag                         command that waits for a second actor's consent
    w member NUL transfer                     transfer on its way from a member, with its lots
    x                                         sums of the accounts that were erased
    y rule-set                                what its owner knows of a rule or detector set
    z                                         partition: its time, and where the sweep stands
    zo                                        points that its accounts have, by wallet
    zw                                        for how long events were to be remembered so far

Everything that is only remembered for a while has an upper-case kind, and a value that begins with
the time until which it counts. That makes them one range for the sweep:

    B member NUL what NUL ids                 business key: it earned once (a referee by a digest)
    C member NUL rule-set NUL what NUL id NUL period   points that a cap has counted
    D member NUL day                          money paid on a local day, where a rule asks for it
    E owner                                   what the owner of a device, network or shop counted
    F owner NUL flag                          how a flag ended, at its owner and its members
    G member                                  who referred the member, and whom it referred
    H member NUL hold                         hold, open or ended
    L member NUL what NUL ids                 where points went or came from, who referred whom
    M member NUL event_id                     event id, with the digest, a command's answer, and
                                              what the event gave where detectors are in use
    O member NUL order_id                     order, with what it earned and what was refunded
    P member NUL order_id NUL seq part        points that paid for an order, lot by lot
    S member NUL day                          points sent on a local day, where a day has a limit
    W member                                  what detectors remember of a member
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, Protocol

__all__ = [
    "ACCOUNTS_START",
    "ACCOUNTS_STOP",
    "ERASED_SUMS_KEY",
    "MEMORY_START",
    "MEMORY_STOP",
    "NEVER",
    "OUTSTANDING_KEY",
    "PARTITION_KEY",
    "SLIDING_FROM",
    "TIMER_START",
    "TIMER_STOP",
    "TOLD_DETECTORS_START",
    "TOLD_DETECTORS_STOP",
    "TOLD_RULE_SETS_START",
    "TOLD_RULE_SETS_STOP",
    "TOLD_SHADOWS_START",
    "TOLD_SHADOWS_STOP",
    "WINDOWS_KEY",
    "KeyValues",
    "account_key",
    "asked_resync_key",
    "business_key",
    "cap_key",
    "caps_prefix",
    "catalogue_key",
    "day_key",
    "days_prefix",
    "entity_key",
    "erased_key",
    "event_key",
    "family_key",
    "flag_key",
    "flag_member_key",
    "flag_members_prefix",
    "grant_key",
    "held_key",
    "held_prefix",
    "hold_key",
    "is_account_key",
    "is_erased_key",
    "is_payment_key",
    "is_transfer_key",
    "item_key",
    "line_key",
    "lines_prefix",
    "lot_key",
    "lots_prefix",
    "merged_key",
    "merged_prefix",
    "open_flag_key",
    "order_key",
    "order_of_payment",
    "paid_key",
    "paid_prefix",
    "parked_key",
    "parked_prefix",
    "payment_key",
    "payments_prefix",
    "pending_key",
    "pending_prefix",
    "prefix_stop",
    "profile_key",
    "pseudonym",
    "redeemed_key",
    "redeemed_prefix",
    "resync_key",
    "rule_set_key",
    "rule_set_owner_key",
    "sent_key",
    "share_key",
    "shares_prefix",
    "time_bytes",
    "timer_key",
    "told_shadow_key",
    "transfer_key",
    "under_way_key",
    "under_way_prefix",
    "waiting_key",
    "waiting_prefix",
    "walk_key",
    "watch_key",
]

NEVER: Final = (1 << 64) - 1
"""The time of what never comes, in keys: later than every real time (milliseconds)."""

SLIDING_FROM: Final = NEVER - (1 << 30)
"""Expiry times from here on, before `NEVER`, slide: the time is not in the key, but how it is
counted (`sliding`). Such lots are spent after those that expire at a fixed time."""

PARTITION_KEY: Final = b"z"
OUTSTANDING_KEY: Final = b"zo"
WINDOWS_KEY: Final = b"zw"
ERASED_SUMS_KEY: Final = b"x"
ACCOUNTS_START: Final = b"a"
ACCOUNTS_STOP: Final = b"b"
MEMORY_START: Final = b"A"
MEMORY_STOP: Final = b"["
TIMER_START: Final = b"t"
TIMER_STOP: Final = b"u"
TOLD_RULE_SETS_START: Final = b"k"
TOLD_RULE_SETS_STOP: Final = b"l"
TOLD_DETECTORS_START: Final = b"0"
TOLD_DETECTORS_STOP: Final = b"1"
TOLD_SHADOWS_START: Final = b"o"
TOLD_SHADOWS_STOP: Final = b"p"


class KeyValues(Protocol):
    """The state of one partition, ordered by key. Reads see what was written before."""

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with `start` <= key < `stop` in key order, as of the call."""
        ...


def is_account_key(key: bytes) -> bool:
    """Tell whether a key of the state, or of its changelog, is an account's."""
    return key[:1] == b"a"


def time_bytes(at_ms: int) -> bytes:
    """Return a time of at least 0 (or `NEVER`) as eight bytes that sort like the time."""
    return at_ms.to_bytes(8, "big")


def prefix_stop(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with a prefix ending in NUL."""
    return prefix[:-1] + b"\x01"


def account_key(member: bytes) -> bytes:
    return b"a" + member


def asked_resync_key(asker: str, command_id: str) -> bytes:
    return b"1a%b\0%b" % (asker.encode(), command_id.encode())


def resync_key(asker: str, command_id: str) -> bytes:
    return b"1w%b\0%b" % (asker.encode(), command_id.encode())


def erased_key(member: bytes) -> bytes:
    """Return the key that says a member was erased. The id cannot be read out of it."""
    return b"e" + blake2b(member, digest_size=16, person=b"erased").digest()


def grant_key(kind: str, key: str) -> bytes:
    return b"g%b\0%b" % (kind.encode(), key.encode())


def merged_prefix(member: bytes) -> bytes:
    return b"s%b\0" % member


def merged_key(member: bytes, merged: bytes) -> bytes:
    """Return the key under which a survivor knows a member who was merged into it."""
    return merged_prefix(member) + merged


def pseudonym(member_id: str) -> str:
    """Return what stands for a member in another member's keys and values.

    Equal for equal ids, and not to be read back: nothing of the id is left there when that other
    one is erased.
    """
    return blake2b(member_id.encode(), digest_size=16, person=b"pseudonym").hexdigest()


def is_erased_key(key: bytes) -> bool:
    """Tell whether a key of the state, or of its changelog, says that a member was erased."""
    return key[:1] == b"e"


def profile_key(member: bytes) -> bytes:
    return b"m" + member


def catalogue_key(item_id: str) -> bytes:
    return b"c" + item_id.encode()


def item_key(item_id: str) -> bytes:
    return b"i" + item_id.encode()


def redeemed_prefix(member: bytes) -> bytes:
    return b"n%b\0" % member


def redeemed_key(member: bytes, item_id: str) -> bytes:
    return redeemed_prefix(member) + item_id.encode()


def rule_set_key(hash_: str) -> bytes:
    return b"r" + hash_.encode()


def rule_set_owner_key(rule_set_id: str) -> bytes:
    return b"y" + rule_set_id.encode()


def told_shadow_key(rule_set_id: str) -> bytes:
    """Return the key of the candidate of a rule set; there is one at most."""
    return b"o" + rule_set_id.encode()


def lots_prefix(member: bytes, wallet: str) -> bytes:
    return b"l%b\0%b\0" % (member, wallet.encode())


def lot_key(member: bytes, wallet: str, expires_ms: int, earned_ms: int, lot_id: str) -> bytes:
    return b"l%b\0%b\0%b%b%b" % (
        member,
        wallet.encode(),
        expires_ms.to_bytes(8, "big"),
        earned_ms.to_bytes(8, "big"),
        lot_id.encode(),
    )


def pending_prefix(member: bytes, wallet: str) -> bytes:
    return b"q%b\0%b\0" % (member, wallet.encode())


def pending_key(
    member: bytes, wallet: str, activates_ms: int, expires_ms: int, earned_ms: int, lot_id: str
) -> bytes:
    return b"q%b\0%b\0%b%b%b%b" % (
        member,
        wallet.encode(),
        time_bytes(activates_ms),
        time_bytes(expires_ms),
        time_bytes(earned_ms),
        lot_id.encode(),
    )


def days_prefix(member: bytes, ladder: str) -> bytes:
    return b"d%b\0%b\0" % (member, ladder.encode())


def day_key(member: bytes, ladder: str, day: int) -> bytes:
    return days_prefix(member, ladder) + day.to_bytes(4, "big")


def held_prefix(member: bytes, wallet: str, hold_id: str) -> bytes:
    return b"h%b\0%b\0%b\0" % (member, wallet.encode(), hold_id.encode())


def held_key(
    member: bytes, wallet: str, hold_id: str, expires_ms: int, earned_ms: int, lot_id: str
) -> bytes:
    return b"%b%b%b%b" % (
        held_prefix(member, wallet, hold_id),
        time_bytes(expires_ms),
        time_bytes(earned_ms),
        lot_id.encode(),
    )


def parked_prefix(member: bytes, order_id: str) -> bytes:
    return b"p%b\0%b\0" % (member, order_id.encode())


def parked_key(member: bytes, order_id: str, offset: int) -> bytes:
    return parked_prefix(member, order_id) + time_bytes(offset)


def walk_key(name: str) -> bytes:
    return b"j" + name.encode()


def timer_key(due_ms: int, what: bytes) -> bytes:
    return b"t" + time_bytes(due_ms) + what


def event_key(member: bytes, event_id: str) -> bytes:
    return b"M%b\0%b" % (member, event_id.encode())


def order_key(member: bytes, order_id: str) -> bytes:
    return b"O%b\0%b" % (member, order_id.encode())


def hold_key(member: bytes, hold_id: str) -> bytes:
    return b"H%b\0%b" % (member, hold_id.encode())


def transfer_key(member: bytes, transfer_id: str) -> bytes:
    return b"w%b\0%b" % (member, transfer_id.encode())


def is_transfer_key(key: bytes) -> bool:
    """Tell whether a key of the state, or of its changelog, is that of a transfer under way."""
    return key[:1] == b"w"


def sent_key(member: bytes, day: int) -> bytes:
    """Return the key of what a member sent on a local day, in days since 1970-01-01."""
    return b"S%b\0%d" % (member, day)


def flag_key(member: bytes, flag_id: str) -> bytes:
    return b"F%b\0%b" % (member, flag_id.encode())


def open_flag_key(owner: bytes, flag_id: str) -> bytes:
    return b"f%b\0%b" % (owner, flag_id.encode())


def flag_members_prefix(owner: bytes, flag_id: str) -> bytes:
    return open_flag_key(owner, flag_id) + b"\0"


def flag_member_key(owner: bytes, flag_id: str, member: bytes) -> bytes:
    return flag_members_prefix(owner, flag_id) + member


def lines_prefix(member: bytes, what: str) -> bytes:
    return b"L%b\0%b\0" % (member, what.encode())


def line_key(member: bytes, *names: str) -> bytes:
    """Return the key of a link: what it is, and the ids that it is about."""
    return b"L%b\0%b" % (member, "\0".join(names).encode())


def shares_prefix(member: bytes) -> bytes:
    return b"b%b\0" % member


def share_key(member: bytes, flag_id: str) -> bytes:
    return shares_prefix(member) + flag_id.encode()


def waiting_prefix(member: bytes) -> bytes:
    return b"v%b\0" % member


def waiting_key(member: bytes, flag_id: str) -> bytes:
    return waiting_prefix(member) + flag_id.encode()


def payments_prefix(member: bytes, order_id: str) -> bytes:
    return b"P%b\0%b\0" % (member, order_id.encode())


def payment_key(member: bytes, order_id: str, seq: int, part: int) -> bytes:
    return payments_prefix(member, order_id) + time_bytes(seq) + part.to_bytes(4, "big")


def is_payment_key(key: bytes) -> bool:
    return key[:1] == b"P"


def order_of_payment(key: bytes) -> bytes:
    """Return the key of the order that a payment's key is about."""
    member, order_id, _ = key[1:].split(b"\0", 2)
    return b"O%b\0%b" % (member, order_id)


def entity_key(owner: str) -> bytes:
    """Return the key of what is counted of an entity; `owner` is its `suspicion.owner_key`."""
    return b"E" + owner.encode()


def family_key(member: bytes) -> bytes:
    return b"G" + member


def watch_key(member: bytes) -> bytes:
    return b"W" + member


def business_key(member: bytes, what: str, *ids: str) -> bytes:
    return b"\0".join((b"B" + member, what.encode(), *(id_.encode() for id_ in ids)))


def caps_prefix(member: bytes) -> bytes:
    return b"C%b\0" % member


def cap_key(member: bytes, cap: bytes, period: str, number: int) -> bytes:
    return b"C%b\0%b\0%b%d" % (member, cap, period.encode(), number)


def paid_prefix(member: bytes) -> bytes:
    return b"D%b\0" % member


def paid_key(member: bytes, day: int) -> bytes:
    """Return the key of what a member paid on a local day, in days since 1970-01-01."""
    return paid_prefix(member) + day.to_bytes(4, "big")


def under_way_prefix(member: bytes) -> bytes:
    return b"u%b\0" % member


def under_way_key(member: bytes, ask_id: str) -> bytes:
    return under_way_prefix(member) + ask_id.encode()
