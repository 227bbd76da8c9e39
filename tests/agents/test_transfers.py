"""Points that members send to each other, through the whole job: over partitions, and crashes.

What is proven at every single commit: all members' points and those under way are as many as ever.
What is under way is counted three times: by the entries, by the state, and by the messages.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.engine import Record
from pointstream.engine.driver import CommitFate, EngineTestDriver, MemoryBroker
from pointstream.engine.log import Transaction
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger.messages import decode_message
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.merges import Merges
from pointstream.operations.placement import partition_of
from pointstream.operations.transit import PartitionTransfers, Transit

NOW_MS = 1_767_225_600_000
PARTITIONS = 4
MESSAGES = "points.internal.messages"
CHANGES = "points.balance-changes"

#: Two members in each partition: m[p][0] and m[p][1] live in partition p.
MEMBERS: list[list[str]] = [
    [f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition][:2]
    for partition in range(PARTITIONS)
]
EVERYBODY = [member for pair in MEMBERS for member in pair]


@dataclass
class Watched(MemoryBroker):
    """A broker that has the books checked after every commit."""

    points: int | None = None
    """All that there is, once it is known."""
    commits: int = 0
    under_way: list[int] = field(default_factory=list)

    def _apply(self, partition: int, transaction: Transaction, changelog: Target) -> int:
        position = super()._apply(partition, transaction, changelog)
        self.commits += 1
        if self.points is not None:
            books = read_books(self)
            self.under_way.append(books.under_way)
            assert books.points + books.under_way == self.points
        return position


@dataclass
class Books:
    """What is committed, over all partitions."""

    points: int
    """Of all members."""
    under_way: int
    balances: dict[str, int]


def read_books(broker: MemoryBroker) -> Books:
    """Add up what is committed; everything that is told twice must agree."""
    transit, merges, points, waiting = Transit(), Merges(), 0, 0
    held: Counter[str] = Counter()
    balances: dict[str, int] = {}
    for partition in range(PARTITIONS):
        entries, state, transfers = EntryBooks(), StateBooks(), PartitionTransfers()
        for record in broker.records(Target("changelog", partition)):
            assert record.key is not None
            state.put(record.key, record.value)
            transfers.put(record.key, record.value)
        for record in broker.records(Target(CHANGES, partition)):
            entry = orjson.loads(record.value or b"")
            entries.add(entry)
            transfers.add(entry)
        assert transfers.breaches(state.accounts) == []
        standings = {
            topic: {
                (record.key or b"").decode(): orjson.loads(record.value or b"")
                for record in broker.records(Target(f"points.{topic}", partition))
            }
            for topic in ("crm-sync", "mall-sync")
        }
        assert compare(entries, state, standings["crm-sync"], standings["mall-sync"]) == []
        transit.add(transfers)
        merges.add(entries.merges, state.accounts)
        for account in state.accounts.values():
            for totals in account.wallets.values():
                points += totals.available + totals.pending + totals.held - totals.debt
                held["flows"] += totals.transferred_out - totals.transferred_in
            balances[account.member_id] = account.wallets["points"].available
        waiting += points_in_messages(broker, partition)
    assert transit.breaches() == []
    assert merges.breaches() == []
    assert sum(transit.under_way.values()) == waiting
    under_way = waiting + merges.under_way
    assert under_way == held["flows"]
    return Books(points, under_way, balances)


def points_in_messages(broker: MemoryBroker, partition: int) -> int:
    """The points of which messages tell that nobody has taken yet."""
    target = Target(MESSAGES, partition)
    points = 0
    for record in broker.records(target):
        message = decode_message(record.value)
        waits = record.offset >= broker.group.get(target, 0)
        if waits and message.type == "transfer.sent":
            points += message.body["points"]
        elif waits and message.type == "transfer.settled" and message.body["reason"] is not None:
            points += sent_with(broker, message.body["transfer_id"])
    return points


def sent_with(broker: MemoryBroker, transfer_id: str) -> int:
    """The points of one transfer."""
    for partition in range(PARTITIONS):
        for record in broker.records(Target(MESSAGES, partition)):
            message = decode_message(record.value)
            if message.type == "transfer.sent" and message.body["transfer_id"] == transfer_id:
                return int(message.body["points"])
    raise AssertionError(f"transfer {transfer_id} was never sent")


def order(member: str, points: int) -> tuple[str, str, bytes]:
    body = {
        "event_id": f"o-{member}",
        "type": "order.paid",
        "member_id": member,
        "occurred_at": "2025-12-31T23:00:00Z",
        "order_id": f"o-{member}",
        "currency": "CNY",
        "paid_minor": points * 100,
    }
    return "points.orders", member, orjson.dumps(body)


def command(kind: str, event_id: str, member: str, **fields: Any) -> tuple[str, str, bytes]:
    body = {
        "event_id": event_id,
        "type": kind,
        "member_id": member,
        "occurred_at": "2025-12-31T23:30:00Z",
        "actor": {"id": "clerk", "role": "head_office"},
        **fields,
    }
    return "points.commands", member, orjson.dumps(body)


def transfer(event_id: str, member: str, to: str, points: int) -> tuple[str, str, bytes]:
    return command("points.transfer", event_id, member, to_member_id=to, points=points)


def publish(driver: EngineTestDriver, inputs: Sequence[tuple[str, str, bytes]]) -> None:
    for topic, key, value in inputs:
        driver.send(topic, key.encode(), value)


def quiet(driver: EngineTestDriver) -> bool:
    """Whether no task has anything left to take."""
    return not any(
        record.offset >= driver.broker.group.get(target, 0)
        for target, log in driver.broker.topics.items()
        if target.topic in INPUTS
        for record in log
        if record is not None
    )


INPUTS = ("points.orders", "points.commands", MESSAGES, "points.internal.ticks")


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


def club(new_driver: Any, points: int = 100, batch_records: int = 1000) -> EngineTestDriver:
    """Members with so many points each, four partitions, and a broker that is watched."""
    broker = Watched()
    driver: EngineTestDriver = new_driver(
        partitions=PARTITIONS, broker=broker, batch_records=batch_records
    )
    driver.tick(NOW_MS)
    publish(driver, [order(member, points) for member in EVERYBODY])
    run_to_the_end(driver)
    broker.points = points * len(EVERYBODY)
    return driver


def bodies(driver: EngineTestDriver, topic: str) -> Iterator[dict[str, Any]]:
    for record in driver.outputs(topic):
        yield orjson.loads(record.value or b"")


def answers(driver: EngineTestDriver) -> dict[str, list[str]]:
    """Every answer by its command: `accepted`, or the reason why not."""
    told: dict[str, list[str]] = defaultdict(list)
    for answer in bodies(driver, "points.command-results"):
        told[answer["command_id"]].append(answer.get("reason") or answer["outcome"])
    return told


def told(driver: EngineTestDriver) -> dict[str, list[dict[str, Any]]]:
    """Each member's entries; where a message stands in its topic depends on who came first."""
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in bodies(driver, CHANGES):
        if entry["cause_topic"] == MESSAGES:
            entry["cause_offset"] = None
        entries[entry["member_id"]].append(entry)
    return dict(entries)


