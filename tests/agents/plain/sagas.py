"""What concerns two members, step by step as their owners take it."""

from __future__ import annotations

from dataclasses import replace

from .members import Event, Member, Transfer
from .points import Books

__all__ = ["Sagas"]


class Sagas(Books):
    """Transfers."""

    def on_points_transfer(self, member: Member, event: Event) -> str | None:
        points, fee = event["points"], self.rules.fee
        if member.frozen:
            return "account_frozen"
        if event["to_member_id"] == member.member_id:
            return "transfer_to_self"
        if self.alive(member, event) < points + fee:
            return "insufficient_points"
        lots = self.spend(member, event, points)
        member.flows["points", "transferred_out"] += points
        self.tell(member, "transferred_out", "points", points, -points)
        fee_lots = self.spend(member, event, fee)
        member.flows["points", "redeemed"] += fee
        self.tell(member, "redeemed", "points", fee, -fee)
        transfer = Transfer(
            member.member_id, event["to_member_id"], event["event_id"], points, lots, fee_lots
        )
        self.send(transfer.to, "transfer.sent", transfer)
        member.sending += 1
        return "waits"

    def send(self, to: str, kind: str, transfer: Transfer, reason: str | None = None) -> None:
        self.messages[self.partition_of(to)].append((kind, transfer, reason))

    def receive(self, partition: int) -> None:
        """Let a partition take the next message that was sent to it."""
        self.at_ms = self.now_ms[partition]
        kind, transfer, reason = self.messages[partition].pop(0)
        if kind == "transfer.sent":
            self.arrive(transfer)
        else:
            self.settle(transfer, reason)

    def arrive(self, transfer: Transfer) -> None:
        member = self.member(transfer.to)
        reason = None
        if member.erased is not None:
            reason = "recipient_erased"
        elif not member.known:
            reason = "recipient_unknown"
        elif member.frozen:
            reason = "recipient_frozen"
        else:
            name = self.names(member.member_id, len(member.entries) + 1)
            several = len(transfer.lots) > 1
            member.flows["points", "transferred_in"] += transfer.points
            parts = [
                replace(lot, name=f"{name}.{n}" if several else name, order_id=None)
                for n, lot in enumerate(transfer.lots, 1)
            ]
            self.bring(member, parts, "transferred_in")
        self.send(transfer.sender, "transfer.settled", transfer, reason)

    def settle(self, transfer: Transfer, reason: str | None) -> None:
        member = self.member(transfer.sender)
        member.sending -= 1
        if reason is not None:
            member.flows["points", "transferred_in"] += transfer.points
            self.bring(member, transfer.lots, "transferred_in")
            member.flows["points", "restored"] += self.rules.fee
            self.bring(member, transfer.fee_lots, "restored")
        self.answer(member, transfer.command_id, reason or "accepted")

    def under_way(self) -> int:
        """Points that have left one member and arrived nowhere yet."""
        return sum(
            transfer.points
            for messages in self.messages.values()
            for kind, transfer, reason in messages
            if kind == "transfer.sent" or reason is not None
        )
