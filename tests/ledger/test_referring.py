"""Circles of referrers, and referrers who are their own referees."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from ledger_support import START_MS, Bench, programme, rule
from pydantic import ValidationError
from watch_support import detector

RING = detector("referral_cycle", id="ring", action="hold")
SELF = detector("shared_device", id="self", action="hold")

RULES = (
    rule("referral", points=50, when="registered"),
    rule("referral", id="first", points=70, when="first_order"),
    rule("check_in", points=5, every_time=True),
)


def watched(*detectors: dict[str, Any], **fields: Any) -> Any:
    """A programme with detectors in which a referral earns 50, and the first order 70 more."""
    detector_set = {"id": "base", "version": 1, "detectors": list(detectors), **fields}
    return programme(*RULES, fraud={"detector_sets": [detector_set]})


def refer(bench: Bench, referrer: str, referee: str, **fields: Any) -> None:
    fields.setdefault("event_id", f"{referrer}>{referee}")
    bench.give("referral.registered", referrer, referee_id=referee, **fields)


def first_order(bench: Bench, referrer: str, referee: str) -> None:
    bench.give(
        "referral.first_order",
        referrer,
        referee_id=referee,
        order_id=f"o-{referee}",
        paid_minor=10_000,
        currency="CNY",
        event_id=f"{referrer}>>{referee}",
    )


def withheld(bench: Bench, member: str) -> tuple[int, int]:
    wallet = bench.wallet(member)
    return wallet.available, wallet.held + wallet.pending


def circle(names: str) -> list[tuple[str, str]]:
    return [(name, names[(place + 1) % len(names)]) for place, name in enumerate(names)]


@pytest.mark.case(36)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_referrals_in_a_circle_are_held_in_every_order(order: tuple[int, ...]) -> None:
    """One flag over all of them, whichever referral came last; what else they earned is theirs."""
    bench = Bench(watched(RING))
    edges = circle("ABC")
    for nth in order:
        refer(bench, *edges[nth])
        refer(bench, edges[nth][0], f"other{nth}")

    (flag,) = bench.flags
    assert (flag["state"], flag["action"], flag["detector"]) == ("raised", "hold", "ring")
    assert (flag["entity_kind"], flag["entity_id"]) == ("referrer", "A")
    assert sorted(flag["member_ids"]) == ["A", "B", "C"]
    assert sorted(flag["evidence"]) == ["A>B", "B>C", "C>A"]
    assert "3 members referred each other in a circle" in flag["explanation"]
    assert "A, B, C, and from there the first again" in flag["explanation"]
    for name in "ABC":
        assert withheld(bench, name) == (50, 50)


@pytest.mark.case(36)
def test_four_in_a_circle_are_held_in_every_order() -> None:
    """All 24 orders."""
    for order in permutations(circle("ABCD")):
        bench = Bench(watched(RING))
        for edge in order:
            refer(bench, *edge)
        assert sorted(bench.flags[-1]["member_ids"]) == list("ABCD"), order
        assert len({flag["flag_id"] for flag in bench.flags}) == 1
        assert [withheld(bench, name) for name in "ABCD"] == [(0, 50)] * 4


@pytest.mark.case(36)
def test_what_a_referral_of_a_circle_earns_later_is_held_too() -> None:
    """The first order of a referee belongs to the referral, before the circle closed or after."""
    bench = Bench(watched(RING))
    refer(bench, "A", "B")
    first_order(bench, "A", "B")
    refer(bench, "B", "A")
    first_order(bench, "B", "A")
    assert withheld(bench, "A") == (0, 120)
    assert withheld(bench, "B") == (0, 120)
    assert len({flag["flag_id"] for flag in bench.flags}) == 1


def test_who_refers_itself_is_a_circle_of_one() -> None:
    """The shortest."""
    bench = Bench(watched(RING))
    refer(bench, "A", "A")
    (flag,) = bench.flags
    assert (flag["observed"], flag["member_ids"]) == (1, ["A"])
    assert withheld(bench, "A") == (0, 50)


def test_a_tree_of_referrals_trips_nothing() -> None:
    """Many levels, many referees; and one who was referred by two."""
    bench = Bench(watched(RING))
    for nth in range(1, 30):
        refer(bench, f"m{nth // 3}", f"m{nth}") if nth // 3 != nth else None
    refer(bench, "m1", "m29")
    assert bench.flags == []


@pytest.mark.parametrize(("size", "found"), [(5, True), (6, False)])
def test_circles_of_up_to_five_are_found(size: int, found: bool) -> None:
    """A longer one is not looked for."""
    bench = Bench(watched(RING))
    for edge in circle("ABCDEF"[:size]):
        refer(bench, *edge)
    assert bool(bench.flags) is found


def test_a_circle_that_took_too_long_or_is_too_large_for_its_detector_is_none() -> None:
    """The span between the first and the last referral, and the number of members."""
    for fields, found in (
        ({"within": "P10D"}, False),
        ({"within": "P20D"}, True),
        ({"length": 2}, False),
    ):
        bench = Bench(watched({**RING, **fields}))
        for edge in circle("ABC"):
            bench.later(5)
            refer(bench, *edge)
        assert bool(bench.flags) is found, fields


def test_an_allowed_referrer_is_in_no_circle() -> None:
    """A shop's own account may refer whom it likes."""
    bench = Bench(watched(RING, SELF, allow=[{"entity": "referrer", "id": "B"}]))
    for edge in circle("ABC"):
        refer(bench, *edge, device_id=f"D{edge[0]}")
    bench.check_in("B", device_id="DC")
    assert bench.flags == []


