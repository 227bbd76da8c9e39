"""A Kafka that somebody else runs."""

from __future__ import annotations

from pointstream.engine.access import Access, Reachable
from pointstream.operations.broker.base import Broker, answering_nodes
from pointstream.operations.broker.errors import BrokerStartError

__all__ = ["ExternalBroker"]

_ANSWER_SECONDS = 30.0


class ExternalBroker(Broker):
    """The cluster at ``bootstrap_servers``: checked at `start`, left alone otherwise."""

    kind = "Kafka named by KAFKA_BOOTSTRAP_SERVERS"

    def __init__(self, cluster: Reachable) -> None:
        self._access = Access.to(cluster)
        self._nodes = 1

    @property
    def bootstrap_servers(self) -> str:
        return self._access.bootstrap_servers

    @property
    def nodes(self) -> int:
        return self._nodes

    def start(self) -> None:
        """See that it answers.

        Raises:
            BrokerStartError: nobody answers at the given addresses.
        """
        found = answering_nodes(self._access, _ANSWER_SECONDS)
        if found == 0:
            raise BrokerStartError(
                f"no Kafka answers at {self.bootstrap_servers} within {_ANSWER_SECONDS:.0f} s; "
                "correct KAFKA_BOOTSTRAP_SERVERS, or unset it to have a broker started here"
            )
        self._nodes = found

    def stop(self) -> None:
        """Do nothing: it is not ours."""
