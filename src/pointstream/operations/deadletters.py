"""Dead letters, one by one: where each came from, why, how often it was tried, what would mend it.

A dead letter has two addresses: its own on the dead letters' topic, and that of the input that it
is a copy of. Either names it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pointstream.contracts.topics import INPUT_TYPES
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.contracts.wire import rfc3339
from pointstream.operations.reading import CommittedReader, Record

__all__ = [
    "ATTEMPTS",
    "REMEDIES",
    "REPLAYED_FROM",
    "Address",
    "AddressInvalid",
    "Letter",
    "Wanted",
    "find_letter",
    "headers_of_replay",
    "input_of",
    "letter_of",
    "letters_topic",
    "read_letters",
]

REPLAYED_FROM: Final = "points.replayed-from"
"""Header of an input that was sent again: the address of its dead letter."""

ATTEMPTS: Final = "points.attempts"
"""Header of an input that was sent again: how often it has been tried with this time."""

_CODE: Final = "points.error.code"
_TOLD: Final = "__streams.errors."
_ADDED: Final = (
    f"{_TOLD}exception",
    f"{_TOLD}message",
    f"{_TOLD}topic",
    f"{_TOLD}partition",
    f"{_TOLD}offset",
    _CODE,
)
"""The headers that make an input a dead letter: the last ones, in this order."""

REMEDIES: Final[Mapping[DeadLetterCode, str]] = {
    DeadLetterCode.TOO_LARGE: "The publisher must send a smaller record.",
    DeadLetterCode.KEY_MISSING: "The publisher must send the member_id as the key.",
    DeadLetterCode.NOT_JSON: "The publisher must send one JSON object in UTF-8.",
    DeadLetterCode.ENVELOPE_CONFLICT: "The publisher must let headers and body say the same.",
    DeadLetterCode.UNKNOWN_TYPE: "The publisher must send a type of its topic; or this release is"
    " older than the type: replay it after the upgrade.",
    DeadLetterCode.SCHEMA_INVALID: "The publisher must correct the field; or this release is older"
    " than what it says: replay it after the upgrade.",
    DeadLetterCode.LINES_DO_NOT_ADD_UP: "The publisher must send lines that add up to the record.",
    DeadLetterCode.KEY_MISMATCH: "The publisher must send it under the key of its member.",
    DeadLetterCode.ID_REUSED_WITH_OTHER_CONTENT: "The publisher must give it an event_id of its"
    " own; as it is, it is refused for as long as the other event is remembered.",
    DeadLetterCode.REFUND_WITHOUT_ORDER: "The order must come; then replay the refund.",
    DeadLetterCode.REFUND_EXCEEDS_ORDER: "Find out which of the order's refunds is wrong; one that"
    " was taken cannot be undone by a replay.",
    DeadLetterCode.TOO_FAR_IN_FUTURE: "Replay it when its time has come; or the publisher must"
    " correct its clock or time zone.",
    DeadLetterCode.TOO_OLD: "Nothing tells any more whether it was taken: if it was not, correct"
    " the balance by hand (points.adjust).",
    DeadLetterCode.CURRENCY_NOT_SUPPORTED: "The programme must count in this currency, or the"
    " publisher must convert.",
    DeadLetterCode.LINE_UNKNOWN: "The publisher must name lines that the order has.",
    DeadLetterCode.POINTS_OUT_OF_RANGE: "The rules give more points than a wallet can hold:"
    " publish corrected ones for its time, then replay it.",
    DeadLetterCode.ACCOUNT_ERASED: "Nothing: ids of erased members are not used again.",
    DeadLetterCode.RULESET_INVALID: "What the message names must come into the programme, or"
    " the rule set be corrected; then publish it again (pointstream rules publish).",
    DeadLetterCode.DETECTORS_INVALID: "What the message names must come into the programme, or"
    " the detectors be corrected; then publish them again (pointstream fraud detectors publish).",
}
"""What would have to change before a record like it can be taken."""

_ADDRESS: Final = re.compile(r"(?:(?P<topic>[A-Za-z0-9._-]+)[/-])?(?P<at>\d+)[/-](?P<offset>\d+)")


class AddressInvalid(ValueError):
    """A text is no address of a record; the message says how one is written."""


class Address(NamedTuple):
    """Where a record is; the topic by its whole name."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str, prefix: str) -> Address:
        """Read `TOPIC/PARTITION/OFFSET`, dashes taken for slashes, the topic with or without its
        prefix; the topic of the dead letters where none is named.

        Raises `AddressInvalid`.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise AddressInvalid(
                f"{text!r} is no address; write it like {letters_topic(prefix)}/3/41 (a dead"
                f" letter) or {prefix}orders/3/1207 (the input it came from)"
            )
        topic = match["topic"] or letters_topic(prefix)
        if not topic.startswith(prefix):
            topic = prefix + topic
        return cls(topic, int(match["at"]), int(match["offset"]))


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Key, value and headers are the input's, byte for byte."""

    address: Address
    timestamp_ms: int
    """When it became one."""
    code: str
    """One of `DeadLetterCode`, unless a later release wrote it; empty where there is none."""
    message: str
    source: Address | None
    """Where the input is; None where that is not told, so that it cannot be replayed."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    """Those of the input, with what a replay added to it left out."""
    attempts: int
    """How often it was tried."""
    replayed_from: str | None
    """The dead letter that it was before, if it was sent again."""

    @property
    def remedy(self) -> str:
        """What would have to change."""
        try:
            return REMEDIES[DeadLetterCode(self.code)]
        except ValueError:
            return "A later release wrote this code: look there what it means."

    def as_json(self) -> dict[str, Any]:
        """As a program gets it, without value and headers."""
        return {
            "dead_letter": str(self.address),
            "at": rfc3339(self.timestamp_ms),
            "code": self.code,
            "message": self.message,
            "input": str(self.source) if self.source is not None else None,
            "key": self.key.decode(errors="backslashreplace") if self.key is not None else None,
            "attempts": self.attempts,
            "replayed_from": self.replayed_from,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters; what is None or empty does not count."""

    codes: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    """Whole names of the inputs' topics."""
    partitions: frozenset[int] = frozenset()
    """Of the inputs."""
    member_id: str | None = None
    """Whose key they have."""
    since_ms: int | None = None
    until_ms: int | None = None
    """When they became dead letters; the last moment counts in."""
    addresses: frozenset[Address] = frozenset()
    """Their own addresses, or their inputs'."""

    @property
    def everything(self) -> bool:
        """Whether nothing at all is asked for."""
        return self == Wanted()

    def fits(self, letter: Letter) -> bool:
        """Whether a dead letter is one of them."""
        source = letter.source
        return (
            (not self.codes or letter.code in self.codes)
            and (not self.topics or (source is not None and source.topic in self.topics))
            and (
                not self.partitions or (source is not None and source.partition in self.partitions)
            )
            and (self.member_id is None or letter.key == self.member_id.encode())
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or letter.timestamp_ms <= self.until_ms)
            and (
                not self.addresses
                or letter.address in self.addresses
                or letter.source in self.addresses
            )
        )


