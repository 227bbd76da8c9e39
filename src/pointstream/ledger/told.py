"""What owners elsewhere tell of what they count: notes and messages of the detectors, taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pointstream.contracts.vocabulary import EntityKind
from pointstream.fraud.watch import Watch
from pointstream.ledger.book import Book
from pointstream.ledger.crowds import (
    APPEARANCES_ASKED,
    Places,
    asked_for_appearances,
    rename_everywhere,
    take_seen,
)
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account
from pointstream.ledger.referring import (
    REFERRAL_CHAINS,
    REFERRAL_DEVICES,
    REFERRAL_RENAMED,
    rename_in_family,
    suspected,
    take_chains,
    take_devices,
    take_renamed,
)
from pointstream.ledger.suspected import stand_in, told_suspicion
from pointstream.ledger.suspicion import raise_flag
from pointstream.ledger.tallies import (
    SHOPPER_RENAMED,
    TALLY,
    rename_at_shops,
    take_shopper_renamed,
    take_tally,
)
from pointstream.ledger.watching import KEPT_MS, watch_of, write_watch

__all__ = ["TO_WATCHED", "notes_taken", "renamed", "suspicion_told", "told_member"]

_TO_MEMBER: Final[dict[str, Callable[[Book, Watch, Message], Decision]]] = {
    APPEARANCES_ASKED: asked_for_appearances,
    REFERRAL_CHAINS: take_chains,
    REFERRAL_DEVICES: take_devices,
    REFERRAL_RENAMED: take_renamed,
}

TO_WATCHED: Final = frozenset(_TO_MEMBER)
"""Messages to members about what is counted elsewhere."""


def notes_taken(book: Book, message: Message, source: Source) -> Decision:
    """Take notes, one after the other."""
    places = Places(book)
    for note in message.body["notes"]:
        if note[1] == TALLY:
            take_tally(book, note)
        elif note[1] == SHOPPER_RENAMED:
            take_shopper_renamed(book, note)
        else:
            take_seen(book, places, note)
    places.write()
    return Decision(Outcome.NOTES_TAKEN)


def suspicion_told(book: Book, message: Message, source: Source) -> Decision:
    """Raise the flag of a suspicion that was found in another partition, or for another key."""
    suspicion = told_suspicion(book, message)
    if isinstance(suspicion, Decision):
        return suspicion
    raise_flag(book, suspicion)
    if suspicion.entity_kind is EntityKind.REFERRER:
        suspected(book, suspicion)
    return Decision(Outcome.SUSPICION_TAKEN)


def told_member(book: Book, message: Message, source: Source) -> Decision:
    """Take what the owner of another key tells, or asks of, a member. It may have no account."""
    if message.to is None:
        raise StateCorrupt(f"a message {message.type} must be for one member")
    member = message.to.encode()
    if book.account(message.to, member).erased:
        referrer = message.body.get("referrer")
        if referrer is not None:
            # Nothing of the id is to stay there either.
            body = {"old": message.to, "new": stand_in(message.to), "now_ms": book.now_ms}
            book.tell(REFERRAL_RENAMED, referrer, body)
        return Decision(Outcome.MEMBER_GONE)
    watch = watch_of(book, member)
    decision = _TO_MEMBER[message.type](book, watch, message)
    # What others tell prolongs nothing: when it came depends on where a batch ended.
    if watch.until_ms or watch.rest_as_is.told or watch.rest_as_is.asked:
        until_ms = watch.until_ms or message.body["now_ms"] + KEPT_MS
        write_watch(book, member, watch, until_ms)
    return decision


def renamed(book: Book, account: Account, name: str) -> None:
    """Let another name stand for a member wherever it is counted: the survivor's, or a digest.

    To be called while what is remembered of the member is still there.
    """
    watch = watch_of(book, account.member)
    rename_everywhere(book, watch, account.member_id, name)
    rename_at_shops(book, watch, account.member_id, name)
    rename_in_family(book, account.member_id, name)