# One that arrives elsewhere, one that arrives in its own partition, one that comes back from a
# frozen member, one from somebody who has no account, and one command that comes twice.
FROZEN = MEMBERS[2][0]
LEGS = [
    command("account.freeze", "f", FROZEN, reason="asked"),
    transfer("there", MEMBERS[0][0], MEMBERS[3][0], 30),
    transfer("near", MEMBERS[1][0], MEMBERS[1][1], 20),
    transfer("frozen", MEMBERS[3][1], FROZEN, 40),
    transfer("unknown", MEMBERS[2][1], "nobody", 100),
    transfer("there", MEMBERS[0][0], MEMBERS[3][0], 30),
]
ENDED = {
    "f": ["accepted"],
    "there": ["accepted"],
    "near": ["accepted"],
    "frozen": ["recipient_frozen"],
    "unknown": ["recipient_unknown"],
}
LEFT = dict.fromkeys(EVERYBODY, 100) | {
    MEMBERS[0][0]: 70,
    MEMBERS[3][0]: 130,
    MEMBERS[1][0]: 80,
    MEMBERS[1][1]: 120,
}


@pytest.mark.case(24)
@pytest.mark.parametrize("batch_records", [1, 7, 1000])
def test_transfers_arrive_or_come_back(new_driver: Any, batch_records: int) -> None:
    """Over partitions and within one; the sum of all members and what is under way never moves."""
    driver = club(new_driver, batch_records=batch_records)
    publish(driver, LEGS)

    assert run_to_the_end(driver) == 0

    books = read_books(driver.broker)
    assert books.balances == LEFT
    assert books.under_way == 0
    assert answers(driver) == ENDED
    assert isinstance(driver.broker, Watched)
    assert max(driver.broker.under_way) > 0


@pytest.mark.case(24)
@pytest.mark.parametrize("lose_state", [False, True])
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_a_crash_between_any_two_steps_changes_nothing(
    new_driver: Any, place: Boundary | CommitFate, lose_state: bool
) -> None:
    """Wherever the process dies, as often as it passes there: the same entries and answers."""
    calm = club(new_driver, batch_records=1)
    publish(calm, LEGS)
    run_to_the_end(calm)
    expected = told(calm)
    passed = 0
    while True:
        driver = club(new_driver, batch_records=1)
        publish(driver, LEGS)
        driver.crash()
        driver.crash_at(place, after=passed)

        crashes = run_to_the_end(driver, lose_state=lose_state)

        assert told(driver) == expected
        assert answers(driver) == ENDED
        assert read_books(driver.broker).under_way == 0
        if not crashes:
            break
        passed += 1
    assert passed >= PARTITIONS


