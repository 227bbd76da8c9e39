"""Rule sets as operators publish them, follow them to every partition, and look back at them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from aiokafka import TopicPartition

from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.shadows import shadow_key, shadowed
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import dumps, loads, rfc3339
from pointstream.engine.access import Access, Reachable
from pointstream.engine.state import State
from pointstream.engine.store import MemoryStore
from pointstream.ledger.book import Book
from pointstream.ledger.decision import SetAside
from pointstream.ledger.detectorbook import DETECTOR_SETS
from pointstream.ledger.rulebook import RULESET_ENDED, RULESET_TOLD, load_rule_sets
from pointstream.ledger.shadows import SHADOW_ENDED, SHADOW_TOLD, load_shadows
from pointstream.ledger.state import (
    TOLD_DETECTORS_START,
    TOLD_DETECTORS_STOP,
    TOLD_RULE_SETS_START,
    TOLD_RULE_SETS_STOP,
    TOLD_SHADOWS_START,
    TOLD_SHADOWS_STOP,
)
from pointstream.operations.lag import GroupProgress
from pointstream.operations.lifetime import AsyncLifetime
from pointstream.operations.placement import partition_of
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader, Record
from pointstream.rules.compile import CompiledProgramme
from pointstream.rules.tables import RuleBook, Version

__all__ = [
    "DETECTORS_TOPIC",
    "End",
    "Ended",
    "History",
    "Holds",
    "Refused",
    "RuleSetPublisher",
    "holds_at",
    "publication",
    "read_book",
    "read_history",
    "withdrawal",
]

_TOPIC: Final = "rules"
DETECTORS_TOPIC: Final = "detectors"
_LOOK_SECONDS: Final = 0.1
_TOLD: Final = (
    (TOLD_RULE_SETS_START, TOLD_RULE_SETS_STOP),
    (TOLD_SHADOWS_START, TOLD_SHADOWS_STOP),
    (TOLD_DETECTORS_START, TOLD_DETECTORS_STOP),
)
"""The keys of what partitions are told of."""

Place = tuple[str, int]


def publication(
    prefix: str, rule_set: RuleSet, now_ms: int, *, shadow: bool = False
) -> OutgoingRecord:
    """Return the record that publishes a version of a rule set, dated `now_ms`.

    With `shadow`, as a candidate that runs beside the one in force.
    """
    key = shadow_key(rule_set.id) if shadow else rule_set.id
    body: dict[str, Any] = {
        "event_id": f"ruleset-{uuid4().hex}",
        "type": "ruleset.published",
        "occurred_at": rfc3339(now_ms),
        "ruleset_id": key,
        "ruleset": rule_set.model_dump(mode="json", exclude_defaults=True),
    }
    if shadow:
        body["shadow"] = True
    return OutgoingRecord(prefix + _TOPIC, key.encode(), dumps(body))


def withdrawal(prefix: str, rule_set_id: str, *, shadow: bool = False) -> OutgoingRecord:
    """Return the record that withdraws a rule set, or its candidate."""
    key = shadow_key(rule_set_id) if shadow else rule_set_id
    return OutgoingRecord(prefix + _TOPIC, key.encode(), None)


class End(StrEnum):
    """How far a publication or a withdrawal has come."""

    APPLIED = "applied"
    """By every partition."""
    NOTHING_NEW = "nothing_new"
    """It was known, or withdrawn, already."""
    REFUSED = "refused"
    WAITING = "waiting"
    """Nobody was told within the time that was given."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one record on the topic of the rule sets."""

    end: End
    partitions: int
    """How many there are."""
    reason: str | None = None
    """Why it was refused."""


