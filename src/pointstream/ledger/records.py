"""The things that the state holds, as objects. All points and minor units are whole, times are ms.

Nothing in an account grows without limit: what there can be many of (lots, orders, remembered ids)
has keys of its own, and an account holds only sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pointstream.contracts.vocabulary import AccountStatus
from pointstream.ledger.ranks import Rank
from pointstream.ledger.state import SLIDING_FROM

__all__ = [
    "FLOWS",
    "HORIZON",
    "Account",
    "Award",
    "ErasedSums",
    "Hold",
    "HoldState",
    "Line",
    "Lot",
    "Order",
    "Payment",
    "Run",
    "Taken",
    "Totals",
    "Transfer",
]

_FROZEN: Final = AccountStatus.FROZEN.value

FLOWS: Final = (
    "earned",
    "transferred_in",
    "adjusted_up",
    "restored",
    "redeemed",
    "expired",
    "cleared",
    "reversed",
    "transferred_out",
    "adjusted_down",
    "written_off",
)
"""The sums of a wallet that only ever grow, by their names in `Totals`."""

HORIZON: Final = 4
"""How many of the next expiry times an account knows the points of, per wallet."""


@dataclass(slots=True)
class Totals:
    """One wallet of one account, in points.

    The first group is where points are, the second how they came, the third how they went; what
    came is what is there plus what went (`sides`). `written_off` was never taken, so it is no
    part of that sum.
    """

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0

    earned: int = 0
    transferred_in: int = 0
    adjusted_up: int = 0
    restored: int = 0

    redeemed: int = 0
    expired: int = 0
    cleared: int = 0
    reversed: int = 0
    transferred_out: int = 0
    adjusted_down: int = 0

    written_off: int = 0

    horizon: list[list[int]] = field(default_factory=list)
    """[expires_ms, points] of the next expiry times, earliest first. Spending and expiry use them
    up from the front; summing the lots of one expiry time anew for every event would cost more
    the more lots a member has."""
    beyond: bool = False
    """Whether lots that expire may exist later than the horizon."""
    slides: list[list[int]] = field(default_factory=list)
    """[expires_ms, points, from_ms] of lots whose expiry slides, for each way of counting it:
    it counts from `from_ms`, or from the member's latest activity if that is later."""

    in_lots: int = field(init=False)
    """What the spendable lots hold, followed by what is written to them. Not stored."""
    told: int = field(init=False)
    """What the entries made the balance, followed by their deltas. Not stored."""
    counted: tuple[int, ...] = field(init=False, compare=False)
    """The first group as it was counted in the partition's sums last. Not stored."""

    def __post_init__(self) -> None:
        self.in_lots = self.told = self.available
        self.counted = (self.available, self.pending, self.held, self.debt)

    def sides(self) -> tuple[int, int]:
        """Return what came in and what is accounted for. They are equal, or the books are wrong."""
        came_in = self.earned + self.transferred_in + self.adjusted_up + self.restored
        accounted_for = (
            self.available
            + self.pending
            + self.held
            - self.debt
            + self.redeemed
            + self.expired
            + self.cleared
            + self.reversed
            + self.transferred_out
            + self.adjusted_down
        )
        return came_in, accounted_for

    @property
    def granted(self) -> int:
        """What was ever given. What is there, and every sum of what went, is no more than this."""
        return self.earned + self.transferred_in + self.adjusted_up

    def balances(self) -> bool:
        """Tell whether the books are right: both sides equal, and nothing below zero."""
        came_in, accounted_for = self.sides()
        return (
            came_in == accounted_for
            and self.available >= 0
            and self.pending >= 0
            and self.held >= 0
            and self.debt >= 0
        )

    def expects(self, expires_ms: int, points: int) -> None:
        """Note that points which expire at a time have become available."""
        if expires_ms >= SLIDING_FROM:
            return
        horizon = self.horizon
        for index, bucket in enumerate(horizon):
            if bucket[0] == expires_ms:
                bucket[1] += points
                return
            if bucket[0] > expires_ms:
                horizon.insert(index, [expires_ms, points])
                if len(horizon) > HORIZON:
                    horizon.pop()
                    self.beyond = True
                return
        if self.beyond or len(horizon) == HORIZON:
            self.beyond = True
        else:
            horizon.append([expires_ms, points])

    def expects_less(self, expires_ms: int, points: int) -> None:
        """Note that points which would have expired at a time are available no more."""
        if expires_ms >= SLIDING_FROM:
            for bucket in self.slides:
                if bucket[0] == expires_ms:
                    bucket[1] -= points
            return
        for index, bucket in enumerate(self.horizon):
            if bucket[0] == expires_ms:
                bucket[1] -= points
                if not bucket[1]:
                    del self.horizon[index]
                return


