"""What commands do in the plain model. Each returns the reason why not, or None."""

from __future__ import annotations

from dataclasses import replace

from .members import Event, Hold, Lot, Member, Taken, moment, ms_of
from .points import Books

__all__ = ["Commands"]


class Commands(Books):
    """Commands that concern one member alone."""

    def on_points_redeem(self, member: Member, event: Event) -> str | None:
        points = event["points"]
        if member.frozen:
            return "account_frozen"
        if self.alive(member, event) < points:
            return "insufficient_points"
        parts = self.spend(member, event, points)
        member.flows["points", "redeemed"] += points
        self.tell(member, "redeemed", "points", points, -points)
        if "order_id" in event:
            member.payments[event["order_id"]].append([Taken(part) for part in parts])
            if event["order_id"] in member.orders:
                self.pay_back(member, event["order_id"], member.orders[event["order_id"]])
        return None

    def on_points_hold(self, member: Member, event: Event) -> str | None:
        if member.frozen:
            return "account_frozen"
        if event["hold_id"] in member.holds:
            return "hold_exists"
        alive_ms = max(self.at_ms, ms_of(event))
        due_ms = alive_ms + self.rules.hold_ms
        if "expires_at" in event:
            due_ms = moment(event["expires_at"])
            if due_ms <= alive_ms:
                return "expiry_in_the_past"
        if self.alive(member, event) < event["points"]:
            return "insufficient_points"
        for part in self.spend(member, event, event["points"]):
            member.lots.append(replace(part, place=f"hold {event['hold_id']}"))
        member.holds[event["hold_id"]] = Hold(event["points"], due_ms)
        self.tell(member, "held", "points", event["points"], -event["points"])
        return None

    def why_not_end(self, member: Member, event: Event) -> str | None:
        hold = member.holds.get(event["hold_id"])
        if hold is None:
            return "hold_unknown"
        if hold.state != "open":
            return {"expired": "hold_expired"}.get(hold.state, f"hold_already_{hold.state}")
        return "hold_expired" if hold.due_ms <= ms_of(event) else None

    def on_points_capture(self, member: Member, event: Event) -> str | None:
        if member.frozen:
            return "account_frozen"
        if reason := self.why_not_end(member, event):
            return reason
        hold = member.holds[event["hold_id"]]
        points = event.get("points", hold.points)
        if points > hold.points:
            return "capture_exceeds_hold"
        self.take_from(member, f"hold {event['hold_id']}", points)
        member.flows["points", "redeemed"] += points
        self.tell(member, "captured", "points", points, 0)
        self.free(member, event["hold_id"], "captured")
        return None

    def on_points_void(self, member: Member, event: Event) -> str | None:
        if reason := self.why_not_end(member, event):
            return reason
        self.free(member, event["hold_id"], "voided")
        return None

    def on_points_adjust(self, member: Member, event: Event) -> str | None:
        points = event["points"]
        if points < 0:
            if self.alive(member, event) < -points:
                return "insufficient_points"
            self.spend(member, event, -points)
            member.flows["points", "adjusted_down"] -= points
            self.tell(member, "adjusted", "points", -points, points)
            return None
        earned_ms = ms_of(event)
        expires_ms = earned_ms + self.rules.life_ms
        if "expires_at" in event:
            expires_ms = moment(event["expires_at"])
        if expires_ms <= max(self.at_ms, earned_ms):
            return "expiry_in_the_past"
        name = self.names(member.member_id, len(member.entries) + 1)
        lot = Lot("points", name, earned_ms, expires_ms, 0, points, "available")
        member.flows["points", "adjusted_up"] += points
        self.tell(member, "adjusted", "points", points, self.credit(member, lot, points))
        return None

    def on_points_clear(self, member: Member, event: Event) -> str | None:
        points = self.alive(member, event)
        if points:
            self.spend(member, event, points)
            member.flows["points", "cleared"] += points
            self.tell(member, "cleared", "points", points, -points)
        return None

    def on_account_freeze(self, member: Member, event: Event) -> str | None:
        if member.frozen:
            return "account_frozen"
        member.frozen = member.known = True
        return None

    def on_account_unfreeze(self, member: Member, event: Event) -> str | None:
        if not member.frozen:
            return "account_not_frozen"
        member.frozen = False
        self.age(member)
        return None

    def on_account_erase(self, member: Member, event: Event) -> str | None:
        if member.sending:
            return "transfer_under_way"
        for wallet in ("points", "growth"):
            lots = [lot for lot in member.lots if lot.wallet == wallet]
            points = sum(lot.points for lot in lots)
            if points:
                available = member.at("available", wallet)
                member.flows[wallet, "cleared"] += points
                self.tell(member, "cleared", wallet, points, -available)
            if debt := member.debt[wallet]:
                member.flows[wallet, "adjusted_up"] += debt
                member.debt[wallet] = 0
                self.tell(member, "adjusted", wallet, debt, 0)
        for parked in sorted(member.parked, key=lambda parked: str(parked.event["order_id"])):
            self.letter(member, "account_erased", parked.event)
        member.erased = event
        member.lots, member.parked = [], []
        member.holds = {}
        return None

    def refuse(self, member: Member, event: Event) -> None:
        """Take nothing for an erased member."""
        if "actor" not in event:
            self.letter(member, "account_erased", event)
        else:
            told = "accepted" if event == member.erased else "account_erased"
            member.answers.append((event["event_id"], told, 0))
