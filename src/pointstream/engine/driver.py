"""`EngineTestDriver`: the partition task without a broker.

The same task code, on a log and a store in memory. A test feeds records, moves the clock,
crashes the task between any two effects, lets a second owner take over, and reads what was
committed::

    driver = EngineTestDriver(lambda partition: Job(), inputs=("orders",))
    driver.send("orders", b"m1", b"...")
    driver.crash_at(Boundary.COMMITTED)
    driver.run()            # dies between the commit and the store
    driver.run()            # a new owner restores and goes on
    driver.outputs("changes")
"""

import asyncio
import enum
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from aiokafka.partitioner import murmur2

from pointstream.engine.errors import Fenced
from pointstream.engine.formats import ORIGIN_KEY, Formats
from pointstream.engine.log import Change, Transaction
from pointstream.engine.observing import TaskObserver
from pointstream.engine.records import Header, Processor, Record, Target
from pointstream.engine.store import MemoryStore
from pointstream.engine.task import Boundary, Guards, Limits, PartitionTask

__all__ = ["CommitFate", "Crashed", "EngineTestDriver", "MemoryBroker"]


class Crashed(Exception):
    """The process died here."""


class CommitFate(enum.StrEnum):
    """What becomes of a transaction whose owner dies while committing it."""

    #: The coordinator never heard of the commit: the next owner's fence aborts it.
    ABORTED = "aborted"
    #: The coordinator has decided it, and finishes it when the next owner fences.
    DECIDED = "decided"


@dataclass
class _Undecided:
    transaction: Transaction
    changelog: Target
    decided: bool


@dataclass
class MemoryBroker:
    """Topics, group positions and transactional ids, with the semantics that the task rests on."""

    #: None is a transaction marker: it takes an offset and is never delivered.
    topics: dict[Target, list[Record | None]] = field(default_factory=dict)
    group: dict[Target, int] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    undecided: dict[int, _Undecided] = field(default_factory=dict)
    now_ms: int = 1_767_225_600_000

    def append(
        self,
        target: Target,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        timestamp_ms: int | None = None,
    ) -> int:
        """Append a record and return its offset."""
        log = self.topics.setdefault(target, [])
        time_ms = self.now_ms if timestamp_ms is None else timestamp_ms
        log.append(
            Record(target.topic, target.partition, len(log), time_ms, key, value, tuple(headers))
        )
        return len(log) - 1

    def records(self, target: Target) -> list[Record]:
        """The committed records of a partition."""
        return [record for record in self.topics.get(target, []) if record is not None]

    def fence(self, partition: int) -> int:
        """Begin a new epoch of the partition's transactional id; settles what was undecided."""
        open_one = self.undecided.pop(partition, None)
        if open_one is not None and open_one.decided:
            self._apply(partition, open_one.transaction, open_one.changelog)
        self.epochs[partition] = self.epochs.get(partition, 0) + 1
        return self.epochs[partition]

    def commit(
        self, partition: int, epoch: int, transaction: Transaction, changelog: Target
    ) -> int:
        """Make a transaction true; returns the changelog position behind its changes."""
        if self.epochs.get(partition) != epoch:
            raise Fenced(f"epoch {epoch} of partition {partition} is over")
        return self._apply(partition, transaction, changelog)

    def _apply(self, partition: int, transaction: Transaction, changelog: Target) -> int:
        for target, records in transaction.records.items():
            for key, value, headers, timestamp_ms in records:
                self.append(target, key, value, headers, timestamp_ms)
            self.topics[target].append(None)
        for key, value in transaction.changes:
            self.append(changelog, key, value)
        position = len(self.topics.setdefault(changelog, []))
        self.topics[changelog].append(None)
        for topic, offset in transaction.positions.items():
            self.group[Target(topic, partition)] = offset
        return position


