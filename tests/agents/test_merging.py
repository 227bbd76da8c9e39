"""Merging and erasing through the whole job: over partitions, with crashes, at every stage.

What is proven at every single commit: the points of all members and those under way are as many as
ever, and all books agree.
"""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from pointstream.engine.driver import CommitFate, EngineTestDriver, MemoryBroker
from pointstream.engine.log import Transaction
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger.codec import decode_list
from pointstream.ledger.messages import decode_message
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges
from pointstream.operations.placement import partition_of
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme

NOW_MS = 1_767_225_600_000
DAY_MS = 86_400_000
PARTITIONS = 3
MESSAGES = "points.internal.messages"
CHANGES = "points.balance-changes"

#: Three members in each partition.
MEMBERS: list[list[str]] = [
    [f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition][:3]
    for partition in range(PARTITIONS)
]
OLD, NEW, THIRD = (MEMBERS[partition][0] for partition in range(PARTITIONS))
NEIGHBOUR = MEMBERS[0][1]

Input = tuple[str, str, bytes]


@dataclass
class Watched(MemoryBroker):
    """A broker that has the books checked after every commit."""

    points: int | None = None
    """All that there is, once it is known."""
    most_under_way: int = 0

    def _apply(self, partition: int, transaction: Transaction, changelog: Target) -> int:
        position = super()._apply(partition, transaction, changelog)
        if self.points is not None:
            under_way = points_in_messages(self)
            self.most_under_way = max(self.most_under_way, under_way)
            assert points_of_members(self) + under_way == self.points
        return position


def points_of_members(broker: MemoryBroker) -> int:
    """Add up all accounts, after holding every book against the others."""
    points, merges = 0, Merges()
    for partition in range(PARTITIONS):
        entries, state = EntryBooks(), StateBooks()
        for record in broker.records(Target("changelog", partition)):
            state.put(record.key or b"", record.value)
        for record in broker.records(Target(CHANGES, partition)):
            entries.add(orjson.loads(record.value or b""))
        standings: list[dict[str, Any]] = []
        for topic in ("crm-sync", "mall-sync"):
            latest: dict[str, Any] = {}
            for record in broker.records(Target(f"points.{topic}", partition)):
                latest.pop((record.key or b"").decode(), None)
                if record.value is not None:
                    latest[(record.key or b"").decode()] = orjson.loads(record.value)
            standings.append(latest)
        assert compare(entries, state, *standings) == []
        merges.add(entries.merges, state.accounts)
        for account in state.accounts.values():
            for totals in account.wallets.values():
                points += totals.available + totals.pending + totals.held - totals.debt
    assert merges.breaches() == []
    assert merges.under_way == points_in_messages(broker)
    return points


def points_in_messages(broker: MemoryBroker) -> int:
    """The points, less debts, of which messages tell that nobody has taken yet."""
    points = 0
    for partition in range(PARTITIONS):
        target = Target(MESSAGES, partition)
        for record in broker.records(target):
            if record.offset < broker.group.get(target, 0):
                continue
            message = decode_message(record.value)
            if message.type == "merge.moved":
                for kind, _, value in message.body["keys"]:
                    if kind in "lqh":
                        points += decode_list(b64decode(value))[0]
                points -= sum(message.body.get("account", {}).get("debts", {}).values())
    return points


# --- what is published ----------------------------------------------------------------------------


def event(kind: str, event_id: str, member: str, at: str = "23:30", **fields: Any) -> Input:
    body = {
        "event_id": event_id,
        "type": kind,
        "member_id": member,
        "occurred_at": f"2025-12-31T{at}:00Z",
        **fields,
    }
    topics = {"order": "orders", "points": "commands", "account": "commands"}
    return f"points.{topics[kind.split('.')[0]]}", member, orjson.dumps(body)


def order(member: str, order_id: str, points: int) -> Input:
    fields: dict[str, Any] = {"currency": "CNY", "paid_minor": points * 100}
    return event("order.paid", f"e-{order_id}", member, "23:00", order_id=order_id, **fields)


