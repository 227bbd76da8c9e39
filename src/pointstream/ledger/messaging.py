"""Which message goes to which handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pointstream.ledger import erasing, grants, lineage, merging
from pointstream.ledger.book import Book
from pointstream.ledger.budgets import budget_granted
from pointstream.ledger.catalogue import ITEM_TOLD, item_told, stock_limit
from pointstream.ledger.decision import Decision, Outcome, Source
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.grants import Continuation, ForErased, GrantKind, KnownLimit
from pointstream.ledger.messages import Message
from pointstream.ledger.notes import NOTED
from pointstream.ledger.redeeming import stock_for_erased, stock_given
from pointstream.ledger.resyncing import RESYNC_ASKED, RESYNCED, resync_asked, resynced
from pointstream.ledger.reviewing import (
    FLAG_ENDED,
    FLAG_REVIEW,
    FLAG_REVIEWED,
    flag_ended,
    flag_review,
    flag_reviewed,
)
from pointstream.ledger.rulebook import (
    RULESET_ENDED,
    RULESET_TOLD,
    rule_set_ended,
    rule_set_told,
)
from pointstream.ledger.shadows import SHADOW_ENDED, SHADOW_TOLD, shadow_ended, shadow_told
from pointstream.ledger.suspected import SUSPECTED
from pointstream.ledger.suspicion import FLAG_RAISED, flag_raised
from pointstream.ledger.taking_back import line_unearned
from pointstream.ledger.told import TO_WATCHED, notes_taken, suspicion_told, told_member
from pointstream.ledger.transfers import transfer_sent, transfer_settled

__all__ = ["received"]

_KNOWN_LIMITS: Final[dict[str, KnownLimit]] = {GrantKind.STOCK: stock_limit}
"""The kinds of grants whose limit the owner of the key knows; the others bring it along."""

_CONTINUATIONS: Final[dict[GrantKind, Continuation]] = {
    GrantKind.BUDGET: budget_granted,
    GrantKind.STOCK: stock_given,
}
"""What goes on when a grant of a kind was given, or refused."""

_FOR_ERASED: Final[dict[GrantKind, ForErased]] = {GrantKind.STOCK: stock_for_erased}
"""What is left to do where the member was erased meanwhile; nothing for kinds not named."""


def _grant_asked(book: Book, message: Message, source: Source) -> Decision:
    return grants.asked(book, message, _KNOWN_LIMITS.get(message.body["kind"]))


def _grant_given(book: Book, message: Message, source: Source) -> Decision:
    return grants.given(book, message, source, _CONTINUATIONS, _FOR_ERASED)


def _grant_returned(book: Book, message: Message, source: Source) -> Decision:
    return grants.returned(book, message)


_HANDLERS: Final[dict[str, Callable[[Book, Message, Source], Decision]]] = {
    ITEM_TOLD: item_told,
    RULESET_TOLD: rule_set_told,
    RULESET_ENDED: rule_set_ended,
    DETECTOR_SETS.told_type: DETECTOR_SETS.told,
    DETECTOR_SETS.ended_type: DETECTOR_SETS.ended,
    SHADOW_TOLD: shadow_told,
    SHADOW_ENDED: shadow_ended,
    grants.GRANT_ASKED: _grant_asked,
    grants.GRANT_GIVEN: _grant_given,
    grants.GRANT_RETURNED: _grant_returned,
    "transfer.sent": transfer_sent,
    "transfer.settled": transfer_settled,
    merging.MERGE_ASKED: merging.merge_asked,
    merging.MERGE_REFUSED: merging.merge_refused,
    merging.MERGE_WELCOME: merging.merge_welcome,
    merging.MERGE_CALLED_OFF: merging.merge_called_off,
    merging.MERGE_MOVED: merging.merge_moved,
    merging.MERGE_ARRIVED: merging.merge_arrived,
    erasing.SURVIVOR_ERASED: erasing.survivor_erased,
    FLAG_RAISED: flag_raised,
    FLAG_REVIEW: flag_review,
    FLAG_ENDED: flag_ended,
    FLAG_REVIEWED: flag_reviewed,
    RESYNC_ASKED: resync_asked,
    RESYNCED: resynced,
    NOTED: notes_taken,
    SUSPECTED: suspicion_told,
    **dict.fromkeys(TO_WATCHED, told_member),
    lineage.FOLLOWED: lineage.line_followed,
    lineage.MISSED: lineage.line_missed,
    lineage.REFERRED: lineage.line_referred,
    lineage.UNEARNED: line_unearned,
    lineage.FORGOTTEN: lineage.line_forgotten,
}


_TO_MEMBERS: Final = frozenset(
    (
        "transfer.sent",
        grants.GRANT_GIVEN,
        FLAG_RAISED,
        FLAG_REVIEW,
        FLAG_ENDED,
        FLAG_REVIEWED,
        *TO_WATCHED,
        lineage.FOLLOWED,
        lineage.MISSED,
        lineage.REFERRED,
        lineage.UNEARNED,
        lineage.FORGOTTEN,
    )
)
"""Messages that a merged member's survivor takes instead. What belongs to a merge is meant for the
one it is addressed to."""


def received(book: Book, message: Message, source: Source) -> Decision:
    """Hand a message to its handler. Raises `StateCorrupt` for one of an unknown type."""
    handler = _HANDLERS.get(message.type)
    if handler is None:
        raise StateCorrupt(f"a message between partitions is of the unknown type {message.type!r}")
    if message.type in _TO_MEMBERS and message.to is not None:
        survivor = book.account(message.to, message.to.encode()).merged_into
        if survivor is not None:
            book.tell(message.type, survivor, message.body)
            return Decision(Outcome.PASSED_ON_TO_SURVIVOR)
    return handler(book, message, source)
