"""Kafka's settings for a broker that serves one machine: small, quick to start, quick to notice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["log_properties", "node_properties", "shared_settings"]


def shared_settings(nodes: int) -> dict[str, str]:
    """What every node of a cluster of this many nodes is told, whatever starts it."""
    copies = min(3, nodes)
    needed = max(1, copies - 1)
    return {
        # A topic that nobody created would come with one partition and break co-partitioning.
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(needed),
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(needed),
        # Kafka's 50 of each take seconds to create and to load, and serve hundreds of groups.
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "8",
        # Workers that start together are balanced at once; a dead one may be noticed in a second.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # Default 128 MiB of heap, for the compaction of far larger logs.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        # Default 10 MiB, laid out in full for every partition; this still indexes 1 GiB segments.
        "log.index.size.max.bytes": str(2 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
        **({} if nodes == 1 else _NOTICE_A_DEAD_NODE_SOON),
    }


# A single node has no other to take over, and must not be fenced because the machine was busy.
_NOTICE_A_DEAD_NODE_SOON = {
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "10000",
}


def node_properties(
    number: int,
    host: str,
    port: int,
    controller_ports: Mapping[int, int],
    data: Path,
    shared: Mapping[str, str],
) -> str:
    """The ``server.properties`` of one combined broker and controller."""
    voters = ",".join(f"{node}@{host}:{p}" for node, p in sorted(controller_ports.items()))
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_ports[number]}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": voters,
        "log.dirs": str(data),
        **shared,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def log_properties(file: Path) -> str:
    """A log4j2 configuration: what matters goes to ``file``, nothing to the terminal."""
    return f"""\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {_escaped(str(file))}
appender.file.filePattern = {_escaped(str(file))}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.lifecycle.name = kafka.server.KafkaRaftServer
logger.lifecycle.level = info
logger.config.name = org.apache.kafka.common.config
logger.config.level = error
"""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
