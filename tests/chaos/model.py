"""What the input must come to: computed a second time, plainly, from the published events.

Shares nothing with the ledger: no lots, no state, no order of arrival, only sums. It holds for
streams made by `story.py`, in which every member can always pay what is redeemed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

__all__ = ["BONUS_DELAY_MS", "UNAFFORDABLE", "Model"]

#: More points than anybody ever has.
UNAFFORDABLE = 1_000_000_000
#: Points of the wallet `bonus` are spendable so long after the activity.
BONUS_DELAY_MS = 6_000

Event = Mapping[str, Any]

#: What each rule of `programme.yaml` gives for an order, by the money left of it.
_ORDER_RULES: tuple[tuple[str, Callable[[int], int]], ...] = (
    ("points", lambda minor: minor // 100),
    ("points", lambda minor: 50 if minor >= 30_000 else 0),
    ("growth", lambda minor: minor // 1_000),
)
_ACTIVITIES = {"review.posted": 10, "groupbuy.joined": 15, "profile.completed": 50}


@dataclass(slots=True)
class _Sale:
    paid_minor: int | None = None
    refunds_minor: dict[str, int] = field(default_factory=dict)
    cancelled: bool = False


@dataclass
class Model:
    """Takes the events in any order; a redelivery may be taken again."""

    #: How often each command was delivered, and how each has to be answered.
    deliveries: Counter[str] = field(default_factory=Counter)
    answers: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    #: Bad records: code, key, value.
    bad: Counter[tuple[str, bytes | None, bytes | None]] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)
    _sales: dict[tuple[str, str], _Sale] = field(default_factory=lambda: defaultdict(_Sale))
    _given: dict[tuple[Any, ...], tuple[str, str, int]] = field(default_factory=dict)
    _redeemed: Counter[str] = field(default_factory=Counter)
    _adjusted: Counter[str] = field(default_factory=Counter)
    #: Points received less points sent.
    _transferred: Counter[str] = field(default_factory=Counter)
    #: Transfers: repeated while they are under way, they have no answer yet.
    transfers: set[str] = field(default_factory=set)
    #: Who has an account when the stream begins. Nobody else can be sent anything.
    _members: set[str] = field(default_factory=set)

    def refuse(self, code: str, key: bytes | None, value: bytes | None) -> None:
        """Expect a dead letter."""
        self.bad[code, key, value] += 1

    def take(self, event: Event) -> None:
        """Count an event once, however often it comes."""
        kind, event_id = event["type"], event["event_id"]
        if "actor" in event:
            self.deliveries[event_id] += 1
        if event_id in self._seen:
            return
        self._seen.add(event_id)
        member = event["member_id"]
        if event_id.startswith("open-"):
            self._members.add(member)
        if kind.startswith("order."):
            self._take_order(kind, self._sales[member, event["order_id"]], event)
        elif kind == "points.redeem":
            affordable = event["points"] < UNAFFORDABLE
            if affordable:
                self._redeemed[member] += event["points"]
            self.answers[event_id] = (
                ("accepted", None) if affordable else ("rejected", "insufficient_points")
            )
        elif kind == "points.adjust":
            assert event["points"] > 0, "the story takes nothing by hand"
            self._adjusted[member] += event["points"]
            self.answers[event_id] = ("accepted", None)
        elif kind == "points.transfer":
            self._take_transfer(event_id, member, event)
        elif "actor" in event:
            self.answers[event_id] = ("rejected", "not_supported")
        elif kind == "checkin.recorded":
            at = datetime.fromisoformat(event["occurred_at"])
            self._give(member, "points", 2, "day", (at + timedelta(hours=8)).date())
        elif kind == "referral.registered":
            self._give(member, "points", 20, kind, event["referee_id"])
        elif kind == "referral.first_order":
            points = 100 if event["paid_minor"] >= 5_000 else 0
            self._give(member, "points", points, kind, event["referee_id"])
        elif kind == "activity.recorded":
            self._take_activity(member, event)
        elif not kind.startswith("member."):
            raise AssertionError(f"the model doesn't know {kind}")

    @staticmethod
    def _take_order(kind: str, sale: _Sale, event: Event) -> None:
        if kind == "order.paid":
            if sale.paid_minor is None:
                sale.paid_minor = event["paid_minor"]
        elif kind == "order.refunded":
            sale.refunds_minor.setdefault(event["refund_id"], event["refunded_minor"])
        else:
            sale.cancelled = True

    def _take_transfer(self, event_id: str, member: str, event: Event) -> None:
        to, points = event["to_member_id"], event["points"]
        if to == member:
            self.answers[event_id] = ("rejected", "transfer_to_self")
            return
        self.transfers.add(event_id)
        if to not in self._members:
            self.answers[event_id] = ("rejected", "recipient_unknown")
            return
        self._transferred[member] -= points
        self._transferred[to] += points
        self.answers[event_id] = ("accepted", None)

    def _take_activity(self, member: str, event: Event) -> None:
        activity, quantity = event["activity"], event.get("quantity", 1)
        once = (activity, event["reference"])
        if activity == "visit.rated":
            self._give(member, "bonus", 5 * quantity, *once)
        elif activity == "lottery.won":
            self._give(member, "points", quantity, *once)
        elif activity == "sale.closed":
            self._give(member, "points", event["value_minor"] // 10_000, *once)
        else:
            self._give(member, "points", _ACTIVITIES[activity] * quantity, *once)

    def _give(self, member: str, wallet: str, points: int, *once: Any) -> None:
        self._given.setdefault((member, *once), (member, wallet, points))

    def balances(self) -> dict[tuple[str, str], int]:
        """Spendable points by member and wallet, without those that have none."""
        sums: Counter[tuple[str, str]] = Counter()
        for member, wallet, points in self._given.values():
            sums[member, wallet] += points
        for (member, _), sale in self._sales.items():
            if sale.paid_minor is None or sale.cancelled:
                continue
            left_minor = sale.paid_minor - sum(sale.refunds_minor.values())
            assert left_minor >= 0, "the story refunds more than was paid"
            for wallet, points_of in _ORDER_RULES:
                sums[member, wallet] += points_of(left_minor)
        for member, points in self._adjusted.items():
            sums[member, "points"] += points
        for member, points in self._transferred.items():
            sums[member, "points"] += points
        for member, points in self._redeemed.items():
            sums[member, "points"] -= points
            assert sums[member, "points"] >= 0, "the story redeems more than there is"
        return {place: points for place, points in sums.items() if points}
