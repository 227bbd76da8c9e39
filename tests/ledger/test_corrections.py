"""Adjusting and clearing by hand, and who may do what."""

from __future__ import annotations

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
