"""Candidates of rule sets, as they come and go while they run in shadow.

A candidate is published under a key of its own (`contracts/shadows.py`), so it has nothing to do
with the versions of its rule set: no number is used up by it, and neither can push the other out.
As with rule sets, the owner of that key takes it or refuses it, and tells all partitions.

A candidate has no history. Of several the one with the latest `occurred_at` counts, whatever its
version; it is looked at for events from its own `occurred_at` on, until it is withdrawn. What it
says of `effective_from` and `effective_to` is when it would hold if it were published for real: a
candidate for next month would have nothing to show this month. The spans of its rules count.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import RulesetPublished
from pointstream.contracts.shadows import shadow_key
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import loads
from pointstream.ledger.book import Book
from pointstream.ledger.codec import decode_list, encode_list
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.messages import Message
from pointstream.ledger.orders import dead
from pointstream.ledger.rulebook import Unfit, compiled_fit, told_version
from pointstream.ledger.state import (
    TOLD_SHADOWS_START,
    TOLD_SHADOWS_STOP,
    rule_set_owner_key,
    told_shadow_key,
)

__all__ = [
    "SHADOW_ENDED",
    "SHADOW_TOLD",
    "load_shadows",
    "shadow_ended",
    "shadow_published",
    "shadow_told",
    "shadow_withdrawn",
]

SHADOW_TOLD: Final = "shadow.told"
SHADOW_ENDED: Final = "shadow.ended"


def shadow_published(book: Book, event: RulesetPublished, source: Source) -> Decision:
    """Take a candidate, as its owner, and tell all partitions; or refuse it."""
    try:
        compiled = compiled_fit(book, event.ruleset)
    except Unfit as unfit:
        return dead(Outcome.RULESET_INVALID, DeadLetterCode.RULESET_INVALID, str(unfit), source)
    key, at_ms = rule_set_owner_key(event.ruleset_id), event.occurred_at_ms
    value = book.state.get(key)
    if value is not None:
        known_hash, known_ms = decode_list(value)
        if known_hash == compiled.hash or at_ms < known_ms:
            return Decision(Outcome.SHADOW_ALREADY_KNOWN)
    book.state.put(key, encode_list([compiled.hash, at_ms]))
    book.tell(SHADOW_TOLD, None, {"from_ms": at_ms, "ruleset": loads(compiled.source)})
    return Decision(Outcome.SHADOW_PUBLISHED)


def shadow_withdrawn(book: Book, rule_set_id: str) -> Decision:
    """End a candidate, as its owner, and tell all partitions. One that is not there stays so."""
    key = rule_set_owner_key(shadow_key(rule_set_id))
    if book.state.get(key) is not None:
        book.state.delete(key)
        book.tell(SHADOW_ENDED, None, {"id": rule_set_id})
    return Decision(Outcome.SHADOW_WITHDRAWN)


def shadow_told(book: Book, message: Message, source: Source) -> Decision:
    """Put in a candidate that its owner has taken."""
    from_ms, fields = message.body["from_ms"], message.body["ruleset"]
    id_ = str(fields["id"])
    book.state.put(told_shadow_key(id_), encode_list([from_ms, fields]))
    # One that does not fit must not leave the one before it in its place.
    book.shadows.drop(id_)
    version = told_version(book, shadow_key(id_), int(fields["version"]), from_ms, None, fields)
    if version is None:
        return Decision(Outcome.RULESET_SET_ASIDE)
    book.shadows.put(version)
    return Decision(Outcome.SHADOW_TOLD)


def shadow_ended(book: Book, message: Message, source: Source) -> Decision:
    """Drop a candidate that was withdrawn."""
    id_ = str(message.body["id"])
    book.state.delete(told_shadow_key(id_))
    book.shadows.drop(id_)
    return Decision(Outcome.SHADOW_ENDED)


def load_shadows(book: Book) -> None:
    """Put in all candidates that this partition was told before, as the state has them."""
    for key, value in book.state.scan(TOLD_SHADOWS_START, TOLD_SHADOWS_STOP):
        from_ms, fields = decode_list(value)
        name = shadow_key(key[1:].decode())
        version = told_version(book, name, int(fields["version"]), from_ms, None, fields)
        if version is not None:
            book.shadows.put(version)
