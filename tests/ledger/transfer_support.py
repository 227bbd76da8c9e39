"""Two members, in one partition or in two, and the messages on their way between them."""

from __future__ import annotations

from typing import Any

from ledger_support import MESSAGES, Bench, programme

from pointstream.ledger import Decision, Source
from pointstream.ledger.codec import decode_transfer
from pointstream.ledger.messages import decode_message, encode_message
from pointstream.rules import CompiledProgramme


class Partition(Bench):
    """A partition whose messages wait until they are carried."""

    def deliver(self) -> None:
        return None


class Post:
    """The members m1 and m2, in one partition or in two, and the messages on their way."""

    def __init__(self, compiled: CompiledProgramme | None = None, *, apart: bool = True) -> None:
        compiled = compiled or programme()
        self.sender = Partition(compiled)
        self.recipient = Partition(compiled) if apart else self.sender

    @property
    def partitions(self) -> list[Partition]:
        return list({id(p): p for p in (self.sender, self.recipient)}.values())

    def send(self, points: int, to: str = "m2", **fields: Any) -> Decision:
        fields.setdefault("actor", {"id": "m1", "role": "member"})
        return self.sender.give("points.transfer", "m1", to_member_id=to, points=points, **fields)

    def carry(self) -> list[Decision]:
        """Let the messages that are on their way arrive, but none that they bring about."""
        there = [(p, message) for p in self.partitions for message in p.messages]
        for partition in self.partitions:
            partition.messages.clear()
        return [
            receive(self.sender if message.to == "m1" else self.recipient, message)
            for _, message in there
        ]

    def settle(self) -> list[Decision]:
        """Carry until nothing is on its way."""
        decisions: list[Decision] = []
        while any(p.messages for p in self.partitions):
            decisions += self.carry()
        return decisions

    def tick(self, now_ms: int) -> None:
        for partition in self.partitions:
            partition.tick(now_ms)

    def points(self) -> int:
        """All points of all members, and those under way."""
        total = 0
        for partition in self.partitions:
            partition.flush()
            for key, value in partition.state.values.items():
                if key[:1] == b"a":
                    account = partition.account(key[1:].decode())
                    for totals in account.wallets.values():
                        total += totals.available + totals.pending + totals.held - totals.debt
                elif key[:1] == b"w":
                    total += decode_transfer("points", value).points
            total -= sum(
                # Taken in already; only the sender has yet to hear of it.
                decode_transfer("points", self.sender.state.values[key]).points
                for key in self.sender.state.values
                for message in partition.messages
                if message.type == "transfer.settled"
                and message.body["reason"] is None
                and key == b"wm1\0" + message.body["transfer_id"].encode()
            )
        return total

    def entries(self, member: str, *kinds: str) -> list[dict[str, Any]]:
        return [
            e
            for p in self.partitions
            for e in p.entries
            if e["member_id"] == member and e["type"].removeprefix("points.") in kinds
        ]


def receive(partition: Partition, message: Any) -> Decision:
    value = encode_message(decode_message(encode_message(message)))
    source = Source(MESSAGES, 0, partition.offset, partition.now_ms, None, value, ())
    partition.offset += 1
    partition._begin()
    partition._note(*partition.ledger.advance(partition.now_ms))
    decision = partition.ledger.receive(decode_message(value), source)
    partition._note(decision)
    partition._end()
    return decision


def post_with(
    sender: int = 100, recipient: int = 5, *, apart: bool = True, days: int = 30, **settings: Any
) -> Post:
    """Both members with an order of so many CNY; points live so many days."""
    settings.setdefault("wallets", [{"id": "points", "expiry": {"days": days}}])
    post = Post(programme(**settings), apart=apart)
    if sender:
        post.sender.order("o1", sender)
    if recipient:
        post.recipient.order("o2", recipient, "m2")
    return post


def answer(post: Post) -> tuple[str, str | None, int, int]:
    """The latest answer: outcome, reason, seq, what is available after it."""
    told = post.sender.answers[-1]
    return told["outcome"], told.get("reason"), told["seq"], told["available_after"]


def gone(post: Post) -> bool:
    """Whether nothing is left of any transfer but its flows."""
    post.sender.flush()
    return post.sender.account("m1").transfers == 0 and not any(
        key[:1] == b"w" for p in post.partitions for key in p.state.values
    )
