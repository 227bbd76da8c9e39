"""`PartitionLog` on a real broker, through aiokafka."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    InvalidProducerEpoch,
    OffsetOutOfRangeError,
    ProducerFenced,
)

from pointstream.engine.access import Access
from pointstream.engine.errors import Fenced
from pointstream.engine.formats import ORIGIN_KEY
from pointstream.engine.log import Change, Outlived, Transaction
from pointstream.engine.records import Header, Target

__all__ = ["Cluster", "KafkaPartitionLog"]

T = TypeVar("T")

#: What `Outgoing` is as a plain tuple.
_Sent = tuple[bytes | None, bytes | None, Sequence[Header], int | None]
_NO_HEADERS: list[Header] = []

#: A producer batch is filled up to this; the broker's default limit for one is 1 MiB.
_PRODUCER_BATCH_BYTES = 512 << 10
#: A step that takes longer is reported, again and again, as waiting for the broker.
_PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Cluster:
    """What all partitions of a worker share to reach Kafka."""

    bootstrap_servers: str
    #: Consumer group, and prefix of the transactional ids.
    app_id: str
    #: Topics with the member key, that is the input of every task.
    input_topics: tuple[str, ...]
    changelog_topic: str
    #: Client settings for TLS and SASL, as aiokafka names them.
    security: Mapping[str, Any] = field(default_factory=dict)
    transaction_timeout_ms: int = 60_000
    #: How long one request may wait for a broker that is away, before the process ends.
    request_timeout_ms: int = 60_000
    #: A local state is brought up to date if what it lacks is no older than this, else restored
    #: whole. Half of the changelog's `delete.retention.ms`: the other half is for the restore.
    changelog_memory_ms: int = 43_200_000
    on_waiting: Callable[[str, float], None] = lambda what, seconds: None

    @property
    def access(self) -> Access:
        """What its clients are made by."""
        return Access(self.bootstrap_servers, self.security)

    def consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        chosen = {
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "request_timeout_ms": self.request_timeout_ms,
            # A position that is gone is an error. The client's default is to go on at the end.
            "auto_offset_reset": "none",
        }
        return self.access.consumer(*topics, **chosen | settings)

    async def patiently(self, what: str, work: Awaitable[T]) -> T:
        """Await `work`, saying every few seconds that it waits."""
        task = asyncio.ensure_future(work)
        started = time.monotonic()
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
                if done:
                    return task.result()
                self.on_waiting(what, time.monotonic() - started)
        finally:
            if not task.done():
                task.cancel()


class KafkaPartitionLog:
    """One partition's producer, positions and changelog."""

    def __init__(self, cluster: Cluster, partition: int, reader: AIOKafkaConsumer) -> None:
        """`reader` belongs to the group but joins it never: it only asks for offsets."""
        self._cluster = cluster
        self._partition = partition
        self._reader = reader
        self._producer: AIOKafkaProducer | None = None
        self._inputs = [TopicPartition(topic, partition) for topic in cluster.input_topics]
        self._changelog = TopicPartition(cluster.changelog_topic, partition)

    async def fence(self) -> None:
        cluster = self._cluster
        self._producer = cluster.access.producer(
            transactional_id=f"{cluster.app_id}-{self._partition}",
            transaction_timeout_ms=cluster.transaction_timeout_ms,
            max_batch_size=_PRODUCER_BATCH_BYTES,
            # The size of one oversized dead letter with its headers, not of a batch.
            max_request_size=32 << 20,
            request_timeout_ms=cluster.request_timeout_ms,
        )
        await cluster.patiently(f"fencing partition {self._partition}", self._producer.start())

    async def committed(self) -> dict[str, int | None]:
        offsets = await asyncio.gather(*(self._reader.committed(tp) for tp in self._inputs))
        return {tp.topic: offset for tp, offset in zip(self._inputs, offsets, strict=True)}

    async def bounds(self) -> dict[str, tuple[int, int]]:
        begins = await self._reader.beginning_offsets(self._inputs)
        ends = await self._reader.end_offsets(self._inputs)
        return {tp.topic: (begins[tp], ends[tp]) for tp in self._inputs}

    async def changelog(
        self, position: int | None
    ) -> AsyncGenerator[tuple[list[Change], int, int], None]:
        tp = self._changelog
        begin = (await self._reader.beginning_offsets([tp]))[tp]
        end = (await self._reader.end_offsets([tp]))[tp]
        if position is not None and not begin <= position <= end:
            raise LookupError(
                f"local state stands at {position}, {tp.topic}[{tp.partition}] reaches from "
                f"{begin} to {end}"
            )
        if position is not None and position < await self._remembered_from(end):
            raise Outlived(
                f"local state stands at {position}, and what came then in "
                f"{tp.topic}[{tp.partition}] is so old that removals may be missing"
            )
        position = begin if position is None else position
        if position >= end:
            return
        consumer = self._cluster.consumer(max_partition_fetch_bytes=4 << 20)
        consumer.assign([tp])
        await consumer.start()
        try:
            consumer.seek(tp, position)
            while position < end:
                # Short waits: the last thing before the end is a transaction marker, past which
                # the position moves and which is never delivered.
                fetched = await consumer.getmany(tp, timeout_ms=20, max_records=10_000)
                position = await consumer.position(tp)
                records = fetched.get(tp, ())
                yield [(r.key, r.value) for r in records], position, end
        except OffsetOutOfRangeError as error:
            raise LookupError(str(error)) from error
        finally:
            await consumer.stop()

    async def _remembered_from(self, end: int) -> int:
        """The lowest position behind which the changelog has every removal."""
        tp = self._changelog
        since_ms = int(time.time() * 1000) - self._cluster.changelog_memory_ms
        young = (await self._reader.offsets_for_times({tp: since_ms}))[tp]
        # The marker before it belongs to the transaction that a store may stand behind.
        return (end if young is None else int(young.offset)) - 1

    async def origin(self) -> bytes | None:
        tp = self._changelog
        begin = (await self._reader.beginning_offsets([tp]))[tp]
        if begin >= (await self._reader.end_offsets([tp]))[tp]:
            return None
        # Asked at every take-over with a disk: it must not wait a tenth of a second for the leader.
        consumer = self._cluster.consumer(max_partition_fetch_bytes=4 << 10, retry_backoff_ms=20)
        consumer.assign([tp])
        await consumer.start()
        try:
            consumer.seek(tp, begin)
            while await consumer.position(tp) == begin:
                # It is the first record for good: compaction keeps the last of a key where it is.
                fetched = await consumer.getmany(tp, timeout_ms=20, max_records=1)
                for record in fetched.get(tp, ()):
                    return record.value if record.key == ORIGIN_KEY else None
        finally:
            await consumer.stop()
        return None

    async def commit(self, transaction: Transaction) -> int:
        try:
            return await self._cluster.patiently(
                f"the transaction of partition {self._partition}", self._commit(transaction)
            )
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced(f"partition {self._partition} has a newer owner") from error

    async def _commit(self, transaction: Transaction) -> int:
        producer = self._producer
        if producer is None:
            raise IllegalStateError("commit before fence")
        await producer.begin_transaction()
        changes = [(key, value, _NO_HEADERS, None) for key, value in transaction.changes]
        offsets = {
            TopicPartition(topic, self._partition): offset
            for topic, offset in transaction.positions.items()
        }
        changelog_end: int
        changelog_end, *_ = await asyncio.gather(
            self._send(producer, Target(self._changelog.topic, self._partition), changes),
            *(self._send(producer, target, out) for target, out in transaction.records.items()),
        )
        # After the records, not beside them: while the coordinator is busy adding the offsets it
        # refuses to vouch for the records' partitions, and the broker turns them down for now.
        if offsets:
            await producer.send_offsets_to_transaction(offsets, self._cluster.app_id)
        await producer.commit_transaction()
        # The commit marker takes the next offset; a restore from here reads at most that.
        return changelog_end

    async def _send(
        self, producer: AIOKafkaProducer, target: Target, records: Sequence[_Sent]
    ) -> int:
        """Send records as whole producer batches; returns the offset behind the last."""
        sent = []
        builder = producer.create_batch()
        append = builder.append
        for key, value, headers, timestamp_ms in records:
            # The builder takes headers as a list and as nothing else.
            listed = headers if type(headers) is list else list(headers)
            if append(timestamp=timestamp_ms, key=key, value=value, headers=listed) is None:
                sent.append(await self._queue(producer, target, builder))
                builder = producer.create_batch()
                append = builder.append
                if append(timestamp=timestamp_ms, key=key, value=value, headers=listed) is None:
                    # The first always fits.
                    raise ValueError(f"a record for {target.topic} exceeds every batch")
        sent.append(await self._queue(producer, target, builder))
        # Results are awaited, not assumed: a batch that failed must fail the transaction.
        results = await asyncio.gather(*(future for _, future in sent))
        return int(results[-1].offset) + sent[-1][0]

    @staticmethod
    async def _queue(
        producer: AIOKafkaProducer, target: Target, builder: Any
    ) -> tuple[int, "asyncio.Future[Any]"]:
        count = builder.record_count()
        future = await producer.send_batch(builder, target.topic, partition=target.partition)
        return count, future

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # A fenced or broken producer may fail to stop; the next owner fences it anyway.
            with contextlib.suppress(Exception):
                await producer.stop()
