"""The proof that nothing was lost or doubled, taken from the outside.

Per partition: the entries are read with a plain read-committed consumer and added up; the tables
are read from the changelog; both are held against each other and against what the CRM and the mall
were told. Memory is bounded by one partition, whatever the size of the programme.

A programme may be running meanwhile. Each transaction reaches its topics together, but a reader
sees the topics one after the other, so what differs is looked at again before it counts.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pointstream.contracts.wire import loads
from pointstream.engine.access import Reachable
from pointstream.operations.books import Breach, EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges
from pointstream.operations.reading import CommittedReader, NoTopicsError
from pointstream.operations.stock import PartitionStock, Stock
from pointstream.operations.transit import PartitionTransfers, Transit

__all__ = ["CHECKS", "Proof", "reconcile"]

#: Every check by its name in a breach, and what it claims when there is none.
CHECKS: Mapping[str, str] = {
    "conservation": "what came into each wallet is what is there plus what went",
    "seq": "each member's entries are numbered 1, 2, 3 … without gap or double",
    "sums": "the balance changes add up to the tables",
    "lots": "the lots add up to the accounts",
    "outstanding": "the accounts add up to the points that the partition says it owes",
    "transfers": "what one member sent has arrived, is back, or is under way: once, and in full",
    "merges": "what merges took from one member has come to the other, or is under way",
    "stock": "no more of an item was paid for than its owner gave away",
    "crm-sync": "the CRM was told the tables' balances",
    "mall-sync": "the mall was told the tables' balances",
}

_ATTEMPTS = 4
_PAUSE_SECONDS = 1.0
_BREACHES_KEPT = 1_000
_TOP = 10


@dataclass(slots=True)
class Proof:
    """What was read and what was found; points are those of the `points` wallet."""

    members: int = 0
    entries: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    """Points in each place and flow, over all members."""
    top: list[tuple[int, str]] = field(default_factory=list)
    """The largest spendable balances: (points, member)."""
    transfers: int = 0
    under_way: int = 0
    """Points that left one member, and have neither arrived at the other nor come back."""
    breaches: list[Breach] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    """How many breaches each check had; `breaches` keeps the first thousand."""

    @property
    def holds(self) -> bool:
        """Whether every check held for every member."""
        return not self.broken


async def reconcile(
    cluster: Reachable,
    prefix: str = "points.",
    *,
    on_partition: Callable[[int, int], None] = lambda done, of: None,
) -> Proof:
    """Read everything and check it. `on_partition` is told how many of how many partitions are
    done.

    Raises `NoTopicsError` when there are no topics with this prefix.
    """
    proof = Proof()
    async with CommittedReader(cluster) as reader:
        partitions = await reader.partitions(f"{prefix}internal.changelog")
        if not partitions or not await reader.partitions(f"{prefix}balance-changes"):
            raise NoTopicsError(
                f"There are no topics that begin with {prefix!r}. Nothing ran on this cluster with "
                "this prefix (POINTSTREAM_TOPIC_PREFIX), or they were deleted."
            )
        transit, merges, ends = Transit(), Merges(), dict[int, int]()
        stock, changelog_ends = Stock(), dict[int, int]()
        for done, partition in enumerate(partitions, start=1):
            look = await _settled(reader, prefix, partition)
            _add(proof, look.entries, look.state, look.breaches)
            transit.add(look.transfers)
            merges.add(look.entries.merges, look.state.accounts)
            stock.add(look.stock)
            ends[partition], changelog_ends[partition] = look.end, look.changelog_end
            on_partition(done, len(partitions))
        if transit.wanted or merges.wanted:
            await _look_again(reader, prefix, ends, transit, merges)
        if stock.wanted:
            await _look_again_at_stock(reader, prefix, changelog_ends, stock)
        proof.transfers, proof.under_way = transit.transfers, sum(transit.under_way.values())
        proof.under_way += merges.under_way
        _note(proof, [*transit.breaches(), *merges.breaches(), *stock.breaches()])
    return proof


@dataclass(slots=True)
class _Look:
    """One partition, as it was read."""

    entries: EntryBooks
    state: StateBooks
    transfers: PartitionTransfers
    stock: PartitionStock
    breaches: list[Breach]
    end: int
    """Up to which position of the balance changes."""
    changelog_end: int
    still: bool
    """Whether nothing was written meanwhile."""


async def _settled(reader: CommittedReader, prefix: str, partition: int) -> _Look:
    attempt = 1
    while True:
        look = await _look(reader, prefix, partition)
        if (look.still and not look.breaches) or attempt == _ATTEMPTS:
            return look
        attempt += 1
        await asyncio.sleep(_PAUSE_SECONDS)


async def _look(reader: CommittedReader, prefix: str, partition: int) -> _Look:
    changes = (f"{prefix}balance-changes", partition)
    before = (await reader.ends([changes]))[changes]
    state, transfers, stock = StateBooks(), PartitionTransfers(), PartitionStock()
    changelog_end = 0
    async for records in reader.read(f"{prefix}internal.changelog", partition):
        for record in records:
            if record.key is not None:
                state.put(record.key, record.value)
                transfers.put(record.key, record.value)
                stock.put(record.key, record.value)
            changelog_end = record.offset + 1
    standings = await _latest(reader, f"{prefix}crm-sync", partition)
    positions = await _latest(reader, f"{prefix}mall-sync", partition)
    end = (await reader.ends([changes]))[changes]
    entries = EntryBooks()
    async for records in reader.read(*changes, end=end):
        for record in records:
            if record.value is not None:
                entry = loads(record.value)
                entries.add(entry)
                transfers.add(entry)
                stock.add(entry)
    breaches = compare(entries, state, standings, positions)
    breaches += transfers.breaches(state.accounts)
    return _Look(entries, state, transfers, stock, breaches, end, changelog_end, before == end)


async def _look_again(
    reader: CommittedReader,
    prefix: str,
    ends: Mapping[int, int],
    transit: Transit,
    merges: Merges,
) -> None:
    """Read what was written since the partitions were read, for what one of them lacked."""
    for partition, start in ends.items():
        async for records in reader.read(f"{prefix}balance-changes", partition, start=start):
            for record in records:
                if record.value is not None:
                    entry = loads(record.value)
                    transit.late(entry)
                    merges.late(entry)


async def _look_again_at_stock(
    reader: CommittedReader, prefix: str, ends: Mapping[int, int], stock: Stock
) -> None:
    """Read what owners gave away since their partitions were read."""
    for partition, start in ends.items():
        later = PartitionStock()
        async for records in reader.read(f"{prefix}internal.changelog", partition, start=start):
            for record in records:
                if record.key is not None:
                    later.put(record.key, record.value)
        stock.late(later)


async def _latest(reader: CommittedReader, topic: str, partition: int) -> dict[str, dict[str, Any]]:
    latest: dict[str, bytes] = {}
    async for records in reader.read(topic, partition):
        for record in records:
            member_id = (record.key or b"").decode()
            if record.value is None:
                latest.pop(member_id, None)
            else:
                latest[member_id] = record.value
    return {member_id: loads(value) for member_id, value in latest.items()}


def _add(proof: Proof, entries: EntryBooks, state: StateBooks, breaches: list[Breach]) -> None:
    proof.members += len(state.accounts)
    proof.entries += entries.entries
    proof.by_type.update(entries.by_type)
    _note(proof, breaches)
    balances: list[tuple[int, str]] = []
    for account in state.accounts.values():
        totals = account.wallets.get("points")
        if totals is not None:
            balances.append((totals.available, account.member_id))
            for name in _SUMMED:
                proof.totals[name] += getattr(totals, name)
    erased = state.erased.wallets.get("points")
    if erased is not None:
        for name in _SUMMED:
            proof.totals[name] += getattr(erased, name)
    proof.top = heapq.nlargest(_TOP, proof.top + balances)


def _note(proof: Proof, breaches: list[Breach]) -> None:
    for breach in breaches:
        proof.broken[breach.check] += 1
        if len(proof.breaches) < _BREACHES_KEPT:
            proof.breaches.append(breach)


_SUMMED = (
    "available",
    "pending",
    "held",
    "debt",
    "earned",
    "transferred_in",
    "adjusted_up",
    "restored",
    "redeemed",
    "expired",
    "cleared",
    "reversed",
    "transferred_out",
    "adjusted_down",
    "written_off",
)
