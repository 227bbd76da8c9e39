"""The partition task on a real broker: transactions, fencing, restore."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from pointstream.engine import Fenced, PositionMismatch, RecordsDeleted
from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Transaction
from pointstream.engine.records import Outgoing, Target
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.task import Boundary, Guards, PartitionTask
from pointstream.engine.topics import Topic, ensure_topics

from .counting import Counting

pytestmark = pytest.mark.broker


class World:
    """A job of its own on the shared broker."""

    def __init__(self, servers: str, name: str, path: Path) -> None:
        self.cluster = Cluster(
            servers, name, (f"{name}-in",), f"{name}-changelog", transaction_timeout_ms=10_000
        )
        self.path = path
        self.memory = RocksMemory()
        self.reader = self.cluster.consumer(group_id=name)
        self.numbers = Target(f"{name}-numbers", 0)

    def log(self) -> KafkaPartitionLog:
        return KafkaPartitionLog(self.cluster, 0, self.reader)

    async def publish(self, *values: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.cluster.bootstrap_servers) as producer:
            for value in values:
                await producer.send_and_wait(self.cluster.input_topics[0], value, b"k", 0)

    async def read(self, topic: str) -> list[bytes | None]:
        """All that a plain read-committed consumer sees, once every transaction is settled.

        A commit returns before its markers are written; a fence waits for them. So this ends the
        life of whoever owns the partition.
        """
        last = self.log()
        await last.fence()
        await last.close()
        consumer = self.cluster.consumer(auto_offset_reset="earliest")
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.start()
        try:
            end = (await consumer.end_offsets(consumer.assignment()))[TopicPartition(topic, 0)]
            seen: list[bytes | None] = []
            while await consumer.position(TopicPartition(topic, 0)) < end:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    seen += [record.value for record in records]
            return seen
        finally:
            await consumer.stop()

    def task(self, log: KafkaPartitionLog, **settings: object) -> PartitionTask:
        class Job(Counting):
            def finish(job) -> None:  # noqa: N805
                job.output.records = {
                    self.numbers if target.topic == "numbers" else target: of
                    for target, of in job.output.records.items()
                }

        return PartitionTask(
            0,
            log=log,
            open_store=lambda: RocksStore(self.path / "p0", b"test", self.memory),
            processor=Job,
            **settings,
        )

    async def feed(self, task: PartitionTask, positions: dict[str, int]) -> None:
        """Hand a task everything from `positions` on, and let it process."""
        (topic,) = self.cluster.input_topics
        tp = TopicPartition(topic, 0)
        consumer = self.cluster.consumer()
        consumer.assign([tp])
        await consumer.start()
        try:
            consumer.seek(tp, positions[topic])
            end = (await consumer.end_offsets([tp]))[tp]
            while (begin := await consumer.position(tp)) < end:
                records = (await consumer.getmany(timeout_ms=200)).get(tp, [])
                task.offer(topic, begin, await consumer.position(tp), records)
            while await task.step():
                pass
        finally:
            await consumer.stop()


@pytest.fixture
def new_world(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> Callable[[], "object"]:
    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        name = unique_name("log")
        made = World(bootstrap_servers, name, tmp_path)
        await ensure_topics(
            bootstrap_servers,
            [Topic(f"{name}-{suffix}", 1) for suffix in ("in", "numbers", "changelog")],
        )
        await made.reader.start()
        try:
            yield made
        finally:
            await made.reader.stop()

    return world


def transaction(world: World, count: int, position: int) -> Transaction:
    return Transaction(
        records={world.numbers: [Outgoing(b"k", b"%d" % n, (), None) for n in range(count)]},
        changes=[(b"n", b"%d" % count), (b"gone", None)],
        positions={world.cluster.input_topics[0]: position},
    )


def test_a_transaction_is_seen_whole_with_its_positions(new_world) -> None:
    """Records, changelog and positions become visible together, however many batches they take."""

    async def scenario() -> None:
        async with new_world() as world:
            log = world.log()
            await log.fence()
            assert await log.committed() == {world.cluster.input_topics[0]: None}
            await log.commit(transaction(world, 40_000, position=3))
            assert len(await world.read(world.numbers.topic)) == 40_000
            assert await log.committed() == {world.cluster.input_topics[0]: 3}
            changes = [c async for some, _, _ in log.changelog(None) for c in some]
            assert changes == [(b"n", b"40000"), (b"gone", None)]
            await log.close()

    asyncio.run(scenario())


def test_a_restore_from_behind_the_last_transaction_reads_nothing(new_world) -> None:
    """The position that a commit gives is the changelog's end but for the marker."""

    async def scenario() -> None:
        async with new_world() as world:
            log = world.log()
            await log.fence()
            for n in range(1, 4):
                position = await log.commit(transaction(world, n, position=n))
            assert [c async for some, _, _ in log.changelog(position) for c in some] == []
            with pytest.raises(LookupError):
                async for _ in log.changelog(position + 1000):
                    pass
            await log.close()

    asyncio.run(scenario())


