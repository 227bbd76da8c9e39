"""Where the brokers are and how this process shows who it is: every Kafka client is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

__all__ = ["Access", "Reachable"]


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster; not a connection. Each client that it makes has to be started."""

    bootstrap_servers: str
    #: Client settings for TLS and SASL, as aiokafka names them. Secrets are among them.
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def to(cls, cluster: Reachable) -> Access:
        """Take bare addresses as brokers that ask nobody who is there."""
        return cls(cluster) if isinstance(cluster, str) else cluster

    @property
    def arguments(self) -> dict[str, Any]:
        """What every client is told, whatever it does."""
        return {"bootstrap_servers": self.bootstrap_servers, **self.security}

    def consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        """A consumer; `settings` are aiokafka's."""
        return AIOKafkaConsumer(*topics, **self.arguments, **settings)

    def producer(self, **settings: Any) -> AIOKafkaProducer:
        """A producer; `settings` are aiokafka's."""
        return AIOKafkaProducer(**self.arguments, **settings)

    def admin(self, **settings: Any) -> AIOKafkaAdminClient:
        """A client for topics, groups and the cluster; `settings` are aiokafka's."""
        return AIOKafkaAdminClient(**self.arguments, **settings)

    def client(self, **settings: Any) -> AIOKafkaClient:
        """The bare client below the others; `settings` are aiokafka's."""
        return AIOKafkaClient(**self.arguments, **settings)


#: A cluster's access, or the addresses of brokers that ask nobody who is there.
Reachable = str | Access