def refund(member: str, order_id: str, points: int) -> Input:
    fields = {"refund_id": f"r-{order_id}", "refunded_minor": points * 100}
    return event("order.refunded", f"r-{order_id}", member, order_id=order_id, **fields)


def command(kind: str, event_id: str, member: str, **fields: Any) -> Input:
    fields.setdefault("actor", {"id": "clerk", "role": "head_office"})
    if kind.startswith("account."):
        fields.setdefault("reason", "asked")
    return event(kind, event_id, member, **fields)


def merge(event_id: str, old: str, survivor: str) -> Input:
    return command("account.merge", event_id, old, into_member_id=survivor)


def publish(driver: EngineTestDriver, inputs: Sequence[Input]) -> None:
    for topic, key, value in inputs:
        driver.send(topic, key.encode(), value)


def run_to_the_end(driver: EngineTestDriver, *, lose_state: bool = False) -> int:
    """Run until nothing is left, after every crash anew; return how many crashes there were."""
    crashes = 0
    while True:
        if not driver.run():
            crashes += 1
            if lose_state:
                driver.lose_state()
        elif quiet(driver):
            return crashes


def quiet(driver: EngineTestDriver) -> bool:
    """Whether no task has anything left to take."""
    return not any(
        record.offset >= driver.broker.group.get(target, 0)
        for target, log in driver.broker.topics.items()
        if target.topic in (MESSAGES, "points.orders", "points.commands", "points.internal.ticks")
        for record in log
        if record is not None
    )


# --- what came out --------------------------------------------------------------------------------


def bodies(driver: EngineTestDriver, topic: str) -> Iterator[dict[str, Any]]:
    for record in driver.outputs(topic):
        if record.value is not None:
            yield orjson.loads(record.value)


def answers(driver: EngineTestDriver) -> dict[str, list[str]]:
    """Every answer by its command: `accepted`, or the reason why not."""
    told: dict[str, list[str]] = defaultdict(list)
    for answer in bodies(driver, "points.command-results"):
        told[answer["command_id"]].append(answer.get("reason") or answer["outcome"])
    return dict(told)


def told(driver: EngineTestDriver) -> dict[str, list[dict[str, Any]]]:
    """Each member's entries; where a message stands in its topic depends on who came first."""
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in bodies(driver, CHANGES):
        if entry["cause_topic"] == MESSAGES:
            entry["cause_offset"] = None
        entries[entry["member_id"]].append(entry)
    return dict(entries)


def balance(driver: EngineTestDriver, member: str) -> dict[str, Any]:
    """The latest standing of a member."""
    return [s for s in bodies(driver, "points.crm-sync") if s["member_id"] == member][-1]


#: The programme that comes along, without detectors: here a member may buy as often as it likes.
UNWATCHED = compile_programme(load_programme().model_copy(update={"fraud": None}))


def club(new_driver: Any, inputs: Sequence[Input], batch_records: int = 1000) -> EngineTestDriver:
    """Members with what these inputs give them, and a broker that is watched from then on."""
    broker = Watched()
    driver: EngineTestDriver = new_driver(
        partitions=PARTITIONS, broker=broker, batch_records=batch_records, other=UNWATCHED
    )
    driver.tick(NOW_MS)
    publish(driver, inputs)
    run_to_the_end(driver)
    broker.points = points_of_members(broker)
    return driver


def watched(driver: EngineTestDriver) -> Watched:
    assert isinstance(driver.broker, Watched)
    return driver.broker


FOUNDATION = [
    order(OLD, "o1", 100),
    order(OLD, "o2", 40),
    command("points.hold", "h1", OLD, hold_id="h1", points=30),
    refund(OLD, "o9", 5),
    order(NEW, "n1", 60),
    order(THIRD, "t1", 7),
    order(NEIGHBOUR, "n2", 3),
]


