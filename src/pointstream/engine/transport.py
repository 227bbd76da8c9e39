"""The Faust transport: aiokafka, with whole batches of one partition as messages.

Faust's own consumer hands an agent one record at a time and seeks to offsets that it reads
before the partition is fenced. This one differs in just that:

- a message's value is what one fetch brought for one topic partition (`FetchedBatch`);
- it seeks to the positions that the fenced partition tasks give;
- it does not fetch what a task has no room for.

Offsets are committed by the tasks' transactions; the topics are declared with `acks=False`,
so Faust's committer has nothing to commit.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from aiokafka.partitioner import murmur2
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pointstream.engine.errors import RecordsDeleted
from pointstream.engine.records import InputRecord
from pointstream.engine.runtime import Overtaken

if TYPE_CHECKING:
    from pointstream.engine.runtime import Engine

__all__ = ["Consumer", "FetchedBatch", "Producer", "Transport"]

#: How long a fetch waits for records while some partitions are not asked for; a partition
#: that gets room again must not wait a whole second for the others.
_SHORT_WAIT = 0.02
_LONG_WAIT = 0.5


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """The records of one topic partition between two positions, of one assignment."""

    topic: str
    partition: int
    begin: int
    end: int
    records: Sequence[InputRecord]
    epoch: int


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with our client settings."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            # The client has one fetch under way per broker, without the partitions whose records
            # it has just handed on. Those wait until it returns: at low load, just this long.
            fetch_max_wait_ms=50,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            # Upstream teams may publish in transactions: what they aborted never happened.
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    #: The assignment (`Engine.epoch`) that the client was sought for.
    _sought = 0

    async def seek_all(self, positions: dict[TopicPartition, int], epoch: int) -> None:
        """Seek, in the consumer's own thread."""
        await self.call_thread(self._seek_all, positions, epoch)

    async def _seek_all(self, positions: dict[TopicPartition, int], epoch: int) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        # Assigned by way of the table, but read by the tasks themselves when they restore.
        consumer.pause(*(assigned - positions.keys()))
        for tp, position in positions.items():
            if tp in assigned:
                consumer.seek(tp, position)
        self._sought = epoch
        #: Per topic partition, the position behind what has been handed over.
        self._handed = dict(positions)

    async def fetch(
        self, active: set[TP], timeout: float, epoch: int
    ) -> dict[TP, tuple[int, list[Any]]]:
        """Fetch once; per topic partition, the position that the records go on from, and they.

        What is handed over joins what was handed over before, so that records that get lost on
        their way show as a gap in the task. Nothing once the client was sought for another
        assignment than `epoch`.
        """
        found: dict[TP, tuple[int, list[Any]]]
        found = await self.call_thread(self._fetch, active, timeout, epoch)
        return found

    async def _fetch(
        self, active: set[TP], timeout: float, epoch: int
    ) -> dict[TP, tuple[int, list[Any]]]:
        if self._sought != epoch:
            return {}
        consumer = self._ensure_consumer()
        fetched = await self._fetch_records(
            consumer, active, timeout=timeout, max_records=consumer._max_poll_records
        )
        found: dict[TP, tuple[int, list[Any]]] = {}
        for tp, records in fetched.items():
            if not records or tp not in self._handed:
                continue
            if self._sought != epoch:
                # The client lets a fetch wait while partitions are assigned anew. These records
                # lie behind the new seek and would be taken for void: fetch them again.
                consumer.seek(tp, records[0].offset)
                continue
            found[TP(*tp)] = self._handed[tp], records
            self._handed[tp] = records[-1].offset + 1
        return found

    async def beginning(self, tp: TP) -> int:
        """The lowest offset that can still be read."""
        return (await self.earliest_offsets(tp))[tp]


class Consumer(driver.Consumer):
    """Faust's consumer, by the batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The assignment (`Engine.epoch`) that the last seek was for.
        self._sought = 0

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def engine(self) -> "Engine":
        return cast("Engine", cast(Any, self.app).engine)

    async def perform_seek(self) -> None:
        """Seek to where the tasks go on, known only once they have fenced."""
        epoch = self.engine.epoch
        try:
            fenced = await self.engine.positions()
        except Overtaken as error:
            # What Faust's recovery takes for "rebalanced again". Did a cancellation reach it, its
            # one task would end without a word and no later assignment would be fetched.
            raise IllegalStateError(str(error)) from error
        positions = {
            TopicPartition(topic, partition): position
            for partition, topics in fenced.items()
            for topic, position in topics.items()
        }
        thread = cast(ConsumerThread, self._thread)
        await thread.seek_all(positions, epoch)
        self._sought = epoch
        self._read_offset.clear()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch once and yield one message per topic partition."""
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        engine = self.engine
        epoch = engine.epoch
        congested = engine.congested()
        active = {tp for tp in self._get_active_partitions() if tp.partition not in congested}
        if not active or self._sought != epoch:
            # Faust resumes the flow before it seeks: until then the client stands at offsets
            # from before the fence.
            await asyncio.sleep(_SHORT_WAIT)
            return
        fetched = await cast(ConsumerThread, self._thread).fetch(
            active, _SHORT_WAIT if congested else _LONG_WAIT, epoch
        )
        for tp, (begin, records) in fetched.items():
            if not self.flow_active or epoch != engine.epoch:
                # A rebalance came between: the tasks' next owners fetch these again.
                return
            yield tp, await self._to_batch(tp, begin, records, epoch)

    async def _to_batch(
        self, tp: TP, begin: int, records: list[Any], epoch: int
    ) -> ConsumerMessage:
        end = records[-1].offset + 1
        if records[0].offset > begin:
            await self._explain_gap(tp, begin, records[0].offset)
        batch = FetchedBatch(tp.topic, tp.partition, begin, end, records, epoch)
        first = records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000.0,
            first.timestamp_type,
            None,
            None,
            cast(Any, batch),
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _explain_gap(self, tp: TP, begin: int, first: int) -> None:
        """Offsets are missing: transaction markers, or records that retention deleted.

        The client resets silently to the earliest record when its position is gone. Points
        would be lost without a word.
        """
        beginning = await cast(ConsumerThread, self._thread).beginning(tp)
        if beginning > begin:
            raise RecordsDeleted(
                f"{tp.topic}[{tp.partition}]: records {begin} to {min(beginning, first) - 1} were "
                f"deleted by retention before they were processed"
            )


class Producer(driver.Producer):
    """Faust's producer. Nothing is sent with it; it only tells where a key lives."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The partition of a key, as every Kafka client places it.

        Faust's looks it up among topics that this producer, which never sends, knows nothing of.
        """
        return TP(topic, (int(murmur2(key)) & 0x7FFFFFFF) % self.app.conf.topic_partitions)


class Transport(driver.Transport):
    """Registered as `pointstream://` among Faust's transports."""

    Consumer: ClassVar[type[Any]] = Consumer
    Producer: ClassVar[type[Any]] = Producer
    driver_version = f"pointstream on aiokafka={aiokafka.__version__}"
