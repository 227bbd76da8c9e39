"""What detectors find about a member, and what that does at once."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, Bench, outcomes
from watch_support import HOUR_MS, MINUTE_MS, OFTEN, SECOND_MS, detector, watched

from pointstream.ledger import Outcome

SHANGHAI = {"lat": 31.2304, "lon": 121.4737}
BEIJING = {"lat": 39.9042, "lon": 116.4074}
TRAVEL = detector("travel", action="hold")


def burst(bench: Bench, number: int, start_ms: int, step_ms: int = 5_000, **fields: Any) -> None:
    """So many check-ins, one after the other."""
    for nth in range(number):
        bench.check_in(occurred_ms=start_ms + nth * step_ms, event_id=f"c{nth}", **fields)


@pytest.mark.case(34)
def test_eleven_check_ins_that_come_an_hour_late_are_flagged_at_the_eleventh() -> None:
    """Windows are of event time: what matters is when it happened, not when it came."""
    bench = Bench(watched(OFTEN))
    bench.later(ms=HOUR_MS)
    burst(bench, 10, START_MS)
    assert bench.flags == []
    bench.check_in(occurred_ms=START_MS + 55_000, event_id="c10")
    (flag,) = bench.flags
    assert (flag["state"], flag["action"], flag["detector"]) == ("raised", "hold", "often")
    assert (flag["observed"], flag["threshold"], flag["window_seconds"]) == (11, 10, 60)
    assert (flag["entity_kind"], flag["entity_id"], flag["rule_version"]) == ("member", "m1", 3)
    assert flag["evidence"] == [f"c{nth}" for nth in range(11)]
    assert "11 events of checkin.recorded within 1 minute" in flag["explanation"]


@pytest.mark.case(34)
def test_duplicates_do_not_count() -> None:
    """A redelivery moves no counter."""
    bench = Bench(watched(OFTEN))
    for _ in range(3):
        burst(bench, 10, START_MS)
    bench.restart()
    burst(bench, 10, START_MS)
    assert bench.flags == []
    burst(bench, 11, START_MS)
    assert len(bench.flags) == 1


@pytest.mark.parametrize(
    "order", [[*range(11)], [*reversed(range(11))], [5, 9, 0, 10, 1, 8, 2, 7, 3, 6, 4]]
)
@pytest.mark.case(34)
def test_the_order_in_which_events_come_makes_no_difference(order: Any) -> None:
    """The eleventh that comes trips, whichever it is; the evidence is by time."""
    bench = Bench(watched(OFTEN))
    bench.later(ms=HOUR_MS)
    for nth in order:
        assert bench.flags == []
        bench.check_in(occurred_ms=START_MS + nth * 5_000, event_id=f"c{nth}")
    assert [flag["evidence"] for flag in bench.flags] == [[f"c{nth}" for nth in range(11)]]


def test_events_exactly_a_window_apart_are_in_no_window_together() -> None:
    """Windows are half-open."""
    bench = Bench(watched(OFTEN))
    burst(bench, 11, START_MS, step_ms=6 * SECOND_MS)
    assert bench.flags == []
    bench.check_in(occurred_ms=START_MS + 59_999, event_id="last")
    assert len(bench.flags) == 1


def test_points_of_the_event_that_trips_are_never_spendable() -> None:
    """They are pending from the first moment, and those of the events before are held."""
    bench = Bench(watched(OFTEN))
    burst(bench, 11, START_MS)
    tripped = [entry for entry in bench.entries if entry["cause_event_id"] == "c10"]
    assert tripped[0]["type"] == "points.pending"
    totals = bench.wallet()
    assert (totals.available, totals.held, totals.pending) == (0, 50, 5)


def test_a_dead_letter_leaves_nothing_behind() -> None:
    """What could not be taken is no event that counts."""
    compiled = watched(
        detector("velocity", types=["order.paid"], limit=1, within="PT1H"),
    )
    bench = Bench(compiled)
    bench.order("o1", 10, currency="EUR")
    bench.order("o2", 10)
    assert bench.flags == []
    bench.order("o3", 10)
    assert len(bench.flags) == 1


def test_a_rejected_command_leaves_nothing_behind() -> None:
    """A try that was refused takes nothing from anybody."""
    bench = Bench(watched(detector("velocity", types=["points.redeem"], limit=1, within="PT1H")))
    bench.order("o1", 100)
    bench.redeem(500)
    bench.redeem(10)
    assert bench.flags == []
    bench.redeem(10)
    assert [flag["detector"] for flag in bench.flags] == ["velocity"]


def test_sums_of_points_earned_and_of_money_have_limits() -> None:
    """What an event earned counts in the window that it happened in."""
    points = detector("velocity", id="points", types=["order.paid"], measure="points")
    money = detector("velocity", id="money", types=["order.paid"], measure="money")
    bench = Bench(
        watched(
            {**points, "limit": 500, "within": "PT1H", "action": "hold"},
            {**money, "limit": 100_000, "within": "PT1H"},
        )
    )
    bench.order("o1", 400)
    bench.order("o2", 100)
    assert bench.flags == []
    bench.order("o3", 1)
    assert [(f["detector"], f["observed"]) for f in bench.flags] == [("points", 501)]
    bench.order("o4", 600)
    money_flags = [flag for flag in bench.flags if flag["detector"] == "money"]
    assert [flag["observed"] for flag in money_flags] == [110_100]
    assert "1101.00 in money" in money_flags[0]["explanation"]


def test_long_windows_are_counted_in_days() -> None:
    """More than a day back, what counts is on which day it was."""
    bench = Bench(
        watched(detector("velocity", types=["order.paid"], limit=3, within="P3D")),
        now_ms=START_MS + 10 * DAY_MS,
    )
    for day in (0, 3, 1):
        bench.order(f"o{day}", 10, occurred_ms=START_MS + day * DAY_MS)
    bench.order("o2", 10, occurred_ms=START_MS + 2 * DAY_MS)
    assert bench.flags == []
    bench.order("o2b", 10, occurred_ms=START_MS + 2 * DAY_MS)
    assert [flag["observed"] for flag in bench.flags] == [4]


@pytest.mark.case(37)
def test_shanghai_to_beijing_in_half_an_hour_is_flagged() -> None:
    """Nobody travels like that."""
    bench = Bench(watched(TRAVEL))
    bench.order("o1", 10, geo=SHANGHAI)
    bench.order("o2", 10, geo=BEIJING, occurred_ms=START_MS + 30 * MINUTE_MS, event_id="there")
    assert bench.flags == []  # too far in the future: a dead letter
    bench.later(ms=30 * MINUTE_MS)
    bench.order("o2", 10, geo=BEIJING, event_id="there")
    (flag,) = bench.flags
    assert (flag["detector"], flag["evidence"]) == ("travel", ["e1", "there"])
    assert flag["observed"] > 2_000
    assert "1067 km apart within 30 minutes" in flag["explanation"]


@pytest.mark.case(37)
def test_without_a_place_nobody_travels() -> None:
    """An event that does not say where it was is nowhere."""
    bench = Bench(watched(TRAVEL))
    bench.order("o1", 10, geo=SHANGHAI)
    bench.later(ms=30 * MINUTE_MS)
    bench.order("o2", 10, store_id="bj-1", channel="pos")
    bench.check_in(geo=SHANGHAI)
    assert bench.flags == []


@pytest.mark.case(37)
def test_a_late_event_between_two_others_is_held_against_both() -> None:
    """The way there can be possible and the way back not."""
    bench = Bench(watched(TRAVEL), now_ms=START_MS + DAY_MS)
    bench.order("o1", 10, geo=SHANGHAI, occurred_ms=START_MS)
    bench.order("o3", 10, geo=SHANGHAI, occurred_ms=START_MS + 5 * HOUR_MS, event_id="back")
    bench.order("o2", 10, geo=BEIJING, occurred_ms=START_MS + 4 * HOUR_MS + 1, event_id="there")
    assert [flag["evidence"] for flag in bench.flags] == [["there", "back"]]


def test_a_till_is_where_its_store_is() -> None:
    """On the channels that are said to be counters, the store's place counts."""
    places = [
        {"store_id": "sh-1", **SHANGHAI},
        {"store_id": "bj-1", **BEIJING},
    ]
    bench = Bench(watched(TRAVEL, places=places))
    bench.order("o1", 10, store_id="sh-1", channel="pos")
    bench.later(ms=MINUTE_MS)
    bench.order("o2", 10, store_id="bj-1", channel="web")
    assert bench.flags == []
    bench.order("o3", 10, store_id="bj-1", channel="pos")
    assert len(bench.flags) == 1


