"""Flags of several members through the whole job: over partitions, and crashes.

Each member acts once, the owner decides once, and after whatever crash the same comes out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import orjson
import pytest
from flags_support import new_ledger, suspicion, watched

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.engine.driver import CommitFate, EngineTestDriver, MemoryBroker
from pointstream.engine.records import Target
from pointstream.engine.task import Boundary
from pointstream.ledger.suspicion import flag_id_of, owner_key
from pointstream.operations.books import EntryBooks, StateBooks, compare
from pointstream.operations.placement import partition_of
from pointstream.operations.transit import PartitionTransfers, Transit

PARTITIONS = 3
NOW_MS = 1_767_225_600_000
MESSAGES = "points.internal.messages"
#: Two members in each partition.
MEMBERS = [
    [f"m{n}" for n in range(100) if partition_of(b"m%d" % n, PARTITIONS) == partition][:2]
    for partition in range(PARTITIONS)
]
ONE_EACH = [pair[0] for pair in MEMBERS]
#: A device whose owner is the last partition.
DEVICE = next(
    name
    for name in (f"d{n}" for n in range(100))
    if partition_of(owner_key(EntityKind.DEVICE, name).encode(), PARTITIONS) == PARTITIONS - 1
)
FOUND = suspicion(
    entity_kind=EntityKind.DEVICE,
    entity_id=DEVICE,
    action=FlagAction.BLOCK,
    events=tuple((member, f"o-{member}") for member in ONE_EACH),
    members=tuple(ONE_EACH),
)
FLAG = flag_id_of(FOUND)


def club(batch_records: int = 1000) -> EngineTestDriver:
    """All members with an order of 100; the last one's makes those of `ONE_EACH` suspicious.

    Of the first member's points 30 are at a member of the second partition, who has sent 20 of
    them on to one of the third.
    """
    compiled = watched()
    driver = EngineTestDriver(
        lambda partition: PointsProcessor(
            new_ledger({"seen": FOUND})(compiled), partitions=PARTITIONS
        ),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=PARTITIONS,
        broker=MemoryBroker(),
        batch_records=batch_records,
    )
    driver.tick(NOW_MS)
    for pair in MEMBERS:
        for member in pair:
            give(driver, "order.paid", member, 0, order_id=f"o-{member}", paid_minor=100_00)
    to_the_end(driver)
    first, second, third = ONE_EACH[0], MEMBERS[1][1], MEMBERS[2][1]
    spend(driver, second, 100)
    to_the_end(driver)
    give(driver, "points.transfer", first, 1, points=30, to_member_id=second)
    to_the_end(driver)
    give(driver, "points.transfer", second, 1, points=20, to_member_id=third)
    to_the_end(driver)
    return driver


def give(driver: EngineTestDriver, kind: str, member: str, n: int, **fields: Any) -> None:
    topic = {"order.paid": "orders", "checkin.recorded": "check-ins"}.get(kind, "commands")
    event_id = fields.pop("event_id", f"o-{member}" if not n else f"{kind}-{member}-{n}")
    body = {
        "event_id": event_id,
        "type": kind,
        "member_id": member,
        "occurred_at": "2025-12-31T23:00:00Z",
        **fields,
    }
    if topic == "orders":
        body["currency"] = "CNY"
    if topic == "commands":
        body["actor"] = {"id": "ann", "role": "head_office"}
    driver.send(f"points.{topic}", member.encode(), orjson.dumps(body))


def spend(driver: EngineTestDriver, member: str, points: int) -> None:
    give(driver, "points.redeem", member, 1, points=points)


def seen(driver: EngineTestDriver) -> None:
    """The event that trips the detector; it earns nothing."""
    give(driver, "checkin.recorded", ONE_EACH[0], 1, event_id="seen")


def decide(driver: EngineTestDriver, how: str, member: str) -> None:
    give(driver, f"review.{how}", member, 1, flag_id=FLAG, reason="looked at it")


def to_the_end(driver: EngineTestDriver, *, lose_state: bool = False) -> int:
    """Run until nothing is left, after every crash anew; return how many crashes there were."""
    crashes, sent = 0, -1
    while True:
        if not driver.run():
            crashes += 1
            if lose_state:
                driver.lose_state()
        elif sent == (sent := len(driver.outputs(MESSAGES))):
            return crashes


def bodies(driver: EngineTestDriver, topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in driver.outputs(f"points.{topic}")]


def told(driver: EngineTestDriver) -> dict[str, list[dict[str, Any]]]:
    """Each member's entries; where a message stands in its topic depends on who came first."""
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in bodies(driver, "balance-changes"):
        if entry["cause_topic"] == MESSAGES:
            entry["cause_offset"] = entry["cause_partition"] = None
        entries[entry["member_id"]].append(entry)
    return dict(entries)


def answers(driver: EngineTestDriver) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for answer in bodies(driver, "command-results"):
        if answer["type"].startswith("review."):
            found[answer["command_id"]].append(answer.get("reason") or answer["outcome"])
    return dict(found)


