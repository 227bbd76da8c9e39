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
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from aiokafka.partitioner import murmur2
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pointstream.engine.errors import EngineError, PositionMismatch, RecordsDeleted
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
    #: Up to where the topic is known to have records that may be read.
    reaches: int


class Span(NamedTuple):
    """What one fetch brought of a topic partition: the records between two positions."""

    begin: int
    end: int
    records: list[Any]
    #: Up to where it is known to have records that may be read.
    reaches: int


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
            **_security(self.app),
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
        #: Per topic partition, the position behind what has been handed over...
        self._handed = dict(positions)
        #: ... and up to where it was said to have records.
        self._said = dict.fromkeys(positions, 0)

    async def fetch(self, active: set[TP], timeout: float, epoch: int) -> dict[TP, Span]:
        """Fetch once; per topic partition what came, and between which positions.

        What is handed over joins what was handed over before, so that records that get lost on
        their way show as a gap in the task. A span can be empty: transaction markers alone move
        the position, and it can become known that there is more. Nothing once the client was sought
        for another assignment than `epoch`.
        """
        found: dict[TP, Span]
        found = await self.call_thread(self._fetch, active, timeout, epoch)
        return found

    async def _fetch(self, active: set[TP], timeout: float, epoch: int) -> dict[TP, Span]:
        if self._sought != epoch:
            return {}
        consumer = self._ensure_consumer()
        fetched = await self._fetch_records(
            consumer, active, timeout=timeout, max_records=consumer._max_poll_records
        )
        if self._sought != epoch:
            # The client lets a fetch wait while partitions are assigned anew. These records
            # lie behind the new seek and would be taken for void: fetch them again.
            for tp, records in fetched.items():
                if records and tp in self._handed:
                    consumer.seek(tp, records[0].offset)
            return {}
        found: dict[TP, Span] = {}
        for tp in active:
            begin, (end, reaches) = self._handed.get(tp), self._stands_at(consumer, tp)
            if begin is None or end is None:
                continue
            if end == begin and (reaches <= end or reaches == self._said.get(tp)):
                continue
            found[tp] = Span(begin, end, fetched.get(tp, []), reaches)
            self._handed[TopicPartition(*tp)] = end
            self._said[TopicPartition(*tp)] = reaches
        return found

    @staticmethod
    def _stands_at(consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> tuple[int | None, int]:
        """The client's position, past any marker, None while it has none; and up to where the
        broker said last that there are records of transactions that have ended.

        Not `AIOKafkaConsumer.position`, which waits for one.
        """
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return None, 0
        if tp not in subscription.assignment.tps:
            return None, 0
        state = subscription.assignment.state_value(TopicPartition(*tp))
        return int(state.position) if state.has_valid_position else None, int(state.lso or 0)

    async def linger(self) -> None:
        """Tell the client that it is still being polled, while no partition has room."""
        await self.call_thread(self._linger)

    async def _linger(self) -> None:
        with self._ensure_consumer()._fetcher._subscriptions.fetch_context():
            pass

    async def beginning(self, tp: TP) -> int:
        """The lowest offset that can still be read."""
        return (await self.earliest_offsets(tp))[tp]


class Consumer(driver.Consumer):
    """Faust's consumer, by the batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The assignments (`Engine.epoch`) that the client was sought for, and fetches for.
        self._sought = 0
        self._open = 0

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

    def open(self) -> None:
        """Fetch from now on. Faust clears its queues between the seek and this."""
        self._open = self._sought

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch once and yield one message per topic partition."""
        try:
            if not self.flow_active:
                await self.wait(cast(Any, self.can_resume_flow))
            async for tp, span, epoch in self._fetched():
                yield tp, self._to_message_of(tp, span, epoch)
        except EngineError as error:
            # Faust would end with a graceful stop, for which the state must be sound.
            self.engine.fail(error)

    async def _fetched(self) -> AsyncIterator[tuple[TP, Span, int]]:
        engine = self.engine
        epoch = engine.epoch
        congested = engine.congested()
        active = {
            tp
            for tp in self._get_active_partitions()
            if tp.partition not in congested or engine.scarce(tp.topic, tp.partition)
        }
        thread = cast(ConsumerThread, self._thread)
        if not active or self._open != epoch:
            # Faust resumes the flow before it seeks: until then the client stands at offsets
            # from before the fence.
            await thread.linger()
            await asyncio.sleep(_SHORT_WAIT)
            return
        found = await thread.fetch(active, _SHORT_WAIT if congested else _LONG_WAIT, epoch)
        for tp, span in found.items():
            if not self.flow_active or epoch != engine.epoch:
                # A rebalance came between: the tasks' next owners fetch these again.
                return
            first = span.records[0].offset if span.records else span.end
            if first < span.begin:
                raise PositionMismatch(
                    f"{tp.topic}[{tp.partition}]: read up to {span.begin}, and the broker sent the "
                    f"client back to {first}. Was the topic deleted and made anew?"
                )
            if first > span.begin:
                await self._explain_gap(tp, span.begin, first)
            yield tp, span, epoch

    def _to_message_of(self, tp: TP, span: Span, epoch: int) -> ConsumerMessage:
        batch = FetchedBatch(
            tp.topic, tp.partition, span.begin, span.end, span.records, epoch, span.reaches
        )
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            span.begin,
            0.0,
            0,
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

    def _settings_auth(self) -> Mapping[str, Any]:
        return _security(self.app)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The partition of a key, as every Kafka client places it.

        Faust's looks it up among topics that this producer, which never sends, knows nothing of.
        """
        return TP(topic, (int(murmur2(key)) & 0x7FFFFFFF) % self.app.conf.topic_partitions)


def _security(app: Any) -> Mapping[str, Any]:
    """How Faust's clients show who they are: as ours do, not by Faust's own credentials."""
    return cast("Engine", app.engine).config.cluster.security


class Transport(driver.Transport):
    """Registered as `pointstream://` among Faust's transports."""

    Consumer: ClassVar[type[Any]] = Consumer
    Producer: ClassVar[type[Any]] = Producer
    driver_version = f"pointstream on aiokafka={aiokafka.__version__}"
