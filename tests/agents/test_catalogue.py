"""Stock over all partitions: members everywhere, one owner, and crashes between any two steps."""

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointstream.contracts.wire import rfc3339
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger.codec import decode_list

NOW_MS = 1_767_225_600_000
PARTITIONS = 4
CRASHES = [*Boundary, *CommitFate]


def send(driver: EngineTestDriver, topic: str, key: str, type_: str, **fields: Any) -> None:
    body = {"type": type_, "occurred_at": rfc3339(NOW_MS), **fields}
    driver.send(f"points.{topic}", key.encode(), orjson.dumps(body))


def publish(driver: EngineTestDriver, event_id: str, **fields: Any) -> None:
    item = {"item_id": "mug", "price_points": 10, **fields}
    send(driver, "catalogue", "mug", "item.published", event_id=event_id, **item)


def earn(driver: EngineTestDriver, members: int) -> None:
    for number in range(members):
        order = {"order_id": f"o{number}", "currency": "CNY", "paid_minor": 10_000}
        member = f"m{number}"
        send(driver, "orders", member, "order.paid", event_id="e", member_id=member, **order)


def redeem(driver: EngineTestDriver, member: int, command: int, quantity: int = 1) -> None:
    send(
        driver,
        "commands",
        f"m{member}",
        "points.redeem",
        event_id=f"c{command}",
        member_id=f"m{member}",
        actor={"id": f"m{member}", "role": "member"},
        item_id="mug",
        quantity=quantity,
    )


def settle(driver: EngineTestDriver) -> None:
    """Run until nothing is under way: what one partition tells another may ask for an answer."""
    for _ in range(200):
        driver.run()
        if not driver.lag():
            return
    raise AssertionError("something is under way for ever")


def answers(driver: EngineTestDriver) -> dict[str, str]:
    """How each command ended; each was answered once."""
    told = [orjson.loads(record.value) for record in driver.outputs("points.command-results")]
    ends = {answer["command_id"]: answer.get("reason", "accepted") for answer in told}
    assert len(ends) == len(told)
    return ends


def entries(driver: EngineTestDriver) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in driver.outputs("points.balance-changes")]


def check_books(driver: EngineTestDriver, members: int) -> int:
    """Nothing is held, every balance is what the entries say; return the pieces redeemed."""
    balances: Counter[str] = Counter()
    last: dict[str, int] = {}
    pieces = 0
    for entry in entries(driver):
        member = entry["member_id"]
        assert entry["seq"] == last.get(member, 0) + 1
        last[member] = entry["seq"]
        balances[member] += entry["delta"]
        assert entry["available_after"] == balances[member]
        if entry["type"] == "points.captured":
            pieces += entry["quantity"]
            assert entry["amount"] == 10 * entry["quantity"]
    standings = {
        record.key.decode(): orjson.loads(record.value)
        for record in driver.outputs("points.mall-sync")
        if record.key is not None
    }
    assert len(standings) == members
    for member, standing in standings.items():
        assert standing["held"] == 0
        assert standing["available"] == balances[member]
    return pieces


@pytest.mark.parametrize("batch_records", [1, 7, 1000])
@pytest.mark.parametrize("crash", [None, *CRASHES])
def test_ten_pieces_for_two_hundred_redemptions_are_ten(
    new_driver, batch_records: int, crash: Boundary | CommitFate | None
) -> None:
    """Ten are accepted, the others are told, whoever dies when; all points are where they were."""
    driver = new_driver(partitions=PARTITIONS, batch_records=batch_records)
    driver.tick(NOW_MS)
    publish(driver, "v1", stock=10)
    earn(driver, 100)
    settle(driver)
    for command in range(200):
        redeem(driver, command % 100, command)
    died = 0
    while driver.lag():
        if crash is not None and died < 25:
            driver.crash()  # the next to own it passes all boundaries, those of taking over too
            driver.crash_at(crash, after=died % PARTITIONS)
        died += not driver.run()
    assert died or crash is None
    settle(driver)
    assert Counter(answers(driver).values()) == {"accepted": 10, "out_of_stock": 190}
    assert check_books(driver, 100) == 10


def test_members_of_all_partitions_can_get_the_item(new_driver) -> None:
    """What the owner of the item was told reaches everybody, and every grant its member."""
    driver = new_driver(partitions=PARTITIONS)
    driver.tick(NOW_MS)
    publish(driver, "v1", stock=100)
    earn(driver, 40)
    settle(driver)
    for member in range(40):
        redeem(driver, member, member)
    settle(driver)
    assert set(answers(driver).values()) == {"accepted"}
    records = driver.outputs("points.command-results")
    assert {record.partition for record in records} == set(range(PARTITIONS))


def test_a_tombstone_withdraws_the_item_everywhere(new_driver) -> None:
    """In each partition, and for good; one for an item that nobody knows is no dead letter."""
    driver = new_driver(partitions=PARTITIONS)
    driver.tick(NOW_MS)
    publish(driver, "v1")
    earn(driver, 20)
    driver.send("points.catalogue", b"hat", None)
    settle(driver)
    driver.send("points.catalogue", b"mug", None)
    settle(driver)
    for member in range(20):
        redeem(driver, member, member)
    settle(driver)
    assert set(answers(driver).values()) == {"item_unknown"}
    assert not driver.outputs("points.dead-letters")


