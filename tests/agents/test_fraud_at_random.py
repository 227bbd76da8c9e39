"""Flags of all kinds over three partitions, while everything else happens, and owners die.

Members buy, bring back, send, refer, hold, merge; clerks adjust; detector sets come and go;
reviewers decide on flags that are open or ended, more than once. Whatever meets whatever: the books
are right, each flag ends once, what is reversed is no more than what was given, nothing stays
behind when the last flag has ended, and a replay writes the same bytes.

`POINTSTREAM_EXAMPLES=2000` tells 100 stories instead of 10.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from random import Random
from typing import Any

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges
from pointstream.operations.placement import partition_of
from pointstream.operations.transit import PartitionTransfers, Transit
from pointstream.rules import CompiledProgramme, compile_programme

from .recorded import inputs_of, replay

NOW_MS = 1_767_225_600_000
SECOND_MS, MINUTE_MS, DAY_MS = 1_000, 60_000, 86_400_000
PARTITIONS = 3
STEPS = 160
STORIES = int(os.environ.get("POINTSTREAM_EXAMPLES", "200")) // 20
CRASHES = [*Boundary, *CommitFate]
HEAD_OFFICE = {"id": "ann", "role": "head_office"}
CLERK = {"id": "anna", "role": "store", "store_id": "s1"}
OPEN = "raised"

Body = dict[str, Any]


def in_partition(number: int, nth: int) -> str:
    names = (f"p{number}-{each}" for each in range(200))
    found = [name for name in names if partition_of(name.encode(), PARTITIONS) == number]
    return found[nth]


MEMBERS = [in_partition(number, nth) for number in range(PARTITIONS) for nth in range(3)]


def detectors(dice: Random) -> list[Body]:
    """Some detectors, each of which does something or other."""
    velocity = {"kind": "velocity", "within": "PT1H"}
    orders = {**velocity, "types": ["order.paid"]}
    every: list[Body] = [
        {"id": "farm", "kind": "distinct", "entity": "device", "of": "member", "within": "P1D"},
        {"id": "net", "kind": "distinct", "entity": "ip24", "of": "member", "within": "PT1H"},
        {"id": "sum", **orders, "entity": "device", "measure": "points", "limit": 60},
        {"id": "fast", **velocity, "types": ["checkin.recorded", "points.redeem"], "limit": 2},
        {"id": "shop", **orders, "entity": "store", "measure": "money", "limit": 9_000},
        {"id": "clerk", **velocity, "entity": "staff", "types": ["points.adjust"], "limit": 2},
        {"id": "ring", "kind": "referral_cycle"},
        {"id": "self", "kind": "shared_device"},
        {"id": "loop", "kind": "refund_loop", "limit": 1, "within": "P2D"},
        {"id": "move", "kind": "takeover", "within": "P1D", "share_percent": 30},
        {"id": "large", "kind": "large_spend", "points": 45},
    ]
    chosen = []
    for each in dice.sample(every, dice.randint(4, len(every))):
        if each["kind"] == "distinct":
            each = {**each, "limit": 2}
        waits = each["kind"] in ("takeover", "large_spend")
        actions = ["flag", "hold"] if waits else ["flag", "hold", "hold", "block"]
        chosen.append({**each, "action": dice.choice(actions)})
    return chosen


def detector_set(dice: Random, version: int, id_: str = "base") -> Body:
    window = dice.choice(["PT0S", "PT1M", "PT2H"])
    found = [{**each, "id": f"{each['id']}-{id_}"} for each in detectors(dice)]
    limit = dice.choice(["PT0S", "PT0S", "PT2H"])
    waits = {"pending_window": window, "release_after": limit}
    return {"id": id_, "version": version, "detectors": found, **waits}


def programme(dice: Random) -> CompiledProgramme:
    rules = [
        {"kind": "spend", "id": "spend", "points": 1, "per_minor": 100},
        {"kind": "check_in", "id": "check-in", "points": 5, "every_time": True},
        {"kind": "referral", "id": "ref", "points": 20, "when": "registered"},
    ]
    if dice.random() < 0.4:
        rules[0]["budget"] = "b"
    activation = dice.choice([{}, {}, {"after": "PT30M"}])
    expiry = dice.choice([{}, {"kind": "rolling", "days": 2}])
    return compile_programme(
        Programme.model_validate(
            {
                "id": "random",
                "refund_policy": dice.choice(["only_pending", "within_balance", "debt"]),
                "wallets": [{"id": "points", "activation": activation, "expiry": expiry}],
                "transfers": {"fee": {"points": 1}},
                "budgets": [{"id": "b", "points": 700}],
                "rule_sets": [{"id": "all", "version": 1, "rules": rules}],
                "fraud": {"detector_sets": [detector_set(dice, 1)]},
            }
        )
    )


class Story:
    """One story, told by dice."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.programme = programme(self.dice)
        self.driver = EngineTestDriver(
            lambda _: PointsProcessor(Ledger(self.programme), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            batch_records=self.dice.choice([1, 5, 1_000]),
        )
        self.driver.tick(NOW_MS)
        self.given: list[Body] = []
        self.orders: list[tuple[str, str]] = []
        self.holds: list[tuple[str, str]] = []
        self.versions = Counter({"base": 1})
        self.merges = 0
        for member in MEMBERS:
            self.order(member)

    def close(self) -> None:
        self.driver.close()

    # --- what happens -----------------------------------------------------------------------

    def give(self, kind: str, member: str, **fields: Any) -> None:
        self.driver.broker.now_ms += 1
        body = {
            "event_id": f"e{len(self.given)}",
            "type": kind,
            "member_id": member,
            "occurred_at": rfc3339(self.driver.broker.now_ms - fields.pop("late_ms", 0)),
            **fields,
        }
        self.given.append(body)
        self.send(body)

    def send(self, body: Body) -> None:
        topic = f"points.{topic_of_type(body['type'])}"
        self.driver.send(topic, body["member_id"].encode(), orjson.dumps(body))

    def where(self) -> Body:
        """What an event says of where it was."""
        dice, place = self.dice, {}
        if dice.random() < 0.6:
            place["device_id"] = f"D{dice.randint(0, 3)}"
        if dice.random() < 0.3:
            place["ip"] = f"203.0.113.{dice.randint(0, 9)}"
        if dice.random() < 0.3:
            place["store_id"] = "s1"
        if dice.random() < 0.1:
            place["late_ms"] = dice.randint(1, 90) * MINUTE_MS
        return place

    def order(self, member: str) -> None:
        order_id = f"o{len(self.given)}"
        self.orders.append((member, order_id))
        paid = {"currency": "CNY", "paid_minor": 100 * self.dice.randint(1, 50)}
        self.give("order.paid", member, order_id=order_id, **paid, **self.where())

    def refund(self, _: str) -> None:
        member, order_id = self.dice.choice(self.orders)
        if self.dice.random() < 0.3:
            self.give("order.cancelled", member, order_id=order_id)
            return
        refund = {"refund_id": f"r{len(self.given)}", "refunded_minor": self.dice.randint(1, 4_000)}
        self.give("order.refunded", member, order_id=order_id, **refund)

    def check_in(self, member: str) -> None:
        for _ in range(self.dice.choice([1, 1, 4])):
            self.give("checkin.recorded", member, **self.where())

    def refer(self, member: str) -> None:
        referee = self.dice.choice(MEMBERS)
        if referee != member:
            self.give("referral.registered", member, referee_id=referee, **self.where())

    def redeem(self, member: str) -> None:
        self._spend("points.redeem", member)

    def transfer(self, member: str) -> None:
        self._spend("points.transfer", member, to_member_id=self.dice.choice(MEMBERS))

    def hold(self, member: str) -> None:
        hold_id = f"h{len(self.given)}"
        self.holds.append((member, hold_id))
        self._spend("points.hold", member, hold_id=hold_id)

    def _spend(self, kind: str, member: str, **fields: Any) -> None:
        place = self.where()
        place.pop("late_ms", None)
        actor = {"id": member, "role": "member"}
        points = self.dice.randint(1, 60)
        self.give(kind, member, points=points, actor=actor, **fields, **place)

    def end_hold(self, _: str) -> None:
        if self.holds:
            member, hold_id = self.dice.choice(self.holds)
            kind = self.dice.choice(["points.capture", "points.void"])
            self.give(kind, member, hold_id=hold_id, actor=HEAD_OFFICE)

    def adjust(self, member: str) -> None:
        points = self.dice.choice([self.dice.randint(1, 60), -self.dice.randint(1, 20)])
        self.give(
            "points.adjust", member, points=points, reason="asked", actor=CLERK, store_id="s1"
        )

    def merge(self, member: str) -> None:
        into = self.dice.choice(MEMBERS)
        if into != member and self.merges < 4:
            self.merges += 1
            self.give("account.merge", member, into_member_id=into, **self.asked())

    def erase(self, member: str) -> None:
        if self.dice.random() < 0.3:
            self.give("account.erase", member, **self.asked())

    def freeze(self, member: str) -> None:
        kind = self.dice.choice(["account.freeze", "account.unfreeze", "account.unfreeze"])
        self.give(kind, member, **self.asked())

    def asked(self) -> Body:
        return {"actor": HEAD_OFFICE, "reason": "asked"}

    def again(self, _: str) -> None:
        self.send(self.dice.choice(self.given))

    def publish(self, _: str) -> None:
        id_ = self.dice.choice(["base", "more"])
        self.driver.broker.now_ms += 1
        value = None
        if self.dice.random() < 0.7:
            self.versions[id_] += 1
            at_ms = self.driver.broker.now_ms
            body: Body = {
                "event_id": f"{id_}-{self.versions[id_]}",
                "type": "detectors.published",
                "occurred_at": rfc3339(at_ms),
                "detector_set_id": id_,
                "detector_set": detector_set(self.dice, self.versions[id_], id_),
            }
            if self.dice.random() < 0.3:
                body["detector_set"]["effective_from"] = rfc3339(at_ms + 5 * MINUTE_MS)
            value = orjson.dumps(body)
        self.driver.send("points.detectors", id_.encode(), value)

    def review(self, member: str) -> None:
        """Of any flag, by way of one of its members or of somebody else."""
        flags = list(self.flags().values())
        if not flags:
            return
        flag = self.dice.choice(flags[-6:])
        if self.dice.random() < 0.9 and flag["member_ids"]:
            member = self.dice.choice(flag["member_ids"])
        self.decide(flag["flag_id"], member)

    def decide(self, flag_id: str, member: str, how: str = "") -> None:
        how = how or self.dice.choice(["release", "reject"])
        self.give(f"review.{how}", member, flag_id=flag_id, **self.asked())

    def crash(self, _: str) -> None:
        self.driver.crash_at(self.dice.choice(CRASHES), after=self.dice.randint(0, 4))

    def work(self, _: str) -> None:
        self.driver.run(batches=self.dice.randint(1, 6))

    def wait(self, _: str) -> None:
        some = (SECOND_MS, MINUTE_MS, MINUTE_MS, 20 * MINUTE_MS, 5 * 60 * MINUTE_MS)
        self.driver.tick(self.driver.broker.now_ms + self.dice.choice(some))

    def tell(self) -> None:
        """All of it, until everything that was sent is taken."""
        weights = {
            self.order: 20,
            self.check_in: 12,
            self.refer: 10,
            self.refund: 8,
            self.redeem: 8,
            self.transfer: 10,
            self.hold: 3,
            self.end_hold: 3,
            self.adjust: 8,
            self.merge: 2,
            self.erase: 1,
            self.freeze: 2,
            self.again: 6,
            self.publish: 4,
            self.review: 14,
            self.crash: 8,
            self.work: 25,
            self.wait: 8,
        }
        steps = self.dice.choices(list(weights), list(weights.values()), k=STEPS)
        for step in steps:
            step(self.dice.choice(MEMBERS))
        self.settle()

    def settle(self) -> None:
        """Until all is taken, and by an owner who is alive: one that died behind its last commit
        has not written it down."""
        while not self.driver.run() or self.driver.lag():
            pass

    def end(self) -> None:
        """Decide on all that is open, unfreeze everybody, and let time go by."""
        for _ in range(20):
            left = [flag for flag in self.flags().values() if flag["state"] == OPEN]
            if not left:
                break
            for flag in left:
                for member in flag["member_ids"]:
                    # One of them may be gone; the others must do.
                    self.decide(flag["flag_id"], member)
            self.settle()
        for member in MEMBERS:
            self.give("account.unfreeze", member, **self.asked())
        self.settle()
        for hours in (1, 12, 30):
            self.driver.tick(self.driver.broker.now_ms + hours * 60 * MINUTE_MS)
            self.settle()

    # --- what came of it --------------------------------------------------------------------

    def out(self, suffix: str) -> list[Body]:
        return [
            orjson.loads(record.value)
            for record in self.driver.outputs(f"points.{suffix}")
            if record.value is not None
        ]

    def flags(self) -> dict[str, Body]:
        """The latest record of each flag."""
        return {flag["flag_id"]: flag for flag in self.out("fraud-flags")}


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Any:
    made = Story(request.param)
    made.tell()
    yield made
    made.close()


def books_are_right(story: Story) -> None:
    """What was committed adds up, over all partitions, and is what the state holds."""
    transit, merges = Transit(), Merges()
    for partition in range(PARTITIONS):
        entries, state, transfers = EntryBooks(), StateBooks(), PartitionTransfers()
        place = Target("points.balance-changes", partition)
        for record in story.driver.broker.records(place):
            for books in (entries, transfers):
                books.add(orjson.loads(record.value or b""))
        for key, value in story.driver.state(partition).items():
            for tables in (state, transfers):
                tables.put(key, value)
        told = []
        for suffix in ("crm-sync", "mall-sync"):
            records = story.driver.broker.records(Target(f"points.{suffix}", partition))
            last = {(r.key or b"").decode(): r.value for r in records}
            told.append({member: orjson.loads(value) for member, value in last.items() if value})
        assert compare(entries, state, *told) == []
        assert transfers.breaches(state.accounts) == []
        transit.add(transfers)
        merges.add(entries.merges, state.accounts)
    assert [*transit.breaches(), *merges.breaches()] == []


def each_flag_ends_once(story: Story) -> None:
    states = defaultdict(list)
    for flag in story.out("fraud-flags"):
        states[flag["flag_id"]].append(flag["state"])
    for flag_id, told in states.items():
        ends = [state for state in told if state != OPEN]
        assert told[0] == OPEN, flag_id
        assert len(ends) == 1, (flag_id, told)
        assert told[-1] == ends[0], (flag_id, told)


def no_more_is_reversed_than_was_given(story: Story) -> None:
    """By all refunds and rejections together, of each member's own and of what descended."""
    given = taken = 0
    by_review: Counter[tuple[str, str]] = Counter()
    for entry in story.out("balance-changes"):
        if entry["type"] in ("points.earned", "points.pending") or (
            entry["type"] == "points.adjusted" and entry["delta"] >= 0
        ):
            given += entry["amount"]
        elif entry["type"] == "points.reversed":
            taken += entry["amount"] + entry["written_off"]
            # What comes back from a refused transfer is taken then, in the transfer's name.
            if entry.get("flag_id") and entry["cause_type"] == "review.reject":
                by_review[entry["flag_id"], entry["cause_event_id"]] += 1
    assert taken <= given
    # A flag is rejected by one command.
    rejected = Counter(flag_id for flag_id, _ in by_review)
    assert all(count == 1 for count in rejected.values())


def nothing_is_left_behind(story: Story) -> None:
    """No point is pending or held, no share and no open flag is in any state."""
    for partition in range(PARTITIONS):
        kept = story.driver.state(partition)
        assert [key for key in kept if key[:1] in b"bfvuq"] == []
        state = StateBooks()
        for key, value in kept.items():
            state.put(key, value)
        for account in state.accounts.values():
            for totals in account.wallets.values():
                assert (totals.pending, totals.held) == (0, 0), account.member_id
            assert not account.flags


def a_replay_writes_the_same(story: Story) -> None:
    """Every entry, answer, flag and dead letter, partition by partition; and the same state."""
    others = [f"points.{suffix}" for suffix in ("fraud-flags", "command-results", "dead-letters")]
    made_of: Counter[Any] = Counter()
    for partition in range(PARTITIONS):
        batch = story.dice.choice([1, 7, 1_000])
        records = inputs_of(story.driver, partition)
        made = replay(records, partition, PARTITIONS, batch, story.programme)
        assert made.state == story.driver.state(partition)
        target = Target("points.balance-changes", partition)
        assert made.sent.get(target, []) == told(story, target)
        for target, rows in made.sent.items():
            made_of.update((target.topic, row) for row in rows if target.topic in others)
    # The owner of a device, and that of a survivor, write into partitions of other owners, too.
    targets = [Target(topic, partition) for topic in others for partition in range(PARTITIONS)]
    assert made_of == Counter((each.topic, row) for each in targets for row in told(story, each))


def told(story: Story, target: Target) -> list[tuple[Any, ...]]:
    return [(r.key, r.value, r.headers) for r in story.driver.broker.records(target)]


@pytest.mark.case(35)
@pytest.mark.case(36)
@pytest.mark.case(39)
@pytest.mark.parametrize("story", range(STORIES), indirect=True)
def test_flags_at_random(story: Story) -> None:
    """While it happens and when the last flag has ended."""
    books_are_right(story)
    story.end()
    books_are_right(story)
    each_flag_ends_once(story)
    no_more_is_reversed_than_was_given(story)
    nothing_is_left_behind(story)
    a_replay_writes_the_same(story)
