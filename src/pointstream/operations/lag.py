"""How far a worker group has come: its committed positions against the ends of its inputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access, Reachable
from pointstream.operations.lifetime import AsyncLifetime
from pointstream.operations.reading import CommittedReader

__all__ = ["GroupProgress", "Progress", "TopicProgress", "input_topics"]

_COORDINATOR_ATTEMPTS = 20
_COORDINATOR_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class TopicProgress:
    """One input topic, all partitions together; counts of records."""

    topic: str
    taken: int
    lag: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at the group; `at_s` is a monotonic clock's seconds, for rates between two looks."""

    at_s: float
    topics: tuple[TopicProgress, ...]

    @property
    def taken(self) -> int:
        """Input records that the group has taken, ever."""
        return sum(topic.taken for topic in self.topics)

    @property
    def lag(self) -> int:
        """Input records that wait."""
        return sum(topic.lag for topic in self.topics)

    def rate_since(self, before: Progress) -> float:
        """Input records taken per second since an earlier look."""
        seconds = self.at_s - before.at_s
        return (self.taken - before.taken) / seconds if seconds > 0 else 0.0


def input_topics(prefix: str) -> tuple[str, ...]:
    """The names of the topics whose records the partition tasks take, but for the ticks.

    Messages between partitions count: what one task still has to tell another is not done.
    """
    return tuple(
        spec.name
        for spec in topic_specs(prefix)
        if spec.direction == "in" or spec.suffix == "internal.messages"
    )


class GroupProgress(AsyncLifetime):
    """Looks at one consumer group; use as an async context manager."""

    def __init__(self, cluster: Reachable, group: str, topics: Sequence[str]) -> None:
        self._reader = CommittedReader(cluster)
        self._admin: Any = Access.to(cluster).admin()
        self._group = group
        self._topics = topics

    async def start(self) -> None:
        """Connect."""
        await self._reader.start()
        await self._admin.start()

    async def stop(self) -> None:
        """Close the connections."""
        try:
            await self._admin.close()
        finally:
            await self._reader.stop()

    async def look(self) -> Progress:
        """Ask the brokers now. Topics that don't exist yet count as empty."""
        places: list[tuple[str, int]] = []
        for topic in self._topics:
            places += [(topic, partition) for partition in await self._reader.partitions(topic)]
        # Positions before ends: the other way round a busy group could seem to be ahead of its
        # topics.
        committed = await self.positions()
        at_s = time.monotonic()
        ends = await self._reader.ends(places)
        starts = await self._reader.beginnings(places)
        taken = dict.fromkeys(self._topics, 0)
        lag = dict.fromkeys(self._topics, 0)
        for place in places:
            position = max(committed.get(place, 0), starts[place])
            taken[place[0]] += position
            lag[place[0]] += max(ends[place] - position, 0)
        return Progress(
            at_s,
            tuple(TopicProgress(topic, taken[topic], lag[topic]) for topic in self._topics),
        )

    async def positions(self) -> dict[tuple[str, int], int]:
        """Return the group's committed positions by (topic, partition), where there are any."""
        for _ in range(_COORDINATOR_ATTEMPTS):
            try:
                found = await self._admin.list_consumer_group_offsets(self._group)
                break
            except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError):
                # On a fresh cluster nobody coordinates groups until the first one asks.
                await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)
        else:
            found = {}
        return {
            (place.topic, place.partition): position.offset
            for place, position in found.items()
            if position.offset >= 0
        }
