"""What to generate, and the form in which it comes out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from pointstream.operations.chain import DAY_MS

__all__ = ["FRAUD_KINDS", "SUBTLETIES", "Generated", "Label", "StreamPlan", "member_name"]

FRAUD_KINDS = (
    "velocity",
    "travel",
    "self_referral",
    "ring",
    "farm",
    "refund_loop",
    "takeover",
    "staff",
    "spike",
)
"""What fraudsters do. `schemes` tells how."""

SUBTLETIES = ("plain", "subtle", "faint")
"""How hard it is to see: plain shows at once, subtle keeps just above what detectors allow by
default, faint keeps below that on purpose; what is found of it shows where the limits are."""


class Label(NamedTuple):
    """What an event is part of: one episode of one kind of fraud."""

    episode: int
    """Numbered from 1 in the order in which they begin."""
    kind: str
    """One of `FRAUD_KINDS`."""
    subtlety: str
    """One of `SUBTLETIES`."""


class Generated(NamedTuple):
    """One input as it is published: topic suffix such as `orders`, key and JSON value."""

    topic: str
    key: bytes
    value: bytes
    again: bool = False
    """It is a redelivery: the very bytes of an earlier one."""
    at_ms: int = 0
    """When it is emitted, which may be later than it occurred; never earlier than the one before
    it."""
    label: Label | None = None
    """What it is part of, if a fraudster made it. Nothing in the bytes tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What to generate: all that the bytes of the stream depend on.

    `events` and `members` are counts (members who join in the course of the stream), times are ms
    since the epoch, `fraudsters` is how many members take part in fraud (the last episode may bring
    a few more), `redelivered` is the share of events (0 to below 1) that come a second time,
    unchanged. Raises `ValueError` with a sentence for a user when a value is out of range.
    """

    events: int
    members: int
    seed: int
    start_ms: int
    end_ms: int
    fraudsters: int = 3
    redelivered: float = 0.0

    def __post_init__(self) -> None:
        if self.events < 0:
            raise ValueError("the number of events can't be negative")
        if self.members < 1:
            raise ValueError("a chain of shops needs at least one member")
        if self.start_ms >= self.end_ms:
            raise ValueError("the start must lie before the end")
        if self.start_ms < DAY_MS:
            raise ValueError("the start must lie after 1970-01-02")
        if self.fraudsters < 0:
            raise ValueError("the number of fraudsters can't be negative")
        if not 0 <= self.redelivered < 1:
            raise ValueError("the share of redelivered events must be at least 0 and below 1")

    @property
    def mark(self) -> str:
        """Eight hex digits that differ between any two different plans."""
        text = repr((self.events, self.members, self.seed, self.start_ms, self.end_ms))
        text += repr((self.fraudsters, self.redelivered))
        return blake2b(text.encode(), digest_size=4).hexdigest()


def member_name(number: int) -> str:
    """The member id of the chain's nth member (from 0)."""
    return f"M-{number:06d}"
