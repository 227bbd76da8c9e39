"""`make bench`: the whole job on one worker process, against peers, as ratios of medians.

Per round, in turn, so that a drift of the machine hits all alike:

- **pointstream**: one worker process, every input, exactly once;
- **stock Faust**: the same core under a stock Faust agent with a Table, at-least-once;
- **consume limit**: aiokafka reading the same records and dropping them.

Throughput is input records per second between 10 % and 90 % of the backlog, by what the group has
committed, so that neither start-up nor the last commit counts. The first round warms the broker and
is not counted.
"""

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pointstream.agents.processor import MESSAGES
from pointstream.engine.topics import Topic, ensure_topics
from pointstream.operations.broker import broker_for_run
from pointstream.operations.generate import Generated, StreamPlan, generate
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.ports import free_port
from pointstream.operations.programme import load_programme
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import WorkerGroup

PARTITIONS = 4
_TIMEOUT_SECONDS = 300.0
ALL_AT_ONCE = 1 << 30
#: Stock Faust is slower by an order of magnitude: a share of the records is enough for its rate.
_STOCK_SHARE = 10


def plan_of(events: int) -> StreamPlan:
    """The stream that everybody gets: the same bytes in every round."""
    now_ms = 1_780_000_000_000
    return StreamPlan(
        events=events,
        members=max(100, events // 20),
        seed=7,
        start_ms=now_ms - 28 * 86_400_000,
        end_ms=now_ms,
        redelivered=0.01,
    )


async def publish(
    servers: str, prefix: str, stream: list[Generated], together: int = ALL_AT_ONCE
) -> None:
    """Fill the input topics, at most `together` events at a time.

    What is sent at a time comes in batches by topic, and the broker gives all of a batch one time:
    so far is the stream out of order.
    """
    async with Publisher(servers) as publisher:
        for number, each in enumerate(stream, 1):
            await publisher.put(OutgoingRecord(prefix + each.topic, each.key, each.value))
            if number % together == 0:
                await publisher.flush()


async def committed_rate(
    servers: str,
    group: str,
    prefix: str,
    total: int,
    alive: Callable[[], None],
    *,
    to_the_end: bool = False,
) -> float:
    """Input records per second between 10 % and 90 % of `total`, as the group commits them.

    `to_the_end`: from 10 % until nothing is left. What partitions tell each other is taken last,
    for it is younger than all that was published before; where there is much of it, it counts.

    `alive` raises when whoever should do it has ended.
    """
    seen: list[tuple[float, int]] = []
    started = time.monotonic()
    async with GroupProgress(servers, group, input_topics(prefix)) as progress:
        while True:
            alive()
            if time.monotonic() - started > _TIMEOUT_SECONDS:
                raise TimeoutError(f"{group} took {seen[-1:]} of {total} records in time")
            now = await progress.look()
            told = sum(each.taken for each in now.topics if each.topic.endswith(MESSAGES))
            seen.append((now.at_s, now.taken - told))
            if seen[-1][1] >= total and not (to_the_end and now.lag):
                break
            # Seldom: on two cores the looking weighs on what is looked at.
            await asyncio.sleep(0.5 if seen[-1][1] < total * 0.95 else 0.1)
    low = next(s for s in seen if s[1] >= total * 0.1)
    high = seen[-1] if to_the_end else next(s for s in seen if s[1] >= total * 0.9)
    if high[0] == low[0]:
        raise ValueError(f"{total} records are too few to time; take more with --events")
    return (high[1] - low[1]) / (high[0] - low[0])


async def consume_rate(servers: str, prefix: str, total: int) -> float:
    """Records per second that one aiokafka consumer reads and drops."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    consumer.assign(
        [TopicPartition(t, number) for t in input_topics(prefix) for number in range(PARTITIONS)]
    )
    await consumer.start()
    try:
        started, count = time.monotonic(), 0
        while count < total:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=5000)
            count += sum(map(len, fetched.values()))
        return count / (time.monotonic() - started)
    finally:
        await consumer.stop()


class Bench:
    """One broker, many rounds."""

    def __init__(
        self,
        servers: str,
        events: int,
        directory: Path,
        *,
        together: int = ALL_AT_ONCE,
        to_the_end: bool = False,
    ) -> None:
        """`together` as in `publish`, all at once if left out; `to_the_end` as in
        `committed_rate`."""
        self.servers = servers
        self._together = together
        self._to_the_end = to_the_end
        self.directory = directory
        self.stream = list(generate(plan_of(events)))
        self.small = self.stream[: max(2000, len(self.stream) // _STOCK_SHARE)]
        self._turn = 0
        # What watching costs is another bench's (`make bench-fraud`), and what it tells other
        # partitions a stock Faust agent has no way to send.
        self._programme = directory / "programme.yaml"
        programme = load_programme().model_copy(update={"fraud": None})
        self._programme.write_text(programme.model_dump_json(), encoding="utf-8")

    def _settings(self) -> Settings:
        self._turn += 1
        return Settings(
            bootstrap_servers=self.servers,
            app_id=f"bench-{self._turn}",
            topic_prefix=f"bench{self._turn}.",
            partitions=PARTITIONS,
            data_dir=self.directory / str(self._turn),
            programme_file=self._programme,
            session_timeout_ms=10_000,
        )

    async def _ready(self, settings: Settings, stream: list[Generated]) -> None:
        await ensure_topics(self.servers, wanted_topics(settings))
        await publish(self.servers, settings.topic_prefix, stream, self._together)

    def pointstream(self, programme_file: Path | None = None) -> tuple[float, float]:
        """Rates of the job and of reading alone, on the same records; of another programme."""
        settings = self._settings()
        if programme_file is not None:
            settings = settings.model_copy(update={"programme_file": programme_file})
        asyncio.run(self._ready(settings, self.stream))
        total = len(self.stream)
        prefix = settings.topic_prefix
        with WorkerGroup(settings, 1, settings.data_dir) as group:
            rate = asyncio.run(
                committed_rate(
                    self.servers,
                    settings.app_id,
                    prefix,
                    total,
                    group.check,
                    to_the_end=self._to_the_end,
                )
            )
        return rate, asyncio.run(consume_rate(self.servers, prefix, total))

    def stock_faust(self) -> float:
        """Rate of the peer."""
        settings = self._settings()
        asyncio.run(self._ready(settings, self.small))
        changelog = Topic(
            f"{settings.app_id}-state-changelog", PARTITIONS, {"cleanup.policy": "compact"}
        )
        asyncio.run(ensure_topics(self.servers, [changelog]))
        log_file = self.directory / f"{settings.app_id}.log"
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with log_file.open("wb") as log:
            worker = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.bench.stock_faust", self.servers,
                    settings.app_id, settings.topic_prefix, str(PARTITIONS),
                    str(settings.data_dir), str(free_port()), str(self._programme),
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip

            def alive() -> None:
                if worker.poll() is not None:
                    raise RuntimeError(f"stock Faust ended: {log_file.read_text()[-2000:]}")

            try:
                return asyncio.run(
                    committed_rate(
                        self.servers,
                        settings.app_id,
                        settings.topic_prefix,
                        len(self.small),
                        alive,
                    )
                )
            finally:
                worker.kill()
                worker.wait()

    def rounds(self, count: int) -> Iterator[dict[str, float]]:
        """Measure everybody in turn, `count` times."""
        for _ in range(count):
            ours, limit = self.pointstream()
            yield {"pointstream": ours, "stock Faust": self.stock_faust(), "consume limit": limit}


def main() -> int:
    """Run the bench and print medians, ratios and raw figures; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=200_000, help="input records per round")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds, after a warm-up")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    results: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="pointstream-bench-") as name,
        Progress(console=console) as progress,
    ):
        task = progress.add_task("broker and data", total=chosen.rounds + 1)
        with broker_for_run(say=console.print) as broker:
            bench = Bench(broker.bootstrap_servers, chosen.events, Path(name))
            for number, rates in enumerate(bench.rounds(chosen.rounds + 1)):
                progress.update(task, advance=1, description=f"round {number + 1}")
                if number:
                    results.append(rates)
    medians = {name: statistics.median(r[name] for r in results) for name in results[0]}
    ratio = medians["pointstream"] / medians["stock Faust"]
    if chosen.json:
        print(json.dumps({"medians": medians, "raw": results, "ratio_to_stock_faust": ratio}))
    else:
        table = Table(title=f"input records per second, {platform.machine()}, one worker process")
        for column in ("", "median", "pointstream is", "raw"):
            table.add_column(column, justify="left" if not column else "right")
        for name, median in medians.items():
            raw = ", ".join(f"{r[name]:,.0f}" for r in results)
            times = f"{medians['pointstream'] / median:.2f} x"
            table.add_row(name, f"{median:,.0f}", times, raw)
        Console().print(table)
    return 0 if ratio >= 10 else 1


if __name__ == "__main__":
    sys.exit(main())
