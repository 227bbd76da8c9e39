"""Members at one device or in one network: told to its owner, who holds them against detectors."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, Bench
from watch_support import HOUR_MS, MINUTE_MS, detector, watched

from pointstream.contracts.wire import rfc3339
from pointstream.ledger.state import pseudonym

FARM = detector(
    "distinct", id="farm", entity="device", of="member", limit=5, within="P1D", action="hold"
)


def at_device(bench: Bench, members: Any, device: str = "D1", step_ms: int = HOUR_MS) -> None:
    """Each member buys for 10.00 with a device, one after the other."""
    for nth, member in enumerate(members):
        at_ms = START_MS + nth * step_ms
        bench.order(
            f"o{device}{nth}",
            10,
            member,
            event_id=f"e{device}{nth}",
            device_id=device,
            occurred_ms=at_ms,
        )


def members(number: int) -> list[str]:
    return [f"m{nth}" for nth in range(number)]


def withheld(bench: Bench, who: list[str]) -> list[tuple[int, int]]:
    """What of each member's points can be spent, and what is held or pending."""
    wallets = [bench.wallet(member) for member in who]
    return [(wallet.available, wallet.held + wallet.pending) for wallet in wallets]


@pytest.mark.case(35)
def test_six_members_on_one_device_are_all_held() -> None:
    """Five are not; with the sixth the points of all six, whichever partitions they are in."""
    bench = Bench(watched(FARM))
    bench.later(1)
    at_device(bench, members(5))
    assert bench.flags == []
    assert withheld(bench, members(5)) == [(10, 0)] * 5

    bench.order("o6", 10, "m5", event_id="e6", device_id="D1", occurred_ms=START_MS + 5 * HOUR_MS)

    flag = bench.flags[-1]
    assert (flag["state"], flag["action"], flag["detector"]) == ("raised", "hold", "farm")
    assert (flag["entity_kind"], flag["entity_id"]) == ("device", "D1")
    assert (flag["observed"], flag["threshold"], flag["window_seconds"]) == (6, 5, 86_400)
    assert sorted(flag["member_ids"]) == members(6)
    assert flag["explanation"].startswith("6 members were seen at device D1 within 1 day, 5 are")
    assert withheld(bench, members(6)) == [(0, 10)] * 6


@pytest.mark.case(35)
def test_a_device_on_the_allow_list_trips_nothing() -> None:
    """Until the time that the list says, by the time of the events."""
    until = rfc3339(START_MS + 100 * HOUR_MS)
    bench = Bench(watched(FARM, allow=[{"entity": "device", "id": "D1", "until": until}]))
    bench.later(10)
    at_device(bench, members(8))
    assert bench.flags == []
    for nth, member in enumerate(members(6)):
        at_ms = START_MS + 100 * HOUR_MS + nth
        bench.check_in(member, device_id="D1", occurred_ms=at_ms)
    assert len(bench.flags) == 1


@pytest.mark.case(35)
@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
def test_six_that_come_late_and_in_any_order_are_found_by_event_time(order: list[int]) -> None:
    """What counts is when they were there."""
    bench = Bench(watched(FARM))
    bench.later(20)
    for nth in order:
        bench.check_in(f"m{nth}", device_id="D1", occurred_ms=START_MS + nth * HOUR_MS)
    assert sorted(bench.flags[-1]["member_ids"]) == members(6)


@pytest.mark.case(35)
def test_the_seventh_joins_the_flag() -> None:
    """One suspicion that goes on is one flag."""
    bench = Bench(watched(FARM))
    bench.later(1)
    at_device(bench, members(7))
    assert len({flag["flag_id"] for flag in bench.flags}) == 1
    assert sorted(bench.flags[-1]["member_ids"]) == members(7)
    assert withheld(bench, members(7)) == [(0, 10)] * 7