def balances(driver: EngineTestDriver) -> dict[str, tuple[int, int, int, str]]:
    """Available, held and reversed of each member and its status; all books must agree."""
    transit, found = Transit(), {}
    for partition in range(PARTITIONS):
        entries, state, transfers = EntryBooks(), StateBooks(), PartitionTransfers()
        for record in driver.broker.records(Target("changelog", partition)):
            assert record.key is not None
            state.put(record.key, record.value)
            transfers.put(record.key, record.value)
        for record in driver.broker.records(Target("points.balance-changes", partition)):
            entry = orjson.loads(record.value or b"")
            entries.add(entry)
            transfers.add(entry)
        standings = {
            topic: {
                (record.key or b"").decode(): orjson.loads(record.value or b"")
                for record in driver.broker.records(Target(f"points.{topic}", partition))
            }
            for topic in ("crm-sync", "mall-sync")
        }
        assert compare(entries, state, standings["crm-sync"], standings["mall-sync"]) == []
        assert transfers.breaches(state.accounts) == []
        transit.add(transfers)
        for account in state.accounts.values():
            wallet = account.wallets["points"]
            row = (wallet.available, wallet.held, wallet.reversed, account.status)
            found[account.member_id] = row
    assert transit.breaches() == []
    return found


def test_a_flag_holds_and_freezes_each_member_in_the_own_partition() -> None:
    """As far as the points are there: 30 of the first one's were sent on."""
    driver = club()
    seen(driver)
    to_the_end(driver)

    found = balances(driver)

    assert found[ONE_EACH[0]] == (0, 70, 0, "frozen")
    assert found[ONE_EACH[1]] == found[ONE_EACH[2]] == (0, 100, 0, "frozen")
    assert found[MEMBERS[1][1]] == (10, 0, 0, "active")
    (flag,) = bodies(driver, "fraud-flags")
    assert sorted(flag["member_ids"]) == sorted(ONE_EACH)
    # Where whoever looks for flags of the device finds all of them.
    (place,) = {record.key for record in driver.outputs("points.fraud-flags")}
    assert place == DEVICE.encode()
    driver.close()


@pytest.mark.case(39)
@pytest.mark.bare_ledger("it is over the whole job already")
@pytest.mark.parametrize("lose_state", [False, True])
@pytest.mark.parametrize("place", [*Boundary, *CommitFate])
def test_a_crash_between_any_two_steps_changes_nothing(
    place: Boundary | CommitFate, lose_state: bool
) -> None:
    """Raised, rejected and followed over two transfers: the same entries, answers and flags."""

    def happen(crash: int | None) -> tuple[EngineTestDriver, int]:
        driver = club(batch_records=1)
        driver.crash()
        if crash is not None:
            driver.crash_at(place, after=crash)
        seen(driver)
        crashes = to_the_end(driver, lose_state=lose_state)
        decide(driver, "reject", ONE_EACH[1])
        return driver, crashes + to_the_end(driver, lose_state=lose_state)

    calm, _ = happen(None)
    expected = told(calm), answers(calm), bodies(calm, "fraud-flags")
    assert expected[1] == {f"review.reject-{ONE_EACH[1]}-1": ["accepted"]}
    rows = balances(calm)
    assert [rows[member] for member in ONE_EACH] == [
        (0, 0, 70, "frozen"),
        (0, 0, 100, "frozen"),
        (0, 0, 100, "frozen"),
    ]
    # 10 of the 30 are still with the first recipient, 20 with the second.
    assert rows[MEMBERS[1][1]] == (0, 0, 10, "active")
    assert rows[MEMBERS[2][1]] == (100, 0, 20, "active")
    calm.close()
    passed = 0
    while True:
        driver, crashes = happen(passed)
        assert (told(driver), answers(driver), bodies(driver, "fraud-flags")) == expected
        assert balances(driver) == rows
        driver.close()
        if not crashes:
            break
        passed += 1
    assert passed >= PARTITIONS


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("batch_records", [1, 1000])
@pytest.mark.parametrize("first", ["release", "reject"])
def test_of_reviews_by_several_members_at_once_one_counts(
    first: str, batch_records: int, order: tuple[int, ...]
) -> None:
    """Three at a time: one is accepted, the others are told how it ended, and nobody acts twice."""
    driver = club(batch_records)
    seen(driver)
    to_the_end(driver)
    other = "reject" if first == "release" else "release"
    for which, how in zip(order, (first, other, first), strict=True):
        decide(driver, how, ONE_EACH[which])

    to_the_end(driver)

    found = Counter(reason for reasons in answers(driver).values() for reason in reasons)
    assert found["accepted"] == 1
    ended = [flag["state"] for flag in bodies(driver, "fraud-flags")]
    rejected = ended == ["raised", "confirmed"]
    assert rejected or ended == ["raised", "released"]
    assert found["flag_already_rejected" if rejected else "flag_already_released"] == 2
    rows = balances(driver)
    assert {rows[member][3] for member in ONE_EACH} == {"frozen" if rejected else "active"}
    assert sum(row[2] for row in rows.values()) == (300 if rejected else 0)
    assert sum(row[1] for row in rows.values()) == 0
    driver.close()


@pytest.mark.parametrize("batch_records", [1, 3, 1000])
def test_the_same_input_raises_the_same_flags(batch_records: int) -> None:
    """Byte for byte, also when all owners have died in between."""

    def flags(lose: bool) -> list[bytes | None]:
        driver = club(batch_records)
        seen(driver)
        if lose:
            driver.lose_state()
        to_the_end(driver)
        decide(driver, "release", ONE_EACH[2])
        to_the_end(driver)
        found = [record.value for record in driver.outputs("points.fraud-flags")]
        driver.close()
        return found

    assert len(flags(lose=False)) == 2
    assert flags(lose=False) == flags(lose=True)
