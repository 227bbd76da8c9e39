"""What can happen to a job of two partitions, for state machines to draw from.

Every event and command, delivered late or twice or under a used id; crashes at every place between
two effects, with and without the disk; owners that change; jumps of time.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver, MemoryBroker
from pointstream.engine.log import Transaction
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.rules import CompiledProgramme

from .plain import HOUR_MS

EXAMPLES = int(os.environ.get("POINTSTREAM_EXAMPLES", "200"))
STEPS = 50
PARTITIONS = 2
#: Two in each partition.
MEMBERS = ("ann", "bob", "cat", "dan")
START_MS = 1_772_380_800_000
POLICIES = ("only_pending", "within_balance", "debt")
CLERK = {"actor": {"id": "clerk", "role": "head_office"}, "reason": "asked"}


_RUNNER = asyncio.Runner()


@dataclass
class RecordingBroker(MemoryBroker):
    """A broker that knows in which order transactions became true, over all partitions."""

    committed: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    def _apply(self, partition: int, transaction: Transaction, changelog: Target) -> int:
        journal = transaction.records[Target("journal", partition)][0]
        self.committed.append((partition, orjson.loads(journal.value or b"")))
        return super()._apply(partition, transaction, changelog)


members = st.sampled_from(MEMBERS)
orders = st.sampled_from(["o1", "o2", "o3"])
holds = st.sampled_from(["h1", "h2", "h3"])
points = st.integers(1, 80)
minor = st.sampled_from([50, 1_990, 5_050, 10_000, 20_000])
#: How old an event is when it comes; the last is dated too far ahead.
delays = st.sampled_from(
    [*[0] * 12, HOUR_MS, 26 * HOUR_MS, 26 * HOUR_MS, 80 * HOUR_MS, -60_000, -60_000, -600_000]
)
#: One of those that there are, the newest first; or, more seldom, one that may not be there.
picks = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 99])
lives = st.sampled_from([None, None, 0, 6 * HOUR_MS, 6 * HOUR_MS, 48 * HOUR_MS])


class Happenings(RuleBasedStateMachine):
    """Two partitions of one job. Who looks at it says what must be true, and when it is quiet."""

    def set_up(self, programme: CompiledProgramme, batch: int, stale: int) -> None:
        """A job of a programme, and nothing that was read of it yet."""
        self.broker = RecordingBroker(now_ms=START_MS)
        self.driver = EngineTestDriver(
            lambda partition: PointsProcessor(Ledger(programme), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            batch_records=batch,
            broker=self.broker,
            stale_seek=stale,
            runner=_RUNNER,
        )
        self.entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.read: Counter[Target] = Counter()
        self.given: list[dict[str, Any]] = []
        #: Orders and holds that were asked for: member and id.
        self.orders: list[tuple[str, str]] = []
        self.holds: list[tuple[str, str]] = []
        self.driver.tick(START_MS)

    # --- what happens -----------------------------------------------------------------------

    def give(self, kind: str, member: str, delay_ms: int = 0, **fields: Any) -> None:
        """Publish one event. Each comes a millisecond after the one before."""
        self.broker.now_ms += 1
        body = {
            "event_id": f"e{len(self.given)}",
            "type": kind,
            "member_id": member,
            "occurred_at": rfc3339(self.broker.now_ms - delay_ms),
            **fields,
        }
        self.given.append(body)
        self.publish(body)

    def publish(self, body: Mapping[str, Any]) -> None:
        topic = f"points.{topic_of_type(body['type'])}"
        self.driver.send(topic, body["member_id"].encode(), orjson.dumps(body))

    @rule(member=members, order=orders, paid=minor, delay=delays)
    def order(self, member: str, order: str, paid: int, delay: int) -> None:
        self.orders.append((member, order))
        self.give("order.paid", member, delay, order_id=order, currency="CNY", paid_minor=paid)

    @rule(pick=picks, member=members, order=orders, refund=st.sampled_from("abc"), part=minor)
    def refund(self, pick: int, member: str, order: str, refund: str, part: int) -> None:
        member, order = picked(self.orders, pick, (member, order))
        self.give("order.refunded", member, order_id=order, refund_id=refund, refunded_minor=part)

    @rule(pick=picks, member=members, order=orders)
    def cancel(self, pick: int, member: str, order: str) -> None:
        member, order = picked(self.orders, pick, (member, order))
        self.give("order.cancelled", member, order_id=order)

    @rule(member=members, delay=delays)
    def check_in(self, member: str, delay: int) -> None:
        self.give("checkin.recorded", member, delay)

    @rule(member=members, won=points, reference=st.integers(0, 9), delay=delays)
    def activity(self, member: str, won: int, reference: int, delay: int) -> None:
        self.give(
            "activity.recorded",
            member,
            delay,
            activity="lottery.won",
            reference=f"r{reference}",
            quantity=won,
        )

    @rule(member=members, referee=members, paid=st.none() | minor)
    def referral(self, member: str, referee: str, paid: int | None) -> None:
        if paid is None:
            self.give("referral.registered", member, referee_id=referee)
        else:
            first = {"order_id": "first", "paid_minor": paid, "currency": "CNY"}
            self.give("referral.first_order", member, referee_id=referee, **first)

    @rule(member=members, segment=st.sampled_from(["tea", "vip"]), delay=delays)
    def update(self, member: str, segment: str, delay: int) -> None:
        self.give("member.updated", member, delay, segments=[segment])

    @rule(pick=picks, member=members, points=points, order=orders, delay=delays)
    def redeem(self, pick: int, member: str, points: int, order: str, delay: int) -> None:
        """Mostly for an order: its points come back when it is returned."""
        member, order = picked(self.orders, pick, (member, order))
        paid_for = {"order_id": order} if points % 4 else {}
        actor = {"actor": {"id": member, "role": "member"}}
        self.give("points.redeem", member, delay, points=points, **paid_for, **actor)

    @rule(member=members, hold=holds, points=points, lasts=lives, delay=delays)
    def hold(self, member: str, hold: str, points: int, lasts: int | None, delay: int) -> None:
        self.holds.append((member, hold))
        until = self.until(lasts)
        self.give("points.hold", member, delay, hold_id=hold, points=points, **until, **CLERK)

    @precondition(lambda self: self.holds)
    @rule(pick=picks, member=members, hold=holds, points=st.none() | points)
    def capture(self, pick: int, member: str, hold: str, points: int | None) -> None:
        member, hold = picked(self.holds, pick, (member, hold))
        some = {} if points is None else {"points": points}
        self.give("points.capture", member, hold_id=hold, **some, **CLERK)

    @precondition(lambda self: self.holds)
    @rule(pick=picks, member=members, hold=holds)
    def void(self, pick: int, member: str, hold: str) -> None:
        member, hold = picked(self.holds, pick, (member, hold))
        self.give("points.void", member, hold_id=hold, **CLERK)

    @rule(member=members, points=points, end=st.sampled_from(["void", "capture", "none"]))
    def hold_past_expiry(self, member: str, points: int, end: str) -> None:
        """A hold whose points are over before it ends: steps drawn one by one seldom make one."""
        hold = f"h{len(self.given)}"
        self.adjust(member, points, 6 * HOUR_MS, 0)
        self.hold(member, hold, points, None, 0)
        self.wait(23)
        if end != "none":
            self.give(f"points.{end}", member, hold_id=hold, **CLERK)

    @rule(member=members, points=points, part=minor, then=st.sampled_from(["refund", "cancel"]))
    def pay_and_return(self, member: str, points: int, part: int, then: str) -> None:
        """An order that was paid with points and comes back, in part or whole."""
        order = f"o{len(self.given)}"
        self.order(member, order, 10_000, 0)
        self.redeem(0, member, points, order, 0)
        if then == "refund":
            self.refund(0, member, order, "a", part)
        else:
            self.cancel(0, member, order)

    @rule(member=members, points=points | st.integers(-60, -1), lives=lives, delay=delays)
    def adjust(self, member: str, points: int, lives: int | None, delay: int) -> None:
        self.give("points.adjust", member, delay, points=points, **self.until(lives), **CLERK)

    @rule(member=members)
    def clear(self, member: str) -> None:
        self.give("points.clear", member, **CLERK)

    @rule(member=members, verb=st.sampled_from(["freeze", "unfreeze", "unfreeze"]))
    def freeze(self, member: str, verb: str) -> None:
        self.give(f"account.{verb}", member, **CLERK)

    @rule(member=members, sure=st.sampled_from([False, False, True]))
    def erase(self, member: str, sure: bool) -> None:
        """Seldom, for nothing can happen to the member any more."""
        if sure:
            self.give("account.erase", member, **CLERK)

    @rule(member=members, to=members, points=points, delay=delays)
    def transfer(self, member: str, to: str, points: int, delay: int) -> None:
        actor = {"actor": {"id": member, "role": "member"}}
        self.give("points.transfer", member, delay, to_member_id=to, points=points, **actor)

    @rule(sender=members, to=members, points=st.integers(1, 30), frozen=st.booleans())
    def exchange(self, sender: str, to: str, points: int, frozen: bool) -> None:
        """Two send to each other; one may be frozen before the other's points arrive."""
        self.transfer(sender, to, points, 0)
        if frozen:
            self.driver.run(batches=1)
            self.freeze(to, "freeze")
        self.transfer(to, sender, points, 0)

    def until(self, span_ms: int | None) -> dict[str, str]:
        if span_ms is None:
            return {}
        return {"expires_at": rfc3339(self.broker.now_ms + span_ms)}

    # --- what goes wrong, and time -----------------------------------------------------------

    @precondition(lambda self: self.given)
    @rule(back=st.integers(0, 9), twice=st.booleans())
    def again(self, back: int, twice: bool) -> None:
        """Deliver an earlier event once more."""
        body = self.given[-1 - back % len(self.given)]
        for _ in range(1 + twice):
            self.broker.now_ms += 1
            self.publish(body)

    @precondition(lambda self: self.given)
    @rule(back=st.integers(0, 9))
    def reuse(self, back: int) -> None:
        """Use an earlier id for something else."""
        self.broker.now_ms += 1
        self.publish({**self.given[-1 - back % len(self.given)], "store_id": "elsewhere"})

    @rule(hours=st.sampled_from([1, 1, 6, 6, 23, 23, 30, 49, 73, 24 * 31]))
    def wait(self, hours: int) -> None:
        """Let time jump, over whatever is due meanwhile."""
        self.driver.tick(self.broker.now_ms + hours * HOUR_MS)

    @rule(
        place=st.sampled_from([*Boundary, *CommitFate]),
        after=st.integers(0, 3),
        lose=st.booleans(),
    )
    def crash(self, place: Boundary | CommitFate, after: int, lose: bool) -> None:
        """Die somewhere in what follows, perhaps with the disk."""
        self.driver.crash_at(place, after=after)
        self.driver.run()
        if lose:
            self.driver.lose_state()

    @rule()
    def move(self) -> None:
        """Let other owners take the partitions over."""
        self.driver.crash()

    @rule(batches=st.integers(1, 2))
    def run_some(self, batches: int) -> None:
        """Process a little: the next events overtake what owners have to tell each other."""
        self.driver.run(batches=batches)

    @rule()
    def run_all(self) -> None:
        """Process all there is, until no owner has anything to tell another."""
        messages = "points.internal.messages"
        sent = -1
        while sent != (sent := len(self.driver.outputs(messages))):
            while not self.driver.run():
                pass
        self.quiet()

    def quiet(self) -> None:
        """Look at the job when nothing is under way."""
        raise NotImplementedError

    # --- what came out ------------------------------------------------------------------------

    def unread(self, place: Target) -> list[Any]:
        records = self.broker.records(place)[self.read[place] :]
        self.read[place] += len(records)
        return records

    def new(self, suffix: str) -> list[dict[str, Any]]:
        return [
            orjson.loads(record.value)
            for partition in range(PARTITIONS)
            for record in self.unread(Target(f"points.{suffix}", partition))
        ]

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.run_all()


def picked(some: list[tuple[str, str]], pick: int, other: tuple[str, str]) -> tuple[str, str]:
    """One of some, counted from the newest; the other where there are not so many."""
    return some[-1 - pick] if pick < len(some) else other
