"""Plain read-committed reading: partitions to their end, single records by position.

A consumer without a group, as any third party could write one; it shares nothing with the worker.
Ends are *positions*: an offset in the log may be a transaction's marker that no consumer ever sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from aiokafka import TopicPartition

from pointstream.engine.access import Access, Reachable
from pointstream.operations.lifetime import AsyncLifetime

__all__ = ["CommittedReader", "NoTopicsError", "Record"]

# So many records are read in about the time that a seek takes.
_WORTH_A_SEEK = 2_000
_PATIENCE_SECONDS = 0.5


class NoTopicsError(Exception):
    """The topics that should be read do not exist on this cluster."""


class Record(Protocol):
    """What a read record offers; `timestamp` is ms since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class CommittedReader(AsyncLifetime):
    """Reads what is committed and nothing else; use as an async context manager.

    `wait_ms` is how long the broker may hold a fetch that finds nothing: little for reading to an
    end, for everything else on the connection waits behind it; more for following.
    """

    def __init__(self, cluster: Reachable, *, fetch_bytes: int = 1 << 20, wait_ms: int = 5) -> None:
        self._access = Access.to(cluster)
        self._fetch_bytes = fetch_bytes
        self._wait_ms = wait_ms
        self._consumer: Any = None
        self._client: Any = None

    async def start(self) -> None:
        """Connect."""
        self._consumer = self._access.consumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=self._fetch_bytes,
            fetch_max_wait_ms=self._wait_ms,
            retry_backoff_ms=20,
        )
        self._client = self._access.client()
        await self._consumer.start()
        await self._client.bootstrap()

    async def stop(self) -> None:
        """Close the connections."""
        if self._consumer is None:
            return
        try:
            await _ended(self._consumer.stop())
        finally:
            await self._client.close()

    async def partitions(self, topic: str) -> list[int]:
        """The topic's partition numbers in order; empty when there is no such topic."""
        # The list of all topics: asking for one by name could create it.
        known = await self._client.fetch_all_metadata()
        return sorted(known.partitions_for_topic(topic) or ())

    async def existing(self, topic: str) -> list[int]:
        """The partition numbers in order of a topic that must be there. Raises `NoTopicsError`."""
        partitions = await self.partitions(topic)
        if not partitions:
            raise NoTopicsError(
                f"The topic {topic} doesn't exist. Create the topics with"
                " `pointstream topics create`, or name the right prefix in"
                " POINTSTREAM_TOPIC_PREFIX."
            )
        return partitions

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The position after the last committed record of each (topic, partition)."""
        wanted = [TopicPartition(*place) for place in places]
        found = await self._consumer.end_offsets(wanted) if wanted else {}
        return {(place.topic, place.partition): end for place, end in found.items()}

    async def beginnings(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The position of the first record still kept of each (topic, partition)."""
        wanted = [TopicPartition(*place) for place in places]
        found = await self._consumer.beginning_offsets(wanted) if wanted else {}
        return {(place.topic, place.partition): start for place, start in found.items()}

    async def read(
        self, topic: str, partition: int, *, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        """Yield the committed records of one partition in chunks, from `start` up to position
        `end`.

        Without them: from the first kept record to what is committed now.
        """
        place = TopicPartition(topic, partition)
        if end is None:
            end = (await self._consumer.end_offsets([place]))[place]
        self._consumer.assign([place])
        if start is None:
            await self._consumer.seek_to_beginning(place)
        else:
            self._consumer.seek(place, start)
        while await self._consumer.position(place) < end:
            fetched: Mapping[TopicPartition, list[Any]] = await self._consumer.getmany(
                place, timeout_ms=200
            )
            records = fetched.get(place, [])
            if records and records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if records:
                yield cast("Sequence[Record]", records)

    async def some(self, topic: str, partition: int, offsets: Iterable[int]) -> dict[int, Record]:
        """The records at these offsets; those that are no longer there are left out."""
        place = (topic, partition)
        if not await self.partitions(topic):
            return {}
        first, last = (await self.beginnings([place]))[place], (await self.ends([place]))[place]
        wanted = sorted(offset for offset in set(offsets) if first <= offset < last)
        found: dict[int, Record] = {}
        for run in _runs(wanted):
            members = set(run)
            async for records in self.read(topic, partition, start=run[0], end=run[-1] + 1):
                found.update(
                    (record.offset, record) for record in records if record.offset in members
                )
        return found

    async def follow(
        self, places: Sequence[tuple[str, int]], *, timeout_ms: int, back: int = 0
    ) -> AsyncIterator[list[Record]]:
        """Yield what is committed from now on, in chunks; an empty one after `timeout_ms`.

        It begins up to `back` positions earlier in each partition.
        """
        wanted = [TopicPartition(*place) for place in places]
        starts, ends = await self.beginnings(places), await self.ends(places)
        self._consumer.assign(wanted)
        for place in wanted:
            end = ends[place.topic, place.partition]
            start = starts[place.topic, place.partition]
            self._consumer.seek(place, max(start, end - back))
        while True:
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
            yield [record for records in fetched.values() for record in records]


async def _ended(stopping: Coroutine[Any, Any, None]) -> None:
    """Wait until a consumer has stopped, asking again as long as it takes.

    Its fetcher swallows the cancellation that ends it when it is just turning to what was assigned
    last, as it is where there was nothing to read; it would then never end.
    """
    task = asyncio.ensure_future(stopping)
    while not (await asyncio.wait({task}, timeout=_PATIENCE_SECONDS))[0]:
        task.cancel()
    if not task.cancelled():
        task.result()


def _runs(offsets: Sequence[int]) -> Iterable[list[int]]:
    """Split ascending offsets where reading on would cost more than a seek."""
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > _WORTH_A_SEEK:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