def test_the_next_owner_fences_the_former(new_world) -> None:
    """A commit of the former owner fails and leaves nothing."""

    async def scenario() -> None:
        async with new_world() as world:
            former, owner = world.log(), world.log()
            await former.fence()
            await former.commit(transaction(world, 1, position=1))
            await owner.fence()
            with pytest.raises(Fenced):
                await former.commit(transaction(world, 5, position=2))
            assert await owner.committed() == {world.cluster.input_topics[0]: 1}
            assert await world.read(world.numbers.topic) == [b"0"]
            await owner.close()
            await former.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("fence_first", [True, False])
def test_positions_read_before_the_fence_would_count_twice(new_world, fence_first: bool) -> None:
    """A former owner commits while the next takes over; only a fence makes the position final."""

    async def scenario() -> None:
        async with new_world() as world:
            await world.publish(b"1", b"2", b"3")
            former = world.task(world.log())
            positions = await former.acquire()
            await former.restore()

            def former_commits_meanwhile(place: Boundary) -> None:
                # Without the guard this is the moment between position and fence.
                if place is Boundary.POSITIONED and not fence_first:
                    meanwhile.append(True)

            meanwhile: list[bool] = []
            guards = Guards(fence_before_position=fence_first, agree_on_positions=False)
            log = world.log()
            owner = world.task(log, guards=guards, boundary=former_commits_meanwhile)
            if fence_first:
                await world.feed(former, positions)
                former._store.close()
                positions = await owner.acquire()
            else:
                fence = log.fence

                async def late_fence() -> None:
                    await world.feed(former, positions)
                    former._store.close()
                    await fence()

                log.fence = late_fence
                positions = await owner.acquire()
                assert meanwhile
            await owner.restore()
            await world.feed(owner, positions)
            sent = await world.read(world.numbers.topic)
            assert (len(sent) == 3) is fence_first
            await owner.close()

    asyncio.run(scenario())


def test_a_task_goes_on_where_the_last_one_died(new_world) -> None:
    """Die after the commit and before the store: the difference comes from the changelog."""

    class Died(Exception):
        pass

    def die(place: Boundary) -> None:
        if place is Boundary.COMMITTED:
            raise Died

    async def scenario() -> None:
        async with new_world() as world:
            await world.publish(b"1", b"2")
            task = world.task(world.log(), boundary=die)
            positions = await task.acquire()
            await task.restore()
            with pytest.raises(Died):
                await world.feed(task, positions)
            task._store.close()
            await world.publish(b"3")
            task = world.task(world.log())
            positions = await task.acquire()
            assert positions == {world.cluster.input_topics[0]: 2}
            await task.restore()
            assert task.read(b"nk") == b"2"
            await world.feed(task, positions)
            assert await world.read(world.numbers.topic) == [b"[1,0]", b"[2,1]", b"[3,2]"]
            await task.close()

    asyncio.run(scenario())


def test_offsets_reset_behind_the_state_stop_the_task(new_world) -> None:
    """Processing again what the state holds already is never done silently."""

    async def scenario() -> None:
        async with new_world() as world:
            await world.publish(b"1", b"2")
            task = world.task(world.log())
            positions = await task.acquire()
            await task.restore()
            await world.feed(task, positions)
            await task.close()
            log = world.log()
            await log.fence()
            # An operator's reset, done through the same transactional id.
            await log._producer.begin_transaction()
            tp = TopicPartition(world.cluster.input_topics[0], 0)
            await log._producer.send_offsets_to_transaction({tp: 0}, world.cluster.app_id)
            await log._producer.commit_transaction()
            task = world.task(log)
            await task.acquire()
            with pytest.raises(PositionMismatch, match="Set this one to 2 again"):
                await task.restore()
            await task.close()

    asyncio.run(scenario())


def test_input_deleted_before_it_was_processed_stops_the_task(new_world) -> None:
    """Retention that outruns the worker is told, with the number of records."""

    async def scenario() -> None:
        async with new_world() as world:
            await world.publish(b"1")
            task = world.task(world.log())
            positions = await task.acquire()
            await task.restore()
            await world.feed(task, positions)
            await task.close()
            await world.publish(b"2", b"3")
            admin = AIOKafkaAdminClient(bootstrap_servers=world.cluster.bootstrap_servers)
            await admin.start()
            tp = TopicPartition(world.cluster.input_topics[0], 0)
            await admin.delete_records({tp: RecordsToDelete(before_offset=3)})
            await admin.close()
            task = world.task(world.log())
            await task.acquire()
            with pytest.raises(RecordsDeleted, match="2 offsets from position 1"):
                await task.restore()
            await task.close()

    asyncio.run(scenario())
