"""Flags whose detector does more, or less, when the next event joins them."""

from __future__ import annotations

import pytest
from flags_support import flagging, review, suspicion
from ledger_support import Bench
from watch_support import watched

from pointstream.contracts.vocabulary import EntityKind, FlagAction

HELD = {"entity": "device", "id": "D", "action": "hold"}
FLAGGED = {"entity": "ip", "id": "203.0.113.9", "action": "flag"}
BLOCKED = {"entity": "store", "id": "S", "action": "block"}


def suspicious() -> Bench:
    """Entities that one flag is about, each with another action."""
    return Bench(watched(deny=[HELD, FLAGGED, BLOCKED]))


@pytest.mark.parametrize(("how", "available", "reversed_"), [("release", 10, 0), ("reject", 0, 10)])
def test_what_a_flag_holds_ends_with_it_although_the_last_event_holds_nothing(
    how: str, available: int, reversed_: int
) -> None:
    """A flag that did hold points never forgets it: they would stay under review for ever."""
    bench = suspicious()
    bench.check_in(device_id="D")
    bench.check_in(ip=FLAGGED["id"])
    assert [flag["action"] for flag in bench.flags] == ["hold"] * len(bench.flags)
    review(bench, how, bench.flags[0]["flag_id"])
    totals = bench.wallet()
    assert (totals.available, totals.pending, totals.held) == (available, 0, 0)
    assert totals.reversed == reversed_


def test_a_flag_that_begins_to_hold_holds_what_it_has_already() -> None:
    """Its rejection takes all of its evidence: none of it is to be spent before."""
    bench = suspicious()
    bench.check_in(ip=FLAGGED["id"])
    assert bench.available() == 5
    bench.check_in(device_id="D")
    totals = bench.wallet()
    assert (totals.available, totals.pending, totals.held) == (0, 5, 5)
    assert bench.flags[-1]["action"] == "hold"
    review(bench, "release", bench.flags[0]["flag_id"])
    assert bench.available() == 10


def test_a_flag_that_has_blocked_an_account_unblocks_it_although_it_only_holds_since() -> None:
    """The account would stay frozen with no flag to say why."""
    bench = suspicious()
    bench.check_in(store_id="S")
    bench.check_in(device_id="D")
    assert bench.account().frozen
    review(bench, "release", bench.flags[0]["flag_id"])
    assert not bench.account().frozen
    assert bench.available() == 10


def test_shares_of_merged_members_in_one_flag_hold_what_either_held() -> None:
    """The survivor answers for both, by whatever does more."""
    device = {"entity_kind": EntityKind.DEVICE, "entity_id": "D"}
    only_said = suspicion(events=(("m2", "e2"),), members=("m2",), action=FlagAction.FLAG, **device)
    held = suspicion(events=(("m1", "e1"),), members=("m1",), **device)
    bench = flagging({"e2": only_said, "e1": held})
    bench.order("o2", 20, "m2", event_id="e2")
    bench.order("o1", 10, "m1", event_id="e1")
    assert bench.wallet().held == 10
    bench.command("account.merge", "m2", into_member_id="m1")
    review(bench, "reject", bench.flags[0]["flag_id"])
    totals = bench.wallet()
    assert (totals.available, totals.held, totals.reversed) == (0, 0, 30)
