"""The Kafka that a run, the tests and the bench work against, found or started in one place.

`broker_for_run` takes the cluster that ``KAFKA_BOOTSTRAP_SERVERS`` names; else a container where a
Docker engine answers; else Apache Kafka itself on this machine's Java. What is started here is
stopped here, also when this process dies. Nothing in this package knows the job or its topics.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pointstream.engine.access import Access
from pointstream.operations.broker.base import Broker
from pointstream.operations.broker.container import ContainerBroker, docker_engine_answers
from pointstream.operations.broker.errors import (
    BrokerControlError,
    BrokerError,
    BrokerStartError,
    BrokerUnavailableError,
)
from pointstream.operations.broker.external import ExternalBroker
from pointstream.operations.broker.install import OLDEST_JAVA, missing_for_kafka
from pointstream.operations.broker.local import LocalBroker
from pointstream.operations.broker.secured import SUPERUSER, Secured

__all__ = [
    "SUPERUSER",
    "Broker",
    "BrokerControlError",
    "BrokerError",
    "BrokerStartError",
    "BrokerUnavailableError",
    "ContainerBroker",
    "ExternalBroker",
    "LocalBroker",
    "Secured",
    "broker_for_run",
]


def broker_for_run(
    nodes: int = 1,
    *,
    data_dir: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda text: None,
    environ: Mapping[str, str] = os.environ,
    access: Callable[[], Access] | None = None,
) -> Broker:
    """The broker to use on this machine, not started yet: ``with broker_for_run() as broker``.

    Args:
        nodes: 1, or 3 for the fault tests; more than one is always Apache Kafka on this machine,
            whose single nodes can be killed and frozen.
        data_dir: where a local Kafka keeps its data; None for a temporary directory.
        overrides: Kafka settings on top of ours, for a broker that is started here.
        say: told in one line what is chosen and what takes time.
        environ: where ``KAFKA_BOOTSTRAP_SERVERS`` is looked up.
        access: asked how to reach the cluster that is named; None for one that lets everybody in.

    Raises:
        BrokerUnavailableError: none of the three ways is open; the message says what to install.
    """
    named = environ.get("KAFKA_BOOTSTRAP_SERVERS", "").strip()
    if named and nodes == 1:
        return ExternalBroker(named if access is None else access())
    if nodes == 1 and data_dir is None and docker_engine_answers():
        return ContainerBroker(overrides=overrides, say=say)
    missing = missing_for_kafka()
    if missing:
        raise BrokerUnavailableError(_remedy(missing, nodes))
    return LocalBroker(nodes, data_dir=data_dir, overrides=overrides, say=say)


def _remedy(missing: list[str], nodes: int) -> str:
    ways = [f"install Java {OLDEST_JAVA} or newer and Maven (Debian: default-jre-headless, maven)"]
    if nodes == 1:
        ways += ["start a Docker engine", "set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"]
    problem = " ".join(missing)
    also = "" if nodes > 1 else " No Docker engine answers; KAFKA_BOOTSTRAP_SERVERS is not set."
    return f"No Kafka to run against. {problem}{also} Either {'; or '.join(ways)}."