@pytest.mark.case(32)
@pytest.mark.parametrize("batch_records", [1, 7, 1000])
@pytest.mark.parametrize("survivor", [NEW, NEIGHBOUR])
def test_a_merge_over_partitions(new_driver: Any, survivor: str, batch_records: int) -> None:
    """Into another partition or the own one: everything is there, and later events follow."""
    driver = club(new_driver, FOUNDATION, batch_records)
    had = balance(driver, survivor)["available"]
    publish(driver, [merge("c1", OLD, survivor)])
    run_to_the_end(driver)
    watched(driver).points = None
    publish(
        driver,
        [
            command("points.capture", "k1", OLD, hold_id="h1"),
            refund(OLD, "o2", 40),
            order(OLD, "o9", 10),
            order(OLD, "o1", 100),
            merge("c1", OLD, survivor),
        ],
    )
    run_to_the_end(driver)

    assert answers(driver)["c1"] == ["accepted", "accepted"]
    assert answers(driver)["k1"] == ["accepted"]
    standing = balance(driver, survivor)
    assert (standing["available"], standing["held"]) == (had + 140 - 30 - 40 + 10 - 5, 0)
    assert (balance(driver, OLD)["status"], balance(driver, OLD)["available"]) == ("merged", 0)
    assert watched(driver).most_under_way == 140
    points_of_members(driver.broker)


@pytest.mark.case(32)
@pytest.mark.parametrize("lose_state", [False, True])
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_a_crash_between_any_two_steps_of_a_merge_changes_nothing(
    new_driver: Any, place: Boundary | CommitFate, lose_state: bool
) -> None:
    """Wherever the process dies, as often as it passes there: the same entries and answers."""
    inputs = [merge("c1", OLD, NEW), merge("c1", OLD, NEW)]
    calm = club(new_driver, FOUNDATION, batch_records=1)
    publish(calm, inputs)
    run_to_the_end(calm)
    expected, passed = told(calm), 0
    while True:
        driver = club(new_driver, FOUNDATION, batch_records=1)
        publish(driver, inputs)
        driver.crash()
        driver.crash_at(place, after=passed)

        crashes = run_to_the_end(driver, lose_state=lose_state)

        assert told(driver) == expected
        assert answers(driver)["c1"] == ["accepted"]
        if not crashes:
            break
        passed += 1
    assert passed >= PARTITIONS


@pytest.mark.parametrize("batch_records", [1, 7, 1000])
@pytest.mark.parametrize(
    "commands",
    [
        [merge("c1", OLD, NEW), merge("c2", NEW, OLD)],
        [merge("c1", OLD, NEW), merge("c2", NEW, THIRD)],
        [merge("c1", OLD, NEW), merge("c2", NEW, THIRD), merge("c3", THIRD, OLD)],
        [merge("c1", OLD, NEIGHBOUR), merge("c2", NEIGHBOUR, OLD)],
        [merge("c1", OLD, NEW), merge("c2", THIRD, NEW)],
    ],
)
def test_merges_that_meet_neither_lose_nor_double_points(
    new_driver: Any, commands: list[Input], batch_records: int
) -> None:
    """Into each other, in a chain, in a circle: each is done or refused, and the sum stays."""
    driver = club(new_driver, FOUNDATION, batch_records)
    publish(driver, commands)
    run_to_the_end(driver)
    first = answers(driver)
    assert all(len(first[f"c{n}"]) == 1 for n in range(1, len(commands) + 1))
    assert {reason for reasons in first.values() for reason in reasons} <= {
        "accepted",
        "account_merging",
        "account_merged",
        "merge_into_self",
    }
    # What was refused because of another merge can be given again, and the end is one account.
    for number in (7, 8, 9):
        publish(driver, [merge(f"c{number}", OLD, NEW), merge(f"d{number}", NEW, THIRD)])
        run_to_the_end(driver)
    assert points_of_members(driver.broker) == watched(driver).points
    accounts = [balance(driver, member) for member in (OLD, NEW, THIRD)]
    assert len([a for a in accounts if a["status"] == "active"]) == 1


