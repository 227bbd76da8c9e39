"""Whether the replay by the real rules gives what was really written, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pointstream.contracts.wire import epoch_ms, loads
from pointstream.engine.records import Outgoing
from pointstream.operations.simulation.recorded import WrittenLedger

__all__ = ["Deviation", "Verdict"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where the replay leaves the ledger for the first time."""

    partition: int
    offset: int | None
    """Of the entry as it was written; None if there is none."""
    member_id: str
    written: str
    replayed: str


@dataclass
class Verdict:
    """What came of comparing, entry by entry."""

    same: int = 0
    """Entries that are equal, key and value."""
    other: int = 0
    """Entries that are not, or that only the ledger has, or only the replay."""
    first: Deviation | None = None

    @property
    def identical(self) -> bool:
        """Whether every entry was equal."""
        return not self.other

    async def compare(self, written: WrittenLedger, replayed: Sequence[Outgoing]) -> None:
        """Compare the next entries of a partition with what was written there."""
        for entry in replayed:
            found = await written.next()
            if found is None:
                self._differs(written.partition, None, None, entry.value)
            elif found.key == entry.key and found.value == entry.value:
                self.same += 1
            else:
                self._differs(written.partition, found.offset, found.value, entry.value)

    async def end(self, written: WrittenLedger, sure_until: int, until_ms: int | None) -> None:
        """Look for entries of a partition that the replay should have made.

        Those below the position `sure_until`, or recorded before `until_ms` where that is given.
        """
        while (found := await written.next()) is not None:
            entry = loads(found.value or b"{}")
            if until_ms is None:
                expected = found.offset < sure_until
            else:
                moment = datetime.fromisoformat(entry["recorded_at"])
                expected = epoch_ms(moment) < until_ms
            if not expected:
                break
            self._differs(written.partition, found.offset, found.value, None)

    def _differs(
        self, partition: int, offset: int | None, written: bytes | None, replayed: bytes | None
    ) -> None:
        self.other += 1
        if self.first is None:
            member_id = str(loads(written or replayed or b"{}")["member_id"])
            self.first = Deviation(partition, offset, member_id, _short(written), _short(replayed))


def _short(value: bytes | None) -> str:
    if value is None:
        return "nothing"
    entry: dict[str, Any] = loads(value)
    return (
        f"{entry['type']} of {entry['amount']:,} {entry['wallet']}, seq {entry['seq']},"
        f" available after {entry['available_after']:,}"
    )
