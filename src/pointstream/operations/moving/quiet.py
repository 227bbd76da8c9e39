"""Makes sure that nobody writes: no worker in the group, no transaction left open.

The state of several partitions can be copied as one only while it stands still: points on their way
from one partition to another would be in both copies, or in neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, for_code

from pointstream.contracts.topics import topic_specs
from pointstream.engine.access import Access
from pointstream.operations.lag import GroupProgress
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings

__all__ = ["NotQuiet", "Places", "require_no_workers", "stand_still"]

_LOOK_SECONDS: Final = 0.25
_GRACE_SECONDS: Final = 5.0
_NO_GROUP: Final = ("Dead", "Empty", "")


class NotQuiet(Exception):
    """Something still writes; the message says what and what to do."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything begins and ends, and how far the group has come, by (topic, partition)."""

    begins: dict[tuple[str, int], int]
    ends: dict[tuple[str, int], int]
    committed: dict[tuple[str, int], int]


async def require_no_workers(
    access: Access,
    settings: Settings,
    *,
    on_waiting: Callable[[str], None] = lambda words: None,
) -> None:
    """Wait until the group has no members; one that was killed counts until its session ends.

    Raises `NotQuiet` when they stay for longer than a session.
    """
    deadline = time.monotonic() + settings.session_timeout_ms / 1000 + _GRACE_SECONDS
    admin = access.admin()
    await admin.start()
    try:
        while True:
            late = time.monotonic() > deadline
            try:
                (answer,) = await admin.describe_consumer_groups([settings.app_id])
                group = answer.to_object()["groups"][0]
                if group["error_code"]:
                    raise for_code(group["error_code"])(f"the group {settings.app_id}")
            except KafkaError as error:
                # On a fresh cluster nobody coordinates groups until the first one asks.
                if not error.retriable or late:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if not group["members"] and group["state"] in _NO_GROUP:
                return
            if late:
                raise NotQuiet(
                    f"{len(group['members'])} workers are in the group {settings.app_id}: stop all"
                    " of them first"
                )
            on_waiting(f"waiting for {len(group['members'])} workers to leave the group")
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await admin.close()


async def stand_still(
    access: Access,
    settings: Settings,
    partitions: Sequence[int],
    *,
    on_waiting: Callable[[str], None] = lambda words: None,
) -> Places:
    """Wait until no transaction of before is open, and return where everything stands then.

    Raises:
        NotQuiet: workers run, or a transaction stays open for longer than workers' may.
    """
    await require_no_workers(access, settings, on_waiting=on_waiting)
    topics = [spec.name for spec in topic_specs(settings.topic_prefix)]
    places = [TopicPartition(topic, number) for topic in topics for number in partitions]
    raw: AIOKafkaConsumer = access.consumer(
        isolation_level="read_uncommitted",
        # For each of the topics it waits so long once, until it knows who leads it.
        retry_backoff_ms=20,
    )
    await raw.start()
    try:
        async with CommittedReader(access) as reader:
            pairs = [(place.topic, place.partition) for place in places]
            patience = settings.transaction_timeout_ms / 1000 + 15.0
            deadline = time.monotonic() + patience
            # Looked at once: publishers may go on, and a topic that grows is never at its end.
            last = await raw.end_offsets(places)
            while True:
                ends = await reader.ends(pairs)
                still = [p for p in places if ends[p.topic, p.partition] < last[p]]
                if not still:
                    break
                name = f"{still[0].topic}[{still[0].partition}]"
                if time.monotonic() > deadline:
                    raise NotQuiet(
                        f"a transaction on {name} has been open for {patience:.0f} s:"
                        " `pointstream doctor` says whose"
                    )
                on_waiting(f"waiting for an open transaction on {name}")
                await asyncio.sleep(_LOOK_SECONDS)
            begins = await reader.beginnings(pairs)
    finally:
        await raw.stop()
    async with GroupProgress(access, settings.app_id, ()) as progress:
        committed = await progress.positions()
    return Places(begins, ends, committed)