SPIKE = detector("spike", types=["order.paid"], measure="points", floor=300, min_history=4)


@pytest.mark.case(38)
@pytest.mark.parametrize("days", [0, 3, 12])
def test_without_a_usable_history_the_floor_decides(days: int) -> None:
    """Too short a history, or one without spread, is no error and lets nothing through."""
    bench = Bench(watched(SPIKE))
    for day in range(days):
        bench.order(f"d{day}", 100)
        bench.later(1)
    bench.order("to-the-floor", 300)
    assert bench.flags == []
    bench.order("above", 1)
    assert [(f["observed"], f["threshold"]) for f in bench.flags] == [(301, 300)]


def test_a_spike_is_what_is_unusual_for_this_member() -> None:
    """Who spends a lot may go on spending a lot."""
    bench = Bench(watched({**SPIKE, "factor": 3}))
    for day, paid in enumerate((800, 900, 1000, 1100, 1200)):
        bench.order(f"d{day}", paid)
        bench.later(1)
    assert [flag["threshold"] for flag in bench.flags] == [300] * len(bench.flags)
    before = len(bench.flags)
    bench.order("usual", 1_400)
    assert len(bench.flags) == before
    bench.order("unusual", 100)
    # median 1000, MAD 100: 1000 + 3 * 1.4826 * 100
    assert (bench.flags[-1]["observed"], bench.flags[-1]["threshold"]) == (1_500, 1_444)


