"""Stock of the catalogue: members paid for no more of an item than its owner has given away.

An item's owner counts what it grants, members pay in all partitions, and what is granted and not
used goes back uncounted. So at any moment what was paid for is at most what is given away; between
the two lies what is under way.

Pure. Partitions are read one after the other while a programme may be running: where more seems
paid for, the owner is looked up again (`wanted`, `late`) before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from pointstream.ledger.codec import decode_list
from pointstream.ledger.grants import GrantKind
from pointstream.ledger.state import grant_key
from pointstream.operations.books import Breach

__all__ = ["PartitionStock", "Stock"]

_PREFIX: Final = grant_key(GrantKind.STOCK, "")


class PartitionStock:
    """What one partition's entries say was paid for, and what its changelog says was given away."""

    def __init__(self) -> None:
        self.paid: Counter[str] = Counter()
        """Pieces by item, of items with a stock: the others are paid at once."""
        self.given_away: dict[str, int] = {}
        self._last: tuple[str, str] | None = None

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take the next ledger entry."""
        if entry["type"] != "points.captured" or entry.get("item_id") is None:
            return
        # A redemption of very many lots has several entries in a row, each with all its pieces.
        this = (str(entry["member_id"]), str(entry["cause_event_id"]))
        if this != self._last:
            self.paid[str(entry["item_id"])] += int(entry["quantity"])
            self._last = this

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the changelog."""
        if key.startswith(_PREFIX) and value is not None:
            self.given_away[key[len(_PREFIX) :].decode()] = int(decode_list(value)[1])


class Stock:
    """Puts together what the partitions say."""

    def __init__(self) -> None:
        self._paid: Counter[str] = Counter()
        self._given_away: dict[str, int] = {}

    def add(self, partition: PartitionStock) -> None:
        """Take what one partition says. An item has one owner."""
        self._paid.update(partition.paid)
        self._given_away.update(partition.given_away)

    @property
    def wanted(self) -> bool:
        """Whether owners have to be looked up again: what they gave away since they were read."""
        return bool(self.breaches())

    def late(self, partition: PartitionStock) -> None:
        """Take what an owner has written since it was read."""
        self._given_away.update(partition.given_away)

    def breaches(self) -> list[Breach]:
        """Return what was sold too often, once nothing is left to look up."""
        found = []
        for item_id, paid in self._paid.items():
            given_away = self._given_away.get(item_id, 0)
            if paid > given_away:
                words = f"{paid} of item {item_id} were paid for, its owner gave away {given_away}"
                found.append(Breach("stock", "-", words))
        return found