@dataclass(slots=True)
class Run:
    """Check-in days in a row: local days since 1970-01-01, both inclusive."""

    first_day: int
    last_day: int

    @property
    def days(self) -> int:
        """How many days the run has."""
        return self.last_day - self.first_day + 1


@dataclass(slots=True)
class Account:
    """One member's account."""

    member_id: str
    member: bytes
    """The member id as it stands in keys."""
    seq: int = 0
    """Of the last ledger entry; the first has 1."""
    status: str = AccountStatus.ACTIVE.value
    last_activity_ms: int = 0
    updated_ms: int = 0
    parked: int = 0
    """Refunds and cancellations that wait for their order."""
    timer_ms: int = 0
    """When the account's timer is set, 0 for none. It may ring early, never late."""
    segments: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    """Runs of check-in days, earliest first, as far back as a late check-in can mend."""
    wallets: dict[str, Totals] = field(default_factory=dict)

    reminded: dict[str, int] = field(default_factory=dict)
    """By wallet and lead time, the latest local day of expiry that a reminder told of."""
    merged_into: str | None = None
    """The survivor, once this account was merged: it is closed, and events go there."""
    merging_into: str | None = None
    """The survivor that was asked whether it takes this account, until all has arrived there."""
    arriving: int = 0
    """Accounts that this one has agreed to take and that have not arrived in full."""
    transfers: int = 0
    """Transfers sent and not settled."""
    tiers: dict[str, Rank] = field(default_factory=dict)
    """By ladder; none where nothing was measured yet."""

    orders: int = 0
    """How many orders came, returned ones too."""
    flags: int = 0
    """How many open flags concern the member."""
    welcomed: bool = False
    """A rule has paid for the registration."""
    birthday: int = 0
    """Month * 100 + day; 0 if it was not told."""

    erased: bool = False
    """The member was erased: this account must never come to be. Not stored here."""
    changed: bool = False
    """Must be written at the end of the batch. Not stored."""
    shown: bool = False
    """Its standing has changed in this batch. Not stored."""

    @property
    def closed(self) -> bool:
        """Whether nothing may happen to this account any more: it was merged or erased."""
        return self.erased or self.merged_into is not None

    @property
    def frozen(self) -> bool:
        """Whether the member may not spend, and what is earned is kept pending."""
        return self.status == _FROZEN


@dataclass(slots=True)
class Lot:
    """Points earned by one cause, with one fate."""

    wallet: str
    lot_id: str
    activates_ms: int
    expires_ms: int
    """`NEVER` for points that do not expire; from `SLIDING_FROM` on it slides."""
    earned_ms: int
    points: int
    order_id: str | None
    rule_id: str | None
    store_id: str | None
    awaits: str | None = None
    """The activity that makes the lot spendable, while it is pending for it."""
    review: list[Any] | None = None
    """When it would become active, and the flags that it is under; `activates_ms` is `NEVER`
    until the last of them has been released."""

    def over_by(self, at_ms: int) -> bool:
        """Tell whether the lot was due to activate and to expire by a time."""
        return self.expires_ms <= at_ms and self.activates_ms <= at_ms


@dataclass(slots=True)
class Award:
    """What one rule gave for an order, and what refunds have undone of it."""

    ruleset_hash: str
    rule_id: str
    wallet: str
    lot_id: str
    activates_ms: int
    expires_ms: int
    points: int
    """E: what the rule gave, or what a cap or a budget granted of it. 0 while the budget is being
    asked: there is no lot yet, and `lot_id` names the question."""
    settled: int = 0
    """Of what refunds ask back, E - points(P - R): taken, become debt, or written off."""
    expired: int = 0
    """What expired in the award's own lot."""
    multiplier: int = 1_000
    """Of the tier at the order's time, in thousandths: refunds are counted with it."""
    uncounted: int = 0
    """Of what refunds ask back: what the member's progress towards a tier has without it."""
    kept: list[Any] | None = None
    """What else decided on it, for refunds; None if the order's money alone does."""

    def rule_sets(self) -> Iterator[str]:
        """Yield the hashes of all rule sets that refunds need for it."""
        yield self.ruleset_hash
        # Of a multiplier: what it multiplied, and what that multiplied in turn.
        parts = [self.kept or []]
        while parts:
            for part in parts.pop():
                if isinstance(part, list) and part and isinstance(part[0], str):
                    yield part[0]
                    parts.append(part[3] or [])


