"""Frozen accounts earn and keep, and spend nothing."""

from __future__ import annotations

import pytest
from ledger_support import DAY_MS, SPEND, Bench, outcomes, programme, rule

from pointstream.ledger import Outcome


def wallets(days: int = 30, pending: str = "P0D") -> list[dict[str, object]]:
    return [{"id": "points", "activation": {"after": pending}, "expiry": {"days": days}}]


@pytest.mark.case(31)
def test_a_frozen_account_earns_and_spends_nothing() -> None:
    """What it earns is kept pending; it cannot redeem, hold or capture."""
    bench = Bench()
    bench.order("o1", 100)
    bench.hold("h1", 30)

    assert bench.freeze().outcome is Outcome.FROZEN
    earned = bench.order("o2", 50)

    assert earned.entries[0]["type"] == "points.pending"
    assert (earned.entries[0]["delta"], earned.entries[0]["pending_after"]) == (0, 50)
    assert (
        outcomes(bench.redeem(1), bench.hold("h2", 1), bench.capture("h1"))
        == [Outcome.ACCOUNT_FROZEN] * 3
    )
    standing = bench.standings[-1]
    assert standing.crm_sync["status"] == standing.mall_sync["status"] == "frozen"
    assert (standing.crm_sync["available"], standing.crm_sync["pending"]) == (70, 50)


@pytest.mark.case(31)
def test_unfrozen_it_gets_what_was_kept() -> None:
    """At once, in one entry that says who and why; then it spends as before."""
    bench = Bench()
    bench.freeze()
    bench.order("o1", 50)
    bench.check_in()
    bench.order("o2", 30)
    bench.later(3)
    assert bench.available() == 0

    decision = bench.unfreeze(reason="settled")

    (entry,) = decision.entries
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.activated", 80, 80)
    assert (entry["actor_id"], entry["reason"]) == ("clerk", "settled")
    assert len(entry["lots"]) == 2
    assert bench.standings[-1].crm_sync["status"] == "active"
    assert bench.redeem(80).outcome is Outcome.POINTS_REDEEMED


@pytest.mark.case(31)
def test_points_that_wait_anyway_wait_for_both() -> None:
    """Due while frozen: at the unfreezing. Due later: at their own time."""
    bench = Bench(programme(wallets=wallets(pending="P2D")))
    bench.order("early", 10)
    bench.later(1)
    bench.freeze()
    bench.order("late", 20)
    assert bench.later(1.5) == []

    assert [entry["amount"] for entry in bench.unfreeze().entries] == [10]
    (decision,) = bench.later(1)

    assert [(e["type"], e["amount"]) for e in decision.entries] == [("points.activated", 20)]


def test_points_go_on_expiring_while_an_account_is_frozen() -> None:
    """Those that were there in time; those that were kept go when they become active."""
    bench = Bench(programme(wallets=wallets(days=2)))
    bench.order("o1", 10)
    bench.freeze()
    bench.order("o2", 20)
    bench.later(1)
    bench.order("o3", 30)

    (decision,) = bench.later(1)
    assert [(e["type"], e["amount"]) for e in decision.entries] == [("points.expired", 10)]
    assert bench.wallet().pending == 50
    unfrozen = bench.unfreeze()

    assert [(e["type"], e["amount"]) for e in unfrozen.entries] == [
        ("points.activated", 50),
        ("points.expired", 20),
    ]
    assert bench.available() == 30
    (decision,) = bench.later(1)
    assert bench.available() == 0


def test_all_wallets_get_what_was_kept() -> None:
    """Also one that cannot be spent from."""
    bench = Bench(
        programme(
            SPEND,
            rule("spend", id="g", wallet="growth", per_minor=100),
            wallets=[{"id": "points"}, {"id": "growth", "spendable": False}],
        )
    )
    bench.freeze()
    bench.order("o1", 10)

    assert [entry["wallet"] for entry in bench.unfreeze().entries] == ["points", "growth"]


@pytest.mark.parametrize("policy", ["only_pending", "within_balance", "debt"])
def test_a_refund_takes_back_what_is_kept(policy: str) -> None:
    """The order's own lot, though it waits past its time: nothing is written off or owed."""
    bench = Bench(programme(refund_policy=policy))
    bench.order("before", 100)
    bench.freeze()
    bench.order("o1", 50)
    bench.later(1)

    bench.refund("o1", "r1", 20)
    bench.unfreeze()

    totals = bench.wallet()
    assert (totals.available, totals.reversed) == (130, 20)
    assert (totals.debt, totals.written_off) == (0, 0)