STEPS = {
    "referral": lambda bench: refer(bench, "A", "B", channel="app"),
    "referrer": lambda bench: bench.check_in("A", device_id="D", event_id="a"),
    "referee": lambda bench: bench.check_in("B", device_id="D", event_id="b"),
}


@pytest.mark.case(36)
@pytest.mark.parametrize("order", list(permutations(STEPS)))
def test_referrer_and_referee_on_one_device_are_held(order: tuple[str, ...]) -> None:
    """Whichever of the three was seen last."""
    bench = Bench(watched(SELF))
    bench.check_in("A", device_id="other")
    for step in order:
        bench.later(1)
        assert bench.flags == []
        STEPS[step](bench)

    (flag,) = bench.flags
    assert (flag["detector"], flag["entity_kind"], flag["entity_id"]) == ("self", "referrer", "A")
    assert sorted(flag["member_ids"]) == ["A", "B"]
    assert flag["evidence"] == ["A>B"]
    assert "both were seen on the device D" in flag["explanation"]
    assert withheld(bench, "A") == (10, 50)
    assert withheld(bench, "B") == (5, 0)
    first_order(bench, "A", "B")
    assert withheld(bench, "A") == (10, 120)


@pytest.mark.case(36)
def test_two_devices_or_one_long_before_are_no_self_referral() -> None:
    """Nor is a device that the list allows, such as the tablet of a shop."""
    bench = Bench(watched(SELF, allow=[{"entity": "device", "id": "tablet"}]))
    bench.check_in("A", device_id="D", occurred_ms=START_MS)
    bench.later(60)
    for member in "AB":
        bench.check_in(member, device_id="tablet")
        bench.check_in(member, device_id=f"D{member}")
    refer(bench, "A", "B")
    bench.check_in("B", device_id="D")
    assert bench.flags == []


def test_a_merged_member_is_in_circles_as_the_survivor() -> None:
    """Its referrals count on, before the merge and after it."""
    bench = Bench(watched(RING))
    bench.check_in("S")
    refer(bench, "A", "B")
    bench.command("account.merge", "B", into_member_id="S")
    refer(bench, "S", "C")
    refer(bench, "C", "A")
    assert sorted(bench.flags[-1]["member_ids"]) == ["A", "C", "S"]
    assert withheld(bench, "A") == (0, 50)