LOOP = detector("refund_loop", limit=2, within="P7D", refunded_percent=50, back_within="P1D")


def test_orders_bought_and_given_back_again_and_again_are_flagged() -> None:
    """An order counts once, when enough of it is given back soon enough."""
    bench = Bench(watched(LOOP))
    for nth in range(3):
        bench.order(f"o{nth}", 100)
        bench.refund(f"o{nth}", f"a{nth}", 30)
        assert bench.flags == []
        bench.refund(f"o{nth}", f"b{nth}", 20, event_id=f"b{nth}")
        bench.refund(f"o{nth}", f"c{nth}", 20, event_id=f"c{nth}")
    (flag,) = bench.flags[:1]
    assert (flag["observed"], flag["threshold"]) == (3, 2)
    assert flag["evidence"][-1] == "b2"


def test_an_order_given_back_late_is_no_loop() -> None:
    """Somebody who returns things after days has looked at them."""
    bench = Bench(watched(LOOP))
    for nth in range(4):
        bench.order(f"o{nth}", 100)
        bench.later(1, ms=1)
        bench.cancel(f"o{nth}")
    assert bench.flags == []


def test_a_refund_that_came_before_its_order_counts_when_the_order_comes() -> None:
    """What arrives first makes no difference to who is suspicious."""
    bench = Bench(watched(LOOP))
    for nth in range(3):
        bench.refund(f"o{nth}", f"r{nth}", 100)
        assert bench.flags == []
        bench.order(f"o{nth}", 100)
    assert len(bench.flags) == 1


