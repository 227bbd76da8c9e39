"""What a flag is to one member: a share of it, kept with the member until the flag ends.

The flag itself is with its owner (`suspicion`), which may be in another partition. The share says
who that is, which of the member's events are evidence, and what is held for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pointstream.contracts.vocabulary import FlagAction
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.records import Account
from pointstream.ledger.state import open_flag_key, prefix_stop, share_key, shares_prefix

__all__ = [
    "EVENTS_PER_MEMBER",
    "Share",
    "decode_share",
    "drop_share",
    "encode_share",
    "holding",
    "owns_flags",
    "put_share",
    "share_of",
    "shares",
    "stronger",
]

EVENTS_PER_MEMBER: Final = 100
"""How many events of one member a flag keeps as its evidence. Points of later ones come under it
all the same, if they are found out while the event is handled."""

_BY_STRENGTH: Final = (FlagAction.FLAG, FlagAction.HOLD, FlagAction.BLOCK)


def stronger(one: FlagAction, other: FlagAction) -> FlagAction:
    """Return which of two actions does more. What an open flag does never becomes less: its end
    must know of all that it holds."""
    return max(one, other, key=_BY_STRENGTH.index)


@dataclass(slots=True)
class Share:
    """One member's part in an open flag."""

    flag_id: str
    owner: str
    """The key whose owner has the flag."""
    action: FlagAction
    froze: bool = False
    """The flag has frozen the account: its release unfreezes it."""
    bases: dict[str, str] = field(default_factory=dict)
    """The evidence: event ids, by what the ids of the lots that came of them begin with."""
    holds: dict[str, str] = field(default_factory=dict)
    """The wallet of each hold that keeps points for the flag."""

    @property
    def holds_back(self) -> bool:
        """Whether it keeps points from being spent."""
        return self.action is not FlagAction.FLAG


def encode_share(share: Share) -> bytes:
    """Return a share's value; its key holds member and flag."""
    return encode_list(
        [share.owner, share.action.value, share.froze, list(share.bases.items()), share.holds]
    )


def decode_share(flag_id: str, value: bytes) -> Share:
    """Return a share. Raises `StateCorrupt`."""
    owner, action, froze, bases, holds = decode_list(value)
    return Share(flag_id, owner, FlagAction(action), froze, dict(bases), holds)


def share_of(book: Book, account: Account, flag_id: str) -> Share | None:
    """Return a member's share in an open flag."""
    value = book.state.get(share_key(account.member, flag_id))
    return None if value is None else decode_share(flag_id, value)


def put_share(book: Book, account: Account, share: Share) -> None:
    """Write a share; a new one counts from now on."""
    key = share_key(account.member, share.flag_id)
    if book.state.get(key) is None:
        account.flags += 1
        book.change(account, shown=False)
    book.state.put(key, encode_share(share))


def drop_share(book: Book, account: Account, share: Share) -> None:
    """Let a share be over."""
    book.state.delete(share_key(account.member, share.flag_id))
    account.flags -= 1
    book.change(account, shown=False)


def shares(book: Book, account: Account) -> Iterator[Share]:
    """Yield a member's shares in open flags. Writing meanwhile is allowed."""
    if not account.flags:
        return
    prefix = shares_prefix(account.member)
    for key, value in list(book.state.scan(prefix, prefix_stop(prefix))):
        yield decode_share(key[len(prefix) :].decode(), value)


def holding(book: Book, account: Account, base: str, event_id: str | None) -> list[str]:
    """Return the open flags that hold back what comes of an event. One that is given late may have
    come under the id of a member who was merged into this one."""
    return [
        share.flag_id
        for share in shares(book, account)
        if share.holds_back and (base in share.bases or event_id in share.bases.values())
    ]


def owns_flags(book: Book, member: bytes) -> bool:
    """Tell whether an open flag is about the member itself."""
    prefix = open_flag_key(member, "")
    return next(book.state.scan(prefix, prefix_stop(prefix)), None) is not None