class _MemoryLog:
    """`PartitionLog` on a `MemoryBroker`."""

    def __init__(
        self, broker: MemoryBroker, partition: int, inputs: Sequence[str], changelog: str
    ) -> None:
        self._broker = broker
        self._partition = partition
        self._inputs = inputs
        self._changelog = Target(changelog, partition)
        self._epoch = 0
        #: Set to die while committing.
        self.die_committing: CommitFate | None = None

    async def fence(self) -> None:
        self._epoch = self._broker.fence(self._partition)

    async def committed(self) -> dict[str, int | None]:
        group = self._broker.group
        return {topic: group.get(Target(topic, self._partition)) for topic in self._inputs}

    async def bounds(self) -> dict[str, tuple[int, int]]:
        topics = self._broker.topics
        return {t: (0, len(topics.get(Target(t, self._partition), ()))) for t in self._inputs}

    async def changelog(
        self, position: int | None
    ) -> AsyncGenerator[tuple[list[Change], int, int], None]:
        log = self._broker.topics.get(self._changelog, [])
        position, end = position or 0, len(log)
        if position > end:
            raise LookupError(f"{position} is past the end {end}")
        while position < end:
            # Small reads, so that a restore takes several.
            reached = min(end, position + 7)
            some = [r for r in log[position:reached] if r is not None]
            yield [(r.key or b"", r.value) for r in some], reached, end
            position = reached

    async def origin(self) -> bytes | None:
        first = next((r for r in self._broker.records(self._changelog)), None)
        return first.value if first is not None and first.key == ORIGIN_KEY else None

    async def commit(self, transaction: Transaction) -> int:
        if self.die_committing is not None:
            decided = self.die_committing is CommitFate.DECIDED
            self._broker.undecided[self._partition] = _Undecided(
                transaction, self._changelog, decided
            )
            raise Crashed("while committing")
        return self._broker.commit(self._partition, self._epoch, transaction, self._changelog)

    async def close(self) -> None:
        return None


@dataclass
class _Owner:
    task: PartitionTask
    log: _MemoryLog
    #: Per topic, the position that the consumer fetches from next.
    fetch: dict[str, int] = field(default_factory=dict)


