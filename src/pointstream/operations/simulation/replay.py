"""The replay: all partitions side by side, by the real rules, and from a moment on by others too.

Partitions go on in the order in which their transactions were written, each by its own journal. One
that comes to a message whose sender has not produced it yet waits for it. All partitions fork at
one moment: from then on every record is taken twice, by the state of the real rules and by a copy
of it with the candidate's. That may be before the span, for detectors to count what they look back
at; what comes out counts from the beginning of the span on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Final

from pointstream.engine.records import Outgoing, Record
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.ledger.errors import LedgerError
from pointstream.operations.reading import Record as ReadRecord
from pointstream.operations.simulation.flagverdict import FlagVerdict
from pointstream.operations.simulation.post import Post, Sending
from pointstream.operations.simulation.recorded import Lane, Taken, WrittenLedger
from pointstream.operations.simulation.replica import Job, Replica
from pointstream.operations.simulation.verdict import Verdict

__all__ = ["NewJob", "Partition", "Replay", "ReplayFailed", "Span"]

NewJob = Callable[[int, bool], Job]
"""Makes the job of a partition: by the real rules, or with the candidate."""

_SKEW_MS: Final = 60_000
"""So far apart may the clocks of two workers be without a message being taken for lost."""
_RECORDS_PER_STEP: Final = 1_000
_FREE_OFFSETS: Final = 1 << 52
"""Messages that were never sent really have no offset: they are numbered from here."""


class ReplayFailed(Exception):
    """The inputs cannot be taken again; the message says where it stopped."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is simulated, in ms UTC."""

    fork_ms: int
    """When the candidate's state begins."""
    since_ms: int
    """What comes out counts from then on: no event that the candidate scores was taken before."""
    from_ms: int
    to_ms: int
    """The first moment that is not looked at any more."""


@dataclass
class Partition:
    """One partition of the replay."""

    lane: Lane
    written: WrittenLedger
    sure_until: int
    """The position in the ledger up to which the journal must tell of everything."""
    real: Replica
    other: Replica | None = None
    taken: Taken | None = None
    now_ms: int = 0
    waits_for: bytes | None = None
    reached_end: bool = False
    """Of the span, not of the journal."""
    free: int = 0


