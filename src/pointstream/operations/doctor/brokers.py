"""The cluster: who answers, the topics, the clocks, the group of the workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
    for_code,
)

from pointstream.engine.access import Access
from pointstream.engine.topics import CHECKED_SETTINGS, check_topics
from pointstream.operations.doctor.findings import Finding, problem, right, unknown, worth_a_look
from pointstream.operations.lag import GroupProgress
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

__all__ = ["look_at_clocks", "look_at_cluster", "look_at_group", "look_at_topics"]

#: Kept as the contract has them; another value is the operator's choice, and worth knowing.
_CHOSEN_SETTINGS = ("max.message.bytes", "retention.ms")
#: Nothing here depends on clocks that agree to less; timers and tokens do on more.
_CLOCK_MS = 2_000
#: On a fresh cluster nobody coordinates groups until the first one asks.
_NO_COORDINATOR_YET = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
)
_COORDINATOR_ATTEMPTS = 20
_COORDINATOR_PAUSE_SECONDS = 0.25
_TICKS = "internal.ticks"


async def look_at_cluster(access: Access) -> AsyncIterator[Finding]:
    """Which brokers there are."""
    admin = access.admin()
    try:
        await admin.start()
        told = await admin.describe_cluster()
    finally:
        await admin.close()
    brokers = told["brokers"]
    words = f"{len(brokers)} broker{'s' * (len(brokers) != 1)} of the cluster {told['cluster_id']}"
    yield right("brokers", words)


async def look_at_topics(access: Access, settings: Settings) -> AsyncIterator[Finding]:
    """Every topic against the contract, and its copies against the settings."""
    wanted = wanted_topics(settings)
    differences = await check_topics(
        access, wanted, checked_settings=(*CHECKED_SETTINGS, *_CHOSEN_SETTINGS)
    )
    missing = [difference.topic for difference in differences if difference.found is None]
    if missing:
        words = f"{len(missing)} of {len(wanted)} do not exist: {', '.join(missing)}"
        yield problem("topics", words, "pointstream topics create")
    for difference in differences:
        if difference.found is None:
            continue
        message, _, remedy = str(difference).partition("; ")
        chosen = difference.setting in _CHOSEN_SETTINGS
        yield (worth_a_look if chosen else problem)("topics", message, remedy)
    if not differences:
        yield right("topics", f"all {len(wanted)} are there and as they should be")
    admin = access.admin()
    try:
        await admin.start()
        described = await admin.describe_topics([topic.name for topic in wanted])
    finally:
        await admin.close()
    for finding in _copies(described, settings):
        yield finding


def _copies(described: list[Mapping[str, Any]], settings: Settings) -> Iterator[Finding]:
    partitions = [
        (topic["topic"], partition) for topic in described for partition in topic["partitions"]
    ]
    for name, partition in partitions:
        where = f"{name}[{partition['partition']}]"
        if partition["leader"] < 0:
            yield problem("copies", f"{where} has no leader", "bring its brokers back")
        elif len(partition["isr"]) < len(partition["replicas"]):
            yield problem(
                "copies",
                f"{where} has {len(partition['isr'])} of {len(partition['replicas'])} copies in "
                "step",
                "look after the brokers that are behind",
            )
    fewest = min((len(partition["replicas"]) for _, partition in partitions), default=0)
    if not partitions:
        return
    words = f"the topics have {fewest} cop{'y' if fewest == 1 else 'ies'} at least"
    if fewest < settings.replication_factor:
        words += f", not {settings.replication_factor} (POINTSTREAM_REPLICATION_FACTOR)"
        yield problem("copies", words, "kafka-reassign-partitions adds copies while it runs")
    elif fewest == 1:
        remedy = "3 copies, and min.insync.replicas=2, let a broker be lost without a point"
        yield worth_a_look("copies", words, remedy)
    else:
        yield right("copies", words)


async def look_at_clocks(access: Access, settings: Settings) -> AsyncIterator[Finding]:
    """This machine's clock beside the brokers', as far as the newest tick tells.

    Ticks bear the broker's time and come all the time while workers run. Nothing is written to
    find out: only workers may, and a tick moves the time of its partition.
    """
    topic = settings.topic_prefix + _TICKS
    async with CommittedReader(access) as reader:
        places = [(topic, partition) for partition in await reader.partitions(topic)]
        ends, starts = await reader.ends(places), await reader.beginnings(places)
        newest: int | None = None
        for place in places:
            # The last offsets may be a transaction's marker, which no reader sees.
            begin = max(starts[place], ends[place] - 3)
            async for records in reader.read(*place, start=begin, end=ends[place]):
                newest = max([newest or 0, *(record.timestamp for record in records)])
    if newest is None:
        words = "the brokers' time is not known: no worker has run lately"
        yield unknown("clocks", words, "start a worker and look again")
        return
    ahead_ms = newest - int(time.time() * 1000)
    recent_ms = settings.tick_interval_ms * 3 + _CLOCK_MS
    if ahead_ms > _CLOCK_MS:
        words = f"this machine's clock is {ahead_ms / 1000:.1f} s or more behind the brokers'"
        yield problem("clocks", words, "keep both in step by NTP")
    elif ahead_ms < -recent_ms:
        yield worth_a_look(
            "clocks",
            f"the newest tick is {-ahead_ms / 1000:.0f} s old: no worker runs, or this machine's "
            "clock is ahead of the brokers'",
            "see the group; keep the clocks in step by NTP",
        )
    else:
        yield right("clocks", "this machine's and the brokers' agree")


async def look_at_group(access: Access, settings: Settings) -> AsyncIterator[Finding]:
    """Whether workers run, how far they are, and whether what they need next is still there."""
    group = await _group(access, settings.app_id)
    members, state = len(group["members"]), group["state"]
    name = settings.app_id
    if members == 0:
        words = f"no worker runs in the group {name}"
        yield worth_a_look("group", words, "pointstream worker --supervise")
    elif state != "Stable":
        words = f"the group {name} is {state} with {members} workers"
        remedy = "it should be Stable within a minute; else look into the workers' logs"
        yield worth_a_look("group", words, remedy)
    elif members > settings.partitions:
        words = f"{members} workers share {settings.partitions} partitions; some have none"
        yield worth_a_look("group", words, "run as many as there are partitions, or fewer")
    else:
        yield right("group", f"{members} worker{'s' * (members != 1)} in the group {name}")
    async for finding in _positions(access, settings, members):
        yield finding


async def _group(access: Access, name: str) -> Mapping[str, Any]:
    admin = access.admin()
    try:
        await admin.start()
        for attempt in range(1, _COORDINATOR_ATTEMPTS + 1):
            try:
                return await _described(admin, name)
            except _NO_COORDINATOR_YET:
                if attempt == _COORDINATOR_ATTEMPTS:
                    raise
                await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)
    finally:
        await admin.close()
    raise AssertionError("the last attempt raises")


async def _described(admin: Any, name: str) -> Mapping[str, Any]:
    (answer,) = await admin.describe_consumer_groups([name])
    group: Mapping[str, Any] = answer.to_object()["groups"][0]
    if group["error_code"]:
        raise for_code(group["error_code"])
    return group


async def _positions(access: Access, settings: Settings, members: int) -> AsyncIterator[Finding]:
    async with GroupProgress(access, settings.app_id, ()) as progress:
        committed = await progress.positions()
    async with CommittedReader(access) as reader:
        known = {place for place in committed if await reader.partitions(place[0])}
        ends, starts = await reader.ends(known), await reader.beginnings(known)
    lag = 0
    for place in sorted(known):
        where, position = f"{place[0]}[{place[1]}]", committed[place]
        lag += max(ends[place] - position, 0)
        if position < starts[place]:
            yield problem(
                "positions",
                f"{where}: records {position} to {starts[place] - 1} were deleted before they "
                "were taken",
                "publish them again, or accept the loss as the worker's error says",
            )
        elif position > ends[place]:
            yield problem(
                "positions",
                f"{where}: taken up to {position}, but the topic ends at {ends[place]}: it was "
                "made anew, or the brokers lost records",
                "see the worker's error: it says how to go on",
            )
    words = f"{lag:,} records wait"
    if lag and not members:
        yield problem("positions", f"{words}, and no worker runs", "pointstream worker --supervise")
    else:
        yield right("positions", words)
