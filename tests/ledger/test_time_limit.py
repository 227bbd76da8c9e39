"""Flags on which nobody decides: released by themselves, where the detector set says so."""

from __future__ import annotations

from typing import Any

import pytest
from flags_support import review
from ledger_support import DAY_MS, START_MS, Bench
from watch_support import OFTEN, detector, watched

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome

FARM = detector(
    "distinct", id="farm", entity="device", of="member", limit=2, within="P1D", action="hold"
)


def flagged(release_after: str = "P30D", **fields: Any) -> Bench:
    """m1 has checked in once too often, for 5 points each time."""
    bench = Bench(watched({**OFTEN, "limit": 2, **fields}, release_after=release_after))
    for _ in range(3):
        bench.check_in()
    return bench


def where(bench: Bench, member: str = "m1") -> tuple[int, int]:
    """What can be spent, and what is kept back."""
    wallet = bench.wallet(member)
    return wallet.available, wallet.pending + wallet.held


@pytest.mark.case(39)
def test_a_flag_that_nobody_decides_on_is_released_in_its_time() -> None:
    """Once, dated when it was due, by an actor that says so; not a millisecond before."""
    bench = flagged()
    bench.tick(START_MS + 30 * DAY_MS - 1)
    assert where(bench) == (0, 15)
    assert bench.flags[-1]["state"] == "raised"

    bench.tick(START_MS + 45 * DAY_MS)

    assert where(bench) == (15, 0)
    ended = bench.flags[-1]
    assert ended["state"] == "released"
    assert ended["occurred_at"] == rfc3339(START_MS + 30 * DAY_MS)
    assert ended["explanation"].startswith("time limit (system) releases: nobody has decided. ")
    freed = [entry for entry in bench.entries if entry["recorded_at"] == ended["occurred_at"]]
    assert {entry["type"] for entry in freed} == {"points.activated", "points.voided"}
    assert {(entry["actor_id"], entry["reason"]) for entry in freed} == {
        ("time limit", "nobody has decided")
    }
    again = review(bench, "reject", ended["flag_id"])
    assert again.outcome is Outcome.FLAG_ALREADY_RELEASED
    assert where(bench) == (15, 0)


def test_without_a_limit_it_waits_on() -> None:
    """As it always did."""
    bench = flagged("PT0S")
    bench.later(500)
    assert where(bench) == (0, 15)


@pytest.mark.case(39)
@pytest.mark.parametrize("how", ["release", "reject"])
def test_a_flag_that_was_decided_on_ends_no_second_time(how: str) -> None:
    """The timer finds nothing."""
    bench = flagged()
    review(bench, how, bench.flags[-1]["flag_id"])
    left, told = where(bench), len(bench.flags)
    bench.later(60)
    assert (where(bench), len(bench.flags)) == (left, told)


def test_what_joins_a_flag_gives_it_no_more_time() -> None:
    """Counted from when it was raised; who goes on could keep it open for ever."""
    bench = flagged(within="PT24H")
    for _ in range(3):
        bench.later(ms=1_000)
        bench.check_in()
    bench.tick(START_MS + 30 * DAY_MS)
    assert [flag["state"] for flag in bench.flags][-1] == "released"
    assert where(bench) == (30, 0)


def test_an_account_that_a_flag_froze_is_unfrozen() -> None:
    """As by any release."""
    bench = flagged(action="block")
    assert bench.account().frozen
    bench.later(30)
    assert not bench.account().frozen
    assert where(bench) == (15, 0)


@pytest.mark.case(35)
def test_a_flag_about_a_device_is_released_for_all_of_its_members() -> None:
    """Its owner tells them."""
    bench = Bench(watched(FARM, release_after="P7D"))
    for nth in range(3):
        bench.order(f"o{nth}", 10, f"m{nth}", device_id="D")
    assert [where(bench, f"m{nth}") for nth in range(3)] == [(0, 10)] * 3
    bench.later(7)
    assert [where(bench, f"m{nth}") for nth in range(3)] == [(10, 0)] * 3
    assert bench.flags[-1]["state"] == "released"


@pytest.mark.case(32)
def test_the_limit_moves_with_a_merge() -> None:
    """The survivor owns the flag, and its time is the same."""
    bench = flagged()
    bench.order("o", 1, "m2")
    bench.later(10)
    bench.command("account.merge", "m1", into_member_id="m2")
    assert where(bench, "m2") == (1, 15)
    bench.tick(START_MS + 30 * DAY_MS - 1)
    assert where(bench, "m2") == (1, 15)
    bench.later(ms=1)
    assert where(bench, "m2") == (16, 0)
    assert bench.flags[-1]["state"] == "released"
