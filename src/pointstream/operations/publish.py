"""The producing side: fast, in order per member, each record on its partition once.

Records are packed into whole batches per partition and handed to an idempotent producer, so that
the broker drops what a retry sends twice. A record too large for the broker travels in a batch of
its own and fails alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pointstream.engine.access import Access, Reachable
from pointstream.operations.lifetime import AsyncLifetime
from pointstream.operations.placement import partition_of

__all__ = ["MissingTopicError", "OutgoingRecord", "Publisher"]

_BATCH_BYTES = 256 * 1024
# Batches handed over and not yet acknowledged; bounds memory to some 16 MB beyond the open ones.
_MAX_UNACKNOWLEDGED = 64
# An open batch older than this is sent at the next opportunity, full or not.
_LINGER_SECONDS = 0.05

Headers = Sequence[tuple[str, bytes]]


class MissingTopicError(Exception):
    """A topic that should take records does not exist."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """One record to send; `topic` is the full name, a key of None lets any partition take it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Publisher(AsyncLifetime):
    """Sends records in batches; use as an async context manager.

    Leaving the context without an error waits until the broker has acknowledged every record;
    errors of the broker are raised from `put`, `flush` or there. `sent` counts acknowledged
    records.
    """

    def __init__(self, cluster: Reachable, *, compression: str | None = None) -> None:
        self._access = Access.to(cluster)
        self._compression = compression
        self._producer: Any = None
        self._partitions: dict[str, int] = {}
        self._open: dict[tuple[str, int], Any] = {}
        self._unacknowledged: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._rotation = 0
        self._flushed_at = time.monotonic()
        self.sent = 0

    async def start(self) -> None:
        """Connect."""
        self._producer = self._access.producer(
            enable_idempotence=True,
            acks="all",
            compression_type=self._compression,
            max_batch_size=_BATCH_BYTES,
            # The limit on size is the broker's to enforce; the client must not refuse earlier.
            max_request_size=64 * 1024 * 1024,
        )
        await self._producer.start()

    async def finish(self) -> None:
        """See that every record is acknowledged."""
        await self.flush()

    async def stop(self) -> None:
        """Close the connection; what is not flushed is not sent."""
        if self._producer is not None:
            await self._producer.stop()

    async def put(self, record: OutgoingRecord) -> None:
        """Take one record; waits only when too much is unacknowledged.

        Raises `MissingTopicError`, or the broker's error for an earlier record.
        """
        topic, key = record.topic, record.key
        count = self._partitions.get(topic) or await self._count_partitions(topic)
        if key is None:
            self._rotation += 1
            place = (topic, self._rotation % count)
        else:
            place = (topic, partition_of(key, count))
        builder = self._open.get(place)
        if builder is None:
            builder = self._open[place] = self._producer.create_batch()
        if not self._append(builder, record):
            await self._send(place)
            builder = self._open[place] = self._producer.create_batch()
            self._append(builder, record)

    @staticmethod
    def _append(builder: Any, record: OutgoingRecord) -> bool:
        appended = builder.append(
            timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
        )
        return appended is not None

    async def linger(self) -> None:
        """Send what has been open for long; to be called now and then by a slow source."""
        if time.monotonic() - self._flushed_at > _LINGER_SECONDS:
            await self._send_open()

    async def flush(self) -> None:
        """Send everything and wait until the broker has acknowledged it."""
        await self._send_open()
        await self._acknowledged(0)

    async def _send_open(self) -> None:
        self._flushed_at = time.monotonic()
        for place in list(self._open):
            await self._send(place)
        await self._acknowledged(_MAX_UNACKNOWLEDGED)

    async def _send(self, place: tuple[str, int]) -> None:
        builder = self._open.pop(place)
        builder.close()
        topic, partition = place
        future = await self._producer.send_batch(builder, topic, partition=partition)
        self._unacknowledged.append((future, builder.record_count()))
        await self._acknowledged(_MAX_UNACKNOWLEDGED)

    async def _acknowledged(self, at_most: int) -> None:
        """Wait until no more than so many batches are unacknowledged, and count what was."""
        waiting = self._unacknowledged
        while waiting and (len(waiting) > at_most or waiting[0][0].done()):
            future, count = waiting.popleft()
            await future
            self.sent += count

    async def _count_partitions(self, topic: str) -> int:
        # Asking for the one topic's metadata could create it; the list of all topics never does.
        known = await self._producer.client.fetch_all_metadata()
        partitions = known.partitions_for_topic(topic)
        if not partitions:
            raise MissingTopicError(
                f"The topic {topic} doesn't exist. `pointstream topics create` creates all topics."
            )
        self._partitions[topic] = len(partitions)
        return len(partitions)
