"""What a member has in the plain model: lists, and nothing worked out ahead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "FUTURE_MS",
    "HOUR_MS",
    "NEVER",
    "Award",
    "Entry",
    "Event",
    "Hold",
    "Lot",
    "Member",
    "Order",
    "Parked",
    "Rules",
    "Taken",
    "Transfer",
    "moment",
    "moments",
    "ms_of",
]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NEVER = (1 << 64) - 1
FUTURE_MS = 300_000

Event = Mapping[str, Any]
#: Type without `points.`, wallet, amount, delta, written off.
Entry = tuple[str, str, int, int, int]


@dataclass(frozen=True)
class Rules:
    """What the programme of the test says; spans in ms."""

    policy: str
    pending_ms: int
    life_ms: int = 3 * DAY_MS
    hold_ms: int = 30 * HOUR_MS
    park_ms: int = 2 * DAY_MS
    restored_ms: int = 30 * DAY_MS
    fee: int = 1


@dataclass
class Lot:
    """Points in one place: `pending`, `available`, or `hold` and the hold's id."""

    wallet: str
    name: str
    earned_ms: int
    expires_ms: int
    activates_ms: int
    points: int
    place: str
    order_id: str | None = None

    @property
    def rank(self) -> tuple[int, int, str]:
        return self.expires_ms, self.earned_ms, self.name


@dataclass
class Award:
    wallet: str
    lot: str
    points: int
    per_minor: int
    settled: int = 0
    expired: int = 0


@dataclass
class Order:
    paid_minor: int
    awards: list[Award] = field(default_factory=list)
    refunds: dict[str, int] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def left_minor(self) -> int:
        return 0 if self.cancelled else self.paid_minor - sum(self.refunds.values())


@dataclass
class Taken:
    """What a redemption for an order took out of a lot."""

    lot: Lot
    restored: int = 0


@dataclass
class Hold:
    points: int
    due_ms: int
    state: str = "open"


@dataclass
class Transfer:
    sender: str
    to: str
    command_id: str
    points: int
    lots: list[Lot]
    fee_lots: list[Lot]


@dataclass
class Parked:
    due_ms: int
    event: Event


@dataclass
class Member:
    """One member, and all that should have come out about it."""

    member_id: str
    frozen: bool = False
    known: bool = False
    #: Forgotten: nothing may happen any more. The command that did it is remembered.
    erased: Event | None = None
    #: Transfers that left and are not settled.
    sending: int = 0
    lots: list[Lot] = field(default_factory=list)
    debt: Counter[str] = field(default_factory=Counter)
    written_off: Counter[str] = field(default_factory=Counter)
    #: Points by wallet and by how they came or went.
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    orders: dict[str, Order] = field(default_factory=dict)
    payments: dict[str, list[list[Taken]]] = field(default_factory=lambda: defaultdict(list))
    holds: dict[str, Hold] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    once: set[Any] = field(default_factory=set)
    segments: tuple[int, list[str]] = (0, [])
    #: Every event that is remembered, and the answer if it has one.
    seen: dict[str, tuple[Event, Any]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    answers: list[tuple[str, str, int]] = field(default_factory=list)

    def at(self, place: str, wallet: str = "points") -> int:
        return sum(x.points for x in self.lots if x.place == place and x.wallet == wallet)

    def held(self) -> int:
        return sum(x.points for x in self.lots if x.place.startswith("hold "))

    def ranked(self, place: str, wallet: str = "points") -> list[Lot]:
        found = [x for x in self.lots if x.place == place and x.wallet == wallet]
        return sorted(found, key=lambda x: x.rank)


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ms_of(event: Event) -> int:
    return moment(event["occurred_at"])


def moments(member: Member) -> Iterator[int]:
    """When something is due for a member."""
    for lot in member.lots:
        if lot.place == "pending" and not member.frozen:
            yield lot.activates_ms
        elif lot.place == "available":
            yield lot.expires_ms
    for hold in member.holds.values():
        if hold.state == "open":
            yield hold.due_ms
    for parked in member.parked:
        yield parked.due_ms
