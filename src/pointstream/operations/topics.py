"""Which topics a deployment needs, and with how many partitions."""

from __future__ import annotations

from pointstream.contracts.topics import topic_specs
from pointstream.engine.topics import Topic
from pointstream.operations.settings import Settings

__all__ = ["wanted_topics"]


def wanted_topics(settings: Settings) -> list[Topic]:
    """Every topic of the contract under the configured prefix, ready to be created or checked."""
    return [
        Topic(
            spec.name,
            settings.partitions,
            dict(spec.config),
        )
        for spec in topic_specs(settings.topic_prefix)
    ]
