"""Shops that award more than usual, and staff who adjust more than they may."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, Bench
from test_detectorbook import publish
from watch_support import detector, watched

from pointstream.contracts.vocabulary import EntityKind
from pointstream.ledger.codec import remembered_body
from pointstream.ledger.messages import Message
from pointstream.ledger.notes import NOTED
from pointstream.ledger.state import entity_key
from pointstream.ledger.suspicion import owner_key

SHOP = detector(
    "spike",
    id="shop",
    entity="store",
    types=["order.paid"],
    floor=1_000,
    factor=6,
    min_history=5,
    action="flag",
)
STAFF = detector(
    "velocity",
    id="staff",
    entity="staff",
    types=["points.adjust"],
    measure="points",
    limit=500,
    within="P1D",
    action="hold",
)
CLERK = {"id": "anna", "role": "store", "store_id": "s1"}


def day(bench: Bench, amounts: list[int], store: str = "s1") -> None:
    """Orders of one day, of so many whole CNY each, at a shop."""
    for nth, amount in enumerate(amounts):
        number = len(bench.decisions)
        bench.order(f"o{number}", amount, f"m{nth}", store_id=store, event_id=f"e{number}")
    bench.later(1)


@pytest.mark.case(38)
@pytest.mark.parametrize("usual", [[], [[300, 200]] * 9, [[300, 200]] * 2])
def test_without_history_or_spread_the_floor_decides(usual: list[list[int]]) -> None:
    """A new shop, one that is the same every day, and one that is known too short."""
    bench = Bench(watched(SHOP))
    for amounts in usual:
        day(bench, amounts)
    day(bench, [1_000])
    assert bench.flags == []
    day(bench, [600, 401])
    (flag,) = bench.flags
    assert (flag["entity_kind"], flag["entity_id"]) == ("store", "s1")
    assert (flag["observed"], flag["threshold"], flag["window_seconds"]) == (1_001, 1_000, 86_400)
    assert sorted(flag["member_ids"]) == ["m0", "m1"]
    assert flag["explanation"].startswith("1001 points went through the shop s1 within 1 day")


def test_a_spike_is_far_above_what_is_usual_for_this_shop() -> None:
    """A large shop may award what would be a spike of a small one."""
    bench = Bench(watched(SHOP))
    for nth in range(10):
        day(bench, [5_000 + 100 * (nth % 3)], "large")
        day(bench, [100 + 10 * (nth % 3)], "small")
    assert bench.flags != []  # while it was new, the floor alone decided of the large one
    assert {flag["entity_id"] for flag in bench.flags} == {"large"}
    bench.flags.clear()
    day(bench, [5_400], "large")
    assert bench.flags == []
    day(bench, [5_400], "small")
    assert [flag["entity_id"] for flag in bench.flags] == ["small"]


def test_staff_who_adjust_too_much_are_found_and_it_is_held() -> None:
    """All of a day together, over all members; others' adjustments are not theirs."""
    bench = Bench(watched(STAFF))
    for nth in range(5):
        bench.adjust(100, f"m{nth}", actor=CLERK, store_id="s1", event_id=f"a{nth}")
        bench.adjust(100, f"m{nth}", event_id=f"h{nth}")
    assert bench.flags == []
    bench.adjust(1, "m5", actor=CLERK, store_id="s1", event_id="a5")
    flag = bench.flags[-1]
    assert (flag["entity_kind"], flag["entity_id"], flag["observed"]) == ("staff", "anna", 501)
    assert sorted(flag["member_ids"]) == [f"m{nth}" for nth in range(6)]
    assert sorted(flag["evidence"]) == [f"a{nth}" for nth in range(6)]
    for nth in range(5):
        assert bench.wallet(f"m{nth}").held == 100


def test_rejected_commands_and_duplicates_count_for_nothing() -> None:
    """Five hundred are allowed, and were given."""
    bench = Bench(watched(STAFF))
    bench.adjust(500, "m1", actor=CLERK, store_id="s1", event_id="a")
    bench.adjust(500, "m1", actor=CLERK, store_id="s1", event_id="a")
    bench.adjust(-900, "m1", actor=CLERK, store_id="s1", event_id="b")
    bench.adjust(5, "m1", actor=CLERK, store_id="s2", event_id="c")
    assert bench.flags == []