class RuleSetPublisher(AsyncLifetime):
    """Publishes rule sets and follows them; use as an async context manager."""

    def __init__(self, cluster: Reachable, group: str, prefix: str) -> None:
        self._prefix = prefix
        self._messages = f"{prefix}internal.messages"
        self._letters = f"{prefix}dead-letters"
        self._publisher = Publisher(cluster)
        self._reader = CommittedReader(cluster)
        self._progress = GroupProgress(cluster, group, ())
        # Sees what a transaction has written whose end cannot be read yet.
        self._uncommitted: Any = Access.to(cluster).consumer()

    async def start(self) -> None:
        """Connect."""
        for client in (self._publisher, self._reader, self._progress, self._uncommitted):
            await client.start()

    async def stop(self) -> None:
        """Close the connections."""
        for client in (self._publisher, self._reader, self._progress, self._uncommitted):
            await client.stop()

    async def publish(
        self,
        record: OutgoingRecord,
        *,
        wait: bool,
        timeout_s: float,
        on_step: Callable[[int, int], None] = lambda done, partitions: None,
    ) -> Ended:
        """Publish one record; with `wait`, follow it until every partition has applied it.

        `on_step` is told by how many partitions it is applied, of how many. Raises `NoTopicsError`.
        """
        topic, key = record.topic, record.key or b""
        partitions = await self._reader.existing(topic)
        owner = partition_of(key, len(partitions))
        looked_at = [(self._letters, owner), *((self._messages, each) for each in partitions)]
        before = await self._reader.ends([*looked_at, (topic, owner)])
        await self._publisher.put(record)
        await self._publisher.flush()
        if not wait:
            return Ended(End.WAITING, len(partitions))
        on_step(0, len(partitions))
        give_up_s = time.monotonic() + timeout_s
        taken = await self._sent(record, (topic, owner), before[topic, owner])
        if not await self._reached(taken, give_up_s, lambda done: None):
            return Ended(End.WAITING, len(partitions))
        places = [TopicPartition(*place) for place in looked_at]
        ends = await self._uncommitted.end_offsets(places)
        spans = {
            (at.topic, at.partition): (before[at.topic, at.partition], ends[at]) for at in ends
        }
        reason = await self._refusal(record, owner, spans[self._letters, owner])
        if reason is not None:
            return Ended(End.REFUSED, len(partitions), reason)
        told = await self._told(record, {each: spans[self._messages, each] for each in partitions})
        if not told:
            return Ended(End.NOTHING_NEW, len(partitions))
        applied = await self._reached(told, give_up_s, lambda done: on_step(done, len(partitions)))
        return Ended(End.APPLIED if applied else End.WAITING, len(partitions))

    async def _sent(self, sent: OutgoingRecord, place: Place, start: int) -> dict[Place, int]:
        """Return where a record is that was just published."""
        found: dict[Place, int] = {}
        while not found:
            async for records in self._reader.read(*place, start=start):
                for record in records:
                    if (record.key, record.value) == (sent.key, sent.value):
                        found[place] = record.offset
        return found

    async def _reached(
        self, offsets: dict[Place, int], give_up_s: float, on_step: Callable[[int], None]
    ) -> bool:
        """Wait until the group has taken a record in each place; whether it did in time."""
        while True:
            positions = await self._progress.positions()
            done = sum(positions.get(place, 0) > offset for place, offset in offsets.items())
            on_step(done)
            if done == len(offsets):
                return True
            if time.monotonic() > give_up_s:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def _refusal(self, sent: OutgoingRecord, owner: int, span: tuple[int, int]) -> str | None:
        """Return what the dead letter of a record says; None if there is none."""
        async for records in self._reader.read(self._letters, owner, start=span[0], end=span[1]):
            for record in records:
                if (record.key, record.value) == (sent.key, sent.value):
                    headers = dict(record.headers)
                    return headers["__streams.errors.message"].decode(errors="replace")
        return None

    async def _told(
        self, sent: OutgoingRecord, spans: dict[int, tuple[int, int]]
    ) -> dict[Place, int]:
        """Return where each partition was told what the owner has decided."""
        id_ = (sent.key or b"").decode()
        words = _words_of(sent.topic, id_)
        content = None if sent.value is None else loads(sent.value)[words.content]
        found: dict[Place, int] = {}
        for partition, (start, end) in spans.items():
            async for records in self._reader.read(self._messages, partition, start=start, end=end):
                for record in records:
                    if _tells(record, words, content):
                        found.setdefault((self._messages, partition), record.offset)
        return found


@dataclass(frozen=True, slots=True)
class _Words:
    """How records and messages name what is published."""

    id: str
    content: str
    """The field of the record that holds it."""
    field: str
    """The field of messages that holds it."""
    told: str
    ended: str


def _words_of(topic: str, key: str) -> _Words:
    if topic.endswith(DETECTORS_TOPIC):
        kind = DETECTOR_SETS
        return _Words(key, "detector_set", kind.field, kind.told_type, kind.ended_type)
    candidate_of = shadowed(key)
    if candidate_of is not None:
        return _Words(candidate_of, "ruleset", "ruleset", SHADOW_TOLD, SHADOW_ENDED)
    return _Words(key, "ruleset", "ruleset", RULESET_TOLD, RULESET_ENDED)


