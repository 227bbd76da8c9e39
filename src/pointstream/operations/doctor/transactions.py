"""Open transactions: what a read-committed reader waits for, and whether anybody will end it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import for_code

from pointstream.engine.access import Access
from pointstream.operations.doctor.findings import Finding, problem, right, unknown, worth_a_look
from pointstream.operations.doctor.protocol import DescribeTransactions, ListTransactions
from pointstream.operations.settings import Settings

__all__ = ["look_at_transactions"]

_CHECK = "transactions"
#: A worker's transactions last for milliseconds: what stands so long between two looks is stuck.
_BETWEEN_LOOKS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Open:
    transactional_id: str
    age_ms: int
    timeout_ms: int
    places: frozenset[tuple[str, int]]


async def look_at_transactions(
    access: Access, settings: Settings, places: Sequence[tuple[str, int]]
) -> AsyncIterator[Finding]:
    """Transactions that hold up the readers of any of the (topic, partition) places."""
    before = await _held_up(access, places) if places else {}
    if not before:
        yield right(_CHECK, "none holds up a reader")
        return
    await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
    after = await _held_up(access, places)
    stuck = sorted(place for place, at in before.items() if after.get(place) == at)
    if not stuck:
        yield right(_CHECK, "those that are open move on")
        return
    coordinated = await _coordinated(access)
    if coordinated is None:
        named = ", ".join(f"{topic}[{partition}]" for topic, partition in stuck)
        yield unknown(
            _CHECK,
            f"open for {_BETWEEN_LOOKS_SECONDS:.0f} s and more on {named}; whose they are may not "
            "be asked",
            "ask as a user who may describe the transactional ids",
        )
        return
    for place in stuck:
        yield _judge(settings, place, before[place], coordinated)


def _judge(
    settings: Settings, place: tuple[str, int], at: int, coordinated: Sequence[_Open]
) -> Finding:
    topic, partition = place
    where = f"{topic}[{partition}]"
    owner = next((each for each in coordinated if place in each.places), None)
    if owner is None:
        # No coordinator knows of it, so none will end it: KIP-664.
        return problem(
            _CHECK,
            f"{where} has a hanging transaction at offset {at}: readers see nothing behind it, "
            "and nobody will end it",
            f"kafka-transactions --bootstrap-server {settings.bootstrap_servers} abort "
            f"--topic {topic} --partition {partition} --start-offset {at}",
        )
    words = (
        f"{where} waits for {owner.transactional_id}, open for {owner.age_ms / 1000:.0f} s of "
        f"{owner.timeout_ms / 1000:.0f}"
    )
    if owner.age_ms > owner.timeout_ms + 10_000:
        remedy = "its coordinator should have aborted it: look into the brokers' logs"
        return problem(_CHECK, words, remedy)
    return worth_a_look(
        _CHECK, words, "its worker goes on, is replaced, or the coordinator aborts it then"
    )


async def _held_up(access: Access, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Where committed reading ends before the log does, and at which offset."""
    wanted = [TopicPartition(*place) for place in places]
    ends = []
    for level in ("read_committed", "read_uncommitted"):
        reader = access.consumer(isolation_level=level, enable_auto_commit=False)
        await reader.start()
        try:
            ends.append(await reader.end_offsets(wanted))
        finally:
            await reader.stop()
    stable, last = ends
    return {
        (place.topic, place.partition): stable[place]
        for place in wanted
        if stable[place] < last[place]
    }


async def _coordinated(access: Access) -> list[_Open] | None:
    """Open transactions that coordinators know of; None where nothing may be asked."""
    client: Any = access.client()
    now_ms = int(time.time() * 1000)
    found: list[_Open] = []
    try:
        await client.bootstrap()
        for node in [broker.nodeId for broker in client.cluster.brokers()]:
            listed = await client.send(node, ListTransactions())
            if listed.error_code:
                raise for_code(listed.error_code)
            ids = [state[0] for state in listed.transaction_states if state[2] == "Ongoing"]
            if not ids:
                continue
            told = await client.send(node, DescribeTransactions(ids))
            for code, name, _, timeout_ms, start_ms, _, _, topics, _ in told.transaction_states:
                if not code:
                    held = frozenset((topic, p) for topic, parts, _ in topics for p in parts)
                    found.append(_Open(name, now_ms - start_ms, timeout_ms, held))
    finally:
        await client.close()
    return found