@pytest.mark.parametrize("stage", range(12))
def test_events_for_the_old_id_arrive_at_every_stage(new_driver: Any, stage: int) -> None:
    """Before it asks, while it asks, while it moves, after: each counts once."""
    driver = club(new_driver, FOUNDATION, batch_records=1)
    publish(driver, [merge("c1", OLD, NEW)])
    for _ in range(stage):
        driver.run(batches=1)
    watched(driver).points = None
    late = [
        order(OLD, "o3", 11),
        order(OLD, "o1", 100),
        refund(OLD, "o1", 50),
        order(OLD, "o9", 10),
        command("points.redeem", "k1", OLD, points=20, actor={"id": OLD, "role": "member"}),
        order(NEW, "n3", 1),
    ]
    publish(driver, late)
    run_to_the_end(driver)
    publish(driver, late)
    run_to_the_end(driver)

    points_of_members(driver.broker)
    assert answers(driver)["c1"] == ["accepted"]
    assert answers(driver)["k1"] == ["accepted", "accepted"]
    standing = balance(driver, NEW)
    assert standing["available"] + standing["held"] == 60 + 140 + 11 - 50 + 10 - 5 - 20 + 1
    assert standing["held"] == 30
    assert not driver.outputs("points.dead-letters")


def test_a_transfer_to_a_member_who_is_merged_meanwhile_reaches_the_survivor(
    new_driver: Any,
) -> None:
    """The points are passed on; the sender, if it is the survivor itself, has them back."""
    for batch_records in (1, 7):
        driver = club(new_driver, FOUNDATION, batch_records)
        watched(driver).points = None
        publish(driver, [merge("c1", OLD, NEW)])
        publish(
            driver,
            [
                command("points.transfer", "x1", THIRD, to_member_id=OLD, points=5),
                command("points.transfer", "x2", NEW, to_member_id=OLD, points=10),
            ],
        )
        run_to_the_end(driver)
        publish(driver, [command("points.transfer", "x3", THIRD, to_member_id=OLD, points=2)])
        run_to_the_end(driver)
        assert {answers(driver)[name][0] for name in ("c1", "x1", "x2", "x3")} == {"accepted"}
        standing = balance(driver, NEW)
        assert standing["available"] + standing["held"] == 60 + 140 + 7
        points_of_members(driver.broker)


@pytest.mark.parametrize("batch_records", [7, 1000])
def test_thousands_of_orders_move_in_many_messages_with_a_crash_between(
    new_driver: Any, batch_records: int
) -> None:
    """Nothing is lost on the way, and each order can still be refunded once."""
    orders = [order(OLD, f"o{number}", 2) for number in range(3_000)]
    driver = club(new_driver, [*orders, order(NEW, "n1", 1)], batch_records)
    # With the bonus of whatever tier so many points reach.
    had = sum(balance(driver, member)["available"] for member in (OLD, NEW))
    assert had >= 6_001
    watched(driver).points = None  # checking all books at each of these commits takes minutes
    publish(driver, [merge("c1", OLD, NEW)])
    driver.crash_at(CommitFate.DECIDED, after=4)
    run_to_the_end(driver, lose_state=True)
    moved = [
        record for record in driver.outputs(MESSAGES) if b'"merge.moved"' in (record.value or b"")
    ]
    assert len(moved) >= 20
    assert balance(driver, NEW)["available"] == had
    publish(driver, [refund(OLD, f"o{number}", 2) for number in (0, 1_500, 2_999)])
    run_to_the_end(driver)
    assert balance(driver, NEW)["available"] == had - 6
    points_of_members(driver.broker)


# --- erasing --------------------------------------------------------------------------------------


def traces(driver: EngineTestDriver, member: str) -> list[bytes]:
    """Where an id still stands, in all states and in the latest records of compacted topics."""
    id_ = member.encode()
    found = [
        key
        for partition in range(PARTITIONS)
        for key, value in driver.state(partition).items()
        if id_ in key or id_ in value
    ]
    for topic in ("changelog", "points.crm-sync", "points.mall-sync"):
        latest = {(r.partition, r.key): r.value for r in driver.outputs(topic)}
        found += [
            key or b""
            for (_, key), value in latest.items()
            if value is not None and (id_ in (key or b"") or id_ in value)
        ]
    return found