def test_members_who_are_never_there_within_one_window_are_no_crowd() -> None:
    """Half-open windows: the sixth a whole day after the first is with five."""
    bench = Bench(watched(FARM))
    bench.later(10)
    at_device(bench, members(5))
    bench.check_in("m5", device_id="D1", occurred_ms=START_MS + DAY_MS)
    assert bench.flags == []
    bench.check_in("m6", device_id="D1", occurred_ms=START_MS + DAY_MS - 1)
    assert len(bench.flags) == 1


def test_duplicates_and_dead_letters_count_for_nothing() -> None:
    """Six members, one of whom was never there by an event that was taken."""
    bench = Bench(watched(FARM))
    for _ in range(2):
        bench.restart()
        for nth, member in enumerate(members(5)):
            bench.check_in(member, event_id=f"c{nth}", device_id="D1", occurred_ms=START_MS)
    bench.order("bad", 10, "m5", currency="EUR", device_id="D1")
    bench.redeem(10, "m6", device_id="D1")
    assert bench.flags == []


def test_who_told_of_an_old_appearance_is_asked_for_the_new_ones() -> None:
    """Members tell little while nothing is wrong; what they kept is found when it may matter."""
    bench = Bench(watched(FARM))
    # All were there in one week, never more than five on a day; nobody tells of the next days.
    for nth, member in enumerate(members(6)):
        bench.later(1)
        bench.check_in(member, device_id="D1", event_id=f"old{nth}")
    assert bench.flags == []
    for nth, member in enumerate(members(6)):
        bench.later(ms=MINUTE_MS)
        bench.check_in(member, device_id="D1", event_id=f"new{nth}")
    # The sixth old one is within a day of the new ones, and counts with them once.
    assert sorted(bench.flags[-1]["member_ids"]) == members(6)
    evidence = set(bench.flags[-1]["evidence"])
    assert {f"new{nth}" for nth in range(5)} <= evidence
    assert "old0" not in evidence


@pytest.mark.parametrize(
    ("entity", "addresses", "found"),
    [
        ("ip", ["203.0.113.7"] * 4, "203.0.113.7"),
        ("ip", ["203.0.113.7", "::ffff:203.0.113.7"] * 2, "203.0.113.7"),
        ("ip", [f"203.0.113.{nth}" for nth in range(4)], None),
        ("ip24", [f"203.0.113.{nth}" for nth in range(4)], "203.0.113.0/24"),
        ("ip24", [f"203.0.{nth}.7" for nth in range(4)], None),
        ("ip64", [f"2001:db8:1:2::{nth}" for nth in range(4)], "2001:db8:1:2::/64"),
        ("ip64", [f"203.0.113.{nth}" for nth in range(4)], None),
        ("ip", ["unknown"] * 4, None),
    ],
)
def test_addresses_and_networks_are_counted(
    entity: str, addresses: list[str], found: str | None
) -> None:
    """A single address, and all of its network together."""
    farm = detector("distinct", entity=entity, of="member", limit=3, within="P1D", action="hold")
    bench = Bench(watched(farm))
    for nth, address in enumerate(addresses):
        bench.check_in(f"m{nth}", ip=address)
    if found is None:
        assert bench.flags == []
    else:
        assert [(flag["entity_kind"], flag["entity_id"]) for flag in bench.flags] == [("ip", found)]


@pytest.mark.parametrize("who", [["m0"] * 12, [f"m{nth % 3}" for nth in range(12)]])
def test_events_of_a_device_are_counted_over_its_members(who: list[str]) -> None:
    """More than ten an hour, by one member or by several together."""
    fast = detector(
        "velocity",
        id="fast",
        entity="device",
        types=["checkin.recorded"],
        limit=10,
        within="PT1H",
        action="hold",
    )
    bench = Bench(watched(fast))
    for nth, member in enumerate(who):
        bench.later(ms=MINUTE_MS)
        bench.check_in(member, device_id="D1", event_id=f"c{nth}")
    assert bench.flags[0]["observed"] == 11
    assert len(bench.flags[0]["evidence"]) == 11
    assert bench.flags[-1]["entity_kind"] == "device"


