"""Budgets through the whole job: four partitions ask at once, and processes die in between.

What is proven at every single commit: the points awarded of a budget and those granted and under
way are what its owner counts, and that is never more than there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.engine.driver import CommitFate, EngineTestDriver, MemoryBroker
from pointstream.engine.log import Transaction
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.ledger.codec import decode_list
from pointstream.ledger.messages import decode_message
from pointstream.ledger.state import grant_key
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.placement import partition_of
from pointstream.rules import compile_programme

NOW_MS = 1_767_225_600_000
PARTITIONS = 4
LIMIT = 1_000
MESSAGES = "points.internal.messages"
CHANGES = "points.balance-changes"

#: Two members in each partition.
MEMBERS = [
    member
    for partition in range(PARTITIONS)
    for member in [
        f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition
    ][:2]
]

PROGRAMME = compile_programme(
    Programme.model_validate(
        {
            "id": "test",
            "budgets": [{"id": "autumn", "points": LIMIT}],
            "rule_sets": [
                {
                    "id": "campaign",
                    "version": 1,
                    "rules": [
                        {
                            "id": "spend",
                            "kind": "spend",
                            "points": 1,
                            "per_minor": 100,
                            "cap": {"day": 400},
                            "budget": "autumn",
                        },
                        {
                            "id": "review",
                            "kind": "activity",
                            "activity": "review.posted",
                            "points": 30,
                            "budget": "autumn",
                        },
                    ],
                }
            ],
        }
    )
)


@dataclass(frozen=True)
class Spent:
    """What is committed of the budget, over all partitions."""

    awarded: int
    gone: int
    """What the owner counts as given away."""
    waiting: int
    """How many awards wait for an answer."""


@dataclass
class Watched(MemoryBroker):
    """A broker that has the budget looked at after every commit."""

    waiting: list[int] = field(default_factory=list)

    def _apply(self, partition: int, transaction: Transaction, changelog: Target) -> int:
        position = super()._apply(partition, transaction, changelog)
        self.waiting.append(read(self).waiting)
        return position


def read(broker: MemoryBroker) -> Spent:
    """Add up what is committed; everything that is told twice must agree."""
    awarded = gone = granted = 0
    waiting: set[bytes] = set()
    under_way: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        entries, state = EntryBooks(), StateBooks()
        for record in broker.records(Target("changelog", partition)):
            key = record.key or b""
            state.put(key, record.value)
            if key == grant_key("budget", "autumn"):
                gone = int(decode_list(record.value or b"")[1])
            elif key[:1] == b"u":
                (waiting.discard if record.value is None else waiting.add)(key)
        for record in broker.records(Target(CHANGES, partition)):
            entry = orjson.loads(record.value or b"")
            entries.add(entry)
            if entry["type"] == "points.earned":
                assert entry["campaign_id"] == "autumn"
                awarded += entry["amount"]
        crm, mall = (
            {
                (record.key or b"").decode(): orjson.loads(record.value or b"")
                for record in broker.records(Target(f"points.{topic}", partition))
            }
            for topic in ("crm-sync", "mall-sync")
        )
        assert compare(entries, state, crm, mall) == []
        for type_, body in untaken(broker, partition):
            under_way[type_] += 1
            granted += body.get("granted", 0)
    assert awarded + granted == gone <= LIMIT
    assert len(waiting) == under_way["grant.asked"] + under_way["grant.given"]
    return Spent(awarded, gone, len(waiting))


def untaken(broker: MemoryBroker, partition: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages that nobody has taken yet."""
    target = Target(MESSAGES, partition)
    for record in broker.records(target):
        if record.offset >= broker.group.get(target, 0):
            message = decode_message(record.value)
            yield message.type, message.body


