"""Dead letters, read and counted: how many of each code, with one example each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pointstream.operations.reading import CommittedReader, Record

__all__ = ["DeadLetters", "LetterExample", "read_dead_letters"]

_PREVIEW_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class LetterExample:
    """One dead letter for people: what was said of it, where it had been, how it begins."""

    message: str
    topic: str
    partition: str
    offset: str
    preview: str


@dataclass(slots=True)
class DeadLetters:
    """All dead letters of a programme."""

    by_code: Counter[str] = field(default_factory=Counter)
    examples: dict[str, LetterExample] = field(default_factory=dict)
    contents: Counter[tuple[str, bytes | None, bytes | None]] = field(default_factory=Counter)
    """Code, key and value of each: to tell that it came back byte for byte."""


async def read_dead_letters(
    reader: CommittedReader, prefix: str, *, keep_contents: bool = False
) -> DeadLetters:
    """Read the whole topic. `keep_contents` keeps every key and value in memory."""
    letters = DeadLetters()
    topic = f"{prefix}dead-letters"
    for partition in await reader.partitions(topic):
        async for records in reader.read(topic, partition):
            for record in records:
                _take(letters, record, keep_contents=keep_contents)
    return letters


def _take(letters: DeadLetters, record: Record, *, keep_contents: bool) -> None:
    told = {name: value.decode(errors="replace") for name, value in record.headers}
    code = told.get("points.error.code", "unknown")
    letters.by_code[code] += 1
    if keep_contents:
        letters.contents[code, record.key, record.value] += 1
    if code not in letters.examples:
        text = (record.value or b"").decode(errors="replace")
        if len(text) > _PREVIEW_CHARACTERS:
            text = text[:_PREVIEW_CHARACTERS] + "…"
        letters.examples[code] = LetterExample(
            told.get("__streams.errors.message", ""),
            told.get("__streams.errors.topic", ""),
            told.get("__streams.errors.partition", ""),
            told.get("__streams.errors.offset", ""),
            text,
        )
