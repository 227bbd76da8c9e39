"""The producing side on a real broker: every record once, in order, where its key belongs."""

from __future__ import annotations

import asyncio

import pytest

from pointstream.engine.topics import Topic, ensure_topics
from pointstream.operations.placement import partition_of
from pointstream.operations.publish import MissingTopicError, OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader, Record


@pytest.mark.parametrize(
    ("key", "partition"),
    # As the Java client places them: murmur2 of the key, sign bit off, modulo 12.
    [(b"M-000001", 6), (b"a", 4), ("会员".encode(), 7), (b"", 9)],
)
def test_keys_live_where_every_kafka_client_puts_them(key: bytes, partition: int) -> None:
    """Known values, so that a change of hashing can't go unseen."""
    assert partition_of(key, 12) == partition


async def _read(servers: str, topic: str, partitions: int) -> list[list[Record]]:
    async with CommittedReader(servers) as reader:
        return [
            [record async for chunk in reader.read(topic, number) for record in chunk]
            for number in range(partitions)
        ]


@pytest.mark.broker
def test_every_record_arrives_once_in_order_on_its_partition(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """Key, value and headers unchanged; a record far larger than a batch among them."""
    topic = f"{topic_prefix}in"
    records = [
        OutgoingRecord(topic, f"M-{nth % 97}".encode(), str(nth).encode(), [("n", b"%d" % nth)])
        for nth in range(20_000)
    ]
    large = OutgoingRecord(topic, b"M-1", b"x" * 700_000)
    records.insert(10_000, large)

    async def run() -> tuple[int, list[list[Record]]]:
        await ensure_topics(bootstrap_servers, [Topic(topic, 3)])
        async with Publisher(bootstrap_servers) as publisher:
            for record in records:
                await publisher.put(record)
        return publisher.sent, await _read(bootstrap_servers, topic, 3)

    sent, read = asyncio.run(run())

    assert sent == len(records)
    for number, found in enumerate(read):
        expected = [each for each in records if partition_of(each.key or b"", 3) == number]
        assert [(each.key, each.value, list(each.headers)) for each in found] == [
            (each.key, each.value, list(each.headers)) for each in expected
        ]


@pytest.mark.broker
def test_a_lingering_record_is_sent_before_the_end(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """A slow source's records don't wait for a batch to fill."""
    topic = f"{topic_prefix}slow"

    async def run() -> list[list[Record]]:
        await ensure_topics(bootstrap_servers, [Topic(topic, 1)])
        async with Publisher(bootstrap_servers) as publisher:
            await publisher.put(OutgoingRecord(topic, b"M-1", b"early"))
            for _ in range(40):
                await asyncio.sleep(0.1)
                await publisher.linger()
                read = await _read(bootstrap_servers, topic, 1)
                if read[0]:
                    break
            return read

    [[record]] = asyncio.run(run())
    assert record.value == b"early"


@pytest.mark.broker
def test_a_missing_topic_is_said_and_not_created(bootstrap_servers: str, topic_prefix: str) -> None:
    """Neither writing to it nor asking for it brings it about, whatever the broker's settings."""
    topic = f"{topic_prefix}nowhere"

    async def run() -> list[int]:
        with pytest.raises(MissingTopicError, match=r"topics create"):
            async with Publisher(bootstrap_servers) as publisher:
                await publisher.put(OutgoingRecord(topic, b"M-1", b"x"))
        async with CommittedReader(bootstrap_servers) as reader:
            return await reader.partitions(topic)

    assert asyncio.run(run()) == []


@pytest.mark.broker
def test_a_record_too_large_for_the_broker_fails_loudly(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """The error comes out of the context; nothing is dropped in silence."""
    topic = f"{topic_prefix}large"

    async def run() -> None:
        await ensure_topics(bootstrap_servers, [Topic(topic, 1, {"max.message.bytes": "10000"})])
        async with Publisher(bootstrap_servers) as publisher:
            await publisher.put(OutgoingRecord(topic, b"M-1", b"x" * 50_000))

    with pytest.raises(Exception, match=r"(?i)too ?large"):
        asyncio.run(run())
