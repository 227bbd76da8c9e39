"""Which message goes to which handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pointstream.ledger import grants
from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.grants import Continuation, GrantKind, KnownLimit
from pointstream.ledger.messages import Message
from pointstream.ledger.transfers import transfer_sent, transfer_settled

__all__ = ["received"]

_KNOWN_LIMITS: Final[dict[str, KnownLimit]] = {}
"""The kinds of grants whose limit the owner of the key knows; the others bring it along."""

_CONTINUATIONS: Final[dict[GrantKind, Continuation]] = {}
"""What goes on when a grant of a kind was given, or refused."""


def _grant_asked(book: Book, message: Message, source: Source) -> Decision:
    return grants.asked(book, message, _KNOWN_LIMITS.get(message.body["kind"]))


def _grant_given(book: Book, message: Message, source: Source) -> Decision:
    return grants.given(book, message, source, _CONTINUATIONS)


def _grant_returned(book: Book, message: Message, source: Source) -> Decision:
    return grants.returned(book, message)


_HANDLERS: Final[dict[str, Callable[[Book, Message, Source], Decision]]] = {
    grants.GRANT_ASKED: _grant_asked,
    grants.GRANT_GIVEN: _grant_given,
    grants.GRANT_RETURNED: _grant_returned,
    "transfer.sent": transfer_sent,
    "transfer.settled": transfer_settled,
}


def received(book: Book, message: Message, source: Source) -> Decision:
    """Hand a message to its handler. Raises `StateCorrupt` for one of an unknown type."""
    handler = _HANDLERS.get(message.type)
    if handler is None:
        raise StateCorrupt(f"a message between partitions is of the unknown type {message.type!r}")
    return handler(book, message, source)
