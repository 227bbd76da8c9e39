"""Whether the replay by the real detectors raises what was really written, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from pointstream.contracts.wire import loads
from pointstream.engine.records import Outgoing
from pointstream.operations.simulation.recorded import Reader

__all__ = ["FlagVerdict"]


@dataclass(slots=True)
class _Written:
    partition: int
    offset: int
    at_ms: int
    sure: bool
    flag: str
    """In words."""


@dataclass
class FlagVerdict:
    """What came of comparing, record by record.

    The topic is partitioned by entity, and several partitions of the job write to each of its
    partitions: how these interleave is no matter of the replay. Each record is looked up.
    """

    same: int = 0
    """Records that are equal, key and value."""
    other: int = 0
    """Records that only the replay has, or only the topic."""
    first: str = ""
    """The first of those, in words."""
    begins_late: bool = False
    """The oldest records are deleted: what the replay raises before the span can't be held
    against anything."""
    _written: dict[bytes, list[_Written]] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether every record was equal."""
        return not self.other

    def as_json(self) -> dict[str, Any]:
        """The verdict as a JSON value."""
        return {
            "flags_identical": self.identical,
            "flag_records_equal": self.same,
            "flag_records_not_equal": self.other,
            "first_flag_difference": self.first or None,
            "oldest_flags_gone": self.begins_late,
        }

    async def read(
        self,
        reader: Reader,
        topic: str,
        places: Sequence[tuple[str, int]],
        begins: Mapping[tuple[str, int], int],
        sure: Mapping[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
    ) -> None:
        """Read what was written; below `sure` the journal must tell of everything."""
        self.begins_late = any(begins[place] > 0 for place in places)
        for place in places:
            reading = reader.read(topic, place[1], start=begins[place], end=ends[place])
            async for records in reading:
                for each in records:
                    self._written.setdefault(_digest(each.key, each.value), []).append(
                        _Written(
                            place[1],
                            each.offset,
                            each.timestamp,
                            each.offset < sure[place],
                            _words(each.value),
                        )
                    )

    def compare(self, replayed: Iterable[Outgoing], *, in_span: bool) -> None:
        """Look up what the replay has sent."""
        for each in replayed:
            digest = _digest(each.key, each.value)
            there = self._written.get(digest)
            if there:
                self.same += 1
                there.pop(0)
                if not there:
                    del self._written[digest]
            elif in_span or not self.begins_late:
                self._differs(f"only the replay has {_words(each.value)}")

    def end(self, until_ms: int | None) -> None:
        """Count what only the topic has; where it is given, of what was written before a moment."""
        left = [each for there in self._written.values() for each in there if each.sure]
        for each in sorted(left, key=lambda each: (each.at_ms, each.partition, each.offset)):
            if until_ms is None or each.at_ms < until_ms:
                place = f"partition {each.partition}, offset {each.offset}"
                self._differs(f"only the topic has {each.flag} ({place})")

    def _differs(self, words: str) -> None:
        self.other += 1
        self.first = self.first or words


def _digest(key: bytes | None, value: bytes | None) -> bytes:
    return blake2b((key or b"") + b"\0" + (value or b""), digest_size=16).digest()


def _words(value: bytes | None) -> str:
    told: Any = loads(value or b"{}")
    return (
        f"{told['flag_id']} of {told['detector']}, {told['state']}, about the"
        f" {told['entity_kind']} {told['entity_id']}"
    )