def test_money_of_a_device_is_added_up() -> None:
    """A sum of minor units, of orders alone."""
    rich = detector(
        "velocity",
        id="rich",
        entity="device",
        types=["order.paid"],
        measure="money",
        limit=100_000,
        within="P1D",
    )
    bench = Bench(watched(rich))
    for nth in range(3):
        bench.order(f"o{nth}", 400, f"m{nth}", device_id="D1")
        bench.check_in(f"m{nth}", device_id="D1")
    (flag,) = bench.flags
    assert (flag["observed"], flag["action"]) == (120_000, "flag")
    assert "1200.00 in money" in flag["explanation"]


def test_a_merged_member_counts_as_the_survivor() -> None:
    """Two ids of one person are one; what was told of the old one goes on counting."""
    bench = Bench(watched(FARM))
    at_device(bench, members(5), step_ms=0)
    bench.command("account.merge", "m4", into_member_id="m3")
    bench.check_in("m5", device_id="D1")
    assert bench.flags == []
    bench.check_in("m4", device_id="D1", event_id="passed-on")
    assert bench.flags == []
    bench.check_in("m6", device_id="D1")
    assert sorted(bench.flags[-1]["member_ids"]) == ["m0", "m1", "m2", "m3", "m5", "m6"]


def test_an_erased_member_leaves_no_trace_and_counts_on() -> None:
    """A digest stands in its place; nobody is asked about it, nothing of it is held."""
    bench = Bench(watched(FARM))
    at_device(bench, ["gone", *members(4)], step_ms=0)
    bench.command("account.erase", "gone")
    assert not [key for key, value in bench.books().items() if b"gone" in key or b"gone" in value]
    assert any(pseudonym("gone").encode() in value for value in bench.books().values())
    bench.check_in("m4", device_id="D1")
    assert sorted(bench.flags[-1]["member_ids"]) == members(5)
    assert bench.flags[-1]["observed"] == 6


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_the_size_of_batches_changes_no_byte(batch: int) -> None:
    """Batches end anywhere; the state and the flags are those of one event at a time."""

    def run(size: int) -> tuple[Any, Any]:
        bench = Bench(watched(FARM), batch=size)
        bench.later(1)
        at_device(bench, [*members(7), *members(7)])
        bench.flush()
        return bench.books(), bench.flags

    assert run(batch) == run(1)


def test_all_orders_of_arrival_find_the_same_members() -> None:
    """Three members and a limit of two, in all six orders."""
    farm = {**FARM, "limit": 2}
    for order in permutations(range(3)):
        bench = Bench(watched(farm))
        bench.later(1)
        for nth in order:
            bench.check_in(f"m{nth}", device_id="D1", occurred_ms=START_MS + nth * 11 * HOUR_MS)
        assert sorted(bench.flags[-1]["member_ids"]) == members(3), order


def test_nothing_is_kept_of_a_device_for_longer_than_it_counts() -> None:
    """The sweep takes it; until then it is over in any case."""
    bench = Bench(watched(FARM))
    at_device(bench, members(5), step_ms=0)
    bench.later(40)
    bench.check_in("m5", device_id="D1", occurred_ms=START_MS + HOUR_MS)
    assert bench.flags == []


def test_a_late_event_at_a_device_and_an_address_that_are_new_is_taken() -> None:
    """Of all places where a member was, those of a late event are the oldest: they stay known while
    it is handled, however many newer ones there are."""
    addresses = {**FARM, "id": "addresses", "entity": "ip24"}
    bench = Bench(watched(FARM, addresses))
    bench.later(1)
    for nth in range(20):
        bench.check_in(device_id=f"d{nth}", ip=f"198.51.{nth}.1")
    late_ms = bench.now_ms - HOUR_MS
    for nth in range(6):
        who = "m1" if not nth else f"late{nth}"
        bench.check_in(who, device_id="D", ip="203.0.113.9", occurred_ms=late_ms)
    found = {flag["entity_id"]: flag["observed"] for flag in bench.flags}
    assert found == {"D": 6, "203.0.113.0/24": 6}
