"""The edge between a partition task and Kafka, so that the same task runs on a test log.

`kafka.py` implements it on a real broker, `driver.py` in memory.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from pointstream.engine.records import Outgoing, Target

__all__ = ["Change", "Outlived", "PartitionLog", "Transaction"]


Change = tuple[bytes, bytes | None]
"""One changelog record: a key and its new value, None where it was removed. A plain pair, as the
state holds it: there are several for each input record."""


class Outlived(Exception):
    """A position is so old that the changelog may no longer say what was removed behind it.

    Compaction drops a removal once it is `delete.retention.ms` old. Who goes on from before keeps
    the key for ever: points that are long spent.
    """


@dataclass(slots=True)
class Transaction:
    """Everything that one batch makes true, all of it or nothing."""

    #: What the processor sent, and the journal record.
    records: dict[Target, list[Outgoing]]
    #: The new values of the keys written, to the changelog.
    changes: list[Change]
    #: Per input topic: the next position to read, once this is committed.
    positions: dict[str, int]


class PartitionLog(Protocol):
    """What a partition task needs from Kafka. Every method may raise `Fenced`."""

    async def fence(self) -> None:
        """Shut out every former owner; afterwards none of their transactions is undecided."""

    async def committed(self) -> dict[str, int | None]:
        """Per input topic the group's committed position, None where there is none."""

    async def bounds(self) -> dict[str, tuple[int, int]]:
        """Per input topic the lowest position that can still be read, and the end."""

    def changelog(
        self, position: int | None
    ) -> AsyncGenerator[tuple[list[Change], int, int], None]:
        """Read the changelog, read-committed, from `position` (None: its beginning) to its end.

        Yields changes, the position behind them and the end that is aimed for. The last item
        has reached the end. A position that the changelog does not have raises `LookupError`, one
        from which on it may lack removals `Outlived`.
        """

    async def origin(self) -> bytes | None:
        """From which backup the changelog was written, None for one that began by itself."""

    async def commit(self, transaction: Transaction) -> int:
        """Send and commit; returns the changelog position behind this transaction's changes."""

    async def close(self) -> None: ...
