"""Each role can do its work and nothing else, by every way of showing who one is."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    NoError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest

from chaos.fleet import Fleet
from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.engine.topics import TopicsForbiddenError, check_topics, ensure_topics
from pointstream.operations.acls import Role
from pointstream.operations.deadletters import Address, Letter
from pointstream.operations.generate import StreamPlan, generate
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader
from pointstream.operations.reconcile import reconcile
from pointstream.operations.replays import Replayer
from pointstream.operations.topics import wanted_topics

from .conftest import APP_ID, PREFIX, World

pytestmark = pytest.mark.broker

_PATIENCE_SECONDS = 20.0
_DAY_MS = 86_400_000


def run(work: Awaitable[Any]) -> Any:
    """Run to the end, which must not take for ever."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work, _PATIENCE_SECONDS)

    return asyncio.run(bounded())


async def write(access: Access, topic: str) -> None:
    async with access.producer(request_timeout_ms=5_000) as producer:
        await producer.send_and_wait(topic, b"{}", b"nobody", partition=0)


async def read(access: Access, topic: str) -> None:
    """Fetch as a client would that does not first ask which topics it may see."""
    client = access.client()
    await client.bootstrap()
    try:
        request = FetchRequest(100, 1, 1 << 20, 1, [(topic, [(0, 0, 1 << 20)])])
        answer = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    ((_, (partition,)),) = answer.topics
    error = for_code(partition[1])
    if error is not NoError:
        raise error


async def join(access: Access, group: str) -> None:
    consumer = access.consumer(f"{PREFIX}balance-changes", group_id=group)
    await consumer.start()
    try:
        await consumer.getmany(timeout_ms=2_000)
    finally:
        await consumer.stop()


async def replay(access: Access) -> None:
    """As `dlq replay` begins: fence, then a transaction with a mark."""
    async with Replayer(access, prefix=PREFIX, app_id=APP_ID) as replayer:
        letter = Letter(
            Address(f"{PREFIX}dead-letters", 0, 0),
            0,
            "not_json",
            "",
            Address(f"{PREFIX}orders", 0, 0),
            b"nobody",
            b"{",
            (),
            1,
            None,
        )

        async def letters() -> AsyncIterator[Letter]:
            yield letter

        assert (await replayer.replay(letters(), rate=10, again=True)).sent == 1


def test_the_whole_job_runs_with_the_rights_of_its_roles(world: World, tmp_path: Path) -> None:
    """The upstream publishes, a worker that is killed once takes it, the operator proves it, the
    downstream reads the ledger."""
    end_ms = int(time.time() * 1000) // _DAY_MS * _DAY_MS
    plan = StreamPlan(events=400, members=40, seed=7, start_ms=end_ms - 5 * _DAY_MS, end_ms=end_ms)
    told = world.told(Role.WORKER)
    servers = told.pop("bootstrap_servers")

    async def publish() -> None:
        async with Publisher(world.access(Role.UPSTREAM)) as publisher:
            for made in generate(plan):
                await publisher.put(OutgoingRecord(PREFIX + made.topic, made.key, made.value))

    async def taken() -> None:
        access = world.access(Role.OPERATOR)
        async with GroupProgress(access, APP_ID, input_topics(PREFIX)) as group:
            while (seen := await group.look()).lag or not seen.taken:
                assert worker.running, worker.log_end()
                await asyncio.sleep(0.2)

    async def entries() -> int:
        async with CommittedReader(world.access(Role.DOWNSTREAM)) as reader:
            topic = f"{PREFIX}balance-changes"
            return sum(
                [
                    len(records)
                    for partition in await reader.existing(topic)
                    async for records in reader.read(topic, partition)
                ]
            )

    with Fleet(1, tmp_path, servers, APP_ID, **told) as fleet:
        (worker,) = fleet.workers
        worker.start()
        run(publish())
        asyncio.run(asyncio.wait_for(taken(), 60))
        worker.kill()
        run(publish())
        worker.start()
        asyncio.run(asyncio.wait_for(taken(), 60))
        code, _ = worker.stop()
        log = worker.log_file.read_text()

    proof = run(reconcile(world.access(Role.OPERATOR), PREFIX))
    assert proof.holds, proof.breaches
    assert proof.entries == run(entries()) > 100
    assert code == 0
    assert world.passwords[Role.WORKER] not in log


def topics(*directions: str) -> list[str]:
    return [spec.name for spec in topic_specs(PREFIX) if spec.direction in directions]


@pytest.mark.parametrize("topic", topics("out", "internal"))
def test_an_upstream_writes_no_output(world: World, topic: str) -> None:
    """Nor what the worker keeps for itself: points would be made from nothing."""
    with pytest.raises(TopicAuthorizationFailedError):
        run(write(world.access(Role.UPSTREAM), topic))


