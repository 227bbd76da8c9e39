"""What owners of partitions tell each other.

A member's points live in one partition, and so does the stock of an item or what is left of a
budget. Who needs something of another partition sends a message in the transaction that made it
necessary, and the answer comes back in the transaction that decided it. So a step is taken in full
or not at all, and each message is there exactly once.

Nothing may wait for an answer with the partition stopped: between question and answer the state
itself says what is under way.

A message says in which format it is, the same number as the state's: workers of two releases talk
to each other during an upgrade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pointstream.contracts.wire import dumps, loads
from pointstream.ledger.codec import READS, VERSION
from pointstream.ledger.errors import MessageTooNew, StateCorrupt

__all__ = ["FORWARDED", "Message", "decode_message", "encode_message"]

FORWARDED: Final = "record.forwarded"
"""The type of a message that holds a whole input record, for the member it was forwarded to."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the owner of a key: a member's, an item's, a budget's."""

    type: str
    to: str | None
    """The key whose owner is told; None tells the owner of every partition."""
    body: dict[str, Any]


def encode_message(message: Message) -> bytes:
    """Return a message as it stands on the wire."""
    fields = {"v": VERSION, "type": message.type, "to": message.to, "body": message.body}
    return dumps(fields)


def decode_message(value: bytes | None) -> Message:
    """Return the message of a record.

    Raises `StateCorrupt`: only workers write them; `MessageTooNew` for one of a newer release.
    """
    try:
        fields = loads(value or b"")
        # Those from before there was a number are of the first format.
        if (found := fields.get("v", 1)) not in READS:
            raise MessageTooNew(found)
        return Message(fields["type"], fields["to"], fields["body"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # Not its words: they may quote the message, and this one is logged.
        kind = type(error).__name__
        raise StateCorrupt(f"a message between partitions cannot be read ({kind})") from error
