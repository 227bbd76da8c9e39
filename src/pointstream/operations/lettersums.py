"""Dead letters, many at a time: counted by code and topic, and chosen to be sent again."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pointstream.contracts.wire import rfc3339
from pointstream.engine.access import Reachable
from pointstream.operations.deadletters import (
    Address,
    Letter,
    Wanted,
    letter_of,
    letters_topic,
    read_letters,
)
from pointstream.operations.reading import CommittedReader
from pointstream.operations.replays import Marks
from pointstream.operations.verdicts import Judge

__all__ = ["LetterGroup", "LetterSums", "Selection", "chosen_letters", "select", "sum_up"]

_TOLD_LEFT_OUT = 1_000

OnRead = Callable[[int, int], None]


@dataclass(slots=True)
class LetterGroup:
    """The dead letters of one code and topic."""

    code: str
    topic: str
    """Whole name; empty where it is not told."""
    remedy: str
    first_ms: int
    last_ms: int
    count: int = 0
    replayed: int = 0

    def as_json(self) -> dict[str, Any]:
        """As a program gets it."""
        return {
            "code": self.code,
            "topic": self.topic,
            "count": self.count,
            "replayed": self.replayed,
            "first_at": rfc3339(self.first_ms),
            "last_at": rfc3339(self.last_ms),
            "remedy": self.remedy,
        }


@dataclass(slots=True)
class LetterSums:
    """What there is of dead letters."""

    groups: dict[tuple[str, str], LetterGroup] = field(default_factory=dict)
    newest: list[tuple[Letter, str | None]] = field(default_factory=list)
    """The newest, latest first, without their values; and when each was replayed."""
    found: int = 0
    replayed: int = 0

    def in_order(self) -> list[LetterGroup]:
        """The groups, the largest first."""
        return sorted(self.groups.values(), key=lambda each: (-each.count, each.code, each.topic))

    def as_json(self) -> dict[str, Any]:
        """As a program gets it."""
        return {
            "found": self.found,
            "replayed": self.replayed,
            "groups": [group.as_json() for group in self.in_order()],
            "letters": [
                {**letter.as_json(), "replayed_at": sent_at} for letter, sent_at in self.newest
            ],
        }


async def sum_up(
    reader: CommittedReader,
    prefix: str,
    wanted: Wanted,
    *,
    newest: int,
    only_open: bool = False,
    on_read: OnRead = lambda done, of: None,
) -> LetterSums:
    """Count what fits, and keep the newest. Raises `NoTopicsError`."""
    marks, sums = await Marks.read(reader, prefix), LetterSums()
    kept: list[tuple[int, Address, Letter, str | None]] = []
    async for letter in read_letters(reader, prefix, on_read=on_read):
        sent_at = marks.of(letter)
        if not wanted.fits(letter) or (only_open and sent_at is not None):
            continue
        at_ms, topic = letter.timestamp_ms, letter.source.topic if letter.source else ""
        group = sums.groups.get((letter.code, topic))
        if group is None:
            group = LetterGroup(letter.code, topic, letter.remedy, at_ms, at_ms)
            sums.groups[letter.code, topic] = group
        group.count += 1
        group.replayed += sent_at is not None
        group.first_ms, group.last_ms = min(group.first_ms, at_ms), max(group.last_ms, at_ms)
        sums.found += 1
        sums.replayed += sent_at is not None
        if newest:
            # The address decides before a letter is ever compared.
            push = heapq.heappushpop if len(kept) >= newest else heapq.heappush
            push(kept, (at_ms, letter.address, replace(letter, value=None), sent_at))
    sums.newest = [(letter, sent_at) for _, _, letter, sent_at in sorted(kept, reverse=True)]
    return sums


@dataclass(slots=True)
class Selection:
    """What would be sent again, and what not."""

    chosen: dict[int, list[int]] = field(default_factory=dict)
    """Offsets on the dead letters' topic, by partition, ascending."""
    groups: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of each code and topic."""
    before: int = 0
    """Sent before, and left out."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why others were left out."""
    left_out: list[tuple[Address, str]] = field(default_factory=list)
    """Which, the first thousand."""
    unknown: list[Address] = field(default_factory=list)
    """Addresses that were asked for, of which there is no dead letter."""

    @property
    def count(self) -> int:
        """How many would be sent."""
        return self.groups.total()

    def as_json(self) -> dict[str, Any]:
        """As a program gets it."""
        return {
            "chosen": self.count,
            "groups": [
                {"code": code, "topic": topic, "count": count}
                for (code, topic), count in sorted(self.groups.items())
            ],
            "replayed_before": self.before,
            "left_out": self.reasons.total(),
            "left_out_letters": [
                {"dead_letter": str(address), "reason": why} for address, why in self.left_out
            ],
        }


async def select(
    cluster: Reachable,
    prefix: str,
    wanted: Wanted,
    judge: Judge,
    *,
    again: bool = False,
    anyway: bool = False,
    on_read: OnRead = lambda done, of: None,
) -> Selection:
    """Choose what to send again. `again`: what was sent before, too; `anyway`: also what would be
    refused as far as can be known, and what could do harm. Raises `NoTopicsError`."""
    selection, missing = Selection(), set(wanted.addresses)
    async with CommittedReader(cluster) as reader:
        marks = await Marks.read(reader, prefix)
        async for letter in read_letters(reader, prefix, on_read=on_read):
            missing -= {letter.address, letter.source}
            if not wanted.fits(letter):
                continue
            if marks.of(letter) is not None and not again:
                selection.before += 1
                continue
            why = judge(letter).left_out(anyway=anyway)
            if why is not None:
                selection.reasons[why] += 1
                if len(selection.left_out) < _TOLD_LEFT_OUT:
                    selection.left_out.append((letter.address, why))
                continue
            _, partition, offset = letter.address
            selection.chosen.setdefault(partition, []).append(offset)
            selection.groups[letter.code, letter.source.topic if letter.source else ""] += 1
    selection.unknown = sorted(missing)
    return selection


async def chosen_letters(
    reader: CommittedReader, prefix: str, chosen: Mapping[int, Collection[int]]
) -> AsyncIterator[Letter]:
    """Yield the letters chosen, partition by partition, each in its order.

    One that retention has taken meanwhile is not there any more.
    """
    topic = letters_topic(prefix)
    for partition, offsets in sorted(chosen.items()):
        wanted = set(offsets)
        first, last = min(wanted), max(wanted)
        (begin,) = (await reader.beginnings([(topic, partition)])).values()
        reading = reader.read(topic, partition, start=max(first, begin), end=last + 1)
        async for records in reading:
            for record in records:
                if record.offset in wanted:
                    yield letter_of(record)
