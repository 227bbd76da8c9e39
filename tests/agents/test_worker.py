"""Real workers on a real broker: what an operator and a publisher see of them."""

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from pointstream.engine.topics import ensure_topics
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import Worker, WorkerGroup

pytestmark = pytest.mark.broker


def ask(worker: Worker, path: str) -> tuple[int, object]:
    """Status and JSON body of a page."""
    try:
        with urllib.request.urlopen(worker.web_address + path, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.1)


@pytest.fixture
def deployment(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings of a job of the test's own, its topics created."""
    settings = Settings(
        bootstrap_servers=bootstrap_servers,
        app_id=topic_prefix + "app",
        topic_prefix=topic_prefix,
        partitions=4,
        data_dir=tmp_path,
        session_timeout_ms=6_000,
    )
    asyncio.run(ensure_topics(bootstrap_servers, wanted_topics(settings)))
    return settings


def publish(settings: Settings, *orders: tuple[bytes, bytes]) -> None:
    async def send() -> None:
        async with Publisher(settings.bootstrap_servers) as publisher:
            for key, value in orders:
                await publisher.put(OutgoingRecord(settings.topic_prefix + "orders", key, value))

    asyncio.run(send())


def lag(settings: Settings) -> int:
    async def look() -> int:
        topics = input_topics(settings.topic_prefix)
        async with GroupProgress(settings.bootstrap_servers, settings.app_id, topics) as group:
            return (await group.look()).lag

    return asyncio.run(look())


def read(settings: Settings, suffix: str) -> list[tuple[bytes | None, bytes | None]]:
    async def collect() -> list[tuple[bytes | None, bytes | None]]:
        async with CommittedReader(settings.bootstrap_servers, fetch_bytes=2 << 20) as reader:
            topic = settings.topic_prefix + suffix
            return [
                (record.key, record.value)
                for partition in await reader.partitions(topic)
                async for records in reader.read(topic, partition)
                for record in records
            ]

    return asyncio.run(collect())


def order(member: int) -> tuple[bytes, bytes]:
    body = {
        "event_id": f"e{member}",
        "type": "order.paid",
        "member_id": f"m{member}",
        "occurred_at": "2026-01-01T00:00:00Z",
        "order_id": f"o{member}",
        "currency": "CNY",
        "paid_minor": 5_000,
    }
    return f"m{member}".encode(), orjson.dumps(body)


def test_any_worker_answers_for_any_member_and_stops_cleanly(deployment: Settings) -> None:
    """Status, accounts by way of the owner, and exit status 0 after SIGTERM."""
    publish(deployment, *map(order, range(20)))
    with WorkerGroup(deployment, 2, deployment.data_dir) as group:
        wait_for(group.ready, "both workers with a share of the partitions")
        wait_for(lambda: lag(deployment) == 0, "lag 0")
        for worker in group.workers:
            status, said = ask(worker, "/status")
            assert status == 200
            assert said["ready"] is True
            for member in range(20):
                status, account = ask(worker, f"/accounts/m{member}")
                assert (status, account["seq"]) == (200, 1)
                assert account["conservation"] == [["points", 50, 50]]
            assert ask(worker, "/accounts/nobody")[0] == 404
        for worker in group.workers:
            worker.process.send_signal(signal.SIGTERM)
        assert [worker.process.wait(30) for worker in group.workers] == [0, 0]
    assert len(read(deployment, "balance-changes")) == 20


def test_the_largest_record_that_a_topic_takes_fits_among_the_dead_letters(
    deployment: Settings,
) -> None:
    """A record near the broker's limit comes back whole, and what follows it is processed."""
    huge = b'{"event_id": "' + b"x" * 1_040_000 + b'"}'
    publish(deployment, (b"m1", huge), order(1))
    with WorkerGroup(deployment, 1, deployment.data_dir) as group:
        wait_for(group.ready, "the worker")
        wait_for(lambda: lag(deployment) == 0, "lag 0")
    assert read(deployment, "dead-letters") == [(b"m1", huge)]
    assert [key for key, _ in read(deployment, "balance-changes")] == [b"m1"]
