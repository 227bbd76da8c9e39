"""What merges moved from one member to another: it has arrived, or is still under way.

Points leave in one partition and arrive in another, in several entries, and a debt goes the other
way; what one member's entries took out must be what the other's brought in. Until all has arrived,
the merged account says that it is under way.

Pure. Partitions are read one after the other while a programme may be running: what does not agree
is looked up again (`wanted`, `late`) before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pointstream.ledger.records import Account
from pointstream.operations.books import Breach

__all__ = ["Merges", "merge_of"]

_SIGNS: Final[Mapping[str, int]] = {"points.merged_out": -1, "points.merged_in": 1}


class Merges:
    """Puts together what the partitions say. Holds what does not match yet, and nothing else."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str, str]] = Counter()
        """By command and the two members: what came in less what went out."""
        self._under_way: set[str] = set()

    def add(self, entries: Iterable[Mapping[str, Any]], accounts: Mapping[str, Account]) -> None:
        """Take the entries of merges, and the accounts, of one partition."""
        for entry in entries:
            self._count(entry)
        for member_id, account in accounts.items():
            if account.merged_into is not None and account.merging_into is not None:
                self._under_way.add(member_id)

    @property
    def wanted(self) -> bool:
        """Whether something has to be looked up again: what was written since it was read."""
        return bool(self._open)

    def late(self, entry: Mapping[str, Any]) -> None:
        """Take an entry that was written after its partition was read."""
        if merge_of(entry) in self._open:
            self._count(entry)

    @property
    def under_way(self) -> int:
        """The points that left and have not arrived, of all wallets, less debts."""
        return -sum(self._open.values())

    def breaches(self) -> list[Breach]:
        """Return what does not agree, once nothing is left to look up."""
        return [
            Breach("merges", one, f"by the merge with {other}, {points:+d} points came of nothing")
            for (_, one, other), points in self._open.items()
            if not {one, other} & self._under_way
        ]

    def _count(self, entry: Mapping[str, Any]) -> None:
        merge = merge_of(entry)
        if merge is not None:
            self._open[merge] += _SIGNS[entry["type"]] * int(entry["amount"])
            if not self._open[merge]:
                del self._open[merge]


def merge_of(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return the command and the two members of an entry of a merge, None for other entries."""
    if entry["type"] not in _SIGNS:
        return None
    one, other = sorted((str(entry["member_id"]), str(entry["counterparty_id"])))
    return str(entry["cause_event_id"]), one, other
