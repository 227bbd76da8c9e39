"""What events do in the plain model. Each returns whether it is remembered by its id."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from .members import Award, Event, Member, Order, Parked, ms_of
from .points import Books

__all__ = ["Events"]


class Events(Books):
    """Orders and what undoes them, and what members do besides."""

    def on_order_paid(self, member: Member, event: Event) -> bool:
        if event["order_id"] in member.orders:
            return True
        member.known = True
        order = Order(event["paid_minor"])
        grants = [
            (wallet, per_minor, order.paid_minor // per_minor)
            for wallet, per_minor in (("points", 100), ("growth", 1_000))
        ]
        for wallet, per_minor, points in grants:
            if points:
                lot = self.give(member, event, wallet, points, event["order_id"])
                award = Award(wallet, lot.name, points, per_minor)
                order.awards.append(award)
                if lot.activates_ms <= self.at_ms and lot.expires_ms <= self.at_ms:
                    award.expired = points
        member.orders[event["order_id"]] = order
        for parked in [p for p in member.parked if p.event["order_id"] == event["order_id"]]:
            member.parked.remove(parked)
            if not self.undo(member, order, parked.event):
                del member.seen[parked.event["event_id"]]
        return True

    def on_order_refunded(self, member: Member, event: Event) -> bool:
        order = member.orders.get(event["order_id"])
        if order is None:
            member.parked.append(Parked(self.at_ms + self.rules.park_ms, event))
            return True
        return self.undo(member, order, event)

    on_order_cancelled = on_order_refunded

    def undo(self, member: Member, order: Order, event: Event) -> bool:
        """Take a refund or a cancellation of an order that is there."""
        if event["type"] == "order.cancelled":
            if order.cancelled:
                return True
            order.cancelled = True
        else:
            if event["refund_id"] in order.refunds:
                return True
            if sum(order.refunds.values()) + event["refunded_minor"] > order.paid_minor:
                self.letter(member, "refund_exceeds_order", event)
                return False
            order.refunds[event["refund_id"]] = event["refunded_minor"]
        self.pay_back(member, event["order_id"], order)
        for award in order.awards:
            kept = order.left_minor // award.per_minor
            owed = award.points - kept - award.settled - award.expired
            if owed > 0:
                award.settled += owed
                self.claw_back(member, award, owed)
        member.known = True
        return True

    def claw_back(self, member: Member, award: Award, owed: int) -> None:
        policy, wallet = self.rules.policy, award.wallet
        left, delta = owed, 0
        for lot in [x for x in member.lots if x.name == award.lot]:
            if lot.place == "pending" or (lot.place == "available" and policy != "only_pending"):
                part = min(left, lot.points)
                left -= part
                delta -= part if lot.place == "available" else 0
                lot.points -= part
                if not lot.points:
                    member.lots.remove(lot)
        if policy != "only_pending":
            part = min(left, member.at("available", wallet))
            self.take_from(member, "available", part, wallet)
            left, delta = left - part, delta - part
        if policy == "debt":
            member.debt[wallet] += left
            left = 0
        member.written_off[wallet] += left
        member.flows[wallet, "reversed"] += owed - left
        self.tell(member, "reversed", wallet, owed - left, delta, left)

    def earn_once(self, member: Member, event: Event, points: int, *once: Any) -> bool:
        if once not in member.once:
            member.once.add(once)
            member.known = True
            if points:
                self.give(member, event, "points", points)
        return True

    def on_checkin_recorded(self, member: Member, event: Event) -> bool:
        day = (datetime.fromisoformat(event["occurred_at"]) + timedelta(hours=8)).date()
        return self.earn_once(member, event, 2, "day", day)

    def on_activity_recorded(self, member: Member, event: Event) -> bool:
        return self.earn_once(member, event, event["quantity"], "activity", event["reference"])

    def on_referral_registered(self, member: Member, event: Event) -> bool:
        return self.earn_once(member, event, 20, "registered", event["referee_id"])

    def on_referral_first_order(self, member: Member, event: Event) -> bool:
        points = 30 if event["paid_minor"] >= 5_000 else 0
        return self.earn_once(member, event, points, "first order", event["referee_id"])

    def on_member_updated(self, member: Member, event: Event) -> bool:
        if ms_of(event) >= member.segments[0]:
            member.segments = (ms_of(event), event["segments"])
            member.known = True
        return True
