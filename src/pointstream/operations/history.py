"""What a member had at a moment, folded from the ledger's entries up to it.

Pure but for the reading: entries in their order go in, the balance comes out. What was recorded by
the moment counts, whenever it happened: the answer is what everybody was told then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pointstream.contracts.wire import epoch_ms, loads
from pointstream.operations.reading import CommittedReader
from pointstream.operations.standing import partition_of_member

__all__ = ["LotThen", "MemberThen", "WalletThen", "read_member_at"]

Entry = Mapping[str, Any]


@dataclass(slots=True)
class LotThen:
    """One lot as the entries left it."""

    lot_id: str
    points: int = 0
    expires_at: str | None = None
    """As the latest entry that names the lot says; None for points that do not expire."""
    pending: bool = False


@dataclass(slots=True)
class WalletThen:
    """One wallet, in points."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    lots: dict[str, LotThen] = field(default_factory=dict)
    """Spendable and pending ones. Held points have left their lots."""

    def pending_in_lots(self) -> int:
        """What the pending lots hold: in the end the same as `pending`."""
        return sum(lot.points for lot in self.lots.values() if lot.pending)

    def lots_left(self) -> list[LotThen]:
        """The lots, those first that expire first."""
        return sorted(
            self.lots.values(), key=lambda lot: (lot.expires_at is None, lot.expires_at or "")
        )


@dataclass(slots=True)
class MemberThen:
    """A member at a moment."""

    member_id: str
    seq: int = 0
    """Of the last entry that counts; 0: there was none by then."""
    recorded_at: str | None = None
    """Of that entry."""
    wallets: dict[str, WalletThen] = field(default_factory=dict)
    merged_away: bool = False
    """The last thing that happened: all moved to another member."""
    first_recorded_at: str | None = None
    """Of the member's first entry of all, whenever that was."""

    def add(self, entry: Entry) -> None:
        """Take the member's next entry."""
        wallet = self.wallets.setdefault(str(entry["wallet"]), WalletThen())
        wallet.available = int(entry["available_after"])
        wallet.pending = int(entry["pending_after"])
        wallet.held = int(entry["held_after"])
        wallet.debt = int(entry["debt_after"])
        kind = str(entry["type"])
        # A merge names pending lots before spendable ones, and says of neither which it is.
        merged = kind == "points.merged_in"
        unplaced = wallet.pending - wallet.pending_in_lots() if merged else 0
        for change in entry.get("lots") or ():
            lot_id, delta = str(change["lot_id"]), int(change["delta"])
            lot = wallet.lots.setdefault(lot_id, LotThen(lot_id))
            lot.points += delta
            lot.expires_at = change.get("expires_at")
            # Given by hand, and pending: else the entry would say that it can be spent.
            waits = kind == "points.adjusted" and delta > 0 and not entry["delta"]
            if kind == "points.pending" or waits or (merged and 0 < delta <= unplaced):
                lot.pending = True
                unplaced -= delta
            elif kind == "points.activated":
                lot.pending = False
            if not lot.points:
                del wallet.lots[lot_id]
        self.seq = int(entry["seq"])
        self.recorded_at = str(entry["recorded_at"])
        self.merged_away = kind == "points.merged_out"


async def read_member_at(
    reader: CommittedReader,
    prefix: str,
    member_id: str,
    at_ms: int,
    *,
    on_read: Callable[[int, int], None] = lambda done, of: None,
) -> MemberThen:
    """Read the member's partition of the ledger, and fold what was recorded by `at_ms`.

    `on_read` is told how far of how many positions of the partition. Raises `NoTopicsError`.
    """
    topic, key = f"{prefix}balance-changes", member_id.encode()
    place = (topic, await partition_of_member(reader, topic, member_id))
    begin, end = (await reader.beginnings([place]))[place], (await reader.ends([place]))[place]
    then = MemberThen(member_id)
    async for records in reader.read(*place, end=end):
        for record in records:
            if record.key != key or record.value is None:
                continue
            entry = loads(record.value)
            recorded_at = str(entry["recorded_at"])
            then.first_recorded_at = then.first_recorded_at or recorded_at
            if epoch_ms(datetime.fromisoformat(recorded_at)) > at_ms:
                # Partition time never goes back: nothing of what follows was known by then.
                on_read(end - begin, end - begin)
                return then
            then.add(entry)
        on_read(records[-1].offset + 1 - begin, end - begin)
    return then
