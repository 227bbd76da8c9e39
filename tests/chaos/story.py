"""The input of a chaos run: the generated stream, made independent of the order of topics.

First everybody gets a large order, so that whatever is redeemed later can be paid. Then comes the
stream of `pointstream generate` with its redeliveries, and among it refunds before their orders,
orders told twice under two ids, redemptions beyond all means, gifts from member to member, ratings
whose points ripen while the workers die, and bad records.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from pointstream.contracts.wire import rfc3339
from pointstream.operations.faulty import faulty_inputs
from pointstream.operations.generate import StreamPlan, generate, member_name
from pointstream.operations.publish import OutgoingRecord

from .model import UNAFFORDABLE, Model

__all__ = ["Story"]

_DAY_MS = 86_400_000
_OPENING_MINOR = 10_000_000


@dataclass(slots=True)
class Story:
    """A seeded stream of about `events` records; what is handed out is taken by the model."""

    prefix: str
    seed: int
    events: int
    members: int
    model: Model
    transfers: bool = True
    #: When the last rating was given, in ms since the epoch; 0 before the first.
    rated_ms: int = 0

    def opening(self) -> Iterator[OutgoingRecord]:
        """One large order for everybody: to be taken before the rest is published."""
        then = rfc3339(_now_ms() - 30 * _DAY_MS)
        for number in range(self.members):
            member = member_name(number)
            fields = {"order_id": f"O-open-{number}", "currency": "CNY"}
            yield self._good(
                "orders", "order.paid", f"open-{number}", member, then, **fields,
                paid_minor=_OPENING_MINOR,
            )  # fmt: skip

    def stream(self) -> Iterator[OutgoingRecord]:
        """The rest, in the order to publish it."""
        now_ms = _now_ms()
        plan = StreamPlan(
            events=self.events,
            members=self.members,
            seed=self.seed,
            start_ms=now_ms - 20 * _DAY_MS,
            end_ms=now_ms - 60_000,
            redelivered=0.03,
        )
        chance = random.Random(self.seed)
        extras = self._extras(plan)
        opened = {member_name(number) for number in range(self.members)}
        for generated in generate(plan):
            event = _tamed(orjson.loads(generated.value))
            if _for(event, opened) and (self.transfers or event["type"] != "points.transfer"):
                yield self._take(generated.topic, event)
            if chance.random() < 0.03:
                yield from next(extras)

    def _extras(self, plan: StreamPlan) -> Iterator[list[OutgoingRecord]]:
        chance = random.Random(self.seed + 1)
        number = 0
        while True:
            number += 1
            member = member_name(chance.randrange(self.members))
            make = (
                self._early_refund,
                self._told_twice,
                self._too_dear,
                self._rating,
                *((self._gifts,) if self.transfers else ()),
            )
            yield list(make[number % len(make)](f"{self.seed}-{number}", member, plan.start_ms))
            if number % 25 == 1:
                yield list(self._bad(f"{self.seed}-{number}", plan.start_ms))

    def _early_refund(self, mark: str, member: str, at_ms: int) -> Iterator[OutgoingRecord]:
        order = {"order_id": f"O-early-{mark}", "currency": "CNY"}
        refund = self._good(
            "orders", "order.refunded", f"refund-{mark}", member, rfc3339(at_ms + 1),
            **order, refund_id=f"R-{mark}", refunded_minor=12_345,
        )  # fmt: skip
        yield refund
        yield self._good(
            "orders", "order.paid", f"early-{mark}", member, rfc3339(at_ms),
            **order, paid_minor=40_000,
        )  # fmt: skip
        yield self._again(refund)

    def _told_twice(self, mark: str, member: str, at_ms: int) -> Iterator[OutgoingRecord]:
        order = {"order_id": f"O-twice-{mark}", "currency": "CNY", "paid_minor": 7_777}
        for teller in ("till", "mall"):
            yield self._good(
                "orders", "order.paid", f"{teller}-{mark}", member, rfc3339(at_ms), **order
            )

    def _too_dear(self, mark: str, member: str, at_ms: int) -> Iterator[OutgoingRecord]:
        redeem = self._good(
            "commands", "points.redeem", f"dear-{mark}", member, rfc3339(at_ms),
            points=UNAFFORDABLE, actor={"id": member, "role": "member"},
        )  # fmt: skip
        yield redeem
        yield self._again(redeem)

    def _gifts(self, mark: str, member: str, at_ms: int) -> Iterator[OutgoingRecord]:
        chance = random.Random(mark)
        gifts = []
        for number in range(4):
            # Every so often to somebody who is not there: these come back.
            to = member_name(chance.randrange(self.members)) if number else "M-nobody"
            gifts.append(
                self._good(
                    "commands", "points.transfer", f"gift-{mark}-{number}", member,
                    rfc3339(at_ms), to_member_id=to, points=chance.randint(1, 40),
                    actor={"id": member, "role": "member"},
                )
            )  # fmt: skip
        yield from gifts
        yield self._again(gifts[0])
        yield self._again(gifts[1])

    def _rating(self, mark: str, member: str, at_ms: int) -> Iterator[OutgoingRecord]:
        self.rated_ms = _now_ms()
        yield self._good(
            "activities", "activity.recorded", f"rated-{mark}", member, rfc3339(self.rated_ms),
            activity="visit.rated", reference=mark,
        )  # fmt: skip

    def _bad(self, mark: str, at_ms: int) -> Iterator[OutgoingRecord]:
        for faulty in faulty_inputs(self.prefix, mark, f"M-bad-{mark}", _now_ms(), at_ms):
            for record in faulty.records[:-1]:
                assert record.value is not None
                self.model.take(orjson.loads(record.value))
                yield record
            self.model.refuse(str(faulty.code), faulty.bad.key, faulty.bad.value)
            yield faulty.bad

    def _good(
        self, topic: str, kind: str, event_id: str, member: str, at: str, **fields: Any
    ) -> OutgoingRecord:
        envelope = {"event_id": event_id, "type": kind, "member_id": member, "occurred_at": at}
        return self._take(topic, {**envelope, **fields})

    def _take(self, topic: str, event: dict[str, Any]) -> OutgoingRecord:
        self.model.take(event)
        key = event["member_id"].encode()
        return OutgoingRecord(self.prefix + topic, key, orjson.dumps(event))

    def _again(self, record: OutgoingRecord) -> OutgoingRecord:
        assert record.value is not None
        self.model.take(orjson.loads(record.value))
        return record


def _for(event: dict[str, Any], opened: set[str]) -> bool:
    """Tell whether an event is none that spends, or is between members with an opening order.

    Who was referred came later and has none: whether a redemption can be paid, or a transfer finds
    its recipient, would depend on whether it overtakes the order that it needs.
    """
    if not event["type"].startswith("points."):
        return True
    return {event["member_id"], event.get("to_member_id", event["member_id"])} <= opened


def _tamed(event: dict[str, Any]) -> dict[str, Any]:
    """Take out what ties a record to one of another topic, or makes a refund's share a matter of
    lines."""
    if event["type"] == "points.redeem":
        event.pop("order_id", None)
    if event["type"] == "order.paid":
        event.pop("points_paid", None)
        for line in event.get("lines", ()):
            line.pop("earns", None)
    return event


def _now_ms() -> int:
    return int(time.time() * 1000)
