"""The engine of one worker process: which partitions it owns, their tasks, and their ticks.

Faust's group assignment drives it (`assign`, `revoke`), Faust's agents feed it (`offer`).
A task that fails takes the process with it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from pointstream.engine.errors import CorruptStore, EngineError
from pointstream.engine.formats import Formats
from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Outlived
from pointstream.engine.observing import TaskObserver
from pointstream.engine.records import Processor
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.task import Guards, Limits, PartitionTask, Phase, Shares

if TYPE_CHECKING:
    from pointstream.engine.transport import FetchedBatch

__all__ = ["Engine", "EngineConfig", "Overtaken"]

logger = structlog.get_logger(__name__)

T = TypeVar("T")


class Overtaken(Exception):
    """Another assignment came before the last one was complete. Nothing is wrong."""


@dataclass(slots=True)
class EngineConfig:
    """How an engine runs."""

    cluster: Cluster
    data_dir: Path
    journal_topic: str
    tick_topic: str
    tick_interval_ms: int = 1000
    limits: Limits = field(default_factory=Limits)
    guards: Guards = field(default_factory=Guards)
    formats: Formats = field(default_factory=Formats)
    #: Partitions restored at the same time: more than the cores only wait for each other.
    restoring_at_once: int = 2


class Engine:
    """All partition tasks of this process."""

    def __init__(
        self,
        config: EngineConfig,
        processor: Callable[[int], Processor],
        *,
        on_fault: Callable[[BaseException], None],
        observer: TaskObserver | None = None,
    ) -> None:
        """`on_fault` is called with the error of a task that failed; it must end the process."""
        self.config = config
        self.tasks: dict[int, PartitionTask] = {}
        #: Goes up whenever partitions come or go. What was fetched under an earlier one is void.
        self.epoch = 0
        #: Whether the group has given out the partitions: false before the first assignment, and
        #: between two.
        self.assigned = False
        self._make_processor = processor
        self._on_fault = on_fault
        self._observer = observer or TaskObserver()
        self._memory = RocksMemory()
        self._reader: AIOKafkaConsumer | None = None
        self._ticker: AIOKafkaProducer | None = None
        self._identity = b""
        self._positions: dict[int, asyncio.Task[dict[str, int]]] = {}
        self._lives: dict[int, asyncio.Task[None]] = {}
        self._standbys: dict[int, asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._shares = Shares()
        # A store must be closed before the next assignment opens it.
        self._changing = asyncio.Lock()
        self._stopping = False
        self._restoring = asyncio.Semaphore(config.restoring_at_once)

    # -- life --------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect. Waits for the broker, and says so, as long as it is away."""
        cluster = self.config.cluster
        self._reader = cluster.consumer(group_id=cluster.app_id)
        self._ticker = cluster.access.producer(
            enable_idempotence=True, request_timeout_ms=cluster.request_timeout_ms
        )
        await self._until_answered("its own clients", self._reader.start)
        await self._until_answered("its own clients", self._ticker.start)
        self._identity = await self._until_answered("the cluster's id", self._find_identity)
        self._ticking = self._watched(self._tick_forever())

    async def _until_answered(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        started = time.monotonic()
        while True:
            try:
                return await ask()
            except (KafkaError, OSError) as error:
                # One node of several may be down, and a client asks one at random.
                waited = time.monotonic() - started
                self.config.cluster.on_waiting(f"{what} ({error})", waited)
                await asyncio.sleep(0.5)

    async def _find_identity(self) -> bytes:
        """What local state belongs to: this cluster's changelog, not another's of that name."""
        cluster = self.config.cluster
        admin = cluster.access.admin()
        await admin.start()
        try:
            described = await admin.describe_cluster()
        finally:
            await admin.close()
        return f"{described.get('cluster_id')}/{cluster.changelog_topic}".encode()

    async def stop(self) -> None:
        """Give everything up cleanly: open transactions finish first."""
        self._stopping = True
        if self._ticking is not None:
            self._ticking.cancel()
        await self.revoke()
        for client in (self._ticker, self._reader):
            if client is not None:
                await client.stop()

    # -- assignment --------------------------------------------------------------------

    async def assign(self, partitions: Iterable[int], standbys: Iterable[int] = ()) -> None:
        """Own `partitions`, keep warm copies of `standbys`. Ends whatever was owned before."""
        async with self._changing:
            await self._give_up()
            if not self._stopping:
                self._take(partitions, standbys)

    def _take(self, partitions: Iterable[int], standbys: Iterable[int]) -> None:
        for partition in sorted(partitions):
            task = self._new_task(partition)
            self.tasks[partition] = task
            self._positions[partition] = asyncio.create_task(task.acquire())
            self._lives[partition] = self._watched(self._live(task))
        for partition in sorted(set(standbys) - set(self.tasks)):
            self._standbys[partition] = self._watched(self._keep_warm(partition, self.epoch))
        self.assigned = True
        self._observer.assigned(sorted(self.tasks))
        logger.info("partitions assigned", partitions=sorted(self.tasks), epoch=self.epoch)

    async def revoke(self) -> None:
        """Give up every partition, after its open transaction has ended."""
        async with self._changing:
            await self._give_up()

    async def _give_up(self) -> None:
        self.epoch += 1
        self.assigned = False
        tasks, self.tasks = self.tasks, {}
        background: list[asyncio.Task[Any]] = [*self._standbys.values()]
        self._standbys = {}
        await asyncio.gather(*(task.drain() for task in tasks.values()))
        background += [*self._positions.values(), *self._lives.values()]
        self._positions, self._lives = {}, {}
        await _end(background)
        await asyncio.gather(*(task.close() for task in tasks.values()))
        if tasks:
            logger.info("partitions given up", partitions=sorted(tasks))

    async def positions(self) -> dict[int, dict[str, int]]:
        """Per owned partition and topic, where to fetch from; known once all are fenced.

        Raises:
            Overtaken: the partitions were given up meanwhile.
        """
        waiting = dict(self._positions)
        if waiting:
            # Not `gather`: given up, the tasks are cancelled, and that would pass for a
            # cancellation of the caller.
            await asyncio.wait(waiting.values())
        if any(task.cancelled() for task in waiting.values()):
            raise Overtaken("the partitions were given up before they were fenced")
        return {partition: task.result() for partition, task in waiting.items()}

    def _new_task(self, partition: int) -> PartitionTask:
        assert self._reader is not None
        return PartitionTask(
            partition,
            log=KafkaPartitionLog(self.config.cluster, partition, self._reader),
            open_store=lambda: self._open_store(partition),
            processor=lambda: self._make_processor(partition),
            journal_topic=self.config.journal_topic,
            tick_topic=self.config.tick_topic,
            limits=self.config.limits,
            guards=self.config.guards,
            formats=self.config.formats,
            observer=self._observer,
            shares=self._shares,
            clock=time.perf_counter,
        )

    def _open_store(self, partition: int) -> RocksStore:
        path = self.config.data_dir / f"partition-{partition:05d}"
        try:
            return RocksStore(path, self._identity, self._memory)
        except CorruptStore as error:
            # Nothing is lost with it: the changelog has all that was ever committed.
            logger.warning(
                "local state thrown away, restoring it from the changelog",
                partition=partition,
                reason=str(error),
            )
            self._observer.discarded(partition, str(error))
            RocksStore.discard(path)
            return RocksStore(path, self._identity, self._memory)

    async def _live(self, task: PartitionTask) -> None:
        await asyncio.shield(self._positions[task.partition])
        async with self._restoring:
            started = time.perf_counter()
            if not await task.restore():
                return
        seconds = time.perf_counter() - started
        self._observer.restored(task.partition, seconds)
        logger.info("partition ready", partition=task.partition, seconds=round(seconds, 3))
        await self._send_tick(task.partition)
        await task.run()

    async def _keep_warm(self, partition: int, epoch: int) -> None:
        """Follow the changelog of a partition that another worker owns."""
        assert self._reader is not None
        log = KafkaPartitionLog(self.config.cluster, partition, self._reader)
        store = self._open_store(partition)
        try:
            while self.epoch == epoch:
                # A store whose position the changelog does not have stands at a commit whose
                # markers are not written yet, or is the next owner's to judge.
                with contextlib.suppress(LookupError):
                    try:
                        async with aclosing(log.changelog(store.position)) as changelog:
                            async for changes, reached, _ in changelog:
                                store.write(changes, reached)
                                if self.epoch != epoch:
                                    break
                    except Outlived as error:
                        self._observer.discarded(partition, str(error))
                        store.clear()
                        continue
                await asyncio.sleep(1.0)
        finally:
            store.close()

    # -- feeding -----------------------------------------------------------------------

    def offer(self, batch: "FetchedBatch") -> None:
        """Hand a fetched batch to its task; void when it was fetched for an earlier owner."""
        task = self.tasks.get(batch.partition)
        if task is None or batch.epoch != self.epoch:
            return
        try:
            task.offer(batch.topic, batch.begin, batch.end, batch.records, batch.reaches)
        except EngineError as error:
            # Raised here it would reach Faust's agent, which is restarted after an error and goes
            # on with the next batch.
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the process: going on would be wrong."""
        self._on_fault(error)

    def congested(self) -> set[int]:
        """Partitions that should not be fetched for now, but for what is scarce."""
        owned = len(self.tasks)
        return {number for number, task in self.tasks.items() if task.congested(owned)}

    def scarce(self, topic: str, partition: int) -> bool:
        """Whether a topic should be fetched although its partition is congested."""
        task = self.tasks.get(partition)
        return task is not None and task.scarce(topic)

    @property
    def ready(self) -> bool:
        """Whether the partitions are given out, and every one owned here is restored and runs.

        A worker that has got none, because there are more workers than partitions, is ready too.
        """
        return self.assigned and all(task.phase is Phase.RUNNING for task in self.tasks.values())

    async def ends(self) -> dict[int, dict[str, int]]:
        """Per owned partition and input topic, where the topic ends. Asks the broker.

        Not what the fetches have seen: a partition that is not fetched is the one to worry about.
        """
        assert self._reader is not None
        topics = self.config.cluster.input_topics
        places = [TopicPartition(topic, number) for number in self.tasks for topic in topics]
        found: dict[int, dict[str, int]] = {}
        for place, end in (await self._reader.end_offsets(places) if places else {}).items():
            found.setdefault(place.partition, {})[place.topic] = end
        return found

    @property
    def memory_bytes(self) -> int:
        """What the stores' caches and write buffers hold just now."""
        return self._memory.used_bytes()

    # -- ticks ---------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        """Time is an input: write it to every partition that is owned."""
        while True:
            await asyncio.sleep(self.config.tick_interval_ms / 1000)
            running = [n for n, task in self.tasks.items() if task.phase is Phase.RUNNING]
            await asyncio.gather(*map(self._send_tick, running))

    async def _send_tick(self, partition: int) -> None:
        assert self._ticker is not None
        await self._ticker.send(
            self.config.tick_topic, value=b"%d" % (time.time() * 1000), partition=partition
        )

    # -- faults --------------------------------------------------------------------------

    def _watched(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._inspect)
        return task

    def _inspect(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Again and again: Kafka clients swallow a cancellation that reaches them while they close.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)