def _tells(record: Record, words: _Words, content: dict[str, Any] | None) -> bool:
    """Whether a message between partitions is about this version, or about this withdrawal."""
    message = loads(record.value or b"{}")
    body = message.get("body")
    if content is None:
        return bool(message.get("type") == words.ended and body["id"] == words.id)
    if message.get("type") != words.told:
        return False
    told = body[words.field]
    return bool((told["id"], told["version"]) == (words.id, content["version"]))


# --- what was published -----------------------------------------------------------------------


class Holds(StrEnum):
    """How a version stands at a moment."""

    IN_FORCE = "in force"
    AHEAD = "ahead"
    OVER = "over"
    OUTDONE = "outdone"
    """A higher version is in force."""
    SHADOW = "in shadow"
    """A candidate: nothing is awarded by it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A publication that was not accepted; the topic of the dead letters keeps it for a while."""

    rule_set: str
    version: int | None
    at_ms: int
    reason: str


@dataclass(slots=True)
class History:
    """What a partition knows of rule sets, and what was refused."""

    book: RuleBook
    shadows: list[Version]
    """The candidates that run in shadow."""
    set_aside: list[SetAside]
    refused: list[Refused]

    def published(self, version: Version) -> bool:
        """Whether a version comes from the topic, and not from the programme's file."""
        return self.is_shadow(version) or version in self.book.published(version.id)

    def is_shadow(self, version: Version) -> bool:
        """Whether a version is a candidate that runs in shadow."""
        return any(version is candidate for candidate in self.shadows)


def holds_at(history: History, version: Version, at_ms: int) -> Holds:
    """Tell how a version stands at a moment."""
    if history.is_shadow(version):
        return Holds.SHADOW
    if version.from_ms is not None and version.from_ms > at_ms:
        return Holds.AHEAD
    if not version.holds(at_ms):
        return Holds.OVER
    others = (each for each in history.book.tables.versions if each.id == version.id)
    if any(other.number > version.number and other.holds(at_ms) for other in others):
        return Holds.OUTDONE
    return Holds.IN_FORCE


async def read_history(
    reader: CommittedReader,
    prefix: str,
    programme: CompiledProgramme,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> History:
    """Read the rule sets as the first partition has applied them, with the programme's own.

    `on_step` is told which share of the work is done, 0 to 1. Raises `NoTopicsError`.
    """
    book = await read_book(reader, prefix, programme, on_step=on_step)
    load_rule_sets(book)
    load_shadows(book)
    refused = await _refused(reader, prefix)
    on_step(1.0)
    return History(book.rules, book.shadows.all(), list(book.set_aside), refused)


async def read_book(
    reader: CommittedReader,
    prefix: str,
    programme: CompiledProgramme,
    *,
    on_step: Callable[[float], None] = lambda share: None,
) -> Book:
    """Return a book over what the first partition was told of what is published in versions.

    Raises `NoTopicsError`.
    """
    topic = f"{prefix}internal.changelog"
    partitions = await reader.existing(topic)
    place = (topic, partitions[0])
    begin, end = (await reader.beginnings([place]))[place], (await reader.ends([place]))[place]
    rows: dict[bytes, bytes | None] = {}
    async for records in reader.read(*place, end=end):
        for record in records:
            key = record.key
            if key is not None and any(start <= key < stop for start, stop in _TOLD):
                rows[key] = record.value
        on_step((records[-1].offset - begin) / max(1, end - begin))
    book = Book(programme, 0)
    store = MemoryStore()
    store.write(rows.items(), 0)
    book.state = State(store)
    return book


async def _refused(reader: CommittedReader, prefix: str) -> list[Refused]:
    topic = f"{prefix}dead-letters"
    found = []
    for partition in await reader.partitions(topic):
        async for records in reader.read(topic, partition):
            found += [refusal for record in records if (refusal := _refusal(prefix, record))]
    return sorted(found, key=lambda refusal: refusal.at_ms)


def _refusal(prefix: str, record: Record) -> Refused | None:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    if headers.get("__streams.errors.topic") != prefix + _TOPIC:
        return None
    version = None
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):
        version = loads(record.value or b"")["ruleset"]["version"]
    code = headers.get("points.error.code", "")
    reason = headers.get("__streams.errors.message", "")
    return Refused(
        (record.key or b"").decode(errors="replace"),
        version if type(version) is int else None,
        record.timestamp,
        reason if code == DeadLetterCode.RULESET_INVALID else f"{code}: {reason}",
    )