@pytest.mark.case(33)
@pytest.mark.parametrize("batch_records", [1, 1000])
def test_no_compacted_topic_and_no_state_holds_an_erased_id(
    new_driver: Any, batch_records: int
) -> None:
    """Nor that of a member who was merged into it; the programme's sums are right, all the same."""
    driver = club(new_driver, FOUNDATION, batch_records)
    watched(driver).points = None
    publish(driver, [merge("c1", OLD, NEW)])
    run_to_the_end(driver)
    assert traces(driver, OLD)
    publish(driver, [command("account.erase", "c2", NEW)])
    run_to_the_end(driver)
    driver.lose_state()
    publish(driver, [order(OLD, "late", 5), order(NEW, "late", 5), order(THIRD, "late", 5)])
    publish(driver, [command("account.erase", "c2", NEW)])
    run_to_the_end(driver)

    assert not traces(driver, OLD)
    assert not traces(driver, NEW)
    assert answers(driver)["c2"] == ["accepted", "accepted"]
    letters = driver.outputs("points.dead-letters")
    # The two late orders, and the refund that had waited for its order until then.
    assert sorted((letter.key or b"").decode() for letter in letters) == sorted([OLD, OLD, NEW])
    codes = {dict(letter.headers)["points.error.code"] for letter in letters}
    assert codes == {b"account_erased"}
    points_of_members(driver.broker)
    driver.tick(NOW_MS + 500 * DAY_MS)
    run_to_the_end(driver)
    assert not traces(driver, NEW)


@pytest.mark.case(33)
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_a_crash_while_erasing_changes_nothing(
    new_driver: Any, place: Boundary | CommitFate
) -> None:
    """The member and the one merged into it are gone, wherever the process dies."""
    passed = 0
    while True:
        driver = club(new_driver, FOUNDATION, batch_records=1)
        watched(driver).points = None
        publish(driver, [merge("c1", OLD, NEW)])
        run_to_the_end(driver)
        publish(driver, [command("account.erase", "c2", NEW), order(NEW, "late", 5)])
        driver.crash()
        driver.crash_at(place, after=passed)
        crashes = run_to_the_end(driver, lose_state=bool(passed % 2))
        assert answers(driver)["c2"] == ["accepted"]
        assert not traces(driver, OLD)
        assert not traces(driver, NEW)
        points_of_members(driver.broker)
        if not crashes:
            break
        passed += 1
    assert passed >= PARTITIONS


@pytest.mark.parametrize("forwarded", [False, True])
def test_refunds_with_one_offset_in_two_partitions_wait_side_by_side(
    new_driver: Any, forwarded: bool
) -> None:
    """They wait for the same order with the survivor, whether moved or passed on: neither goes."""
    known = [command("points.adjust", f"a-{id_}", id_, points=1) for id_ in (OLD, NEW)]
    known = [(topic, key, value.replace(b"{", b'{"reason":"x",', 1)) for topic, key, value in known]
    driver = club(new_driver, known)
    watched(driver).points = None
    parked = [
        event(
            "order.refunded",
            f"r-{id_}",
            id_,
            order_id="o9",
            refund_id=f"r-{id_}",
            refunded_minor=100 * points,
        )
        for id_, points in ((OLD, 5), (NEW, 7))
    ]
    steps = [[merge("c1", OLD, NEW)], parked] if forwarded else [parked, [merge("c1", OLD, NEW)]]
    for inputs in [*steps, [order(NEW, "o9", 100)]]:
        publish(driver, inputs)
        run_to_the_end(driver)
    waited = [
        record
        for record in driver.outputs("points.balance-changes")
        if b"points.reversed" in (record.value or b"")
    ]
    assert len(waited) == 2
    assert balance(driver, NEW)["available"] == 2 + 100 - 5 - 7
    points_of_members(driver.broker)