@pytest.fixture
def new(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a driver of the job on four partitions, with a broker that is watched."""
    made: list[EngineTestDriver] = []

    def make(batch_records: int = 1_000) -> EngineTestDriver:
        driver = EngineTestDriver(
            lambda partition: PointsProcessor(Ledger(PROGRAMME), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            batch_records=batch_records,
            broker=Watched(),
        )
        made.append(driver)
        driver.tick(NOW_MS)
        return driver

    yield make
    for driver in made:
        driver.close()


Input = tuple[str, str, bytes]


def event(kind: str, topic: str, event_id: str, member: str, **fields: Any) -> Input:
    body = {
        "event_id": event_id,
        "type": kind,
        "member_id": member,
        "occurred_at": "2025-12-31T15:00:00Z",
        **fields,
    }
    return f"points.{topic}", member, orjson.dumps(body)


def order(order_id: str, member: str, points: int, event_id: str | None = None) -> Input:
    return event(
        "order.paid",
        "orders",
        event_id or order_id,
        member,
        order_id=order_id,
        currency="CNY",
        paid_minor=points * 100,
    )


def refund(refund_id: str, order_id: str, member: str, points: int) -> Input:
    fields = {"order_id": order_id, "refund_id": refund_id, "refunded_minor": points * 100}
    return event("order.refunded", "orders", refund_id, member, **fields)


def cancel(event_id: str, order_id: str, member: str) -> Input:
    return event("order.cancelled", "orders", event_id, member, order_id=order_id)


def review(reference: str, member: str) -> Input:
    fields = {"activity": "review.posted", "reference": reference}
    return event("activity.recorded", "activities", f"r-{reference}", member, **fields)


def publish(driver: EngineTestDriver, inputs: Sequence[Input]) -> None:
    for topic, member, value in inputs:
        driver.send(topic, member.encode(), value)


def run_to_the_end(driver: EngineTestDriver, *, lose_state: bool = False) -> int:
    """Run until nothing is left, after every crash anew; return how many crashes there were."""
    crashes = 0
    while True:
        if not driver.run():
            crashes += 1
            if lose_state:
                driver.lose_state()
        elif not any(list(untaken(driver.broker, p)) for p in range(PARTITIONS)):
            return crashes


def entries(driver: EngineTestDriver) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in driver.outputs(CHANGES)]


def balances(driver: EngineTestDriver) -> dict[str, int]:
    return {entry["member_id"]: entry["available_after"] for entry in entries(driver)}


@pytest.mark.case(25)
@pytest.mark.parametrize("batch_records", [1, 7, 1000])
def test_partitions_that_ask_at_once_get_the_budget_and_no_more(
    new: Any, batch_records: int
) -> None:
    """Case 25: 8 members want 2,400 of 1,000: exactly 1,000 are awarded, and each is told."""
    driver = new(batch_records)
    publish(
        driver,
        [
            order(f"{member}-{number}", member, points)
            for number, points in enumerate((120, 80, 70, 30))
            for member in MEMBERS
        ],
    )

    assert run_to_the_end(driver) == 0

    assert read(driver.broker) == Spent(LIMIT, LIMIT, 0)
    assert max(driver.broker.waiting) > 1
    wanted = Counter[str]()
    for entry in entries(driver):
        wanted[entry["member_id"]] += entry.get("due", entry["amount"])
    assert wanted == dict.fromkeys(MEMBERS, 300)
    parts = [e for e in entries(driver) if 0 < e["amount"] < e.get("due", 0)]
    assert len(parts) <= 1


@pytest.mark.case(25)
def test_the_last_points_are_granted_in_part(new: Any) -> None:
    """Case 25: 100 left and a rule that gives 120: 100 awarded, and the entry says 120 was due."""
    driver = new()
    publish(driver, [order(f"o{n}", MEMBERS[n], 300) for n in range(3)])
    run_to_the_end(driver)
    publish(driver, [order("o3", MEMBERS[7], 120)])
    run_to_the_end(driver)
    publish(driver, [order("o4", MEMBERS[4], 50)])
    run_to_the_end(driver)

    told = {entry["order_id"]: (entry["amount"], entry.get("due")) for entry in entries(driver)}
    assert (told["o3"], told["o4"]) == ((100, 120), (0, 50))


# All that can happen to an award, some of it while it is under way.
FLOW = [
    order("a", MEMBERS[0], 300),
    refund("a1", "a", MEMBERS[0], 100),
    order("b", MEMBERS[2], 200),
    cancel("b1", "b", MEMBERS[2]),
    order("b", MEMBERS[2], 200, "again"),
    order("c", MEMBERS[4], 380),
    order("d", MEMBERS[4], 100),
    refund("e1", "e", MEMBERS[6], 40),
    order("e", MEMBERS[6], 90),
]
LEFT = {MEMBERS[0]: 200, MEMBERS[2]: 0, MEMBERS[4]: 400, MEMBERS[6]: 50}
#: The cap leaves 20 of the 100 of order d.
GONE = 300 + 200 + 380 + 20 + 90


@pytest.mark.case(25)
@pytest.mark.parametrize("lose_state", [False, True])
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_a_crash_between_any_two_steps_changes_nothing(
    new: Any, place: Boundary | CommitFate, lose_state: bool
) -> None:
    """Wherever the process dies, as often as it passes there: nothing is lost or granted twice."""
    passed = 0
    while True:
        driver = new(1)
        publish(driver, FLOW + FLOW)
        driver.crash_at(place, after=passed)

        crashes = run_to_the_end(driver, lose_state=lose_state)

        assert read(driver.broker) == Spent(GONE, GONE, 0)
        assert balances(driver) == LEFT
        if not crashes:
            break
        passed += 1
    assert passed >= PARTITIONS


@pytest.mark.case(25)
@pytest.mark.parametrize("batch_records", [1, 7, 1000])
def test_what_comes_again_asks_for_nothing(new: Any, batch_records: int) -> None:
    """Neither while the award is under way nor later, by the same or by another event id."""
    driver = new(batch_records)
    twice = [order("a", MEMBERS[3], 120), order("a", MEMBERS[3], 120, "other"), review("1", "m0")]
    publish(driver, twice + twice)
    run_to_the_end(driver)
    publish(driver, twice)
    run_to_the_end(driver)

    asked = [
        decode_message(record.value).type == "grant.asked" for record in driver.outputs(MESSAGES)
    ]
    assert sum(asked) == 2
    assert read(driver.broker) == Spent(150, 150, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "refund", "cancel", "review", "run", "crash"]),
        st.integers(0, len(MEMBERS) - 1),
        st.integers(1, 300),
        st.integers(0, 19),
        st.sampled_from([*Boundary, *CommitFate]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([1, 7, 1000]))
@example(
    # A day's cap used up: the entry of nothing names the campaign too.
    steps=[("order", 0, cny, n, Boundary.FENCED) for n, cny in enumerate((1, 1, 177, 221, 1))],
    batch_records=1,
)
def test_whatever_happens_a_budget_is_kept_to_the_point(steps: Any, batch_records: int) -> None:
    """Orders, refunds, crashes and half a run in between: all that is wanted, and never more."""
    driver = EngineTestDriver(
        lambda partition: PointsProcessor(Ledger(PROGRAMME), partitions=PARTITIONS),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=PARTITIONS,
        batch_records=batch_records,
        broker=Watched(),
    )
    try:
        driver.tick(NOW_MS)
        for number, (what, who, points, which, place) in enumerate(steps):
            member = MEMBERS[who]
            if what == "order":
                publish(driver, [order(f"o{which}", member, points, f"e{number}")])
            elif what == "refund":
                publish(driver, [refund(f"r{number}", f"o{which}", member, points)])
            elif what == "cancel":
                publish(driver, [cancel(f"c{number}", f"o{which}", member)])
            elif what == "review":
                publish(driver, [review(str(which), member)])
            elif what == "run":
                driver.run(batches=1)
            else:
                driver.crash_at(place, after=which)
        run_to_the_end(driver)

        asked = sum(
            decode_message(record.value).body["amount"]
            for record in driver.outputs(MESSAGES)
            if decode_message(record.value).type == "grant.asked"
        )
        spent = read(driver.broker)
        assert spent.awarded == spent.gone == min(LIMIT, asked)
        assert spent.waiting == 0
    finally:
        driver.close()
