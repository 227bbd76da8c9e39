"""What every kind of broker offers to whoever runs the job, the tests or the bench."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import abstractmethod

from aiokafka.errors import KafkaError

from pointstream.engine.access import Access, Reachable
from pointstream.operations.broker.errors import BrokerControlError
from pointstream.operations.lifetime import Lifetime

__all__ = ["Broker", "answering_nodes"]


class Broker(Lifetime):
    """One Kafka cluster, running from ``start`` (or ``with``) to ``stop``.

    Nodes are numbered from 1. The fault orders (``kill`` to ``restart``) are there for a broker
    that this process started; any other raises `BrokerControlError`.
    """

    #: What it is, for the people who watch: "Apache Kafka on this machine", …
    kind: str

    @property
    @abstractmethod
    def bootstrap_servers(self) -> str:
        """``host:port`` of every node, comma-separated, also of those that are down just now."""

    @property
    @abstractmethod
    def nodes(self) -> int:
        """How many nodes the cluster has; bounds the replication factor of its topics."""

    @abstractmethod
    def start(self) -> None:
        """Start every node and return when the cluster answers.

        Raises:
            BrokerStartError: it did not come up.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop every node; no process of it is left afterwards. Harmless when stopped already."""

    def kill(self, node: int = 1) -> None:
        """End a node at once, as kill -9 does; its data stay."""
        raise self._not_ours()

    def pause(self, node: int = 1) -> None:
        """Freeze a node: its connections stay open, nothing answers."""
        raise self._not_ours()

    def resume(self, node: int = 1) -> None:
        """Let a frozen node go on."""
        raise self._not_ours()

    def restart(self, node: int = 1) -> None:
        """Start a node anew on its port and data, after stopping it cleanly if it still runs."""
        raise self._not_ours()

    def _not_ours(self) -> BrokerControlError:
        return BrokerControlError(f"{self.kind}: this process cannot stop or freeze its nodes")


def answering_nodes(cluster: Reachable, timeout_seconds: float) -> int:
    """How many nodes the cluster names when asked at one of the addresses; 0 if none answers."""
    answer = 0

    async def ask() -> int:
        admin = Access.to(cluster).admin(request_timeout_ms=max(1, int(timeout_seconds * 1000)))
        try:
            await admin.start()
            return len((await admin.describe_cluster())["brokers"])
        finally:
            await admin.close()

    def run() -> None:
        nonlocal answer
        try:
            answer = asyncio.run(asyncio.wait_for(ask(), timeout_seconds))
        except (KafkaError, OSError, TimeoutError):
            answer = 0

    # A thread of its own, so that a caller may have an event loop running.
    started = time.monotonic()
    thread = threading.Thread(target=run, name="broker-check", daemon=True)
    thread.start()
    thread.join(timeout_seconds + 5 - (time.monotonic() - started))
    return answer
