"""A local state that was away for long, on a real broker: what was removed meanwhile stays removed.

Compaction drops removals after a while, so what the changelog says behind an old position is not
all that happened.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Transaction
from pointstream.engine.observing import TaskObserver
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.task import PartitionTask
from pointstream.engine.topics import Topic, ensure_topics

from .counting import Counting

pytestmark = pytest.mark.broker

_HOUR_MS = 3_600_000


@dataclass
class Told(TaskObserver):
    discarded_: list[str] = field(default_factory=list)

    def discarded(self, partition: int, reason: str) -> None:
        self.discarded_.append(reason)


class World:
    """One partition, whose state is written here and restored here."""

    def __init__(self, servers: str, name: str, path: Path) -> None:
        self.cluster = Cluster(servers, name, (f"{name}-in",), f"{name}-changelog")
        self.reader = self.cluster.consumer(group_id=name)
        self.disk = path / "p0"
        self._memory = RocksMemory()

    def store(self) -> RocksStore:
        return RocksStore(self.disk, b"test", self._memory)

    async def write(self, *changes: tuple[bytes, bytes | None]) -> None:
        """One transaction, and what it makes true on the disk."""
        log = KafkaPartitionLog(self.cluster, 0, self.reader)
        await log.fence()
        position = await log.commit(Transaction({}, list(changes), {}))
        await log.close()
        # Its markers are written for certain once the next owner has fenced.
        following = KafkaPartitionLog(self.cluster, 0, self.reader)
        await following.fence()
        await following.close()
        store = self.store()
        store.write(changes, position)
        store.close()

    async def restored(self, *, memory_ms: int) -> tuple[dict[bytes, bytes], list[str]]:
        """The state that a task makes of disk and changelog, and what it threw away."""
        self.cluster.changelog_memory_ms = memory_ms
        told = Told()
        task = PartitionTask(
            0,
            log=KafkaPartitionLog(self.cluster, 0, self.reader),
            open_store=self.store,
            processor=Counting,
            observer=told,
        )
        await task.acquire()
        await task.restore()
        assert task._store is not None
        state = dict(task._store.scan(b"k", b"l"))
        await task.close()
        return state, told.discarded_


@pytest.fixture
def new_world(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> Callable[[], object]:
    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        name = unique_name("old")
        made = World(bootstrap_servers, name, tmp_path)
        compacted = {"cleanup.policy": "compact"}
        await ensure_topics(
            bootstrap_servers,
            [Topic(f"{name}-in", 1), Topic(f"{name}-changelog", 1, compacted)],
        )
        await made.reader.start()
        try:
            yield made
        finally:
            await made.reader.stop()

    return world


@pytest.mark.parametrize(("memory_ms", "thrown_away"), [(50, 1), (_HOUR_MS, 0)])
def test_a_state_that_was_away_for_long_is_restored_whole(
    new_world, memory_ms: int, thrown_away: int
) -> None:
    """Of what it lacks, the first is older than the changelog surely remembers; else it is kept."""

    async def scenario() -> None:
        async with new_world() as world:
            await world.write((b"k1", b"a"), (b"k2", b"a"))
            shutil.copytree(world.disk, world.disk.with_name("away"))
            await world.write((b"k1", None), (b"k2", b"b"))
            shutil.rmtree(world.disk)
            world.disk.with_name("away").rename(world.disk)
            # As though compaction had been here: no removal tells the state of what it must forget.
            left = world.store()
            left.write([(b"k3", b"only here")], left.position)
            left.close()
            await asyncio.sleep(0.1)

            state, discarded = await world.restored(memory_ms=memory_ms)

            assert len(discarded) == thrown_away
            assert state == {b"k2": b"b"} | ({} if thrown_away else {b"k3": b"only here"})

    asyncio.run(scenario())


def test_a_state_that_lacks_nothing_is_never_too_old(new_world) -> None:
    """Whatever its age: after a long stop of all workers nobody restores anything whole."""

    async def scenario() -> None:
        async with new_world() as world:
            await world.write((b"k1", b"a"))
            await asyncio.sleep(0.1)

            state, discarded = await world.restored(memory_ms=1)

            assert (state, discarded) == ({b"k1": b"a"}, [])
            end = await world.reader.end_offsets([TopicPartition(world.cluster.changelog_topic, 0)])
            assert [*end.values()] == [2]

    asyncio.run(scenario())
