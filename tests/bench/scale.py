"""`python -m tests.bench.scale`, or `make bench-scale`: one worker with a large state.

Fills the ledger with members, an order each, and prints what an operator asks: the memory it takes,
milliseconds from an order to its readable balance change at low load, and seconds until a worker is
ready again, with its state on disk and with an empty disk. Ends with 1 when the memory or the
median latency is beyond its limit.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.progress import Progress

from pointstream.contracts.wire import rfc3339
from pointstream.engine.topics import ensure_topics
from pointstream.operations.broker import broker_for_run
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import WorkerGroup

_POLL_SECONDS = 0.05
#: What is promised of a worker with a large state.
LIMITS = {"resident_mib": 400.0, "latency_ms_median": 250.0}


def order(member: int, number: int, now_ms: int) -> tuple[bytes, bytes]:
    """Key and value of one plain order."""
    member_id = f"M-{member:07d}"
    body = {
        "event_id": f"e-{member}-{number}",
        "type": "order.paid",
        "member_id": member_id,
        "occurred_at": rfc3339(now_ms),
        "store_id": f"S-{member % 50}",
        "order_id": f"o-{member}-{number}",
        "currency": "CNY",
        "paid_minor": 1000 + member % 90_000,
    }
    return member_id.encode(), orjson.dumps(body)


async def fill(settings: Settings, members: int, progress: Progress) -> None:
    """Publish an order of each member and wait until all are processed."""
    now_ms = int(time.time() * 1000)
    topic = settings.topic_prefix + "orders"
    published = progress.add_task("published", total=members)
    processed = progress.add_task("processed", total=members)
    async with GroupProgress(
        settings.bootstrap_servers, settings.app_id, input_topics(settings.topic_prefix)
    ) as group:
        async with Publisher(settings.bootstrap_servers) as publisher:
            for member in range(members):
                key, value = order(member, 0, now_ms)
                await publisher.put(OutgoingRecord(topic, key, value))
                if member % 1000 == 0:
                    progress.update(published, completed=member)
        progress.update(published, completed=members)
        while (look := await group.look()).taken < members:
            progress.update(processed, completed=look.taken)
            await asyncio.sleep(0.5)
        progress.update(processed, completed=members)


async def latencies(settings: Settings, count: int) -> list[float]:
    """Milliseconds from sending an order to reading its balance change, read-committed."""
    servers, prefix = settings.bootstrap_servers, settings.topic_prefix
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", fetch_max_wait_ms=20
    )
    consumer.assign(
        [TopicPartition(prefix + "balance-changes", n) for n in range(settings.partitions)]
    )
    await consumer.start()
    await consumer.seek_to_end()
    await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
    measured: list[float] = []
    try:
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for number in range(count):
                key, value = order(number, 1, int(time.time() * 1000))
                sent = time.perf_counter()
                await producer.send(prefix + "orders", value, key)
                async with asyncio.timeout(10):
                    while orjson.loads((await consumer.getone()).value)["cause_event_id"] != (
                        f"e-{number}-1"
                    ):
                        pass
                measured.append((time.perf_counter() - sent) * 1000)
                await asyncio.sleep(0.1)
    finally:
        await consumer.stop()
    return measured


def until(condition: Callable[[], bool], timeout: float = 600.0) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout:
            raise TimeoutError
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started


def beyond(figures: Mapping[str, Any]) -> list[str]:
    """A sentence for each figure that is above its limit."""
    return [
        f"{name} is {figures[name]}, at most {limit:g} is promised"
        for name, limit in LIMITS.items()
        if figures[name] > limit
    ]


def measure(settings: Settings, members: int, progress: Progress) -> dict[str, Any]:
    """Everything, in order; seconds, milliseconds and MiB as the names say."""
    directory = settings.data_dir

    with WorkerGroup(settings, 1, directory) as group:
        until(group.ready)
        asyncio.run(fill(settings, members, progress))
        millis = sorted(asyncio.run(latencies(settings, 60)))
        status = group.workers[0].status() or {}
        memory = status["resident_bytes"] / (1 << 20)
    with WorkerGroup(settings, 1, directory) as group:
        warm = until(group.ready)
    for state in directory.glob("worker-*/data"):
        shutil.rmtree(state)
    with WorkerGroup(settings, 1, directory) as group:
        cold = until(group.ready)
    return {
        "members": members,
        "resident_mib": round(memory, 1),
        "latency_ms_median": round(statistics.median(millis), 1),
        "latency_ms_p99": round(millis[int(len(millis) * 0.99)], 1),
        "start_seconds_state_on_disk": round(warm, 2),
        "start_seconds_empty_disk": round(cold, 2),
        # As they were measured, so that other percentiles can be taken.
        "resident_bytes": status["resident_bytes"],
        "latencies_ms": [round(each, 2) for each in millis],
    }


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=12)
    chosen = parser.parse_args()
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="pointstream-scale-") as name,
        Progress(console=console) as progress,
        broker_for_run(say=console.print) as broker,
    ):
        settings = Settings(
            bootstrap_servers=broker.bootstrap_servers,
            app_id="scale",
            topic_prefix="scale.",
            partitions=chosen.partitions,
            data_dir=Path(name),
        )
        asyncio.run(ensure_topics(broker.bootstrap_servers, wanted_topics(settings)))
        figures = measure(settings, chosen.members, progress)
    print(json.dumps(figures))
    for words in (failures := beyond(figures)):
        console.print(words)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
