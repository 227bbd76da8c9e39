"""Adjusting and clearing by hand, and who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, outcomes, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.book import LOTS_PER_ENTRY, MAX_POINTS

STORE = {"id": "till-4", "role": "store", "store_id": "s1"}
MEMBER = {"id": "m1", "role": "member"}
TWO_WALLETS = [{"id": "points", "expiry": {"days": 30}}, {"id": "growth", "spendable": False}]


def test_adjusting_up_makes_a_lot_of_its_own() -> None:
    """With the wallet's life, or the one that is asked for; the entry says who and why."""
    bench = Bench(programme(wallets=TWO_WALLETS))
    until = rfc3339(START_MS + 2 * DAY_MS)

    usual = bench.adjust(50, reason="goodwill")
    short = bench.adjust(20, expires_at=until, reason="trial", store_id="s1")

    (entry,) = usual.entries
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.adjusted", 50, 50)
    assert (entry["actor_id"], entry["reason"]) == ("clerk", "goodwill")
    assert entry["lots"][0]["expires_at"] == rfc3339(START_MS + 30 * DAY_MS)
    assert short.entries[0]["lots"] == [
        {"lot_id": short.entries[0]["event_id"], "delta": 20, "expires_at": until}
    ]
    bench.later(2)
    assert (bench.available(), bench.wallet().adjusted_up) == (50, 70)


def test_adjusting_up_pays_debt_first() -> None:
    """The entry shows what could be spent of it."""
    bench = Bench(programme(refund_policy="debt"))
    bench.order("o1", 100)
    bench.redeem(80)
    bench.cancel("o1")

    (entry,) = bench.adjust(100).entries

    assert (entry["amount"], entry["delta"], entry["debt_after"]) == (100, 20, 0)
    assert sum(lot["delta"] for lot in entry["lots"]) == 20


def test_adjusting_down_takes_lots_in_the_order_of_spending() -> None:
    """And never more than is there: not what is held, pending or gone."""
    bench = Bench(programme(wallets=TWO_WALLETS))
    bench.order("o1", 100)
    bench.later(1)
    bench.order("o2", 100)
    bench.hold("h1", 30)

    assert bench.adjust(-171).outcome is Outcome.INSUFFICIENT_POINTS
    (entry,) = bench.adjust(-100).entries

    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.adjusted", 100, -100)
    assert [lot["delta"] for lot in entry["lots"]] == [-70, -30]
    assert (bench.available(), bench.wallet().adjusted_down) == (70, 100)


def test_adjusting_what_cannot_be() -> None:
    """A wallet that is not there, a life that is over, more than a wallet can hold."""
    bench = Bench(programme(wallets=TWO_WALLETS, dedup_window="P31D"))
    now = rfc3339(START_MS)

    assert outcomes(
        bench.adjust(1, wallet="gold"),
        bench.adjust(1, expires_at=now),
        bench.adjust(1, occurred_ms=START_MS - 30 * DAY_MS),
        bench.adjust(-1),
        bench.clear(wallet="gold"),
    ) == [
        Outcome.WALLET_UNKNOWN,
        Outcome.EXPIRY_IN_THE_PAST,
        Outcome.EXPIRY_IN_THE_PAST,
        Outcome.INSUFFICIENT_POINTS,
        Outcome.WALLET_UNKNOWN,
    ]
    assert bench.adjust(5, wallet="growth").outcome is Outcome.POINTS_ADJUSTED
    assert bench.adjust(-3, wallet="growth").outcome is Outcome.POINTS_ADJUSTED
    assert bench.wallet(wallet="growth").available == 2


