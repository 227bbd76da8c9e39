"""One member's ledger and standing, read from the topics as any third party could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pointstream.contracts.wire import loads
from pointstream.operations.placement import partition_of
from pointstream.operations.reading import CommittedReader, Record

__all__ = [
    "MemberTrail",
    "partition_of_member",
    "read_standing",
    "read_trail",
]


@dataclass(slots=True)
class MemberTrail:
    """A member's entries in the ledger's order, each with the input that caused it, if kept."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    causes: list[Mapping[str, Any] | None] = field(default_factory=list)
    total: int = 0


async def partition_of_member(reader: CommittedReader, topic: str, member_id: str) -> int:
    """The partition of a topic that has the member's records. Raises `NoTopicsError`."""
    partitions = await reader.existing(topic)
    return partition_of(member_id.encode(), len(partitions))


async def read_standing(
    reader: CommittedReader, prefix: str, member_id: str
) -> dict[str, Any] | None:
    """The member's latest `crm-sync` record; None for a member who is unknown or erased."""
    topic, key = f"{prefix}crm-sync", member_id.encode()
    partition = await partition_of_member(reader, topic, member_id)
    latest: bytes | None = None
    async for records in reader.read(topic, partition):
        for record in records:
            if record.key == key:
                latest = record.value
    return None if latest is None else loads(latest)


async def read_trail(
    reader: CommittedReader, prefix: str, member_id: str, *, newest: int
) -> MemberTrail:
    """The member's newest entries with their causes; `total` counts all there are."""
    topic, key = f"{prefix}balance-changes", member_id.encode()
    partition = await partition_of_member(reader, topic, member_id)
    trail = MemberTrail()
    async for records in reader.read(topic, partition):
        for record in records:
            if record.key == key and record.value is not None:
                trail.total += 1
                trail.entries.append(loads(record.value))
        del trail.entries[:-newest]
    trail.causes = await _causes(reader, trail.entries)
    return trail


async def _causes(
    reader: CommittedReader, entries: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any] | None]:
    places = [_cause_place(entry) for entry in entries]
    offsets: dict[tuple[str, int], set[int]] = {}
    for place in places:
        if place is not None:
            offsets.setdefault(place[:2], set()).add(place[2])
    found = {where: await reader.some(*where, wanted) for where, wanted in offsets.items()}
    return [None if place is None else _body(found[place[:2]].get(place[2])) for place in places]


def _cause_place(entry: Mapping[str, Any]) -> tuple[str, int, int] | None:
    topic, partition, offset = (
        entry.get(name) for name in ("cause_topic", "cause_partition", "cause_offset")
    )
    if not topic or ".internal." in str(topic) or partition is None or offset is None:
        return None
    return str(topic), int(partition), int(offset)


def _body(record: Record | None) -> Mapping[str, Any] | None:
    if record is None or record.value is None:
        return None
    try:
        body = loads(record.value)
    except ValueError:
        return None
    if isinstance(body, dict) and "specversion" in body and isinstance(body.get("data"), dict):
        body = body["data"]
    return body if isinstance(body, dict) else None
