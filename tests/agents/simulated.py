"""A recorded run in memory, to be read by a simulation as if it were on a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, cast

from pointstream.agents.replaying import replaying_jobs
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Record, Target
from pointstream.operations.reading import CommittedReader
from pointstream.operations.simulation import Plan, Simulation, simulate

__all__ = ["MemoryReader", "run"]

Place = tuple[str, int]


class MemoryReader:
    """What a `CommittedReader` answers, of a driver's topics."""

    def __init__(self, driver: EngineTestDriver, *, gone: dict[str, int] | None = None) -> None:
        """Of the topics in `gone`, the first so many positions are deleted."""
        self._topics = driver.broker.topics
        self._partitions = driver.partitions
        self._gone = gone or {}

    async def existing(self, topic: str) -> list[int]:
        return [*range(self._partitions)]

    async def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        return {place: self._gone.get(place[0], 0) for place in places}

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        return {place: len(self._log(*place)) for place in places}

    async def read(
        self, topic: str, partition: int, *, start: int | None = None, end: int | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        begin = max(start or 0, self._gone.get(topic, 0))
        found = [record for record in self._log(topic, partition)[begin:end] if record is not None]
        for first in range(0, len(found), 100):
            yield found[first : first + 100]

    def _log(self, topic: str, partition: int) -> list[Record | None]:
        # The driver has names of its own for the journal and the changelog.
        own = ("journal", "changelog")
        name = next((name for name in own if topic.endswith(f"internal.{name}")), topic)
        return self._topics.get(Target(name, partition), [])


def run(driver: EngineTestDriver, plan: Plan, **options: Any) -> Simulation:
    """Simulate on what a driver has recorded."""
    reader = cast(CommittedReader, MemoryReader(driver, **options))
    return asyncio.run(simulate(reader, "points.", plan, replaying_jobs("points.", "pointstream")))
