"""Detectors: what counts as suspicious, and what is done about it, as data.

A detector set is whole and versioned, like a rule set: it is replaced, never patched. An event is
watched by the versions in force at its own time, as its partition knows them when it is taken.

Points are whole numbers, money is whole minor units of the programme's currency (100 = 1.00 CNY),
spans are written in ISO 8601 (`PT10M`).
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from pointstream.contracts.ruleparts import Identifier, Strict
from pointstream.contracts.vocabulary import FlagAction

__all__ = [
    "COUNT_MAX",
    "PENDING_MAX",
    "RELEASE_MAX",
    "SLIDING_MAX",
    "Denied",
    "Detector",
    "DetectorSet",
    "DistinctDetector",
    "Entity",
    "EventType",
    "Fraud",
    "LargeSpendDetector",
    "Listed",
    "Measure",
    "Place",
    "ReferralCycleDetector",
    "RefundLoopDetector",
    "SharedDeviceDetector",
    "SpikeDetector",
    "TakeoverDetector",
    "TravelDetector",
    "VelocityDetector",
]

COUNT_MAX = 200
"""The highest limit of what is counted one by one: so much is remembered of every entity."""

SLIDING_MAX = timedelta(days=1)
"""Windows up to this long slide, exact to the millisecond; longer ones are made of whole days."""

LONGEST = timedelta(days=90)

PENDING_MAX = timedelta(days=7)
"""So long points wait at most for detectors that judge an event elsewhere."""

RELEASE_MAX = timedelta(days=400)
"""So long a flag waits at most that is to be released by itself."""

Span = Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST)]
Amount = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]


class Entity(StrEnum):
    """Of whom, or of what, something is counted."""

    MEMBER = "member"
    DEVICE = "device"
    IP = "ip"
    IP24 = "ip24"
    """All addresses of an IPv4 network of 24 bits together."""
    IP64 = "ip64"
    """All addresses of an IPv6 network of 64 bits together."""
    REFERRER = "referrer"
    STORE = "store"
    STAFF = "staff"
    """Whoever gives commands for a shop: the actor of the role `store`."""


class Measure(StrEnum):
    """What is added up."""

    EVENTS = "events"
    POINTS = "points"
    """What the event itself earned at once, or the command names."""
    MONEY = "money"


EventType = Literal[
    "order.paid",
    "order.refunded",
    "order.cancelled",
    "checkin.recorded",
    "referral.registered",
    "referral.first_order",
    "activity.recorded",
    "member.registered",
    "member.updated",
    "points.redeem",
    "points.hold",
    "points.capture",
    "points.transfer",
    "points.adjust",
]

Spending = Literal["points.redeem", "points.hold", "points.transfer"]


class _Detector(Strict):
    id: Identifier
    description: str = ""
    enabled: bool = True
    action: FlagAction = Field(FlagAction.FLAG, description="What a suspicion does.")


def _check_referrals(entity: Entity, types: tuple[str, ...]) -> None:
    others = [name for name in types if not name.startswith("referral.")]
    if entity is Entity.REFERRER and others:
        raise ValueError(f"types: a referrer has referrals only, not {others[0]}")


class VelocityDetector(_Detector):
    """More than `limit` within any window of the length `within`."""

    kind: Literal["velocity"]
    entity: Entity = Entity.MEMBER
    types: tuple[EventType, ...] = Field(min_length=1, description="The events that count.")
    measure: Measure = Measure.EVENTS
    limit: Amount
    within: Span

    @model_validator(mode="after")
    def _of_referrers_are_referrals(self) -> Self:
        _check_referrals(self.entity, self.types)
        return self

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        singly = (
            self.within <= SLIDING_MAX
            if self.entity in (Entity.MEMBER, Entity.REFERRER)
            else self.entity not in (Entity.STORE, Entity.STAFF)
        )
        if self.measure is Measure.EVENTS and self.limit > COUNT_MAX and singly:
            raise ValueError(
                f"limit: events of a {self.entity.value} are counted one by one up to {COUNT_MAX}"
            )
        return self


class DistinctDetector(_Detector):
    """More than `limit` different ones seen with an entity within a window.

    `of: member` with a device, an address or a network; `of: device` with a member.
    """

    kind: Literal["distinct"]
    entity: Literal[Entity.MEMBER, Entity.DEVICE, Entity.IP, Entity.IP24, Entity.IP64]
    of: Literal[Entity.MEMBER, Entity.DEVICE]
    types: tuple[EventType, ...] = Field((), description="The events that count; all if empty.")
    limit: int = Field(strict=True, ge=1, le=COUNT_MAX)
    within: Span

    @model_validator(mode="after")
    def _is_of_another_kind(self) -> Self:
        if (self.entity is Entity.MEMBER) is (self.of is Entity.MEMBER):
            raise ValueError("of: members of a device or an address, or devices of a member")
        return self


class SpikeDetector(_Detector):
    """More in one `bucket` of time than is usual for this entity, and more than the `floor`.

    Usual is the median of its own earlier buckets in which there was something; a spike is more
    than `factor` deviations (scaled MAD) above it. Without `min_history` buckets, and where they
    have no spread, the floor alone decides.
    """

    kind: Literal["spike"]
    entity: Literal[Entity.MEMBER, Entity.REFERRER, Entity.STORE, Entity.STAFF] = Entity.MEMBER
    types: tuple[EventType, ...] = Field(min_length=1)
    measure: Measure = Measure.POINTS
    bucket: Literal["hour", "day"] = "day"
    factor: int = Field(6, strict=True, ge=1, le=1_000)
    floor: Amount
    min_history: int = Field(5, strict=True, ge=2, le=30, description="In buckets.")
    history: int = Field(28, strict=True, ge=2, le=60, description="How many buckets are kept.")

    @model_validator(mode="after")
    def _of_referrers_are_referrals(self) -> Self:
        _check_referrals(self.entity, self.types)
        return self

    @model_validator(mode="after")
    def _history_can_be_long_enough(self) -> Self:
        if self.history < self.min_history:
            raise ValueError("history is shorter than min_history")
        return self


class TravelDetector(_Detector):
    """Two places so far apart that nobody gets from one to the other in the time between."""

    kind: Literal["travel"]
    max_kmh: int = Field(900, strict=True, ge=1, le=100_000)
    min_km: int = Field(100, strict=True, ge=0, le=20_000, description="Nearer places never trip.")
    store_channels: tuple[Name, ...] = Field(
        ("pos",), description="Channels on which an event without `geo` was at its store's place."
    )


class RefundLoopDetector(_Detector):
    """More than `limit` orders bought and given back within a window.

    An order counts once, when what was paid for it is given back at least by `refunded_percent`,
    no later than `back_within` after it was paid. Those are to be at least `share_percent` of the
    orders of the same time.
    """

    kind: Literal["refund_loop"]
    limit: int = Field(strict=True, ge=1, le=50)
    within: Span
    back_within: Span | None = None
    refunded_percent: Percent = 50
    share_percent: Percent = 0


class TakeoverDetector(_Detector):
    """A device that is new to the member, and soon after it a large redemption or transfer.

    The command waits for a second confirmation (`review.release`); `action: flag` lets it pass. A
    device is new when the member was seen with another one before. Large is what takes
    `share_percent` of the balance and at least `min_points`, or `points` whatever the balance.
    """

    kind: Literal["takeover"]
    types: tuple[Spending, ...] = Field(("points.redeem", "points.hold", "points.transfer"))
    within: Span
    share_percent: int = Field(50, strict=True, ge=1, le=100)
    min_points: Amount = 0
    points: Amount | None = None
    action: Literal[FlagAction.FLAG, FlagAction.HOLD] = FlagAction.HOLD


class LargeSpendDetector(_Detector):
    """A redemption, hold or transfer of more than `points`: it waits for a second confirmation."""

    kind: Literal["large_spend"]
    types: tuple[Spending, ...] = Field(("points.redeem", "points.hold", "points.transfer"))
    points: Amount
    action: Literal[FlagAction.FLAG, FlagAction.HOLD] = FlagAction.HOLD


class ReferralCycleDetector(_Detector):
    """Members who refer each other in a circle of up to `length` members."""

    kind: Literal["referral_cycle"]
    length: int = Field(5, strict=True, ge=2, le=5)
    within: Span = LONGEST


class SharedDeviceDetector(_Detector):
    """Referrer and referee seen on one device (self-referral), whichever was seen there first."""

    kind: Literal["shared_device"]
    within: Span = timedelta(days=30)


Detector = Annotated[
    VelocityDetector
    | DistinctDetector
    | SpikeDetector
    | TravelDetector
    | RefundLoopDetector
    | TakeoverDetector
    | LargeSpendDetector
    | ReferralCycleDetector
    | SharedDeviceDetector,
    Field(discriminator="kind"),
]


class Listed(Strict):
    """An entity that trips nothing (`allow`) or at once (`deny`)."""

    entity: Entity
    id: Name = Field(description="An `ip` may be a network: `203.0.113.0/24`, `2001:db8::/32`.")
    until: AwareDatetime | None = Field(None, description="Exclusive; for good if absent.")
    reason: str = Field("", max_length=500)


class Denied(Listed):
    """An entity whose every event is suspicious."""

    action: FlagAction = FlagAction.HOLD


class Place(Strict):
    """Where a store is: WGS 84 degrees."""

    store_id: Name
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class DetectorSet(Strict):
    """Detectors that are replaced together; of the versions of one id the highest in force counts.

    Sets of different ids are in force side by side; their lists and places hold for all of them.
    """

    id: Identifier
    version: int = Field(strict=True, ge=1, le=1_000_000_000)
    description: str = ""
    effective_from: AwareDatetime | None = Field(None, description="Inclusive; open if absent.")
    effective_to: AwareDatetime | None = Field(None, description="Exclusive; open if absent.")
    pending_window: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        le=PENDING_MAX,
        description="So long points are pending that a detector elsewhere could hold; 0: not.",
    )
    release_after: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        le=RELEASE_MAX,
        description="A flag that nobody has decided on for so long is released; 0: never.",
    )
    detectors: tuple[Detector, ...] = Field((), max_length=100)
    allow: tuple[Listed, ...] = Field((), max_length=1_000)
    deny: tuple[Denied, ...] = Field((), max_length=1_000)
    places: tuple[Place, ...] = Field((), max_length=2_000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (
            self.effective_from is not None
            and self.effective_to is not None
            and self.effective_to <= self.effective_from
        ):
            raise ValueError("effective_to must be later than effective_from")
        ids: set[str] = set()
        for detector in self.detectors:
            if detector.id in ids:
                raise ValueError(f"two detectors have the id {detector.id!r}")
            ids.add(detector.id)
        return self


class Fraud(Strict):
    """What a programme itself says of detectors; what is published while it runs comes on top."""

    detector_sets: tuple[DetectorSet, ...] = Field((), max_length=100)

    @model_validator(mode="after")
    def _versions_are_single(self) -> Self:
        versions: set[tuple[str, int]] = set()
        for each in self.detector_sets:
            if (each.id, each.version) in versions:
                raise ValueError(f"detector set {each.id!r} has version {each.version} twice")
            versions.add((each.id, each.version))
        return self
