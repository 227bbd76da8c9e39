"""Looks over a deployment: this machine, the brokers, the topics, the group; changes nothing.

`examine` yields what it finds as it goes. A check that fails by itself is a finding like others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiokafka.errors import KafkaError

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.engine.topics import TopicsError
from pointstream.operations.access import LACKS_RIGHTS, AccessError, access_of, refusal_of
from pointstream.operations.acls import Role
from pointstream.operations.doctor.brokers import (
    look_at_clocks,
    look_at_cluster,
    look_at_group,
    look_at_topics,
)
from pointstream.operations.doctor.findings import Finding, Level, problem, unknown
from pointstream.operations.doctor.machine import (
    look_at_directory,
    look_at_settings,
    look_at_versions,
)
from pointstream.operations.doctor.permissions import look_at_permissions
from pointstream.operations.doctor.transactions import look_at_transactions
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

__all__ = ["Finding", "Level", "examine"]


async def examine(
    settings: Settings, role: Role = Role.WORKER, principal: str | None = None
) -> AsyncIterator[Finding]:
    """Every check, one after the other.

    Args:
        settings: of the worker that is looked after.
        role: what `principal` should be allowed.
        principal: ``User:name``; None for whoever asks, where its name is known.
    """
    for look in (look_at_settings, look_at_versions):
        for finding in look():
            yield finding
    for finding in look_at_directory(settings):
        yield finding
    try:
        access = access_of(settings)
    except AccessError as error:
        yield problem("brokers", str(error), "correct the setting or the file")
        return
    try:
        async for finding in look_at_cluster(access):
            yield finding
    except (KafkaError, OSError) as error:
        refusal = await refusal_of(access)
        if refusal is not None:
            yield problem("brokers", str(refusal), "`pointstream config show` tells what is set")
        else:
            words = f"none answers at {settings.bootstrap_servers}: {error}"
            yield problem("brokers", words, "start them, or correct KAFKA_BOOTSTRAP_SERVERS")
        return
    who = principal or (f"User:{settings.kafka_username}" if settings.kafka_username else None)
    checks = {
        "topics": look_at_topics(access, settings),
        "clocks": look_at_clocks(access, settings),
        "group": look_at_group(access, settings),
        "transactions": _transactions(access, settings),
    }
    if who is not None:
        checks["permissions"] = look_at_permissions(access, settings, who, role)
    for name, findings in checks.items():
        try:
            async for finding in findings:
                yield finding
        except (KafkaError, TopicsError, OSError) as error:
            yield unknown(name, f"could not be looked at: {error}", LACKS_RIGHTS)


async def _transactions(access: Access, settings: Settings) -> AsyncIterator[Finding]:
    async with CommittedReader(access) as reader:
        places = [
            (spec.name, partition)
            for spec in topic_specs(settings.topic_prefix)
            for partition in await reader.partitions(spec.name)
        ]
    async for finding in look_at_transactions(access, settings, places):
        yield finding
