"""Each guard is needed: the audit that passes with all of them fails when one is off.

The whole job, with its ledger, on the partition task and the real broker; the faults are brought
about one by one, where the processes of `test_killed_workers.py` leave them to chance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.engine import EngineError
from pointstream.engine.kafka import Cluster, KafkaPartitionLog
from pointstream.engine.log import Transaction
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.engine.task import Guards, Limits, PartitionTask
from pointstream.engine.topics import Topic, ensure_topics
from pointstream.ledger import Ledger, LedgerError
from pointstream.operations.programme import load_programme
from pointstream.operations.publish import Publisher
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.rules.compile import compile_programme

from .audit import audit
from .model import Model
from .story import Story

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

PROGRAMME = compile_programme(load_programme(Path(__file__).with_name("programme.yaml")))


class Died(Exception):
    """The process ended here."""


@dataclass
class World:
    """One partition of the job on the shared broker."""

    servers: str
    name: str
    path: Path
    guards: Guards
    dedupe: bool
    transfers: bool

    async def open(self) -> None:
        self.prefix = f"{self.name}."
        self.model = Model()
        self.story = Story(self.prefix, 7, 200, 10, self.model, transfers=self.transfers)
        inputs = tuple(self.prefix + suffix for suffix in (*INPUTS, TICKS))
        self.cluster = Cluster(self.servers, self.name, inputs, f"{self.prefix}internal.changelog")
        self.memory = RocksMemory()
        settings = Settings(bootstrap_servers=self.servers, topic_prefix=self.prefix, partitions=1)
        # Ticks with times of the test's own: nobody waits for what has to ripen.
        ticks = self.prefix + TICKS
        topics = [
            Topic(ticks, 1) if topic.name == ticks else topic for topic in wanted_topics(settings)
        ]
        await ensure_topics(self.servers, topics)
        self.reader = self.cluster.consumer(group_id=self.name)
        await self.reader.start()
        async with Publisher(self.servers) as publisher:
            for record in self.story.opening():
                await publisher.put(record)
            # On the broker before what is paid with it: the topics are merged by its time.
            await publisher.flush()
            for record in self.story.stream():
                await publisher.put(record)
        async with AIOKafkaProducer(bootstrap_servers=self.servers) as producer:
            later_ms = int(time.time() * 1000) + 60_000
            await producer.send_and_wait(ticks, b"", partition=0, timestamp_ms=later_ms)

    def log(self) -> KafkaPartitionLog:
        return KafkaPartitionLog(self.cluster, 0, self.reader)

    def task(self, log: KafkaPartitionLog, directory: str = "worker-1") -> PartitionTask:
        return PartitionTask(
            0,
            log=log,
            open_store=lambda: RocksStore(self.path / directory, b"test", self.memory),
            processor=lambda: PointsProcessor(
                Ledger(PROGRAMME, dedupe=self.dedupe), partitions=1, prefix=self.prefix
            ),
            journal_topic=f"{self.prefix}internal.journal",
            guards=self.guards,
            # What a fault leaves out must not be waited for.
            limits=Limits(order_seconds=0),
        )

    async def take_over(self, task: PartitionTask) -> dict[str, int]:
        positions = await task.acquire()
        await task.restore()
        return positions

    async def feed(
        self, task: PartitionTask, positions: dict[str, int], *, part: float = 1.0
    ) -> None:
        """Hand over what is there from `positions` on, or the first part of it; process it.

        With all of it come the messages that processing it brings about.
        """
        positions = dict(positions)
        places = [TopicPartition(topic, 0) for topic in positions]
        consumer = self.cluster.consumer()
        consumer.assign(places)
        await consumer.start()
        try:
            while True:
                for place, end in (await consumer.end_offsets(places)).items():
                    begin = positions[place.topic]
                    end = begin + int((end - begin) * part)
                    consumer.seek(place, begin)
                    while begin < end:
                        records = (await consumer.getmany(place, timeout_ms=200)).get(place, [])
                        records = [record for record in records if record.offset < end]
                        after = min(end, await consumer.position(place))
                        task.offer(place.topic, begin, after, records)
                        begin = after
                    positions[place.topic] = begin
                moved = False
                while await task.step():
                    moved = True
                if not moved or part < 1:
                    return
        finally:
            await consumer.stop()


async def owner_changes_during_a_commit(world: World) -> None:
    """The former owner commits when the next one has begun to take over, but hasn't fenced."""
    former = world.task(world.log(), "worker-1")
    # A first part, so that the group has positions: without any, the state's count.
    await world.feed(former, await world.take_over(former), part=0.5)
    log = world.log()
    fence = log.fence

    async def late_fence() -> None:
        await world.feed(former, dict(former.positions))
        await fence()

    log.fence = late_fence  # type: ignore[method-assign]
    owner = world.task(log, "worker-2")
    await world.feed(owner, await world.take_over(owner))
    await owner.close()
    await former.close()