def test_a_large_redemption_waits_for_a_second_confirmation() -> None:
    """Nothing has moved until somebody else has said yes, and then it moves once."""
    bench = Bench(watched(detector("large_spend", points=500, id="large")))
    bench.order("o1", 2_000)
    assert outcomes(bench.redeem(500)) == [Outcome.POINTS_REDEEMED]
    assert outcomes(bench.redeem(501)) == [Outcome.AWAITING_CONSENT]
    assert bench.available() == 1_500
    (flag,) = bench.flags
    assert (flag["detector"], flag["rule_version"], flag["observed"]) == ("large", 3, 501)
    assert flag["threshold"] == 500
    bench.command("review.release", flag_id=flag["flag_id"], reason="she called")
    assert bench.available() == 999
    assert bench.flags[-1]["state"] == "released"
    again = bench.command("review.release", flag_id=flag["flag_id"], reason="she called")
    assert again.outcome is Outcome.FLAG_ALREADY_RELEASED
    assert bench.available() == 999


def test_a_redemption_that_cannot_be_paid_is_rejected_at_once() -> None:
    """Nobody is asked about what would be refused anyhow."""
    bench = Bench(watched(detector("large_spend", points=500)))
    bench.order("o1", 100)
    assert outcomes(bench.redeem(501)) == [Outcome.INSUFFICIENT_POINTS]
    assert bench.flags == []


TAKEN = detector("takeover", within="PT24H", share_percent=50, min_points=100)


def at_home(bench: Bench) -> None:
    bench.order("o1", 1_000, device_id="old")
    bench.later(30)


def test_a_new_device_and_then_most_of_the_balance_waits() -> None:
    """That is what whoever took over an account does first."""
    bench = Bench(watched(TAKEN))
    at_home(bench)
    bench.check_in(device_id="new")
    bench.later(ms=23 * HOUR_MS)
    assert outcomes(bench.redeem(503, device_id="new")) == [Outcome.AWAITING_CONSENT]
    (flag,) = bench.flags
    assert flag["detector"] == "takeover"
    assert "503 of 1005 points" in flag["explanation"]
    assert "23 hours after the device new was first seen" in flag["explanation"]
    bench.command("review.reject", flag_id=flag["flag_id"], reason="not her")
    assert [a.get("reason") for a in bench.answers if a["type"] == "points.redeem"] == [
        "consent_denied"
    ]
    assert bench.available() == 1_005


def test_the_first_command_of_a_new_device_waits_too() -> None:
    """It need not have been seen before: it is new now."""
    bench = Bench(watched(TAKEN))
    at_home(bench)
    assert outcomes(bench.redeem(600, device_id="new")) == [Outcome.AWAITING_CONSENT]


@pytest.mark.parametrize(
    ("points", "device", "later_ms"),
    [(499, "new", 0), (600, "old", 0), (600, "new", 24 * HOUR_MS)],
    ids=["small", "known device", "long known by then"],
)
def test_other_redemptions_do_not_wait(points: int, device: str, later_ms: int) -> None:
    """A member may use a new telephone."""
    bench = Bench(watched(TAKEN))
    at_home(bench)
    bench.check_in(device_id="new")
    bench.later(ms=later_ms)
    assert outcomes(bench.redeem(points, device_id=device)) == [Outcome.POINTS_REDEEMED]


def test_the_first_device_of_a_member_is_not_new() -> None:
    """There must be another that it could be new beside."""
    bench = Bench(watched(TAKEN))
    bench.order("o1", 1_000, device_id="first")
    assert outcomes(bench.redeem(900, device_id="first")) == [Outcome.POINTS_REDEEMED]


def test_more_devices_than_a_person_has_are_flagged() -> None:
    """Different devices count within the window, however often each is seen."""
    many = detector("distinct", entity="member", of="device", limit=2, within="PT1H")
    bench = Bench(watched(many))
    for device in ("a", "b", "a", "b"):
        bench.check_in(device_id=device)
    assert bench.flags == []
    bench.later(ms=HOUR_MS)
    bench.check_in(device_id="c")
    assert bench.flags == []
    bench.check_in(device_id="a", occurred_ms=START_MS + 2)
    bench.check_in(device_id="c", occurred_ms=START_MS + 1)
    assert [flag["observed"] for flag in bench.flags] == [3]