@dataclass(slots=True)
class Line:
    """One line of an order; money in minor units."""

    line_id: str
    paid_minor: int
    earns: bool
    refunded_minor: int = 0


@dataclass(slots=True)
class Order:
    """What must be known of an order as long as it can be refunded."""

    until_ms: int
    paid_minor: int
    earned_ms: int
    store_id: str | None
    brand_id: str | None
    channel: str | None
    awards: list[Award]
    lines: list[Line] = field(default_factory=list)
    refunded_minor: int = 0
    """All refunds, with and without lines."""
    returned: bool = False
    """Cancelled, or refunded although it cost no money: nothing of it is left."""
    cancelled: bool = False
    taken_ms: int = 0
    """When the order came, in partition time. It has been remembered since."""
    refunds: list[str] = field(default_factory=list)
    """The refunds taken, by digests of their ids: they count as long as the order does."""

    @property
    def money_left_minor(self) -> int:
        """What the order still is in money."""
        return 0 if self.returned else self.paid_minor - self.refunded_minor

    @property
    def earning_left_minor(self) -> int:
        """What of the money left earns.

        A refund without lines is spread over all lines in proportion to what is left of them
        after the refunds with lines, so the order in which refunds arrive makes no difference.
        """
        if self.returned:
            return 0
        if not self.lines:
            return self.paid_minor - self.refunded_minor
        left = earning = 0
        for line in self.lines:
            line_left = line.paid_minor - line.refunded_minor
            left += line_left
            if line.earns:
                earning += line_left
        spread_minor = self.refunded_minor - (self.paid_minor - left)
        if not spread_minor:
            return earning
        return earning * (left - spread_minor) // left


@dataclass(slots=True)
class Taken:
    """What a redemption took out of one lot, and what came back since."""

    lot_id: str
    expires_ms: int
    earned_ms: int
    points: int
    order_id: str | None
    rule_id: str | None
    store_id: str | None
    restored: int = 0


class HoldState(StrEnum):
    """How far a hold has come. It is open once, and ends once."""

    OPEN = "open"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(slots=True)
class Hold:
    """Points reserved. While it is open, the lots it took have keys of their own."""

    until_ms: int
    """`NEVER` while it is open; then how long its end is remembered."""
    state: HoldState
    wallet: str
    points: int
    """What was held when it was made."""
    due_ms: int
    """When it ends by itself."""
    store_id: str | None


@dataclass(slots=True)
class Payment:
    """Points that one command spent on an order, or a part of their lots."""

    until_ms: int
    wallet: str
    points: int
    taken: list[Taken]


@dataclass(slots=True)
class Transfer:
    """Points that left a member and have not been settled: what a way back needs."""

    to_member_id: str
    command_id: str
    occurred_ms: int
    """Of the command. Its local day is the one whose limit was used."""
    actor_id: str | None
    confirmed_by: str | None
    store_id: str | None
    points: int
    fee: int
    lots: list[Lot]
    """What was sent, lot by lot."""
    fee_lots: list[Lot]
    """What the fee took."""


@dataclass(slots=True)
class ErasedSums:
    """What is still known of all accounts that were erased: how many, and what came and went.

    No points are left in any of them, so each wallet's sums balance by themselves.
    """

    accounts: int = 0
    wallets: dict[str, Totals] = field(default_factory=dict)

    def add(self, account: Account) -> None:
        """Add an account that is about to be erased; none of its points is left."""
        self.accounts += 1
        for wallet, totals in account.wallets.items():
            sums = self.wallets.setdefault(wallet, Totals())
            for name in FLOWS:
                setattr(sums, name, getattr(sums, name) + getattr(totals, name))
