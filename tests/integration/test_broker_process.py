"""The broker of our own: it serves, it can be broken on purpose, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from pointstream.engine.topics import Topic, ensure_topics
from pointstream.operations.broker import Broker, BrokerControlError, BrokerStartError, LocalBroker
from pointstream.operations.broker.base import answering_nodes

pytestmark = pytest.mark.broker

#: Starts a broker, says where it is, and waits to be ended.
_OWNER = """
import sys, time
from pathlib import Path
from pointstream.operations.broker import LocalBroker
broker = LocalBroker(data_dir=None)
broker.start()
print(*[node.pid for node in broker._nodes], broker._directory, flush=True)
time.sleep(600)
"""


def _kafka_processes(directory: Path) -> list[int]:
    """Process ids of everything whose command line names the broker's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in command:
                found.append(int(entry.name))
    return found


def _await(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


async def _put(servers: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", request_timeout_ms=30_000)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


async def _take(servers: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[LocalBroker]:
    """A cluster of three that a test may break, and must leave whole."""
    with LocalBroker(3, heap_mb=512) as broker:
        yield broker


def test_it_takes_a_record_and_stops_without_a_trace() -> None:
    """A record written is read; afterwards neither a process nor a directory is left."""
    with LocalBroker() as broker:
        servers = broker.bootstrap_servers
        directory = broker.data_directory
        asyncio.run(ensure_topics(servers, [Topic("t", 1)]))
        asyncio.run(_put(servers, "t", b"one"))
        assert asyncio.run(_take(servers, "t", 1)) == [b"one"]
        assert _kafka_processes(directory), "the look for processes finds none at all"

    assert _kafka_processes(directory) == []
    assert not directory.exists()


def test_its_own_data_directory_outlives_it(tmp_path: Path) -> None:
    """Started again on the same directory, it has the records of before."""
    with LocalBroker(data_dir=tmp_path / "kafka") as broker:
        asyncio.run(ensure_topics(broker.bootstrap_servers, [Topic("t", 1)]))
        asyncio.run(_put(broker.bootstrap_servers, "t", b"kept"))

    with LocalBroker(data_dir=tmp_path / "kafka") as broker:
        assert asyncio.run(_take(broker.bootstrap_servers, "t", 1)) == [b"kept"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("frozen", [False, True])
def test_it_does_not_outlive_the_process_that_started_it(
    number: signal.Signals, frozen: bool
) -> None:
    """Killed with -9 or ended otherwise, its owner takes the broker along, a frozen one too."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        if frozen:
            os.kill(int(pid), signal.SIGSTOP)
        assert _kafka_processes(Path(directory))
        owner.send_signal(number)
        owner.wait(10)
    finally:
        owner.kill()
        owner.communicate()

    _await(lambda: not _kafka_processes(Path(directory)), "the end of the broker")
    _await(lambda: not Path(directory).exists(), "the removal of its data")


def test_a_killed_guard_takes_its_node_along() -> None:
    """Nobody would be left to end the node, so the kernel does."""
    broker = LocalBroker()
    broker.start()
    try:
        node, *others = broker._nodes
        assert not others
        assert node._guard is not None
        node._guard.kill()
        _await(lambda: not Path(f"/proc/{node.pid}").exists(), "the end of the node")
    finally:
        broker.stop()


def test_three_nodes_go_on_without_one(three_nodes: LocalBroker) -> None:
    """With one node killed, acknowledged records are kept and new ones are taken."""
    servers = three_nodes.bootstrap_servers
    first, second, _ = servers.split(",")
    asyncio.run(ensure_topics(servers, [Topic("killed", 1)], replication_factor=3))
    asyncio.run(_put(servers, "killed", b"before"))

    three_nodes.kill(1)
    try:
        _await(lambda: answering_nodes(second, 5) == 2, "the cluster's notice of it")
        asyncio.run(_put(second, "killed", b"without 1"))
        assert asyncio.run(_take(second, "killed", 2)) == [b"before", b"without 1"]
    finally:
        three_nodes.restart(1)

    _await(lambda: answering_nodes(second, 5) == 3, "the node's return")
    assert asyncio.run(_take(first, "killed", 2)) == [b"before", b"without 1"]


def test_a_frozen_node_holds_its_connections_and_goes_on(three_nodes: LocalBroker) -> None:
    """While one is frozen the others serve; continued, it serves again."""
    servers = three_nodes.bootstrap_servers
    first, second, _ = servers.split(",")
    asyncio.run(ensure_topics(servers, [Topic("frozen", 1)], replication_factor=3))

    three_nodes.pause(2)
    try:
        _await(lambda: answering_nodes(first, 5) == 2, "the cluster's notice of it")
        asyncio.run(_put(first, "frozen", b"meanwhile"))
    finally:
        three_nodes.resume(2)

    _await(lambda: answering_nodes(first, 5) == 3, "the node's return")
    assert asyncio.run(_take(second, "frozen", 1)) == [b"meanwhile"]


def test_orders_that_do_not_fit_are_refused(three_nodes: LocalBroker) -> None:
    """An unknown node, or one that is down, is an error and not a silent nothing."""
    with pytest.raises(BrokerControlError, match="no node 4; 3 were started"):
        three_nodes.kill(4)

    three_nodes.kill(3)
    try:
        with pytest.raises(BrokerControlError, match="node 3 is not running"):
            three_nodes.pause(3)
    finally:
        three_nodes.restart(3)


def test_a_broker_that_cannot_start_says_why() -> None:
    """The error carries the end of Kafka's own log."""
    broken = LocalBroker(overrides={"num.io.threads": "none"})

    with pytest.raises(BrokerStartError, match=r"num\.io\.threads"), broken:
        pass


def test_the_session_broker_answers(broker: Broker) -> None:
    """Whichever kind this machine has, it names at least one node."""
    assert broker.nodes >= 1
    assert ":" in broker.bootstrap_servers
