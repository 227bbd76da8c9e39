"""What becomes of events for accounts that are closed: merged into another one, or erased."""

from __future__ import annotations

from pointstream.contracts.inputs import MemberEvent
from pointstream.ledger.book import Book
from pointstream.ledger.decision import Decision, Source
from pointstream.ledger.errors import LedgerError
from pointstream.ledger.messages import Message
from pointstream.ledger.records import Account

__all__ = ["closed", "forwarded_source", "readdressed"]


def closed(book: Book, account: Account, event: MemberEvent, source: Source) -> Decision:
    """Send the record on to the survivor of a merge, or refuse it for an erased member."""
    raise LedgerError("no account can be closed yet")


def forwarded_source(message: Message) -> Source:
    """Return the record that a `record.forwarded` message holds."""
    raise LedgerError("no account can be merged yet")


def readdressed(event: MemberEvent, member_id: str) -> MemberEvent:
    """Return an event of a merged member as one of the survivor."""
    raise LedgerError("no account can be merged yet")
