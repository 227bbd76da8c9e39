"""One event as detectors see it, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from pointstream.contracts.detectors import EventType
from pointstream.contracts.vocabulary import EntityKind, FlagAction

__all__ = ["EVIDENCE_MAX", "KIND_OF", "TYPES", "Detected", "Sighting"]

TYPES: Final[tuple[str, ...]] = get_args(EventType)
"""The types of events, each at the place that stands for it in what is remembered, for good."""

KIND_OF: Final[dict[str, int]] = {name: place for place, name in enumerate(TYPES)}

EVIDENCE_MAX = 100
"""So many events a finding names, the latest."""


@dataclass(slots=True)
class Sighting:
    """One event of a member."""

    type: str
    kind: int
    """Stands for the type in what is remembered."""
    event_id: str
    member_id: str
    at_ms: int
    now_ms: int
    """Partition time when it was taken."""
    device: str | None = None
    ip: str | None = None
    """The device and the address that it names, if they count at all: not those on allow lists."""
    place: tuple[float, float] | None = None
    """Latitude and longitude."""
    money_minor: int = 0
    points: int = 0
    """What a command names, at once; what an event earned, when it was handled."""
    returned: str | None = None
    """Stands for the order that was given back by this event, if any."""
    paid_ms: int = 0
    """When that order was paid."""
    refunded_percent: int = 0
    """How much of its money has been given back by now."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What one detector found about one event."""

    detector: str
    version: int
    action: FlagAction
    observed: int
    threshold: int
    window_s: int
    events: tuple[str, ...]
    """Ids of what is suspicious, oldest first, this event among them."""
    explanation: str
    entity: EntityKind = EntityKind.MEMBER
    """As what the member is suspicious: as itself, or as a referrer."""
