"""The partition task: one partition number of all co-partitioned topics, one state, one owner.

Its life is always the same::

    fence -> position -> restore -> (take a batch -> process -> transaction -> store)*

- **fence** first. Starting the transactional producer aborts or completes what a former
  owner left open. A position read before that may lie before a commit that is just
  finishing, and everything between would be processed twice.
- **position** next: what the group has committed, cross-checked with the positions that
  travel inside the state.
- **restore**: the changelog, read-committed, from what the local store has to its end.
- one **transaction** per batch: effects, changelog, journal and input positions. Kafka makes
  all of it true or none of it.
- the **store** last. Written before the commit, it would keep the effects of a transaction
  that never was.

Any error leaves the task unusable. It is never retried in place: the process ends, and the
next owner begins at what is committed.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from pointstream.engine.errors import PositionGap, StateLost
from pointstream.engine.formats import BARRED_KEY, FORMAT_KEY, ORIGIN_KEY, Formats
from pointstream.engine.inbox import Batch, Inbox
from pointstream.engine.log import Outlived, PartitionLog, Transaction
from pointstream.engine.observing import Commit, TaskObserver
from pointstream.engine.positions import agree
from pointstream.engine.records import InputRecord, Outgoing, Output, Processor, Target
from pointstream.engine.state import State
from pointstream.engine.store import Store

__all__ = [
    "Boundary",
    "Guards",
    "Limits",
    "PartitionTask",
    "Phase",
    "Shares",
]

#: Key of the input positions within the changelog. User keys never begin with this byte.
POSITIONS_KEY = b"\x01positions"


class Phase(enum.StrEnum):
    """Where a task is in its life."""

    FENCING = "fencing"
    RESTORING = "restoring"
    RUNNING = "running"
    CLOSED = "closed"


class Boundary(enum.StrEnum):
    """The places between two effects. The test driver can crash the task at each."""

    FENCED = "fenced"
    POSITIONED = "positioned"
    RESTORED = "restored"
    PROCESSED = "processed"
    COMMITTED = "committed"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps the count exact. Each can be switched off to show what it guards against.

    Only tests do that.
    """

    fence_before_position: bool = True
    check_position: bool = True
    store_after_commit: bool = True
    #: The second net under the other three: see `PositionMismatch`.
    agree_on_positions: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one task."""

    #: Records in one transaction at most.
    batch_records: int = 1000
    #: Above this many waiting records, over all tasks of a process, a partition that has its share
    #: of them is not fetched.
    inbox_records: int = 16_000
    #: The same in bytes of values: a few large records weigh as much as many.
    batch_bytes: int = 4 << 20
    inbox_bytes: int = 32 << 20
    #: Records processed without giving way to other tasks' input and output.
    slice_records: int = 50
    #: For how long a partition waits for records that are known to be there, before it takes later
    #: ones of other topics; 0 for not at all. A broker may be away that has the one and not the
    #: others.
    order_seconds: float = 5.0


class Shares:
    """What the tasks of one process share."""

    def __init__(self, *, batches: int = 3) -> None:
        """At most so many tasks have a batch in memory, with all that came of it."""
        #: One task computes at a time, while the others' transactions are under way.
        self.turn = asyncio.Semaphore(1)
        self.batches = asyncio.Semaphore(batches)


class PartitionTask:
    """Everything that happens to one partition number. Nothing else touches its state."""

    def __init__(
        self,
        partition: int,
        *,
        log: PartitionLog,
        open_store: Callable[[], Store],
        processor: Callable[[], Processor],
        journal_topic: str | None = None,
        tick_topic: str | None = None,
        limits: Limits | None = None,
        guards: Guards | None = None,
        formats: Formats | None = None,
        observer: TaskObserver | None = None,
        shares: Shares | None = None,
        boundary: Callable[[Boundary], None] = lambda _: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Nothing happens before `acquire`.

        Of `tick_topic` records may be gone that nobody took: the next one tells the time as well.
        `boundary` is called between effects, for tests.
        `clock` gives seconds, for the observer only.
        """
        self.partition = partition
        self.phase = Phase.FENCING
        self.limits = limits or Limits()
        #: By topic the next record to take: as the group says once that is known, as the state says
        #: after the restore.
        self.positions: dict[str, int] = {}
        #: Records taken since the task began.
        self.processed = 0
        #: Changelog records still to restore.
        self.restore_remaining = 0
        self._log = log
        self._open_store = open_store
        self._make_processor = processor
        self._journal = Target(journal_topic, partition) if journal_topic else None
        self._tick_topic = tick_topic
        self._guards = guards or Guards()
        self._formats = formats or Formats()
        #: Whether the state is yet to be marked with the format that is written here.
        self._unmarked = False
        self._observer = observer or TaskObserver()
        self._shares = shares or Shares()
        self._boundary = boundary
        self._clock = clock
        self._committed: dict[str, int | None] = {}
        self._bounds: dict[str, tuple[int, int]] = {}
        self._store: Store | None = None
        self._processor: Processor | None = None
        self._inbox: Inbox | None = None
        self._arrived = asyncio.Event()
        #: What is waited for, by topic the position so far, and since when.
        self._awaited: tuple[dict[str, int], float] = ({}, 0.0)
        self._lock = asyncio.Lock()

    # -- becoming the owner ------------------------------------------------------------

    async def acquire(self) -> dict[str, int]:
        """Fence, then return per input topic the position to start fetching from."""
        if self._guards.fence_before_position:
            await self._log.fence()
            self._boundary(Boundary.FENCED)
            self._committed = await self._log.committed()
            self._boundary(Boundary.POSITIONED)
        else:
            self._committed = await self._log.committed()
            self._boundary(Boundary.POSITIONED)
            await self._log.fence()
            self._boundary(Boundary.FENCED)
        self._bounds = await self._log.bounds()
        self.positions = {
            topic: self._bounds[topic][0] if offset is None else self._kept(topic, offset)
            for topic, offset in self._committed.items()
        }
        return self.positions

    def _kept(self, topic: str, position: int) -> int:
        """Return from where on a topic can be read: of ticks what is left, if workers were away for
        longer than they are kept."""
        return max(position, self._bounds[topic][0]) if topic == self._tick_topic else position

    async def restore(self) -> bool:
        """Bring the store up to the changelog's end and agree on the positions; then run.

        Returns whether the task runs; not so when it was given up meanwhile.

        Raises:
            StateLost: there are positions, but the state that belongs to them is nowhere.
            PositionMismatch: the group's offsets were changed behind the state's back.
            RecordsDeleted: retention was faster than the worker.
            StateTooNew: the state is in a format of a newer release.
            StateBarred: an operation on the whole state has not ended.
        """
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.RESTORING
            await self._restore_store()
        if self.phase is Phase.CLOSED:
            # Not left to the cancellation alone: clients swallow one at times while they close,
            # and a task that came to life after that would never end.
            return False
        self._check_format()
        self.positions = self._agree(self._positions_inside())
        self._inbox = Inbox(
            self.positions,
            ends={topic: end for topic, (_, end) in self._bounds.items()},
            check_position=self._guards.check_position,
        )
        self._processor = self._make_processor()
        self.phase = Phase.RUNNING
        self._boundary(Boundary.RESTORED)
        return True

    def _check_format(self) -> None:
        # Before anything else is read: positions, too, are only as good as their format.
        assert self._store is not None
        mark = self._store.get(FORMAT_KEY)
        bar = self._store.get(BARRED_KEY)
        found = self._formats.check(f"partition {self.partition}", mark, bar)
        self._unmarked = mark is None or found < self._formats.writes

    def _agree(self, inside: Mapping[str, int]) -> dict[str, int]:
        if not self._guards.agree_on_positions:
            return {
                topic: self._bounds[topic][0] if offset is None else offset
                for topic, offset in self._committed.items()
            }
        if not inside and self._has_committed():
            raise StateLost(
                f"partition {self.partition}: the group has committed positions, but neither the "
                f"changelog nor the disk has the state that belongs to them. Bring the changelog "
                f"back, or delete the group's offsets to process everything anew."
            )
        found: dict[str, int] = {}
        for topic, offset in self._committed.items():
            own, bounds = inside.get(topic), self._bounds[topic]
            if topic == self._tick_topic and own is not None and offset in (None, own):
                offset = own = self._kept(topic, own)
            found[topic] = agree(f"{topic}[{self.partition}]", offset, own, bounds)
        return found

    def _has_committed(self) -> bool:
        return any(offset is not None for offset in self._committed.values())

    def _positions_inside(self) -> Mapping[str, int]:
        assert self._store is not None
        raw = self._store.get(POSITIONS_KEY)
        return {} if raw is None else orjson.loads(raw)

    async def _restore_store(self) -> None:
        store = self._store = self._open_store()
        if store.position is not None and store.get(ORIGIN_KEY) != await self._log.origin():
            # Its position may well lie within the changelog, and means something else there.
            self._observer.discarded(self.partition, "the changelog was written from a backup")
            store.clear()
        try:
            await self._restore_from(store.position)
        except Outlived as error:
            # The changelog has the whole state, and says only of this one too little.
            self._observer.discarded(self.partition, str(error))
            store.clear()
            await self._restore_from(None)
        except LookupError as error:
            if self._guards.agree_on_positions and self._has_committed():
                # The store may be all that is left of the state: it is not touched.
                raise StateLost(
                    f"partition {self.partition}: {error}. The changelog was cut or made anew. "
                    f"Bring it back, or delete the local state and the group's offsets to process "
                    f"everything anew."
                ) from error
            self._observer.discarded(self.partition, str(error))
            store.clear()
            await self._restore_from(None)

    async def _restore_from(self, position: int | None) -> None:
        assert self._store is not None
        done = 0
        async with aclosing(self._log.changelog(position)) as changelog:
            async for changes, reached, end in changelog:
                # A key may come twice in one read; the later value wins within a write batch.
                self._store.write(changes, reached)
                done += len(changes)
                self.restore_remaining = max(0, end - reached)
                if self.phase is Phase.CLOSED:
                    return
                self._observer.restoring(self.partition, done, self.restore_remaining)

    # -- running -----------------------------------------------------------------------

    def offer(
        self,
        topic: str,
        begin: int,
        end: int,
        records: Sequence[InputRecord],
        reaches: int = 0,
    ) -> None:
        """Hand in what was fetched from position `begin` to `end`; see `Inbox.offer`."""
        if self._inbox is None:
            # Not fetched while it is congested, and it is congested until it has restored.
            raise PositionGap(f"{topic}[{self.partition}]: records came before the restore ended")
        dropped = self._inbox.dropped
        self._inbox.offer(topic, begin, end, records, reaches)
        if self._inbox.dropped > dropped:
            self._observer.dropped(self.partition, self._inbox.dropped - dropped)
        if self._inbox.pending:
            self._arrived.set()

    @property
    def waiting(self) -> int:
        """Records received and not yet processed."""
        return self._inbox.size if self._inbox else 0

    def oldest(self) -> Mapping[str, int]:
        """By topic, the time (ms) of the record received longest ago and not yet processed."""
        return self._inbox.oldest() if self._inbox else {}

    def congested(self, tasks: int = 1) -> bool:
        """Whether the partition should not be fetched for now, as one of so many `tasks`."""
        if self._inbox is None:
            return True
        limits = self.limits
        return (
            self._inbox.size >= limits.inbox_records // tasks
            or self._inbox.bytes >= limits.inbox_bytes // tasks
        )

    def scarce(self, topic: str) -> bool:
        """Whether a topic should be fetched even so: a batch may have to wait for it."""
        limits = self.limits
        return self._inbox is not None and self._inbox.scarce(
            topic, limits.batch_records, limits.batch_bytes
        )

    async def run(self) -> None:
        """Process until `drain`, which stops without cutting a transaction."""
        while self.phase is not Phase.CLOSED:
            if await self.step():
                continue
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.limits.order_seconds if self._awaited[0] else None):
                    await self._arrived.wait()

    async def step(self) -> bool:
        """Process one batch; False when there was nothing to do, or nothing yet."""
        assert self._inbox is not None
        if not self._inbox.pending or self._holds_on(self._inbox):
            return False
        async with self._shares.batches, self._lock:
            if self.phase is not Phase.RUNNING:
                return False
            await self._transact(self._inbox)
            return True

    def _holds_on(self, inbox: Inbox) -> bool:
        """Whether to wait for records that are there, and may be older than what has arrived."""
        awaited = inbox.awaited()
        if not awaited or inbox.has_batch(self.limits.batch_records, self.limits.batch_bytes):
            self._awaited = ({}, 0.0)
            return False
        now = self._clock()
        before, since = self._awaited
        if awaited != before:
            since = now
        self._awaited = (awaited, since)
        if now - since >= self.limits.order_seconds:
            # Order is worth a while, not a standstill: what is late counts where it belongs.
            inbox.pass_over(awaited)
            self._awaited = ({}, 0.0)
            return False
        return True

    async def _transact(self, inbox: Inbox) -> None:
        assert self._store is not None
        assert self._processor is not None
        started = self._clock()
        state = State(self._store)
        output = Output(self.partition)
        records = inbox.look(self.limits.batch_records, self.limits.batch_bytes)
        async with self._shares.turn:
            done = await self._process(self._processor, records, state, output)
        processed = self._clock()
        batch = inbox.remove(records[:done])
        sent = len(output)
        positions = {topic: after for topic, (_, after) in batch.taken.items()}
        self.positions |= positions
        state.put(POSITIONS_KEY, orjson.dumps(self.positions))
        if self._unmarked:
            state.put(FORMAT_KEY, self._formats.mark())
        if self._journal is not None:
            output.records[self._journal] = [self._journal_record(batch)]
        writes = state.writes
        self._boundary(Boundary.PROCESSED)
        if not self._guards.store_after_commit:
            self._store.write(writes.items(), self._store.position or 0)
        changes = list(writes.items())
        sending = self._clock()
        position = await self._log.commit(Transaction(output.records, changes, positions))
        committed = self._clock()
        self._boundary(Boundary.COMMITTED)
        self._store.write(writes.items(), position)
        self._unmarked = False
        self._boundary(Boundary.STORED)
        self.processed += done
        self._observer.committed(
            Commit(
                self.partition,
                batch.records,
                sent,
                len(changes),
                processed - started,
                committed - sending,
                self._clock() - started,
            )
        )

    async def _process(
        self,
        processor: Processor,
        records: Sequence[InputRecord],
        state: State,
        output: Output,
    ) -> int:
        """Let the job take a batch, or its first records; returns how many.

        In slices between which other tasks' transactions go on: a transaction is a handful of
        round trips. Did a batch hold the loop from end to end, each of them would wait for all the
        others' batches.
        """
        processor.begin(state, output)
        size, done = self.limits.slice_records, 0
        for first in range(0, len(records), size):
            some = records[first : first + size]
            taken = processor.process(some)
            done += taken
            if taken < len(some):
                break
            await asyncio.sleep(0)
        processor.finish()
        return done

    def _journal_record(self, batch: Batch) -> Outgoing:
        """Which offsets of which topics, in which order: a replay takes them the same way."""
        value = orjson.dumps(
            {
                "taken": {topic: list(span) for topic, span in batch.taken.items()},
                "order": batch.order(),
            }
        )
        return Outgoing(None, value, (), None)

    # -- giving up -----------------------------------------------------------------------

    async def drain(self) -> None:
        """Let an open transaction finish, then refuse every further batch."""
        async with self._lock:
            self.phase = Phase.CLOSED
            self._arrived.set()

    async def close(self) -> None:
        """Give up the partition: `drain`, then release the producer and the store."""
        await self.drain()
        await self._log.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def read(self, key: bytes) -> bytes | None:
        """Read the committed state from outside the task, for health and web views."""
        return self._store.get(key) if self._store is not None else None

    def stored_bytes(self) -> int:
        """How much of the disk the state takes, as far as the store tells."""
        return self._store.stored_bytes() if self._store is not None else 0

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Scan the committed state from outside the task."""
        return iter(()) if self._store is None else self._store.scan(start, stop)
