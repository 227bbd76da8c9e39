"""What a partition really took, in the order that its journal tells, and the ledger it wrote.

Each transaction of a worker wrote a journal record: which offsets of which topics it took, in which
order. A `Lane` reads one partition's journal in pieces and the inputs that belong to them, so what
is in memory does not grow with the length of the history. Read committed, without a group: nothing
is written anywhere.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pointstream.contracts.wire import loads
from pointstream.operations.reading import Record

__all__ = ["Lane", "Reader", "Taken", "WrittenLedger"]

_JOURNAL_PIECE: Final = 4_000
"""Offsets of the journal read at once; its records are small."""
_LEDGER_PIECE: Final = 4_000


class Reader(Protocol):
    """What is needed of a `CommittedReader`."""

    async def beginnings(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]: ...

    def read(
        self, topic: str, partition: int, *, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[Sequence[Record]]: ...


@dataclass(slots=True)
class Taken:
    """What one transaction took."""

    at_ms: int
    """When the worker wrote it down, by its own clock."""
    records: deque[Record]
    """In the order in which they were taken. Those that are gone are left out."""


@dataclass(slots=True)
class _Entry:
    """One record of the journal."""

    at_ms: int
    taken: dict[str, tuple[int, int]]
    order: list[tuple[str, int]]

    @property
    def count(self) -> int:
        return sum(count for _, count in self.order)


@dataclass
class Lane:
    """The inputs of one partition, as its journal has them."""

    reader: Reader
    partition: int
    journal: str
    """The journal's topic."""
    begin: int
    """Of the journal: the first position that is kept."""
    end: int
    piece: int
    """About so many records are in memory."""
    unread: frozenset[str] = frozenset()
    """Topics that are passed over where their records are gone: nothing is lost with them."""
    lost: Counter[str] = field(default_factory=Counter)
    """By topic, how many records were taken that are no longer there."""
    _entries: deque[_Entry] = field(default_factory=deque)
    _ready: deque[Taken] = field(default_factory=deque)
    _at: int = -1

    def __post_init__(self) -> None:
        self._at = self.begin

    @property
    def share(self) -> float:
        """How much of the journal was read and handed out, 0 to 1."""
        waiting = len(self._entries) + len(self._ready)
        return max(0.0, self._at - self.begin - 2 * waiting) / max(1, self.end - self.begin)

    async def next(self) -> Taken | None:
        """Return what the next transaction took; None at the end."""
        while not self._ready:
            if not self._entries and not await self._read_journal():
                return None
            await self._read_inputs()
        return self._ready.popleft()

    async def _read_journal(self) -> bool:
        while self._at < self.end and not self._entries:
            stop = min(self.end, self._at + _JOURNAL_PIECE)
            reading = self.reader.read(self.journal, self.partition, start=self._at, end=stop)
            async for records in reading:
                self._entries.extend(map(_entry, records))
            self._at = stop
        return bool(self._entries)

    async def _read_inputs(self) -> None:
        some: list[_Entry] = []
        count = 0
        while self._entries and (count < self.piece or not some):
            some.append(self._entries.popleft())
            count += some[-1].count
        found = await self._records_of(some)
        for entry in some:
            self._ready.append(Taken(entry.at_ms, self._in_order(entry, found)))

    async def _records_of(self, entries: Sequence[_Entry]) -> dict[str, deque[Record]]:
        spans: dict[str, tuple[int, int]] = {}
        for entry in entries:
            for topic, _ in entry.order:
                first, after = entry.taken[topic]
                spans[topic] = (spans.get(topic, (first, 0))[0], after)
        found: dict[str, deque[Record]] = {}
        for topic, (first, after) in spans.items():
            there = found[topic] = deque()
            async for records in self.reader.read(topic, self.partition, start=first, end=after):
                there.extend(records)
        return found

    def _in_order(self, entry: _Entry, found: Mapping[str, deque[Record]]) -> deque[Record]:
        missing: dict[str, int] = {}
        for topic, count in _totals(entry.order).items():
            first, after = entry.taken[topic]
            there = found[topic]
            while there and there[0].offset < first:
                there.popleft()
            have = 0
            for record in there:
                if record.offset >= after or have == count:
                    break
                have += 1
            if have < count:
                # Retention takes the oldest ones; what compaction took, nobody can tell.
                missing[topic] = count - have
                if topic not in self.unread:
                    self.lost[topic] += count - have
        records: deque[Record] = deque()
        for topic, count in entry.order:
            gone = min(missing.get(topic, 0), count)
            if gone:
                missing[topic] -= gone
            there = found[topic]
            for _ in range(count - gone):
                records.append(there.popleft())
        return records


@dataclass
class WrittenLedger:
    """The ledger entries of one partition, as they were written."""

    reader: Reader
    topic: str
    partition: int
    begin: int
    end: int
    _waiting: deque[Record] = field(default_factory=deque)
    _at: int = -1

    def __post_init__(self) -> None:
        self._at = self.begin

    async def next(self) -> Record | None:
        """Return the next entry; None at the end."""
        while not self._waiting and self._at < self.end:
            stop = min(self.end, self._at + _LEDGER_PIECE)
            async for records in self.reader.read(
                self.topic, self.partition, start=self._at, end=stop
            ):
                self._waiting.extend(records)
            self._at = stop
        return self._waiting.popleft() if self._waiting else None


def _entry(record: Record) -> _Entry:
    body: Any = loads(record.value or b"{}")
    taken = {topic: (span[0], span[1]) for topic, span in body["taken"].items()}
    return _Entry(record.timestamp, taken, [(topic, count) for topic, count in body["order"]])


def _totals(order: Sequence[tuple[str, int]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for topic, count in order:
        totals[topic] += count
    return totals