def test_a_wallet_cannot_be_given_more_than_every_reader_can_hold() -> None:
    """By hand and by rules together."""
    bench = Bench()
    for _ in range(MAX_POINTS // 10**15):
        assert bench.adjust(10**15).outcome is Outcome.POINTS_ADJUSTED
    left = MAX_POINTS % 10**15

    assert bench.adjust(left + 1).outcome is Outcome.LIMIT_REACHED
    assert bench.adjust(left - 5).outcome is Outcome.POINTS_ADJUSTED
    assert bench.order("o1", 6).outcome is Outcome.POINTS_OUT_OF_RANGE
    assert bench.order("o2", 5).outcome is Outcome.POINTS_AWARDED


def test_clearing_takes_what_is_available_and_nothing_else() -> None:
    """Held points stay held, other wallets stay, and clearing nothing has no entry."""
    bench = Bench(
        programme(SPEND, rule("spend", id="g", wallet="growth", per_minor=100), wallets=TWO_WALLETS)
    )
    bench.order("o1", 100)
    bench.hold("h1", 30)

    cleared = bench.clear(reason="end of year")
    again = bench.clear()

    (entry,) = cleared.entries
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.cleared", 70, -70)
    assert (entry["held_after"], entry["reason"], entry["actor_id"]) == (30, "end of year", "clerk")
    assert (again.outcome, again.entries) == (Outcome.POINTS_CLEARED, [])
    assert bench.wallet(wallet="growth").available == 100
    bench.void("h1")
    assert (bench.available(), bench.wallet().cleared) == (30, 70)


def test_clearing_leaves_pending_points() -> None:
    """What is not active yet was not there to be cleared."""
    bench = Bench(programme(wallets=[{"id": "points", "activation": {"after": "P1D"}}]))
    bench.order("o1", 100)

    bench.clear()
    bench.later(1)

    assert bench.available() == 100


def test_clearing_very_many_lots_is_split_into_entries() -> None:
    """Each fits into a record."""
    bench = Bench(batch=500)
    for number in range(LOTS_PER_ENTRY + 5):
        bench.order(f"o{number}", 2)

    assert [entry["amount"] for entry in bench.clear().entries] == [2 * LOTS_PER_ENTRY, 10]


def test_a_hold_of_very_many_lots_is_split_into_entries() -> None:
    """When it is made, and when it is freed; the hold itself stays small."""
    bench = Bench(batch=500)
    for number in range(LOTS_PER_ENTRY + 5):
        bench.order(f"o{number}", 2)
    everything = 2 * LOTS_PER_ENTRY + 10

    held, voided = bench.hold("h1", everything), bench.void("h1")

    for decision in (held, voided):
        assert [entry["amount"] for entry in decision.entries] == [2 * LOTS_PER_ENTRY, 10]
    assert bench.available() == everything


COMMANDS: dict[str, dict[str, Any]] = {
    "points.redeem": {"points": 1},
    "points.hold": {"hold_id": "new", "points": 1},
    "points.capture": {"hold_id": "open"},
    "points.void": {"hold_id": "open"},
    "points.adjust": {"points": 1},
    "points.clear": {},
    "account.freeze": {},
    "account.unfreeze": {},
}
SPENDING = {"points.redeem", "points.hold", "points.capture", "points.void"}


@pytest.mark.parametrize("type_", COMMANDS)
def test_each_role_may_do_its_own(type_: str) -> None:
    """Members spend, shops adjust too on their own matters, head office and system do all."""
    spending = type_ in SPENDING
    of_shop = spending or type_ == "points.adjust"
    asked: list[tuple[dict[str, Any], str | None, bool]] = [
        (MEMBER, None, spending),
        ({"id": "m2", "role": "member"}, None, False),
        (STORE, "s1", of_shop),
        (STORE, "s2", False),
        (STORE, None, False),
        ({"id": "till-4", "role": "store"}, None, False),
        ({"id": "boss", "role": "head_office"}, "s2", True),
        ({"id": "job", "role": "system"}, None, True),
    ]
    for actor, store_id, allowed in asked:
        bench = Bench()
        bench.order("o1", 100)
        bench.hold("open", 10)
        before = bench.books()
        where = {} if store_id is None else {"store_id": store_id}

        decision = bench.command(type_, actor=actor, event_id="c1", **COMMANDS[type_], **where)

        assert (decision.outcome is not Outcome.NOT_PERMITTED) == allowed, (actor, store_id)
        if allowed:
            assert all(entry["actor_id"] == actor["id"] for entry in decision.entries)
        else:
            after = bench.books()
            del after[b"Mm1\0c1"]
            assert after == before


def test_a_shop_cannot_end_another_shops_hold() -> None:
    """One that no shop made can be ended by any, and head office ends all."""
    bench = Bench()
    bench.order("o1", 100)
    bench.hold("theirs", 10, store_id="s2")
    bench.hold("ours", 10, store_id="s1", actor=STORE)
    bench.hold("online", 10, actor=MEMBER)

    for end in (bench.capture, bench.void):
        theirs = end("theirs", actor=STORE, store_id="s1")
        assert theirs.outcome is Outcome.NOT_PERMITTED
    assert bench.capture("ours", actor=STORE, store_id="s1").outcome is Outcome.POINTS_CAPTURED
    assert bench.capture("online", actor=STORE, store_id="s1").outcome is Outcome.POINTS_CAPTURED
    assert bench.void("theirs").outcome is Outcome.POINTS_VOIDED


def test_one_adjustment_moves_no_more_than_its_role_may() -> None:
    """Up or down; a role that the programme does not name has no limit."""
    bench = Bench(programme(adjust_limits={"store": 100, "head_office": 1_000}))
    ours = {"actor": STORE, "store_id": "s1"}

    assert outcomes(
        bench.adjust(100, **ours),
        bench.adjust(101, **ours),
        bench.adjust(-101, **ours),
        bench.adjust(1_000),
        bench.adjust(1_001),
        bench.adjust(5_000, actor={"id": "job", "role": "system"}),
    ) == [
        Outcome.POINTS_ADJUSTED,
        Outcome.NOT_PERMITTED,
        Outcome.NOT_PERMITTED,
        Outcome.POINTS_ADJUSTED,
        Outcome.NOT_PERMITTED,
        Outcome.POINTS_ADJUSTED,
    ]