def test_what_was_held_can_be_voided_while_frozen() -> None:
    """By hand or by time: nothing is spent by it."""
    bench = Bench()
    bench.order("o1", 100)
    bench.hold("h1", 30)
    bench.hold("h2", 30)
    bench.freeze()

    assert bench.void("h1").outcome is Outcome.POINTS_VOIDED
    (decision,) = bench.later(1)

    assert decision.outcome is Outcome.HOLD_TIMED_OUT
    assert bench.available() == 100


def test_an_account_is_frozen_once_and_unfrozen_once() -> None:
    """The second time there is nothing to do, and the answer says so. No point moves."""
    bench = Bench()

    assert outcomes(bench.unfreeze(), bench.freeze(), bench.freeze(), bench.unfreeze()) == [
        Outcome.ACCOUNT_NOT_FROZEN,
        Outcome.FROZEN,
        Outcome.ACCOUNT_FROZEN,
        Outcome.UNFROZEN,
    ]
    assert not bench.entries
    assert bench.standings[-1].crm_sync["seq"] == 0


def test_a_frozen_account_rings_no_timer_for_what_it_keeps() -> None:
    """However long it is frozen: what waits for a command is not asked for again and again."""
    bench = Bench(programme(wallets=wallets(days=0)))
    bench.freeze()
    bench.order("o1", 50)
    before = bench.books()

    bench.tick(bench.now_ms + 400 * DAY_MS)

    assert bench.books() == before
    assert not [key for key in before if key[:1] == b"t"]


@pytest.mark.case(31)
def test_points_that_were_over_on_arrival_are_not_kept() -> None:
    """A frozen account earns and loses them at once like any other; they pay no debt, ever."""
    bench = Bench(programme(wallets=wallets(days=3), refund_policy="debt"))
    bench.order("spent", 100)
    bench.redeem(100)
    bench.cancel("spent")
    bench.freeze()

    decision = bench.order("late", 40, occurred_ms=bench.now_ms - 5 * DAY_MS)

    assert [(e["type"], e["amount"], e["delta"]) for e in decision.entries] == [
        ("points.earned", 40, 0),
        ("points.expired", 40, 0),
    ]
    assert bench.wallet().pending == 0
    assert bench.unfreeze().entries == []
    assert bench.wallet().debt == 100
    assert bench.cancel("late").entries == []


@pytest.mark.case(31)
def test_what_was_kept_and_expired_meanwhile_pays_debt_before_it_goes() -> None:
    """It would have, had it not been kept; the lots say what left them for the debt."""
    bench = Bench(programme(wallets=wallets(days=2), refund_policy="debt"))
    bench.order("spent", 30)
    bench.redeem(30)
    bench.cancel("spent")
    bench.freeze()
    earned = bench.order("kept", 50)
    lot_id = earned.entries[0]["lots"][0]["lot_id"]
    bench.later(3)

    activated, expired = bench.unfreeze().entries

    assert (activated["amount"], activated["delta"], activated["debt_after"]) == (50, 20, 0)
    assert [(lot["lot_id"], lot["delta"]) for lot in activated["lots"]] == [(lot_id, -30)]
    assert (expired["type"], expired["amount"]) == ("points.expired", 20)
    assert [(lot["lot_id"], lot["delta"]) for lot in expired["lots"]] == [(lot_id, -20)]
    assert bench.cancel("kept").entries[0]["debt_after"] == 30


def test_what_was_never_to_become_active_is_no_balance_when_unfrozen() -> None:
    """It would have expired before its activation: it pays no debt, and goes with the command."""
    bench = Bench(programme(wallets=wallets(days=2, pending="P3D"), refund_policy="debt"))
    bench.adjust(10)
    bench.order("o1", 30)
    bench.freeze()
    bench.later(4)
    assert bench.wallet().pending == 30

    activated, expired = bench.unfreeze().entries

    assert [(e["type"], e["amount"], e["delta"]) for e in (activated, expired)] == [
        ("points.activated", 30, 0),
        ("points.expired", 30, 0),
    ]
    assert expired["cause_event_id"] == activated["cause_event_id"]
    assert expired["actor_id"] == "clerk"
    assert bench.cancel("o1").entries == []