@pytest.mark.parametrize("topic", topics("in", "internal"))
def test_a_downstream_writes_no_input_and_reads_none(world: World, topic: str) -> None:
    """Nor does it see the state of the worker."""
    access = world.access(Role.DOWNSTREAM)

    with pytest.raises(TopicAuthorizationFailedError):
        run(write(access, topic))
    with pytest.raises(TopicAuthorizationFailedError):
        run(read(access, topic))


@pytest.mark.parametrize(
    ("role", "work", "error"),
    [
        (Role.UPSTREAM, lambda a: read(a, f"{PREFIX}orders"), TopicAuthorizationFailedError),
        (Role.UPSTREAM, lambda a: write(a, f"{PREFIX}rules"), TopicAuthorizationFailedError),
        (Role.DOWNSTREAM, lambda a: read(a, f"{PREFIX}fraud-flags"), TopicAuthorizationFailedError),
        (Role.REVIEWER, lambda a: write(a, f"{PREFIX}orders"), TopicAuthorizationFailedError),
        (Role.OPERATOR, lambda a: write(a, f"{PREFIX}crm-sync"), TopicAuthorizationFailedError),
        (Role.REVIEWER, replay, TransactionalIdAuthorizationFailed),
        (Role.DOWNSTREAM, lambda a: join(a, APP_ID), GroupAuthorizationFailedError),
        ("nobody", lambda a: read(a, f"{PREFIX}crm-sync"), TopicAuthorizationFailedError),
    ],
)
def test_no_role_does_the_work_of_another(
    world: World, role: str, work: Callable[[Access], Awaitable[Any]], error: type[Exception]
) -> None:
    """What is not asked of a role is not allowed it; one without a role may do nothing."""
    with pytest.raises(error):
        run(work(world.access(role)))


def test_each_role_does_its_own(world: World) -> None:
    """What it is there for is allowed."""
    run(write(world.access(Role.REVIEWER), f"{PREFIX}commands"))
    run(read(world.access(Role.REVIEWER), f"{PREFIX}fraud-flags"))
    run(write(world.access(Role.OPERATOR), f"{PREFIX}rules"))
    run(read(world.access(Role.OPERATOR), f"{PREFIX}internal.changelog"))
    run(replay(world.access(Role.OPERATOR)))
    run(join(world.access(Role.DOWNSTREAM), "downstream.sink"))


def test_only_the_operator_creates_topics(world: World) -> None:
    """A worker that finds one missing says that it may not create it."""
    wanted = wanted_topics(world.settings(Role.WORKER, topic_prefix="other."))

    with pytest.raises(TopicsForbiddenError):
        run(ensure_topics(world.access(Role.WORKER), wanted))


def token_of(user: str) -> str:
    """An unsecured JSON Web Token, RFC 7515, appendix A.5: this broker believes it."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": user, "iat": now - 10, "exp": now + 600})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(part.rstrip("=") for part in encoded) + "."


def by_token(world: World) -> dict[str, Any]:
    file = world.directory / "token"
    file.write_text(token_of(Role.OPERATOR))
    return {
        "kafka_sasl_mechanism": "OAUTHBEARER",
        "kafka_username": None,
        "kafka_password": None,
        "kafka_oauth_token_file": file,
    }


def by_certificate(world: World) -> dict[str, Any]:
    return {
        "bootstrap_servers": world.broker.tls_servers,
        "kafka_security_protocol": "SSL",
        "kafka_sasl_mechanism": None,
        "kafka_username": None,
        "kafka_password": None,
        "kafka_client_cert_file": world.certificate(Role.OPERATOR),
    }


@pytest.mark.parametrize(
    "way",
    [
        lambda world: {"kafka_sasl_mechanism": "SCRAM-SHA-256"},
        lambda world: {"kafka_sasl_mechanism": "PLAIN"},
        by_token,
        by_certificate,
    ],
    ids=["SCRAM-SHA-256", "PLAIN", "OAUTHBEARER", "certificate"],
)
def test_every_way_of_showing_who_one_is_serves_every_client(
    world: World, way: Callable[[World], dict[str, Any]]
) -> None:
    """Admin, producer, consumer, and the bare client below them."""
    other = way(world)
    access, settings = world.access(Role.OPERATOR, **other), world.settings(Role.OPERATOR)

    async def everything() -> tuple[Any, int]:
        differences = await check_topics(access, wanted_topics(settings))
        async with Publisher(access) as publisher:
            await publisher.put(OutgoingRecord(f"{PREFIX}catalogue", b"none", None))
        async with GroupProgress(access, APP_ID, input_topics(PREFIX)) as group:
            await group.look()
        async with CommittedReader(access) as reader:
            return differences, len(await reader.existing(f"{PREFIX}internal.changelog"))

    assert run(everything()) == ([], 2)
