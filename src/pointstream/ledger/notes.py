"""Notes: what a partition tells the owners of devices, networks and shops, many in one message.

Such things are told often and in few words, so they travel together: all that a transaction has for
one partition is one record, or a few. A note is a row of plain values, `[to, what, ...]`; `to` is
the key whose owner must hear it. How notes are divided among records depends on where a batch ends.
Their order does not, and each is taken for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from pointstream.ledger.messages import Message

__all__ = ["NOTED", "NOTES_PER_MESSAGE", "Note", "packed"]

NOTED: Final = "fraud.noted"
NOTES_PER_MESSAGE: Final = 500

Note = list[Any]


def packed(notes: list[Note], partition_of: Callable[[str], int]) -> Iterator[tuple[int, Message]]:
    """Yield messages with all notes, each with the partition that it goes to."""
    by_partition: dict[int, list[Note]] = {}
    for note in notes:
        by_partition.setdefault(partition_of(note[0]), []).append(note)
    for partition, own in by_partition.items():
        for start in range(0, len(own), NOTES_PER_MESSAGE):
            body = {"notes": own[start : start + NOTES_PER_MESSAGE]}
            yield partition, Message(NOTED, None, body)