class EngineTestDriver:
    """Runs the tasks of one job, in one thread, deterministically."""

    def __init__(
        self,
        processor: Callable[[int], Processor],
        *,
        inputs: Sequence[str],
        ticks: str = "ticks",
        partitions: int = 1,
        batch_records: int = 1000,
        guards: Guards | None = None,
        formats: Formats | None = None,
        broker: MemoryBroker | None = None,
        stale_seek: int = 0,
        runner: asyncio.Runner | None = None,
        observer: TaskObserver | None = None,
        fetch_records: int | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`inputs` and `ticks` are the topics of the tasks. A `runner` can be shared by drivers;
        who made it closes it.

        `stale_seek` makes the consumer start that many records below the task's position, as Faust
        can when it reads an offset from before a commit that is just finishing. A fetch brings at
        most `fetch_records` of a topic, and says how many there are. `clock` gives the tasks their
        seconds.
        """
        self.broker = broker or MemoryBroker()
        self.partitions = partitions
        self._processor = processor
        self._inputs = (*inputs, ticks)
        self._ticks = ticks
        self._limits = Limits(batch_records=batch_records, inbox_records=2 * batch_records)
        self._guards = guards or Guards()
        self._formats = formats
        self._stale_seek = stale_seek
        self._stores = [MemoryStore() for _ in range(partitions)]
        self._owners: dict[int, _Owner] = {}
        self._crash: Boundary | CommitFate | None = None
        self._crash_after = 0
        self._observer = observer
        self._fetch_records = fetch_records
        self._clock = clock
        self._own_runner = runner is None
        self._runner = runner or asyncio.Runner()

    # -- input ---------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Sequence[Header] = (),
        timestamp_ms: int | None = None,
    ) -> tuple[int, int]:
        """Publish an input record; returns its partition and offset. A null key goes to 0."""
        number = (int(murmur2(key)) & 0x7FFFFFFF) % self.partitions if key else 0
        return number, self.broker.append(Target(topic, number), key, value, headers, timestamp_ms)

    def tick(self, now_ms: int | None = None) -> None:
        """Move the time of every partition to `now_ms` (milliseconds since the epoch)."""
        if now_ms is not None:
            self.broker.now_ms = now_ms
        for number in range(self.partitions):
            self.broker.append(Target(self._ticks, number), None, b"%d" % self.broker.now_ms)

    # -- running -------------------------------------------------------------------------

    def crash_at(self, place: Boundary | CommitFate, *, after: int = 0) -> None:
        """Die at `place`, the first time or after passing it `after` times."""
        self._crash, self._crash_after = place, after

    def run(self, *, batches: int | None = None) -> bool:
        """Own every partition and process all there is, or at most `batches` batches each.

        Returns whether it got through; False after a crash, which takes all tasks with it. The next
        `run` starts new owners.
        """
        try:
            self._runner.run(self._run(batches))
        except Crashed:
            self._owners.clear()
            return False
        return True

    async def _run(self, batches: int | None) -> None:
        for number in range(self.partitions):
            owner = self._owners.get(number) or await self._take_over(number)
            done = 0
            while batches is None or done < batches:
                fetched = self._fetch(owner)
                if await owner.task.step():
                    done += 1
                elif not fetched:
                    break

    async def _take_over(self, number: int) -> _Owner:
        log = _MemoryLog(self.broker, number, self._inputs, "changelog")
        task = PartitionTask(
            number,
            log=log,
            open_store=lambda: self._stores[number],
            processor=lambda: self._processor(number),
            journal_topic="journal",
            limits=self._limits,
            guards=self._guards,
            formats=self._formats,
            observer=self._observer,
            clock=self._clock,
            boundary=lambda place: self._pass(log, place),
        )
        owner = _Owner(task, log)
        positions = await task.acquire()
        await task.restore()
        owner.fetch = {t: max(0, p - self._stale_seek) for t, p in positions.items()}
        self._owners[number] = owner
        return owner

    def _pass(self, log: _MemoryLog, place: Boundary) -> None:
        if isinstance(self._crash, CommitFate):
            if place is not Boundary.PROCESSED:
                return
        elif place is not self._crash:
            return
        if self._crash_after:
            self._crash_after -= 1
            return
        crash, self._crash = self._crash, None
        if isinstance(crash, CommitFate):
            log.die_committing = crash
            return
        raise Crashed(place)

    def _fetch(self, owner: _Owner) -> bool:
        """Fetch once from every topic that is to be fetched; whether there was anything."""
        congested, fetched = owner.task.congested(), False
        for topic, begin in owner.fetch.items():
            if congested and not owner.task.scarce(topic):
                continue
            log = self.broker.topics.get(Target(topic, owner.task.partition), [])
            end = len(log) if self._fetch_records is None else begin + self._fetch_records
            end = min(end, len(log))
            if end > begin:
                records = [record for record in log[begin:end] if record is not None]
                owner.task.offer(topic, begin, end, records, len(log))
                owner.fetch[topic] = end
                fetched = True
        return fetched

    def crash(self) -> None:
        """Die now, between batches."""
        self._owners.clear()

    def abandon(self) -> PartitionTask:
        """Leave the owner of partition 0 behind, alive but fenced by the next: a zombie."""
        return self._owners.pop(0).task

    def step(self, task: PartitionTask) -> bool:
        """Let one task, such as a zombie, process a batch."""
        return self._runner.run(task.step())

    def lose_state(self) -> None:
        """Die, and lose every local store."""
        self.crash()
        self._stores = [MemoryStore() for _ in range(self.partitions)]

    # -- reading -------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[int, PartitionTask]:
        """The tasks that are alive, by partition."""
        return {number: owner.task for number, owner in self._owners.items()}

    def outputs(self, topic: str) -> list[Record]:
        """What was committed to `topic`, partition by partition."""
        return [
            record
            for number in range(self.partitions)
            for record in self.broker.records(Target(topic, number))
        ]

    def state(self, partition: int = 0) -> dict[bytes, bytes]:
        """The state of a partition without the engine's own keys."""
        data = self._stores[partition].data
        return {key: value for key, value in data.items() if not key.startswith((b"\x00", b"\x01"))}

    def state_hash(self) -> str:
        """A hash over the states of all partitions."""
        digest = hashlib.sha256()
        for number in range(self.partitions):
            for key, value in sorted(self.state(number).items()):
                digest.update(b"%d %d %d " % (number, len(key), len(value)) + key + value)
        return digest.hexdigest()

    def lag(self) -> int:
        """Input records not yet committed as processed, over all partitions."""
        total = 0
        for number in range(self.partitions):
            for topic in self._inputs:
                target = Target(topic, number)
                log = self.broker.topics.get(target, [])
                total += len(log) - self.broker.group.get(target, 0)
        return total

    def close(self) -> None:
        """Release the event loop, unless it was given."""
        if self._own_runner:
            self._runner.close()