def test_an_erased_member_leaves_no_trace_with_the_others() -> None:
    """Neither in chains nor among referees nor with what is known of devices."""
    bench = Bench(watched(RING, SELF))
    refer(bench, "A", "gone", event_id="1", device_id="D1")
    refer(bench, "gone", "B", event_id="2", device_id="D2")
    refer(bench, "B", "C", event_id="3", device_id="D3")
    bench.command("account.erase", "gone")
    refer(bench, "C", "gone", event_id="4")
    kept = {key: value for key, value in bench.books().items() if key[:1] in b"EGW"}
    assert len(kept) >= 6
    assert not [key for key, value in kept.items() if b"gone" in key or b"gone" in value]
    refer(bench, "B", "A", event_id="5")
    # The circle goes through somebody who is not there any more: the others stand in it.
    assert sorted(bench.flags[-1]["member_ids"]) == ["A", "B"]
    assert "someone erased" in bench.flags[-1]["explanation"]


@pytest.mark.parametrize("batch", [1, 5, 1_000])
def test_the_size_of_batches_changes_no_byte(batch: int) -> None:
    """The state and the flags are those of one event at a time."""

    def run(size: int) -> tuple[Any, Any]:
        bench = Bench(watched(RING, SELF), batch=size)
        for edge in [*circle("ABC"), ("A", "X"), ("X", "Y")]:
            refer(bench, *edge, device_id=f"D{edge[0]}")
        bench.check_in("Y", device_id="DX")
        bench.flush()
        return bench.books(), bench.flags

    assert run(batch) == run(1)


def test_a_referrer_who_refers_too_many_is_found_as_one() -> None:
    """Referrals are the referrer's own events; a referrer on the allow list may."""
    fast = detector(
        "velocity",
        id="fast",
        entity="referrer",
        types=["referral.registered"],
        limit=3,
        within="PT1H",
        action="hold",
    )
    bench = Bench(watched(fast, allow=[{"entity": "referrer", "id": "shop"}]))
    for nth in range(4):
        bench.check_in("A", event_id=f"c{nth}")
        refer(bench, "shop", f"s{nth}")
        refer(bench, "A", f"m{nth}")
    (flag,) = bench.flags
    assert (flag["entity_kind"], flag["entity_id"], flag["observed"]) == ("referrer", "A", 4)
    assert flag["evidence"] == [f"A>m{nth}" for nth in range(4)]
    assert withheld(bench, "A") == (20, 200)


def test_a_detector_of_referrers_counts_referrals_only() -> None:
    """Another event would never be counted: it is refused."""
    for kind in ("velocity", "spike"):
        more = {"limit": 3, "within": "PT1H"} if kind == "velocity" else {"floor": 10}
        with pytest.raises(ValidationError, match="a referrer has referrals only"):
            watched(detector(kind, entity="referrer", types=["order.paid"], **more))


def test_a_referral_that_is_told_again_and_again_takes_no_more_room() -> None:
    """Whoever repeats one under new ids fills nobody's memory, and hides no first order."""
    bench = Bench(watched(RING))
    for nth in range(50):
        refer(bench, "a", "b", event_id=f"first-{nth:02}")
    size = len(bench.books()[b"Ga"])
    for nth in range(50):
        refer(bench, "a", "b", event_id=f"again-{nth:02}")
    assert len(bench.books()[b"Ga"]) == size
    first_order(bench, "a", "b")
    refer(bench, "b", "a")
    assert withheld(bench, "a") == (0, 120)


def test_a_member_of_a_circle_who_was_erased_is_named_no_more() -> None:
    """The others' referrals know what they were suspected of, without the one who is forgotten."""
    bench = Bench(watched(RING))
    for referrer, referee in (("first", "forgotten"), ("forgotten", "last"), ("last", "first")):
        refer(bench, referrer, referee)
    (flag_id,) = {flag["flag_id"] for flag in bench.flags}
    bench.command("review.reject", "first", flag_id=flag_id, reason="looked")
    books = bench.books()
    assert books[b"Glast"].count(b"forgotten") > 1
    bench.command("account.erase", "forgotten")
    suspected = bench.books()[b"Glast"].partition(b"members referred")[2]
    assert b"first, someone erased, last" in suspected
    assert b"forgotten" not in suspected