async def consumer_seeks_too_low(world: World) -> None:
    """As Faust's does when it reads an offset from before a commit that is just finishing."""
    await _seek_off_by(world, -20)


async def consumer_seeks_too_high(world: World) -> None:
    """Records between the position and the first fetch are missing."""
    await _seek_off_by(world, 20)


async def _seek_off_by(world: World, records: int) -> None:
    task = world.task(world.log())
    await world.feed(task, await world.take_over(task), part=0.6)
    await task.close()
    task = world.task(world.log())
    positions = await world.take_over(task)
    try:
        orders = world.prefix + "orders"
        commands = world.prefix + "commands"
        for topic, off in ((orders, records), (commands, records // 10)):
            assert positions[topic] + off > 0
            positions[topic] += off
        await world.feed(task, positions)
    finally:
        await task.close()


async def worker_dies_committing(world: World) -> None:
    """Whatever was to happen before the commit has happened; the commit has not."""
    log = world.log()
    task = world.task(log)
    await world.feed(task, await world.take_over(task), part=0.5)
    positions = dict(task.positions)

    async def die(transaction: Transaction) -> int:
        raise Died

    log.commit = die  # type: ignore[method-assign]
    with pytest.raises(Died):
        await world.feed(task, positions)
    await task.close()
    task = world.task(world.log())
    try:
        await world.feed(task, await world.take_over(task))
    finally:
        await task.close()


async def records_are_redelivered(world: World) -> None:
    """The publisher sends some records twice; nothing else goes wrong."""
    task = world.task(world.log())
    await world.feed(task, await world.take_over(task))
    await task.close()


Scenario = Callable[[World], Awaitable[None]]
Findings = Callable[..., list[str]]

#: Per scenario, the guard that stands against it.
NEEDED: dict[Scenario, str] = {
    owner_changes_during_a_commit: "fence_before_position",
    consumer_seeks_too_low: "check_position",
    worker_dies_committing: "store_after_commit",
    records_are_redelivered: "dedupe",
}


def _name(scenario: Scenario) -> str:
    return scenario.__name__


@pytest.fixture
def findings(bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path) -> Findings:
    """Runs a scenario with guards off and returns what the audit finds, or the fault's name."""

    def run(scenario: Scenario, **off: bool) -> list[str]:
        dedupe, transfers = off.pop("dedupe", True), off.pop("transfers", True)
        name = unique_name("guards")
        world = World(bootstrap_servers, name, tmp_path, Guards(**off), dedupe, transfers)

        async def scene() -> list[str]:
            await world.open()
            try:
                await scenario(world)
            except (EngineError, LedgerError) as fault:
                return [f"stopped by {type(fault).__name__}"]
            finally:
                await world.reader.stop()
            return await audit(world.servers, world.prefix, world.model)

        return asyncio.run(scene())

    return run


@pytest.mark.parametrize("scenario", NEEDED, ids=_name)
def test_with_all_guards_the_audit_finds_nothing(findings: Findings, scenario: Scenario) -> None:
    """The control: the faults alone do no harm."""
    assert findings(scenario) == []


@pytest.mark.parametrize("scenario", NEEDED, ids=_name)
def test_without_its_guard_the_audit_fails_or_the_worker_stops(
    findings: Findings, scenario: Scenario
) -> None:
    """Alone, each guard is missed."""
    assert findings(scenario, **{NEEDED[scenario]: False}) != []


@pytest.mark.parametrize("scenario", list(NEEDED)[:3], ids=_name)
def test_without_the_net_as_well_the_audit_itself_fails(
    findings: Findings, scenario: Scenario
) -> None:
    """The agreement of group and state only turns damage into a stop: the damage is real.

    Without transfers, for a message that is taken twice stops the worker as well.
    """
    off = {NEEDED[scenario]: False, "agree_on_positions": False}
    found = findings(scenario, **off, transfers=False)
    assert found
    assert not found[0].startswith("stopped by")


def test_a_gap_before_the_position_stops_the_worker(findings: Findings) -> None:
    """Records that never came are never skipped."""
    assert findings(consumer_seeks_too_high) == ["stopped by PositionGap"]


def test_without_the_position_check_a_gap_loses_records(findings: Findings) -> None:
    """What the stop is for."""
    found = findings(consumer_seeks_too_high, check_position=False)
    assert any("the input" in finding for finding in found)
