"""Real workers on a real broker: what an operator and a publisher see of them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from pointstream.engine.topics import ensure_topics
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.ports import free_port
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import Worker, WorkerGroup

pytestmark = pytest.mark.broker

# The broker's time is the real one, and what lies too far back is not taken.
_PAID_AT = datetime.now(UTC).isoformat(timespec="seconds")


def ask(web_address: str, path: str, token: str | None = None) -> tuple[int, Any]:
    """Status and JSON body of a page."""
    try:
        with urllib.request.urlopen(request(web_address + path, token), timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def request(url: str, token: str | None) -> urllib.request.Request:
    asked = urllib.request.Request(url)
    if token is not None:
        asked.add_header("Authorization", f"Bearer {token}")
    return asked


def metrics(web_address: str, token: str) -> dict[str, float]:
    """The sum of each metric over all labels."""
    with urllib.request.urlopen(request(web_address + "/metrics", token), timeout=10) as answer:
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found


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
        "occurred_at": _PAID_AT,
        "order_id": f"o{member}",
        "currency": "CNY",
        "paid_minor": 5_000,
    }
    return f"m{member}".encode(), orjson.dumps(body)


def test_any_worker_answers_for_any_member_and_stops_cleanly(deployment: Settings) -> None:
    """Status, accounts by way of the owner, with a token; and exit status 0 after SIGTERM."""
    publish(deployment, *map(order, range(20)))
    token = "a-token-of-this-test"
    guarded = deployment.model_copy(update={"web_token": SecretStr(token)})
    with WorkerGroup(guarded, 2, deployment.data_dir) as group:
        wait_for(group.ready, "both workers with a share of the partitions")
        wait_for(lambda: lag(deployment) == 0, "lag 0")
        for worker in group.workers:
            assert ask(worker.web_address, "/status")[0] == 401
            assert ask(worker.web_address, "/readyz")[0] == 200
            status, said = ask(worker.web_address, "/status", token)
            assert status == 200
            assert said["ready"] is True
            for member in range(20):
                assert ask(worker.web_address, f"/accounts/m{member}")[0] == 401
                status, account = ask(worker.web_address, f"/accounts/m{member}", token)
                assert (status, account["seq"]) == (200, 1)
                assert account["conservation"] == [["points", 50, 50]]
            assert ask(worker.web_address, "/accounts/nobody", token) == (
                404,
                {"error": "no such account"},
            )
        told = [metrics(worker.web_address, token) for worker in group.workers]
        assert sum(each.get("pointstream_liability_points", 0) for each in told) == 20 * 50
        assert sum(each.get("pointstream_points_moved_total", 0) for each in told) == 20 * 50
        assert sum(each.get("pointstream_end_to_end_seconds_count", 0) for each in told) == 20
        assert all(each["pointstream_ready"] == 1 for each in told)
        assert all(each["process_resident_memory_bytes"] > 0 for each in told)
        for worker in group.workers:
            worker.process.send_signal(signal.SIGTERM)
        assert [worker.process.wait(30) for worker in group.workers] == [0, 0]
    assert len(read(deployment, "balance-changes")) == 20


@contextlib.contextmanager
def advertising(settings: Settings, url: str, count: int) -> Iterator[list[Worker]]:
    """Workers that all give the same address to the others."""
    workers: list[Worker] = []
    try:
        for number in range(count):
            own = settings.model_copy(
                update={
                    "advertised_url": url,
                    "data_dir": settings.data_dir / str(number),
                    "web_port": free_port(),
                }
            )
            log_file = settings.data_dir / f"{number}.log"
            with log_file.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "pointstream", "worker"],
                    env={**os.environ, **own.environ()},
                    stderr=log,
                )
            workers.append(Worker(number, f"http://127.0.0.1:{own.web_port}", log_file, process))
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def test_a_worker_that_cannot_ask_the_owner_says_so(deployment: Settings) -> None:
    """Members of others are 503 with a reason, not 404, when an address leads nowhere useful."""
    publish(deployment, *map(order, range(20)))
    nowhere = f"http://127.0.0.1:{free_port()}"
    with advertising(deployment, nowhere, 2) as workers:

        def owned() -> list[list[int]]:
            return [
                [
                    partition["partition"]
                    for partition in (worker.status() or {}).get("partitions", ())
                    if partition["phase"] == "running"
                ]
                for worker in workers
            ]

        wait_for(lambda: [*map(len, owned())] == [2, 2], "two partitions for each worker")
        wait_for(lambda: lag(deployment) == 0, "lag 0")
        own = 0
        for member in range(20):
            answers = [ask(worker.web_address, f"/accounts/m{member}") for worker in workers]
            # The owner answers for itself; the other cannot ask it
            assert sorted(status for status, _ in answers) == [200, 503]
            (refusal,) = (said for status, said in answers if status == 503)
            assert "partition" in refusal["error"]
            own += answers[0][0] == 200
        assert 0 < own < 20


def test_an_owner_that_does_not_answer_is_told(deployment: Settings) -> None:
    """The owner is gone and nobody took over yet: 503 with a reason."""
    publish(deployment, *map(order, range(20)))
    settings = deployment.model_copy(update={"session_timeout_ms": 30_000})
    with WorkerGroup(settings, 2, deployment.data_dir) as group:
        wait_for(group.ready, "both workers with a share of the partitions")
        wait_for(lambda: lag(deployment) == 0, "lag 0")
        asked, gone = group.workers
        status = gone.status()
        assert status is not None
        os.kill(gone.process.pid, signal.SIGSTOP)  # nobody starts it anew
        os.kill(status["pid"], signal.SIGKILL)
        answers = [ask(asked.web_address, f"/accounts/m{member}") for member in range(20)]
        os.kill(gone.process.pid, signal.SIGCONT)
        assert {status for status, _ in answers} == {200, 503}
        reasons = [said["error"] for status, said in answers if status == 503]
        assert all("does not answer" in reason for reason in reasons)


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
    # And the log names the record, by its address, and nobody
    log = group.workers[0].log_file.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    (letter,) = (line for line in lines if line["event"] == "dead letter")
    assert letter["code"] == "too_large"
    assert (letter["topic"], letter["offset"]) == (deployment.topic_prefix + "orders", 0)
    assert not re.search(r"\bm1\b|xxxx", log)
