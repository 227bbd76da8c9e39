"""What makes ledger entries: an input record, or a timer."""

from __future__ import annotations

from copy import copy
from hashlib import blake2b
from typing import Any

from pointstream.contracts.inputs import CommandEnvelope, MemberEvent
from pointstream.ledger.decision import Source

__all__ = ["Cause"]


class Cause:
    """What made entries, as they name it. Names the entries, and the lots they make."""

    __slots__ = (
        "actor_id",
        "base",
        "brand_id",
        "channel",
        "confirmed_by",
        "event_id",
        "occurred_ms",
        "offset",
        "partition",
        "reason",
        "store_id",
        "topic",
        "type",
    )

    base: str
    """Names the member and the cause: the same on every run."""
    event_id: str | None
    type: str
    occurred_ms: int
    topic: str | None
    partition: int | None
    offset: int | None
    store_id: str | None
    brand_id: str | None
    channel: str | None
    actor_id: str | None
    reason: str | None
    confirmed_by: str | None
    """The second actor, where one had to consent."""

    def __init__(self, member: bytes, event: MemberEvent, occurred_ms: int, source: Source) -> None:
        self.event_id = event_id = event.event_id
        self.type = event.type
        self.occurred_ms = occurred_ms
        self.topic = source.topic
        self.partition = source.partition
        self.offset = source.offset
        self.store_id = event.store_id
        self.brand_id = event.brand_id
        self.channel = event.channel
        self.actor_id = self.reason = self.confirmed_by = None
        if isinstance(event, CommandEnvelope):
            self.actor_id = event.actor.id
            self.reason = getattr(event, "reason", None)  # commands that members give have none
        self.base = base_of(member, event_id)

    @classmethod
    def timer(cls, member: bytes, type: str, due_ms: int) -> Cause:
        """Return a timer as a cause."""
        cause = cls.__new__(cls)
        cause.event_id = cause.topic = cause.partition = cause.offset = None
        cause.store_id = cause.brand_id = cause.channel = cause.actor_id = cause.reason = None
        cause.confirmed_by = None
        cause.type = type
        cause.occurred_ms = due_ms
        cause.base = base_of(member, type)
        return cause

    @classmethod
    def flag(cls, member: bytes, flag_id: str, at_ms: int) -> Cause:
        """Return a flag as a cause: what it holds back at a time."""
        cause = cls.timer(member, "fraud.flag", at_ms)
        cause.base = base_of(member, flag_id)
        return cause

    @classmethod
    def message(
        cls,
        member: bytes,
        event_id: str,
        type: str,
        occurred_ms: int,
        source: Source,
        *,
        actor_id: str | None = None,
        reason: str | None = None,
    ) -> Cause:
        """Return the later step of a command as a cause, taken when a message came.

        `event_id` and `type` are the command's, `source` is the message's record.
        """
        cause = cls.__new__(cls)
        cause.event_id, cause.type, cause.occurred_ms = event_id, type, occurred_ms
        cause.topic, cause.partition, cause.offset = source.topic, source.partition, source.offset
        cause.store_id = cause.brand_id = cause.channel = None
        cause.actor_id, cause.reason, cause.confirmed_by = actor_id, reason, None
        cause.base = base_of(member, event_id)
        return cause

    def at(self, occurred_ms: int) -> Cause:
        """Return the same cause, of what follows from it at another moment."""
        cause = copy(self)
        cause.occurred_ms = occurred_ms
        return cause

    def fields(self) -> dict[str, Any]:
        """Return what `of_fields` makes this cause of again, for something that has to wait."""
        named = ((name, getattr(self, name)) for name in self.__slots__ if name != "base")
        return {name: value for name, value in named if value is not None}

    @classmethod
    def of_fields(cls, member: bytes, fields: dict[str, Any]) -> Cause:
        """Return the cause of something that had to wait. `member` may be a survivor by now."""
        cause = cls.__new__(cls)
        for name in cls.__slots__:
            setattr(cause, name, fields.get(name))
        cause.base = base_of(member, cause.event_id or cause.type)
        return cause

    def entry_id(self, seq: int) -> str:
        """Return the id of the member's entry `seq`; a lot is named after the entry that made it.

        The cause alone would not do: a cause that is given again when it has been forgotten would
        make the ids of entries and lots that are there already.
        """
        return f"{self.base}-{seq}"


def base_of(member: bytes, name: str) -> str:
    """Return what the ids of entries and lots begin with that come of an event of a member."""
    return blake2b(b"%b\0%b" % (member, name.encode()), digest_size=12).hexdigest()