@pytest.mark.parametrize("batch_records", [1, 7, 1000])
def test_command_that_comes_again_on_the_way_is_answered_once(
    new_driver: Any, batch_records: int
) -> None:
    """While it is under way nothing answers it; later it gets the same answer again."""
    driver = club(new_driver, batch_records=batch_records)
    sent = transfer("c", MEMBERS[3][0], MEMBERS[0][0], 30)
    publish(driver, [sent] * 3)
    run_to_the_end(driver)
    assert answers(driver)["c"] == ["accepted"]
    publish(driver, [sent])
    run_to_the_end(driver)

    assert answers(driver)["c"] == ["accepted", "accepted"]
    assert read_books(driver.broker).balances[MEMBERS[0][0]] == 130


@pytest.mark.case(24)
def test_sender_frozen_and_recipient_frozen_on_the_way(new_driver: Any) -> None:
    """The recipient's freeze sends the points back, the sender's does not keep them out."""
    driver = club(new_driver, batch_records=1)
    sender, recipient = MEMBERS[3][0], MEMBERS[0][0]
    publish(driver, [command("account.freeze", "f1", recipient, reason="asked")])
    publish(driver, [transfer("c", sender, recipient, 30)])
    driver.run()
    assert read_books(driver.broker).under_way == 30
    publish(driver, [command("account.freeze", "f2", sender, reason="asked")])
    driver.run(batches=1)
    run_to_the_end(driver)

    assert answers(driver)["c"] == ["recipient_frozen"]
    assert read_books(driver.broker).balances[sender] == 100


def numbers(records: Sequence[Record]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        entry = orjson.loads(record.value or b"")
        found[entry["member_id"]].append(entry["seq"])
    return found


def survivor(member: str, into_whom: dict[str, str]) -> str:
    """Who has a member's points in the end."""
    while member in into_whom:
        member = into_whom[member]
    return member


PLACES = [*Boundary, *CommitFate]
TRANSFERS = st.tuples(
    st.sampled_from(EVERYBODY),
    st.sampled_from([*EVERYBODY, "nobody"]),
    st.integers(1, 60),
)
STEPS = st.one_of(
    TRANSFERS,
    TRANSFERS,
    st.tuples(st.sampled_from(["freeze", "unfreeze"]), st.sampled_from(EVERYBODY)),
    st.tuples(st.just("merge"), st.sampled_from(EVERYBODY), st.sampled_from(EVERYBODY)),
    st.tuples(st.just("run"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.sampled_from(PLACES), st.integers(0, 8), st.booleans()),
)


@pytest.mark.case(24)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, min_size=15, max_size=50), batch_records=st.sampled_from([1, 3, 1000]))
def test_random_transfers_and_merges_with_crashes(
    new_driver: Any, steps: list[tuple[Any, ...]], batch_records: int
) -> None:
    """Every command is answered once, and the balances are what the answers say. Of members who
    were merged it is their survivor's that counts."""
    driver = club(new_driver, points=80, batch_records=batch_records)
    given_: dict[str, tuple[str, str, int]] = {}
    merges: dict[str, tuple[str, str]] = {}
    others = 0
    for number, step in enumerate(steps):
        if step[0] == "run":
            driver.run(batches=step[1])
        elif step[0] == "crash":
            driver.crash_at(step[1], after=step[2])
            if not driver.run() and step[3]:
                driver.lose_state()
        elif step[0] in ("freeze", "unfreeze"):
            publish(driver, [command(f"account.{step[0]}", f"f{number}", step[1], reason="asked")])
            others += 1
        elif step[0] == "merge":
            merges[f"g{number}"] = old, into = step[1:]
            merge = command("account.merge", f"g{number}", old, into_member_id=into, reason="asked")
            publish(driver, [merge])
        else:
            given_[f"c{number}"] = step
            publish(driver, [transfer(f"c{number}", *step)])
    run_to_the_end(driver)

    books, ended = read_books(driver.broker), answers(driver)
    assert books.under_way == 0
    assert len(ended) == len(given_) + len(merges) + others
    assert all(len(each) == 1 for each in ended.values())
    into_whom = {
        old: into for event_id, (old, into) in merges.items() if ended[event_id] == ["accepted"]
    }
    balances = Counter(dict.fromkeys(EVERYBODY, 0))
    for member in EVERYBODY:
        balances[survivor(member, into_whom)] += 80
    for event_id, (member, to, points) in given_.items():
        if ended[event_id] == ["accepted"]:
            balances[survivor(member, into_whom)] -= points
            balances[survivor(to, into_whom)] += points
    assert books.balances == balances
    for seqs in numbers(driver.outputs(CHANGES)).values():
        assert seqs == list(range(1, len(seqs) + 1))