def letters_topic(prefix: str) -> str:
    """The name of the dead letters' topic."""
    return f"{prefix}dead-letters"


def letter_of(record: Record) -> Letter:
    """Take a record of the dead letters' topic apart. Never raises: anything may be there."""
    headers = tuple(record.headers)
    told: dict[str, str] = {}
    if tuple(name for name, _ in headers[-len(_ADDED) :]) == _ADDED:
        # An input may have headers of these names itself: only the last ones are ours.
        told = {name: _text(value) for name, value in headers[-len(_ADDED) :]}
        headers = headers[: -len(_ADDED)]
    replayed_from, attempts = None, 1
    if len(headers) > 1 and [name for name, _ in headers[-2:]] == [REPLAYED_FROM, ATTEMPTS]:
        replayed_from, tries = (_text(value) for _, value in headers[-2:])
        attempts = int(tries) if tries.isascii() and tries.isdigit() else 1
        headers = headers[:-2]
    return Letter(
        Address(record.topic, record.partition, record.offset),
        record.timestamp,
        told.get(_CODE, ""),
        told.get(f"{_TOLD}message", ""),
        _source(told),
        record.key,
        record.value,
        headers,
        attempts,
        replayed_from,
    )


def _source(told: Mapping[str, str]) -> Address | None:
    topic = told.get(f"{_TOLD}topic")
    try:
        if topic:
            at = int(told[f"{_TOLD}partition"]), int(told[f"{_TOLD}offset"])
            return Address(topic, *at)
    except (KeyError, ValueError):
        pass
    return None


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def input_of(topic: str, prefix: str) -> str | None:
    """Which input a dead letter's source is, as the suffix of its topic; None if it is none.

    A refund that waited for its order while the state moved to topics of another prefix names the
    topic that it came on: the same input, where what stands before its name is a word of its own.
    """
    if topic.startswith(prefix) and topic.removeprefix(prefix) in INPUT_TYPES:
        return topic.removeprefix(prefix)
    # No input's name ends with another's, so at most one fits.
    for suffix in INPUT_TYPES:
        before = topic.removesuffix(suffix)
        if before != topic and not before[-1:].isalnum():
            return suffix
    return None


async def read_letters(
    reader: CommittedReader,
    prefix: str,
    *,
    on_read: Callable[[int, int], None] = lambda done, of: None,
) -> AsyncIterator[Letter]:
    """Yield all dead letters that are kept, partition by partition, each in its order.

    `on_read` is told how many partitions are read, of how many. Raises `NoTopicsError`.
    """
    topic = letters_topic(prefix)
    partitions = await reader.existing(topic)
    for done, partition in enumerate(partitions, start=1):
        async for records in reader.read(topic, partition):
            for record in records:
                yield letter_of(record)
        on_read(done, len(partitions))


async def find_letter(
    reader: CommittedReader,
    prefix: str,
    address: Address,
    *,
    on_read: Callable[[int, int], None] = lambda done, of: None,
) -> Letter | None:
    """Return the dead letter at an address, or the latest one of the input there."""
    topic = letters_topic(prefix)
    if address.topic == topic:
        if address.partition not in await reader.existing(topic):
            return None
        found = await reader.some(topic, address.partition, [address.offset])
        return letter_of(found[address.offset]) if found else None
    latest: Letter | None = None
    async for letter in read_letters(reader, prefix, on_read=on_read):
        if letter.source == address and (
            latest is None or letter.timestamp_ms >= latest.timestamp_ms
        ):
            latest = letter
    return latest


def headers_of_replay(letter: Letter) -> Sequence[tuple[str, bytes]]:
    """Return the headers under which a dead letter is sent again."""
    return (
        *letter.headers,
        (REPLAYED_FROM, str(letter.address).encode()),
        (ATTEMPTS, str(letter.attempts + 1).encode()),
    )