def test_an_allowed_member_trips_nothing_until_the_list_ends() -> None:
    """What happened meanwhile still counts after it."""
    allow = [{"entity": "member", "id": "m1", "until": "2026-03-01T16:01:00Z"}]
    bench = Bench(watched(OFTEN, allow=allow))
    burst(bench, 11, START_MS)
    assert bench.flags == []
    bench.later(ms=MINUTE_MS)
    bench.check_in(occurred_ms=START_MS + 59_999)
    assert bench.flags == []
    bench.check_in(occurred_ms=START_MS + 60_000)
    assert len(bench.flags) == 1


@pytest.mark.parametrize(
    ("listed", "fields"),
    [
        ({"entity": "member", "id": "m1"}, {}),
        ({"entity": "device", "id": "D-1"}, {"device_id": "D-1"}),
        ({"entity": "ip", "id": "203.0.113.0/24"}, {"ip": "203.0.113.9"}),
        ({"entity": "ip", "id": "2001:db8::/32"}, {"ip": "2001:db8::1"}),
        ({"entity": "store", "id": "S-1"}, {"store_id": "S-1"}),
    ],
)
def test_a_denied_entity_trips_at_once(listed: dict[str, str], fields: dict[str, str]) -> None:
    """Its events are held from the first, and its spending waits."""
    bench = Bench(watched(deny=[{**listed, "reason": "stolen cards"}]))
    bench.order("o1", 100, member="m2", ip="198.51.100.1")
    assert bench.flags == []
    bench.order("o2", 100, **fields)
    (flag,) = bench.flags
    assert (flag["detector"], flag["action"], flag["member_ids"]) == ("deny_list", "hold", ["m1"])
    assert "stolen cards" in flag["explanation"]
    bench.adjust(500)
    assert outcomes(bench.redeem(100, **fields)) == [Outcome.AWAITING_CONSENT]


def test_without_detectors_nothing_is_remembered() -> None:
    """Who does not watch pays nothing for it."""
    bench = Bench()
    bench.order("o1", 100, geo=SHANGHAI, device_id="d")
    assert not [key for key in bench.books() if key[:1] == b"W"]


@pytest.mark.parametrize("batch", [1, 6, 1_000])
def test_an_erased_member_is_forgotten_by_the_detectors(batch: int) -> None:
    """Nothing of what was seen of a member outlives the erasure."""
    bench = Bench(watched(OFTEN), batch=batch)
    burst(bench, 5, START_MS)
    bench.check_in("m2", occurred_ms=START_MS)
    bench.command("account.erase", "m2")
    bench.flush()
    assert [key for key in bench.books() if key[:1] == b"W"] == [b"Wm1"]
    bench.command("account.erase")
    bench.flush()
    assert not [key for key in bench.books() if key[:1] == b"W"]


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_events_of_two_members_who_were_merged_count_together(batch: int) -> None:
    """Who has two accounts has one when they are one."""
    bench = Bench(watched(OFTEN), batch=batch)
    burst(bench, 6, START_MS)
    for nth in range(4):
        bench.check_in("m2", occurred_ms=START_MS + 30_000 + nth)
    bench.command("account.merge", "m2", into_member_id="m1")
    bench.flush()
    assert bench.flags == []
    bench.check_in(occurred_ms=START_MS + 50_000)
    assert [flag["observed"] for flag in bench.flags] == [11]


@pytest.mark.parametrize("listed", ["203.0.113.7", "203.0.113.0/24", "::ffff:203.0.113.7"])
@pytest.mark.parametrize("written", ["203.0.113.7", "::ffff:203.0.113.7", " 203.0.113.7 "])
def test_an_address_is_on_a_list_however_it_is_written(listed: str, written: str) -> None:
    """Nobody gets past a list by writing an address in another way."""
    bench = Bench(watched(deny=[{"entity": "ip", "id": listed, "action": "hold"}]))
    bench.check_in(ip=written)
    assert [flag["detector"] for flag in bench.flags] == ["deny_list"]
