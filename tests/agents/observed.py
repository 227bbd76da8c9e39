"""The whole job in memory with its metrics: what a worker's `/metrics` would say."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.engine.task import PartitionTask
from pointstream.ledger import Ledger
from pointstream.operations.metrics import Counts, Metrics
from pointstream.operations.placement import partition_of
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme

__all__ = ["ObservedJob"]

Labels = dict[str, str]


class ObservedJob:
    """A driver of the job, and what stands for the engine of a worker that has all partitions."""

    ready = True
    memory_bytes = 0

    def __init__(self, partitions: int = 2, *, data_dir: Path | None = None) -> None:
        programme = compile_programme(load_programme())
        self.now = 1_767_225_600.0
        self.metrics = Metrics(data_dir=data_dir, clock=lambda: self.now)
        self.metrics.engine = self  # type: ignore[assignment]
        self.inputs = [f"points.{suffix}" for suffix in (*INPUTS, TICKS)]

        def make(partition: int) -> PointsProcessor:
            ledger, counts = Ledger(programme), Counts()
            self.metrics.follow(partition, counts, ledger)
            return PointsProcessor(ledger, partitions=partitions, counts=counts)

        self.driver = EngineTestDriver(
            make,
            inputs=self.inputs[:-1],
            ticks=self.inputs[-1],
            partitions=partitions,
            observer=self.metrics,
        )

    @property
    def tasks(self) -> dict[int, PartitionTask]:
        return self.driver.tasks

    def partition_of(self, member_id: str) -> int:
        """Where a member's account is."""
        return partition_of(member_id.encode(), self.driver.partitions)

    async def ends(self) -> dict[int, dict[str, int]]:
        topics = self.driver.broker.topics
        return {
            number: {topic: len(topics.get(Target(topic, number), ())) for topic in self.inputs}
            for number in self.tasks
        }

    def families(self) -> dict[str, Metric]:
        """What a scrape gets, by the name of the family."""
        text = asyncio.run(self.metrics.exposition()).decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float | None:
        """One sample of a fresh scrape; None if there is none with just these labels."""
        for family in self.families().values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None
