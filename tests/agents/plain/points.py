"""How points move in the plain model, by themselves and when they are told to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

from .members import NEVER, Event, Lot, Member, Order, Rules, Transfer, moments, ms_of

__all__ = ["Books"]


class Books:
    """All members, over all partitions."""

    def __init__(
        self,
        rules: Rules,
        partition_of: Callable[[str], int],
        names: Callable[[str, int], str],
    ) -> None:
        """`names` says how the ledger called a member's entry of a seq."""
        self.rules = rules
        self.partition_of = partition_of
        self.names = names
        self.members: dict[str, Member] = {}
        self.now_ms: Counter[int] = Counter()
        #: By partition: what its owner is still to be told, in order.
        self.messages: dict[int, list[tuple[str, Transfer, str | None]]] = defaultdict(list)
        #: By partition: code and event id.
        self.letters: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.at_ms = 0

    def member(self, member_id: str) -> Member:
        return self.members.setdefault(member_id, Member(member_id))

    def of(self, partition: int) -> Iterator[Member]:
        return (m for m in self.members.values() if self.partition_of(m.member_id) == partition)

    # --- time -------------------------------------------------------------------------------

    def advance(self, partition: int, to_ms: int) -> None:
        """Walk through every moment at which something is due in a partition."""
        while True:
            due = [
                moment
                for member in self.of(partition)
                for moment in moments(member)
                if moment <= to_ms
            ]
            if not due:
                break
            self.at_ms = self.now_ms[partition] = max(self.now_ms[partition], min(due))
            for member in self.of(partition):
                self.age(member)
            for member in self.of(partition):
                for hold_id, hold in member.holds.items():
                    if hold.state == "open" and hold.due_ms <= self.at_ms:
                        self.free(member, hold_id, "expired")
            for member in self.of(partition):
                for parked in [p for p in member.parked if p.due_ms <= self.at_ms]:
                    member.parked.remove(parked)
                    self.letter(member, "refund_without_order", parked.event)
                    del member.seen[parked.event["event_id"]]
        self.at_ms = self.now_ms[partition] = max(self.now_ms[partition], to_ms)

    def age(self, member: Member) -> None:
        """Activate, then expire, what is due."""
        for wallet in ("points", "growth"):
            if not member.frozen:
                self.activate(member, wallet)
        for wallet in ("points", "growth"):
            self.expire(member, wallet)

    def activate(self, member: Member, wallet: str) -> None:
        due = [x for x in member.ranked("pending", wallet) if x.activates_ms <= self.at_ms]
        due.sort(key=lambda x: (x.activates_ms, *x.rank))
        if not due:
            return
        amount, delta = 0, 0
        over = [x for x in due if x.expires_ms <= x.activates_ms]
        for lot in due:
            member.lots.remove(lot)
            amount += lot.points
            if lot not in over:
                delta += self.credit(member, lot, lot.points)
        self.tell(member, "activated", wallet, amount, delta)
        for lot in over:
            self.lapse(member, lot)

    def expire(self, member: Member, wallet: str) -> None:
        due = [x for x in member.ranked("available", wallet) if x.expires_ms <= self.at_ms]
        points = sum(x.points for x in due)
        for lot in due:
            member.lots.remove(lot)
            self.expired_of_order(member, lot)
        if points:
            member.flows[wallet, "expired"] += points
            self.tell(member, "expired", wallet, points, -points)

    def lapse(self, member: Member, lot: Lot) -> None:
        """End a lot that never was a balance."""
        member.flows[lot.wallet, "expired"] += lot.points
        self.expired_of_order(member, lot)
        self.tell(member, "expired", lot.wallet, lot.points, 0)

    def expired_of_order(self, member: Member, lot: Lot) -> None:
        if lot.order_id is not None and lot.order_id in member.orders:
            for award in member.orders[lot.order_id].awards:
                if award.lot == lot.name:
                    award.expired += lot.points

    # --- points -----------------------------------------------------------------------------

    def credit(self, member: Member, lot: Lot, points: int) -> int:
        """Make points of a lot available, debt first; returns how many became so."""
        paid = min(member.debt[lot.wallet], points)
        member.debt[lot.wallet] -= paid
        rest = points - paid
        if rest:
            for there in member.ranked("available", lot.wallet):
                if there.rank == lot.rank:
                    there.points += rest
                    break
            else:
                member.lots.append(replace(lot, points=rest, place="available"))
        return rest

    def take_from(
        self, member: Member, place: str, points: int, wallet: str = "points"
    ) -> list[Lot]:
        """Take points out of a place, what expires first first; returns the parts."""
        parts = []
        for lot in member.ranked(place, wallet):
            part = min(points, lot.points)
            if part:
                parts.append(replace(lot, points=part))
                points -= part
                lot.points -= part
                if not lot.points:
                    member.lots.remove(lot)
        assert not points
        return parts

    def alive(self, member: Member, event: Event) -> int:
        """What can be spent at the later of now and the date of a command."""
        alive_ms = max(self.at_ms, ms_of(event))
        return sum(x.points for x in member.ranked("available") if x.expires_ms > alive_ms)

    def spend(self, member: Member, event: Event, points: int) -> list[Lot]:
        """Take what is alive at the date of a command."""
        alive_ms = max(self.at_ms, ms_of(event))
        over = [x for x in member.ranked("available") if x.expires_ms <= alive_ms]
        for lot in over:
            lot.place = "over"
        parts = self.take_from(member, "available", points)
        for lot in over:
            lot.place = "available"
        return parts

    def give(
        self, member: Member, event: Event, wallet: str, points: int, order_id: str | None = None
    ) -> Lot:
        """Earn points into a lot of their own."""
        earned_ms = ms_of(event)
        pending_ms = self.rules.pending_ms if wallet == "points" else 0
        lot = Lot(
            wallet,
            self.names(member.member_id, len(member.entries) + 1),
            earned_ms,
            earned_ms + self.rules.life_ms if wallet == "points" else NEVER,
            earned_ms + pending_ms if pending_ms else min(earned_ms, self.at_ms),
            points,
            "pending",
            order_id,
        )
        member.flows[wallet, "earned"] += points
        if lot.activates_ms <= self.at_ms and lot.expires_ms <= self.at_ms:
            self.tell(member, "earned", wallet, points, 0)
            self.lapse(member, lot)
        elif lot.activates_ms > self.at_ms or member.frozen:
            member.lots.append(lot)
            self.tell(member, "pending", wallet, points, 0)
        else:
            self.tell(member, "earned", wallet, points, self.credit(member, lot, points))
        return lot

    def tell(
        self, member: Member, kind: str, wallet: str, amount: int, delta: int, off: int = 0
    ) -> None:
        member.entries.append((kind, wallet, amount, delta, off))
        member.known = True

    def letter(self, member: Member, code: str, event: Event) -> None:
        self.letters[self.partition_of(member.member_id)].append((code, event["event_id"]))

    def answer(self, member: Member, command_id: str, told: str) -> None:
        answer = (command_id, told, member.at("available"))
        event, _ = member.seen[command_id]
        member.seen[command_id] = (event, answer)
        member.answers.append(answer)

    def free(self, member: Member, hold_id: str, state: str) -> None:
        member.holds[hold_id].state = state
        place = f"hold {hold_id}"
        self.bring(member, self.take_from(member, place, member.at(place)), "voided")

    def bring(self, member: Member, parts: list[Lot], kind: str) -> None:
        """Put points into lots; what has expired meanwhile goes at once."""
        if not parts:
            return
        points = sum(part.points for part in parts)
        delta = sum([self.credit(member, part, part.points) for part in parts])
        self.tell(member, kind, "points", points, delta)
        self.expire(member, "points")

    def pay_back(self, member: Member, order_id: str, order: Order) -> None:
        """Give back the points that paid for what was returned of an order."""
        payments = member.payments[order_id]
        paid = sum(row.lot.points for rows in payments for row in rows)
        share = order.paid_minor - order.left_minor
        target = paid if order.cancelled else paid * share // order.paid_minor
        left = target - sum(row.restored for rows in payments for row in rows)
        for rows in reversed(payments):
            amount = delta = late = 0
            for row in reversed(rows):
                part = min(left, row.lot.points - row.restored)
                if part <= 0:
                    continue
                row.restored += part
                left -= part
                amount += part
                if row.lot.expires_ms > self.at_ms:
                    delta += self.credit(member, row.lot, part)
                else:
                    late += part
            if late:
                name = self.names(member.member_id, len(member.entries) + 1)
                now_ms = self.at_ms
                until_ms = now_ms + self.rules.restored_ms
                lot = Lot("points", name, now_ms, until_ms, now_ms, late, "available")
                delta += self.credit(member, lot, late)
            if amount:
                member.flows["points", "restored"] += amount
                self.tell(member, "restored", "points", amount, delta)