def test_late_events_count_on_their_own_day() -> None:
    """Two days of 300 are none of 600, whenever they arrive."""
    bench = Bench(watched(STAFF))
    first_ms = bench.now_ms
    bench.later(3)
    for nth in range(2):
        bench.adjust(
            300,
            "m1",
            actor=CLERK,
            store_id="s1",
            event_id=f"a{nth}",
            occurred_ms=first_ms + nth * 48 * 3_600_000,
        )
    assert bench.flags == []
    bench.adjust(300, "m1", actor=CLERK, store_id="s1", event_id="late", occurred_ms=first_ms)
    assert bench.flags[-1]["observed"] == 600


def test_an_allowed_shop_trips_nothing() -> None:
    """A shop that opens today."""
    bench = Bench(watched(SHOP, allow=[{"entity": "store", "id": "s1"}]))
    day(bench, [5_000])
    assert bench.flags == []


@pytest.mark.parametrize("batch", [7, 1_000])
def test_the_size_of_batches_changes_no_byte(batch: int) -> None:
    """The state and the flags are those of one event at a time."""

    def run(size: int) -> tuple[Any, Any]:
        bench = Bench(watched(SHOP, STAFF), batch=size)
        for _ in range(3):
            day(bench, [700, 800])
        bench.flush()
        return bench.books(), bench.flags

    assert run(batch) == run(1)


@pytest.mark.parametrize("left", [1, 2])
def test_the_sums_of_a_detector_that_is_gone_are_forgotten_a_day_later(left: int) -> None:
    """With the next that is counted for the shop; late events of its time count until then."""
    other = {**SHOP, "id": "other"}
    bench = Bench(watched(SHOP, other))
    day(bench, [100])
    assert set(kept_of(bench, "s1")) == {"shop", "other"}
    gone_ms = bench.now_ms
    publish(bench, {"id": "base", "version": 4, "detectors": [SHOP]})

    bench.tick(gone_ms + DAY_MS - 1 if left == 2 else gone_ms + DAY_MS)
    bench.order("late", 50, store_id="s1", occurred_ms=gone_ms - 1)
    bench.order("new", 50, store_id="s1")

    kept = kept_of(bench, "s1")
    assert len(kept) == left
    assert sum(value for _, value in kept["shop"][0]) == 200
    if left == 2:
        assert sum(value for _, value in kept["other"][0]) == 150


def kept_of(bench: Bench, store: str) -> dict[str, Any]:
    """What the owner of a shop keeps, by detector: sums, and evidence."""
    bench.flush()
    value = bench.state.get(entity_key(owner_key(EntityKind.STORE, store)))
    assert value is not None
    kept: dict[str, Any] = remembered_body(value)[0]
    return kept


@pytest.mark.parametrize("batch", [1, 100])
def test_an_erased_member_is_no_evidence_of_a_shop(batch: int) -> None:
    """What the shop does later raises a flag that does not name who is forgotten."""
    bench = Bench(watched(SHOP), batch=batch)
    bench.order("o1", 600, "forgotten", store_id="s1")
    bench.command("account.erase", "forgotten")
    bench.order("o2", 500, "m2", store_id="s1")
    assert [flag["member_ids"] for flag in bench.flags] == [["m2"]]
    books = bench.books()
    assert not [key for key in books if b"forgotten" in key + books[key]]


def test_sums_of_a_shop_stay_numbers_that_can_be_written() -> None:
    """However much money events say: one more of them must not stop the partition."""
    bench = Bench(watched({**SHOP, "measure": "money"}))
    name = ["\x01store\x01s1", "tally", "shop"]
    note = [*name, bench.now_ms // 86_400_000, 2**62, bench.now_ms, [[1, "m1", "e1"]], bench.now_ms]
    for _ in range(5):
        bench.arrive(Message(NOTED, None, {"notes": [note]}))
    assert {flag["observed"] for flag in bench.flags} == {2**53 - 1}
