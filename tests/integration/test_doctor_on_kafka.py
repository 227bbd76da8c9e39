"""The doctor on a real broker: a deployment that is well, and each fault caused once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from chaos.fleet import Fleet
from pointstream.contracts.wire import dumps
from pointstream.engine.access import Access
from pointstream.engine.topics import Topic, ensure_topics
from pointstream.operations.doctor import Finding, Level, brokers, examine
from pointstream.operations.doctor.brokers import look_at_clocks, look_at_group
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.premises import claim_directory
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("POINTSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path) -> Settings:
    """Of a deployment whose topics are there, with two partitions."""
    name = unique_name("doctor")
    settings = Settings(
        bootstrap_servers=bootstrap_servers,
        app_id=name,
        topic_prefix=f"{name}.",
        partitions=2,
        data_dir=tmp_path / "data",
    )
    asyncio.run(ensure_topics(bootstrap_servers, wanted_topics(settings)))
    return settings


def look(settings: Settings, **how: Any) -> list[Finding]:
    async def all_of() -> list[Finding]:
        return [finding async for finding in examine(settings, **how)]

    return asyncio.run(all_of())


def look_only(part: Callable[..., Any], settings: Settings) -> list[Finding]:
    async def all_of() -> list[Finding]:
        return [finding async for finding in part(Access(settings.bootstrap_servers), settings)]

    return asyncio.run(all_of())


def told(findings: list[Finding], level: Level) -> dict[str, list[str]]:
    by_check: dict[str, list[str]] = {}
    for finding in findings:
        if finding.level is level:
            by_check.setdefault(finding.check, []).append(finding.message)
            assert finding.remedy or level is Level.RIGHT
    return by_check


def order(n: int) -> bytes:
    return dumps(
        {
            "event_id": f"e{n}",
            "type": "order.paid",
            "member_id": "m1",
            "occurred_at": "2026-03-01T00:00:00Z",
            "order_id": f"o{n}",
            "paid_minor": 100,
            "currency": "CNY",
        }
    )


async def publish(settings: Settings, count: int) -> None:
    async with Publisher(settings.bootstrap_servers) as publisher:
        for n in range(count):
            record = OutgoingRecord(f"{settings.topic_prefix}orders", b"m1", order(n))
            await publisher.put(record)


async def taken(settings: Settings, lag: int = 0) -> None:
    topics = input_topics(settings.topic_prefix)
    async with GroupProgress(settings.bootstrap_servers, settings.app_id, topics) as group:
        deadline = time.monotonic() + 60
        while (seen := await group.look()).lag != lag or not seen.taken:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


def test_a_deployment_from_its_birth_to_a_loss(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker yet; a worker at work; a clock that is behind; then input that retention deletes
    before it is taken."""
    before = look(settings)
    assert not told(before, Level.PROBLEM)
    assert any("no worker runs" in text for text in told(before, Level.LOOK)["group"])
    assert "clocks" in told(before, Level.UNKNOWN)

    chosen = {"partitions": 2, "data_dir": settings.data_dir}
    with Fleet(1, tmp_path, settings.bootstrap_servers, settings.app_id, **chosen) as fleet:
        fleet.start()
        asyncio.run(publish(settings, 20))
        asyncio.run(taken(settings))
        (worker,) = fleet.workers
        own = settings.model_copy(update={"data_dir": worker.data_dir})
        during = look(own)
        late = SimpleNamespace(time=lambda: time.time() - 60)
        monkeypatch.setattr(brokers, "time", late)
        behind = look_only(look_at_clocks, own)
        monkeypatch.undo()
        fleet.stop()

    assert not told(during, Level.PROBLEM), told(during, Level.PROBLEM)
    right = told(during, Level.RIGHT)
    assert right["group"] == [f"1 worker in the group {settings.app_id}"]
    assert right["clocks"] == ["this machine's and the brokers' agree"]
    assert "transactions" in right
    assert any("a worker runs on" in text for text in right["directory"])
    assert "behind the brokers'" in told(behind, Level.PROBLEM)["clocks"][0]

    asyncio.run(publish(settings, 5))
    waiting = told(look_only(look_at_group, settings), Level.PROBLEM)
    assert waiting == {"positions": ["5 records wait, and no worker runs"]}
    asyncio.run(delete_all(settings, f"{settings.topic_prefix}orders"))
    lost = told(look_only(look_at_group, settings), Level.PROBLEM)
    assert "were deleted before they were taken" in lost["positions"][0]


async def delete_all(settings: Settings, topic: str) -> None:
    admin = Access(settings.bootstrap_servers).admin()
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, p): RecordsToDelete(-1) for p in (0, 1)})
    finally:
        await admin.close()


def test_topics_that_are_not_as_they_should_be(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Missing ones, other partitions, a policy that would lose state; retention is a choice."""
    name = unique_name("doctor")
    prefix = f"{name}."
    made = [
        Topic(f"{prefix}orders", 3, {"message.timestamp.type": "LogAppendTime"}),
        Topic(f"{prefix}internal.changelog", 2, {"cleanup.policy": "delete"}),
        Topic(f"{prefix}balance-changes", 2, {"retention.ms": "1000"}),
    ]
    asyncio.run(ensure_topics(bootstrap_servers, made))

    findings = look(
        Settings(
            bootstrap_servers=bootstrap_servers,
            app_id=name,
            topic_prefix=prefix,
            partitions=2,
            replication_factor=3,
            data_dir=tmp_path / "data",
        )
    )

    topics = "\n".join(told(findings, Level.PROBLEM)["topics"])
    assert f"{prefix}orders: partitions is 3, must be 2" in topics
    assert f"{prefix}internal.changelog: cleanup.policy is delete" in topics
    missing = told(findings, Level.PROBLEM)["topics"][0]
    assert f" do not exist: {prefix}check-ins, " in missing
    assert f"{prefix}orders" not in missing
    assert "retention.ms is 1000" in told(findings, Level.LOOK)["topics"][0]
    assert "1 copy at least, not 3" in told(findings, Level.PROBLEM)["copies"][0]


def test_a_transaction_that_stays_open_is_named(settings: Settings) -> None:
    """Whose it is and how long it may last: readers wait for it."""
    topic = f"{settings.topic_prefix}crm-sync"
    owner = f"{settings.app_id}-1"

    async def with_open_transaction() -> list[Finding]:
        producer = Access(settings.bootstrap_servers).producer(
            transactional_id=owner, transaction_timeout_ms=60_000
        )
        async with producer, producer.transaction():
            await producer.send_and_wait(topic, b"{}", b"m1", partition=1)
            return [finding async for finding in examine(settings)]

    (message,) = told(asyncio.run(with_open_transaction()), Level.LOOK)["transactions"]

    assert message.startswith(f"{topic}[1] waits for {owner}, open for ")
    assert message.endswith("s of 60")


def test_a_directory_is_looked_at_without_being_touched(settings: Settings) -> None:
    """Not made where it is missing; a store that met a read error is told."""
    look(settings)
    assert not settings.data_dir.exists()
    (settings.data_dir / "partition-00001").mkdir(parents=True)
    (settings.data_dir / "partition-00001" / "SUSPECT").touch()

    with claim_directory(settings.data_dir):
        findings = look(settings)

    assert any("met a read error" in text for text in told(findings, Level.LOOK)["directory"])
    right = told(findings, Level.RIGHT)["directory"]
    assert any(f"a worker runs on {settings.data_dir}" in text for text in right)
