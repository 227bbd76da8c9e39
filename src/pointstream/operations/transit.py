"""What members sent to each other: it has arrived, is back, or is still under way. Nothing else.

A transfer leaves in one partition and arrives in another, so no partition's books can tell alone.
Each partition says which transfers left, which arrived there, and which its state holds as not
settled; put together they must agree, transfer by transfer.

    left, arrived or back once, with the same points      done, or about to be settled
    left, not arrived, held in the state                  under way
    anything else                                         points were lost, or made

Pure. Partitions are read one after the other while a programme may be running, so a transfer can
have arrived where it is read late, and not have left yet where that was read early. What does not
agree is therefore looked up again (`wanted`, `late`) before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pointstream.ledger.codec import decode_transfer
from pointstream.ledger.records import Account
from pointstream.ledger.state import is_transfer_key
from pointstream.operations.books import Breach

__all__ = ["PartitionTransfers", "Transit"]

_OUT: Final = "points.transferred_out"
_IN: Final = "points.transferred_in"


@dataclass(slots=True)
class PartitionTransfers:
    """What one partition says about transfers. Points by transfer id, with the member."""

    left: dict[str, tuple[str, int]] = field(default_factory=dict)
    arrived: list[tuple[str, str, int]] = field(default_factory=list)
    """Transfer, member, points; a transfer that is here twice arrived twice."""
    unsettled: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What the state holds."""

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take the next ledger entry, whatever it is about."""
        transfer_id = entry.get("transfer_id")
        if transfer_id is None:
            return
        member_id, points = str(entry["member_id"]), int(entry["amount"])
        if entry["type"] == _OUT:
            self.left[transfer_id] = (member_id, points)
        elif entry["type"] == _IN:
            self.arrived.append((transfer_id, member_id, points))

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the changelog, whatever it is about."""
        if not is_transfer_key(key):
            return
        member, transfer_id = key[1:].decode().split("\0")
        if value is None:
            self.unsettled.pop(transfer_id, None)
        else:
            self.unsettled[transfer_id] = (member, decode_transfer("points", value).points)

    def breaches(self, accounts: Mapping[str, Account]) -> list[Breach]:
        """Return what the partition's own books say about it that does not agree."""
        found: list[Breach] = []
        held: Counter[str] = Counter()
        for transfer_id, (member_id, points) in self.unsettled.items():
            held[member_id] += 1
            if self.left.get(transfer_id) != (member_id, points):
                words = f"the table holds {points} points of transfer {transfer_id}, which"
                words += f" left as {self.left.get(transfer_id)}"
                found.append(Breach("transfers", member_id, words))
        for member_id, account in accounts.items():
            if account.transfers != held[member_id]:
                words = f"{account.transfers} transfers under way, {held[member_id]} are held"
                found.append(Breach("transfers", member_id, words))
        return found


class Transit:
    """Puts together what the partitions say. Holds what does not match yet, and nothing else."""

    def __init__(self) -> None:
        self.transfers = 0
        """How many left."""
        self._left: dict[str, tuple[str, int]] = {}
        self._arrived: dict[str, list[tuple[str, int]]] = {}
        self._unsettled: set[str] = set()

    def add(self, partition: PartitionTransfers) -> None:
        """Take what one partition says."""
        self.transfers += len(partition.left)
        self._unsettled |= partition.unsettled.keys()
        for transfer_id, left in partition.left.items():
            self._left[transfer_id] = left
            self._match(transfer_id)
        for transfer_id, member_id, points in partition.arrived:
            self._arrived.setdefault(transfer_id, []).append((member_id, points))
            self._match(transfer_id)

    @property
    def wanted(self) -> bool:
        """Whether something has to be looked up again: what was written since it was read."""
        return bool(self._arrived) or any(
            transfer_id not in self._unsettled for transfer_id in self._left
        )

    def late(self, entry: Mapping[str, Any]) -> None:
        """Take an entry that was written after its partition was read."""
        later = PartitionTransfers()
        later.add(entry)
        for transfer_id, left in later.left.items():
            if transfer_id in self._arrived:
                self._left[transfer_id] = left
                self._match(transfer_id)
        for transfer_id, member_id, points in later.arrived:
            if transfer_id in self._left and transfer_id not in self._unsettled:
                self._arrived.setdefault(transfer_id, []).append((member_id, points))
                self._match(transfer_id)

    @property
    def under_way(self) -> dict[str, int]:
        """The points of each transfer that left and has not arrived, nor come back."""
        return {transfer_id: points for transfer_id, (_, points) in self._left.items()}

    def breaches(self) -> list[Breach]:
        """Return what does not agree, once nothing is left to look up."""
        found: list[Breach] = []
        for transfer_id, (member_id, points) in self._left.items():
            if transfer_id not in self._unsettled:
                words = f"{points} points left with transfer {transfer_id} and arrived nowhere"
                found.append(Breach("transfers", member_id, words))
        for transfer_id, arrivals in self._arrived.items():
            for member_id, points in arrivals:
                words = f"{points} points arrived with transfer {transfer_id} that did not leave"
                found.append(Breach("transfers", member_id, words))
        return found

    def _match(self, transfer_id: str) -> None:
        """Drop a transfer whose points arrived as they left. One that arrives again stays."""
        left, arrivals = self._left.get(transfer_id), self._arrived.get(transfer_id)
        if left is None or arrivals is None:
            return
        for number, (_, points) in enumerate(arrivals):
            if points == left[1]:
                del arrivals[number]
                if not arrivals:
                    del self._arrived[transfer_id]
                del self._left[transfer_id]
                return
