"""Which message goes to which handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Source
from pointstream.ledger.errors import StateCorrupt
from pointstream.ledger.messages import Message

__all__ = ["received"]

_HANDLERS: Final[dict[str, Callable[[Book, Message, Source], Decision]]] = {}


def received(book: Book, message: Message, source: Source) -> Decision:
    """Hand a message to its handler. Raises `StateCorrupt` for one of an unknown type."""
    handler = _HANDLERS.get(message.type)
    if handler is None:
        raise StateCorrupt(f"a message between partitions is of the unknown type {message.type!r}")
    return handler(book, message, source)