@dataclass
class Replay:
    """All partitions, and what is under way between them."""

    partitions: Sequence[Partition]
    span: Span
    new_job: NewJob
    directory: Path
    messages: str
    """The topic of messages between partitions."""
    ticks: str
    changes: str
    """The topic of the ledger."""
    by_events: bool
    on_sent: Callable[[str, Sequence[Outgoing], bool], None]
    """Told what was sent since it counts: topic, records, and whether by the candidate."""
    on_record: Callable[[ReadRecord], None] = lambda record: None
    verdict: Verdict = field(default_factory=Verdict)
    flags: FlagVerdict | None = None
    """Whether the flags are as they were written, if that is asked."""
    flag_topic: str = ""
    records: int = 0
    """Inputs taken; ticks and messages do not count."""
    within: int = 0
    """Of them, those in the span."""
    forked: bool = False
    counting: bool = False
    """Whether what comes out counts."""
    begins_ms: int = 0
    """When the first input was taken that both states took."""
    warmed: int = 0
    """Inputs that both states took before the span."""
    post: Post = field(init=False)

    def __post_init__(self) -> None:
        self.post = Post(len(self.partitions))

    async def run(self, on_step: Callable[[float], Awaitable[None]]) -> None:
        """Take everything up to the end of the span; `on_step` is told which share is done.

        Raises `ReplayFailed`.
        """
        ready: list[tuple[int, int]] = []
        waiting: list[tuple[int, int]] = []
        for number, partition in enumerate(self.partitions):
            if await self._next(partition):
                assert partition.taken is not None
                ready.append((partition.taken.at_ms, number))
        heapify(ready)
        told = steps = 0
        while ready or waiting:
            steps += 1
            if self.records - told >= _RECORDS_PER_STEP or steps % 1_000 == 0:
                told = self.records
                await on_step(sum(p.lane.share for p in self.partitions) / len(self.partitions))
            for each in waiting:
                if self.partitions[each[1]].waits_for is None:
                    heappush(ready, each)
            waiting = [each for each in waiting if self.partitions[each[1]].waits_for is not None]
            force = bool(waiting) and (not ready or ready[0][0] > min(waiting)[0] + _SKEW_MS)
            if force:
                at_ms, number = min(waiting)
                waiting.remove((at_ms, number))
            else:
                at_ms, number = heappop(ready)
            partition = self.partitions[number]
            if not await self._go_on(number, partition, force=force):
                waiting.append((at_ms, number))
            elif not partition.reached_end and await self._next(partition):
                assert partition.taken is not None
                heappush(ready, (partition.taken.at_ms, number))
        await self._finish()

    async def _next(self, partition: Partition) -> bool:
        partition.taken = await partition.lane.next()
        return partition.taken is not None

    async def _go_on(self, number: int, partition: Partition, *, force: bool) -> bool:
        """Take what one transaction took; False if a message is missing.

        With `force` it is taken as it stands on the topic.
        """
        assert partition.taken is not None
        records = partition.taken.records
        if not self.counting:
            latest_ms = max(map(partition.real.job.time_of, records), default=0)
            if not self.forked and latest_ms >= self.span.fork_ms:
                self.begins_ms = latest_ms
                await self._fork()
            if latest_ms >= self.span.since_ms:
                await self._collect_all()
                self.counting = True
        while records:
            record = records[0]
            partition.now_ms = max(partition.now_ms, partition.real.job.time_of(record))
            if partition.now_ms >= self.span.to_ms:
                partition.reached_end = True
                records.clear()
                break
            self._take_free(number, partition)
            other: Record | ReadRecord | None = record
            if record.topic == self.messages:
                value = record.value or b""
                posted = self.post.take(number, value)
                if posted is not None:
                    twin = posted.twin
                    if twin is None:
                        other = None
                    elif twin.value != value:
                        other = _instead(record, twin.key, twin.value)
                elif force:
                    self.post.give_up(number, value)
                    force = False
                else:
                    partition.waits_for = value
                    return False
            elif record.topic != self.ticks:
                self.records += 1
                if partition.now_ms >= self.span.from_ms:
                    self.within += 1
                elif self.forked:
                    self.warmed += 1
                self.on_record(record)
            partition.waits_for = None
            records.popleft()
            self._take(partition, record, other)
        self._finish_one(partition)
        if partition.real.full:
            await self._collect(partition)
        return True

    def _take(
        self, partition: Partition, real: Record | ReadRecord, other: Record | ReadRecord | None
    ) -> None:
        posted: Sequence[Sending] = _taken(partition.real, real, "the real rules")
        others: Sequence[Sending] | None = None
        if partition.other is not None:
            others = _taken(partition.other, other, "the candidate") if other is not None else []
        self._post(partition, posted, others)

    def _finish_one(self, partition: Partition) -> None:
        posted = partition.real.finish()
        others = None if partition.other is None else partition.other.finish()
        self._post(partition, posted, others)

    def _post(
        self, partition: Partition, real: Sequence[Sending], other: Sequence[Sending] | None
    ) -> None:
        if real or other:
            self._deliver(self.post.put(real, other, partition.now_ms))

    def _deliver(self, numbers: set[int]) -> None:
        for number in numbers:
            partition = self.partitions[number]
            if partition.waits_for is not None and self.post.has(number, partition.waits_for):
                partition.waits_for = None

    def _take_free(self, number: int, partition: Partition) -> None:
        """Let the candidate's state take the messages that only it has."""
        free = self.post.free[number]
        while free:
            assert partition.other is not None
            posted = free.popleft()
            offset, partition.free = _FREE_OFFSETS + partition.free, partition.free + 1
            record = Record(
                self.messages, number, offset, posted.at_ms, posted.key, posted.value, ()
            )
            now_ms = max(partition.now_ms, posted.at_ms)
            self.post.put([], _taken(partition.other, record, "the candidate"), now_ms)

    async def _fork(self) -> None:
        await self._collect_all()
        self.forked = True
        for number, partition in enumerate(self.partitions):
            store = partition.real.store.copy_to(self.directory / f"candidate-{number}")
            partition.other = partition.real.like(self.new_job(number, True), store)
        self.post.fork()

    async def _collect_all(self) -> None:
        for partition in self.partitions:
            # One that waits within a transaction ends it here: there is no other way.
            self._finish_one(partition)
            await self._collect(partition)

    async def _collect(self, partition: Partition) -> None:
        sent = partition.real.collect()
        await self.verdict.compare(partition.written, sent.get(self.changes, ()))
        if self.flags is not None:
            raised = sent.get(self.flag_topic, ())
            self.flags.compare(raised, in_span=self.counting)
        others = {} if partition.other is None else partition.other.collect()
        if self.counting:
            for by_candidate, found in ((False, sent), (True, others)):
                for topic, records in found.items():
                    self.on_sent(topic, records, by_candidate)

    async def _finish(self) -> None:
        for number, partition in enumerate(self.partitions):
            if partition.reached_end and not self.by_events:
                # What was due by the end has rung, whenever the next record came.
                end_ms = self.span.to_ms - 1
                tick = Record(self.ticks, number, 0, end_ms, None, None, ())
                self._take(partition, tick, tick)
                self._finish_one(partition)
        while any(self.post.free):
            for number, partition in enumerate(self.partitions):
                self._take_free(number, partition)
                self._finish_one(partition)
        for partition in self.partitions:
            await self._collect(partition)
            until_ms = self.span.to_ms if partition.reached_end else None
            if not (partition.reached_end and self.by_events):
                await self.verdict.end(partition.written, partition.sure_until, until_ms)
        over = any(partition.reached_end for partition in self.partitions)
        if self.flags is not None and not (over and self.by_events):
            self.flags.end(self.span.to_ms - _SKEW_MS if over else None)


def _taken(
    replica: Replica, record: Record | ReadRecord, by: str
) -> list[tuple[int, bytes | None, bytes]]:
    try:
        return replica.take(record)
    except LedgerError as error:
        raise ReplayFailed(
            f"The replay by {by} stopped at {record.topic}[{record.partition}] offset"
            f" {record.offset}: {error}. Are inputs missing, or was the programme another one then?"
        ) from error


def _instead(record: ReadRecord, key: bytes | None, value: bytes) -> Record:
    """A message in the place of the one that was really there."""
    return Record(record.topic, record.partition, record.offset, record.timestamp, key, value, ())


def stores(directory: Path, partitions: int, memory: RocksMemory) -> list[RocksStore]:
    """Open empty stores, one per partition."""
    return [
        RocksStore(directory / f"real-{number}", b"simulation", memory)
        for number in range(partitions)
    ]
