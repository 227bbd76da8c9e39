"""The audit: everything that came out, read by a stranger, against what should have.

Findings are sentences; none means that all is well. The same audit serves the runs with every guard
on, where it must find nothing, and those with one off, where it must find something.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from pointstream.operations.reading import CommittedReader, Record
from pointstream.operations.reconcile import reconcile

from .model import Model

__all__ = ["audit"]

_SETTLE_SECONDS = 30.0
_TOLD = 20


async def audit(servers: str, prefix: str, model: Model, liability: int | None = None) -> list[str]:
    """Read what the workers made of the model's events; the workers must have stopped.

    `liability` is what their metrics said at last, in points.
    """
    await _settled(servers, [prefix + name for name in _OUTPUTS])
    async with CommittedReader(servers) as reader:
        found = [
            *await _audit_entries(reader, prefix, model),
            *await _audit_answers(reader, prefix, model),
            *await _audit_dead_letters(reader, prefix, model),
            *await _audit_standings(reader, prefix, model),
        ]
    proof = await reconcile(servers, prefix)
    found += [f"{breach.check}: {breach.member_id} {breach.words}" for breach in proof.breaches]
    places = proof.totals
    owed = places["available"] + places["pending"] + places["held"] - places["debt"]
    if liability is not None and liability != owed:
        found.append(f"the metrics told of {liability} points owed, the books have {owed}")
    if proof.under_way:
        found.append(f"{proof.under_way} points are still under way between members")
    return found if len(found) <= _TOLD else [*found[:_TOLD], f"… {len(found)} findings in all"]


_OUTPUTS = (
    "balance-changes",
    "crm-sync",
    "mall-sync",
    "command-results",
    "dead-letters",
    "internal.changelog",
)


async def _settled(servers: str, topics: list[str]) -> None:
    """Wait until no transaction is open: a commit returns before its markers are written."""
    consumers = [
        AIOKafkaConsumer(bootstrap_servers=servers, isolation_level=level)
        for level in ("read_committed", "read_uncommitted")
    ]
    for consumer in consumers:
        await consumer.start()
    try:
        metadata = await consumers[0]._client.fetch_all_metadata()
        places = [TopicPartition(t, p) for t in topics for p in metadata.partitions_for_topic(t)]
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            stable, ends = [await consumer.end_offsets(places) for consumer in consumers]
            if stable == ends:
                return
            if time.monotonic() > deadline:
                open_ones = [place for place in places if stable[place] != ends[place]]
                raise AssertionError(f"transactions are still open in {open_ones}")
            await asyncio.sleep(0.1)
    finally:
        for consumer in consumers:
            await consumer.stop()


async def _all(reader: CommittedReader, topic: str) -> list[Record]:
    records: list[Record] = []
    for partition in await reader.partitions(topic):
        async for some in reader.read(topic, partition):
            records += some
    return records


async def _audit_entries(reader: CommittedReader, prefix: str, model: Model) -> list[str]:
    found: list[str] = []
    last: Counter[str] = Counter()
    sums: Counter[tuple[str, str]] = Counter()
    ids: Counter[str] = Counter()
    for record in await _all(reader, f"{prefix}balance-changes"):
        entry = orjson.loads(record.value or b"")
        member = entry["member_id"]
        if entry["seq"] != last[member] + 1:
            found.append(f"{member}: seq {entry['seq']} follows {last[member]}")
        last[member] = entry["seq"]
        sums[member, entry["wallet"]] += entry["delta"]
        ids[entry["event_id"]] += 1
    found += [f"entry {event_id} is there {n} times" for event_id, n in ids.items() if n > 1]
    wanted = model.balances()
    for place in sorted(wanted.keys() | sums.keys()):
        if wanted.get(place, 0) != sums[place]:
            found.append(
                f"{place[0]}: the entries come to {sums[place]} {place[1]}, "
                f"the input to {wanted.get(place, 0)}"
            )
    return found


async def _audit_answers(reader: CommittedReader, prefix: str, model: Model) -> list[str]:
    given: dict[str, list[bytes]] = defaultdict(list)
    for record in await _all(reader, f"{prefix}command-results"):
        value = record.value or b""
        given[orjson.loads(value)["command_id"]].append(value)
    found = [f"command {command} was never given" for command in given.keys() - model.answers]
    for command, (outcome, reason) in model.answers.items():
        values = given.get(command, [])
        # Each delivery is answered, always with the same answer; but not one that comes while the
        # points are under way.
        most = model.deliveries[command]
        least = 1 if command in model.transfers else most
        if not least <= len(values) <= most or len(set(values)) > 1:
            found.append(
                f"command {command}, delivered {model.deliveries[command]} times, has "
                f"{len(values)} answers, {len(set(values))} of them different"
            )
        elif values:
            answer = orjson.loads(values[0])
            if (answer["outcome"], answer.get("reason")) != (outcome, reason):
                found.append(f"command {command} was answered {answer}, not {outcome} {reason}")
    return found


async def _audit_dead_letters(reader: CommittedReader, prefix: str, model: Model) -> list[str]:
    letters: Counter[tuple[str, bytes | None, bytes | None]] = Counter()
    for record in await _all(reader, f"{prefix}dead-letters"):
        told = dict(record.headers)
        letters[told["points.error.code"].decode(), record.key, record.value] += 1
    found = []
    for words, some in (("missing", model.bad - letters), ("too many", letters - model.bad)):
        for (code, key, value), count in some.items():
            found.append(f"dead letter {code} {words} ({count}): {key!r} {(value or b'')[:80]!r}")
    return found


async def _audit_standings(reader: CommittedReader, prefix: str, model: Model) -> list[str]:
    latest: dict[str, Mapping[str, Any]] = {}
    for record in await _all(reader, f"{prefix}crm-sync"):
        latest[(record.key or b"").decode()] = orjson.loads(record.value or b"")
    found = []
    for (member, wallet), points in model.balances().items():
        name = "available" if wallet == "points" else f"{wallet}_available"
        told = latest.get(member, {}).get(name)
        if told != points:
            found.append(f"{member}: the CRM was told {told} {wallet}, the input has {points}")
    return found
