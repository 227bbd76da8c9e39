"""Fraud flags as a reviewer meets them: read from their topic, decided by a command.

The topic has every record of a flag, in order, for as long as it keeps them; the latest counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from pointstream.contracts.wire import dumps, epoch_ms, loads, rfc3339
from pointstream.engine.access import Reachable
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader

__all__ = ["Flag", "Reviewer", "decide", "newest_first", "read_flags", "review_command"]

_FLAGS: Final = "fraud-flags"
_COMMANDS: Final = "commands"
_ANSWERS: Final = "command-results"
_LOOK_MS: Final = 200


@dataclass(slots=True)
class Flag:
    """One flag: all its records that are kept, oldest first."""

    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def latest(self) -> dict[str, Any]:
        """What counts."""
        return self.records[-1]

    @property
    def raised(self) -> dict[str, Any]:
        """The latest record from before its end, or the end itself if only that is kept."""
        before = [record for record in self.records if record["state"] == "raised"]
        return before[-1] if before else self.latest

    @property
    def open(self) -> bool:
        """Whether it waits for a review."""
        return bool(self.latest["state"] == "raised")

    def age_ms(self, now_ms: int) -> int:
        """For how long it has waited, or had waited when it was decided, since it was raised."""
        raised_ms, latest_ms = (
            epoch_ms(datetime.fromisoformat(record["occurred_at"]))
            for record in (self.records[0], self.latest)
        )
        return max(0, (now_ms if self.open else latest_ms) - raised_ms)

    @property
    def members(self) -> list[str]:
        """Whom it concerns, as far as its records name them."""
        return list(dict.fromkeys([*self.latest["member_ids"], *self.raised["member_ids"]]))


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who decides."""

    id: str
    role: str
    """`head_office` or `system`; a `store` for what its own people asked for."""
    store_id: str | None = None

    def actor(self) -> dict[str, str]:
        """As commands name it."""
        actor = {"id": self.id, "role": self.role}
        return actor if self.store_id is None else {**actor, "store_id": self.store_id}


async def read_flags(
    reader: CommittedReader,
    prefix: str,
    *,
    on_read: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Flag]:
    """Read all flags that are kept, by id, in the order in which they were first raised.

    `on_read` is told how many partitions are read, of how many. Raises `NoTopicsError`.
    """
    topic = prefix + _FLAGS
    partitions = await reader.existing(topic)
    flags: dict[str, Flag] = {}
    for done, partition in enumerate(partitions, start=1):
        async for records in reader.read(topic, partition):
            for record in records:
                if record.value is not None:
                    body = loads(record.value)
                    flags.setdefault(body["flag_id"], Flag()).records.append(body)
        on_read(done, len(partitions))
    return dict(sorted(flags.items(), key=lambda item: str(item[1].records[0]["occurred_at"])))


def newest_first(
    flags: Iterable[Flag],
    *,
    state: str | None = None,
    detector: str | None = None,
    action: str | None = None,
    member: str | None = None,
    older_than_ms: int = 0,
    now_ms: int = 0,
) -> list[Flag]:
    """Return the flags that fit, the latest to happen first.

    `older_than_ms` is held against their age at `now_ms`.
    """
    fitting = [
        flag
        for flag in flags
        if state in (None, flag.latest["state"])
        and detector in (None, flag.latest["detector"])
        and action in (None, flag.latest["action"])
        and (member is None or member in flag.members)
        and (not older_than_ms or flag.age_ms(now_ms) >= older_than_ms)
    ]
    return sorted(fitting, key=lambda flag: str(flag.latest["occurred_at"]), reverse=True)


def review_command(
    prefix: str, flag: Flag, how: str, reviewer: Reviewer, reason: str, now_ms: int
) -> tuple[str, OutgoingRecord]:
    """Return the id and the record of a `review.release` or `review.reject`, dated `now_ms`."""
    command_id, member_id = f"review-{uuid4().hex}", flag.members[0]
    body: dict[str, Any] = {
        "event_id": command_id,
        "type": f"review.{how}",
        "member_id": member_id,
        "occurred_at": rfc3339(now_ms),
        "flag_id": flag.latest["flag_id"],
        "reason": reason,
        "actor": reviewer.actor(),
    }
    if reviewer.store_id is not None:
        body["store_id"] = reviewer.store_id
    return command_id, OutgoingRecord(prefix + _COMMANDS, member_id.encode(), dumps(body))


async def decide(
    cluster: Reachable,
    prefix: str,
    commands: Sequence[tuple[str, OutgoingRecord]],
    *,
    timeout_s: float,
    on_answer: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, dict[str, Any]]:
    """Send commands, and return their answers by command id; those that came in time.

    With a timeout of 0 nothing is waited for. Raises `NoTopicsError` or `MissingTopicError`.
    """
    answers: dict[str, dict[str, Any]] = {}
    waiting = {command_id for command_id, _ in commands}
    async with CommittedReader(cluster, wait_ms=_LOOK_MS) as reader:
        topic = prefix + _ANSWERS
        # From here on, before anything is sent: the answer of a survivor comes from elsewhere.
        places = [(topic, partition) for partition in await reader.existing(topic)]
        following = reader.follow(places, timeout_ms=_LOOK_MS)
        await anext(following)
        async with Publisher(cluster) as publisher:
            for _, record in commands:
                await publisher.put(record)
        give_up_s = time.monotonic() + timeout_s
        while waiting and time.monotonic() < give_up_s:
            for told in await anext(following):
                answer = loads(told.value or b"{}")
                if answer.get("command_id") in waiting:
                    waiting.discard(answer["command_id"])
                    answers[answer["command_id"]] = answer
                    on_answer(len(answers), len(commands))
    return answers