@pytest.mark.parametrize(
    ("key", "fields", "code"),
    [
        ("mug", {"price_points": 0}, "schema_invalid"),
        ("hat", {}, "key_mismatch"),
        ("mug", {"occurred_at": rfc3339(NOW_MS + 86_400_000)}, "too_far_in_future"),
        (
            "mug",
            {"valid_from": rfc3339(NOW_MS), "valid_until": rfc3339(NOW_MS)},
            "schema_invalid",
        ),
    ],
)
def test_a_bad_item_is_a_dead_letter_and_the_good_one_stays(
    new_driver, key: str, fields: dict[str, Any], code: str
) -> None:
    """Nothing of it is believed."""
    driver = new_driver(partitions=PARTITIONS)
    driver.tick(NOW_MS)
    earn(driver, 1)
    publish(driver, "v1")
    bad = {"item_id": "mug", "price_points": 5, **fields}
    send(driver, "catalogue", key, "item.published", event_id="v2", **bad)
    settle(driver)
    redeem(driver, 0, 0)
    settle(driver)
    (letter,) = driver.outputs("points.dead-letters")
    assert dict(letter.headers)["points.error.code"].decode() == code
    assert [e["amount"] for e in entries(driver) if e["type"] == "points.redeemed"] == [10]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("redeem"), st.integers(0, 7), st.integers(1, 4)),
        st.tuples(st.just("publish"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, len(CRASHES) - 1), st.integers(0, 8)),
        st.tuples(st.just("run"), st.integers(1, 3), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([1, 7, 1000]))
@settings(max_examples=60, deadline=None)
def test_stock_is_never_oversold(new_driver, steps: Any, batch_records: int) -> None:
    """Redemptions, new versions, crashes and partial runs, in any order."""
    driver = new_driver(partitions=PARTITIONS, batch_records=batch_records)
    driver.tick(NOW_MS)
    highest = 5
    publish(driver, "v", stock=highest)
    earn(driver, 8)
    settle(driver)
    asked = 0
    for number, (what, one, other) in enumerate(steps):
        if what == "redeem":
            redeem(driver, one, number, other)
            asked += 1
        elif what == "publish":
            highest = max(highest, one)
            publish(driver, f"v{number}", stock=one)
        elif what == "crash":
            driver.crash_at(CRASHES[one], after=other)
        else:
            driver.run(batches=one)
    settle(driver)
    assert len(answers(driver)) == asked
    assert check_books(driver, 8) <= highest


def command(driver: EngineTestDriver, type_: str, member: int, name: str, **fields: Any) -> None:
    send(
        driver,
        "commands",
        f"m{member}",
        type_,
        event_id=name,
        member_id=f"m{member}",
        actor={"id": "boss", "role": "head_office"},
        reason="asked",
        **fields,
    )


LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("redeem"), st.integers(0, 7), st.integers(1, 3)),
        st.tuples(st.just("freeze"), st.integers(0, 7), st.booleans()),
        st.tuples(st.just("merge"), st.integers(0, 7), st.integers(0, 7)),
        st.tuples(st.just("erase"), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, len(CRASHES) - 1), st.integers(0, 8)),
        st.tuples(st.just("run"), st.integers(1, 2), st.just(0)),
    ),
    min_size=10,
    max_size=40,
)


@given(LIVES, st.sampled_from([1, 3]))
@settings(max_examples=80, deadline=None)
def test_no_piece_is_lost_with_members_who_freeze_merge_and_go(
    new_driver, steps: Any, batch_records: int
) -> None:
    """What the owner counts as given away is what members have paid for, one by one; nothing stays
    held, and every redemption is answered."""
    driver = new_driver(partitions=PARTITIONS, batch_records=batch_records)
    driver.tick(NOW_MS)
    publish(driver, "v", stock=12, limit_per_member=9)
    earn(driver, 8)
    settle(driver)
    asked = set()
    for number, (what, one, other) in enumerate(steps):
        name = f"c{number}"
        if what == "redeem":
            redeem(driver, one, number, other)
            asked.add(name)
        elif what == "freeze":
            command(driver, "account.freeze" if other else "account.unfreeze", one, name)
        elif what == "merge":
            command(driver, "account.merge", one, name, into_member_id=f"m{other}")
        elif what == "erase":
            command(driver, "account.erase", one, name)
        elif what == "crash":
            driver.crash_at(CRASHES[one], after=other)
        else:
            driver.run(batches=one)
    settle(driver)
    told = [orjson.loads(record.value) for record in driver.outputs("points.command-results")]
    assert asked <= {answer["command_id"] for answer in told}
    bought = [entry for entry in entries(driver) if entry["type"] == "points.captured"]
    pieces = sum(entry["quantity"] for entry in bought)
    states = [driver.state(number) for number in range(PARTITIONS)]
    given_away = [
        decode_list(value)[1] for state in states for key, value in state.items() if key[:1] == b"g"
    ]
    assert sum(given_away) == pieces <= 12
    assert not [key for state in states for key in state if key[:1] == b"h"]
