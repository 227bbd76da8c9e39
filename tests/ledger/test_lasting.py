"""What is right a year later: ids that came round again, refunds and payments of old orders."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import SPEND, Bench, outcomes, programme, rule

from pointstream.contracts.vocabulary import MovementType
from pointstream.ledger import Outcome, StateCorrupt
from pointstream.ledger.cause import Cause
from pointstream.ledger.errors import BooksDisagree
from pointstream.ledger.memory import SWEEP_EVERY
from pointstream.ledger.orders import MAX_REFUNDS

swept_or_not = pytest.mark.parametrize("swept", [False, True])


def sweep(bench: Bench) -> None:
    """Let the sweep go all the way round, as it does when many events have come."""
    for ledger in bench.ledgers:
        ledger._memory.new = SWEEP_EVERY
    for member in ("other", "another", "third"):  # in every partition, if there are several
        bench.order(f"sweeps-{bench.now_ms}", 1, member=member)


def test_id_used_again_when_it_is_forgotten_makes_entries_and_lots_of_its_own() -> None:
    """The second entry has another id, and its lot stands beside the first one."""
    bench = Bench(programme(rule("check_in", points=2), dedup_window="P30D"))
    bench.check_in(event_id="e1")
    bench.later(31)
    bench.check_in(event_id="e1")

    assert len({entry["event_id"] for entry in bench.entries}) == 2
    assert list(bench.lots().values()) == [2, 2]
    assert bench.redeem(4).outcome is Outcome.POINTS_REDEEMED


def test_lot_is_never_written_over_another() -> None:
    """Points would be gone and nobody would know: the partition stops instead."""
    bench = Bench()
    bench.order("o1", 100, event_id="e1")
    occurred_ms = bench.now_ms
    for key in [key for key in bench.state.values if key[:1] in b"aMO"]:
        bench.state.delete(key)
    bench.restart()

    with pytest.raises(StateCorrupt, match="already"):
        bench.order("o1", 70, event_id="e1", occurred_ms=occurred_ms)


@pytest.mark.parametrize("told", [0, 5])
def test_balance_that_drifts_from_lots_or_entries_stops_the_partition(told: int) -> None:
    """The sums of the account balance by themselves here: only what lots and entries say is off."""
    bench = Bench()
    bench.order("o1", 100)
    bench.ledger.open(bench.state)
    book = bench.ledger._book
    account = book.account("m1", b"m1")
    totals = book.totals(account, "points")
    totals.earned += 5
    totals.available += 5
    cause = Cause.timer(b"m1", "timer.test", bench.now_ms)
    book.emit(account, "points", totals, MovementType.EARNED, 5, told, cause, [])

    with pytest.raises(BooksDisagree):
        book.check()


@pytest.mark.case(15)
def test_refund_counts_once_as_long_as_its_order_is_remembered() -> None:
    """Each refund prolongs the order, so it prolongs what is known of earlier refunds."""
    bench = Bench()
    bench.order("o1", 100)
    bench.later(10)
    bench.refund("o1", "r1", 30, event_id="a")
    bench.later(380)
    bench.refund("o1", "r2", 10)
    bench.later(25)
    bench.flush()

    again = bench.refund("o1", "r1", 30, event_id="b")

    assert again.outcome is Outcome.REFUND_ALREADY_TAKEN
    assert bench.moved("reversed") == [30, 10]
    assert bench.available() == 60


def test_order_record_is_bounded_however_many_refunds_come() -> None:
    """Past the bound a refund is a dead letter, and the order's record still fits into Kafka."""
    bench = Bench(batch=100)
    bench.order("o1", 100)
    for number in range(MAX_REFUNDS):
        bench.give("order.refunded", order_id="o1", refund_id=f"r{number}", refunded_minor=1)

    more = bench.give("order.refunded", order_id="o1", refund_id="more", refunded_minor=1)

    assert more.outcome is Outcome.REFUND_EXCEEDS_ORDER
    assert max(len(value) for value in bench.books().values()) < 100_000


@pytest.mark.case(13)
@swept_or_not
def test_points_that_expired_are_not_asked_for_a_year_later(swept: bool) -> None:
    """What expired is known as long as the order is, whenever the sweep came by."""
    bench = Bench(programme(SPEND, wallets=[{"id": "points", "expiry": {"days": 30}}]))
    bench.order("o1", 100)
    bench.later(31)
    bench.later(350)
    bench.refund("o1", "r1", 10)
    bench.later(60)
    if swept:
        sweep(bench)
    bench.order("o2", 200)

    decision = bench.refund("o1", "r2", 90)

    assert decision.outcome is Outcome.ORDER_REFUNDED
    assert not decision.entries
    assert bench.available() == 200


@pytest.mark.case(12)
@swept_or_not
def test_payment_comes_back_as_long_as_its_order_is_remembered(swept: bool) -> None:
    """A refund prolongs the order, and with it what is known of the points that paid for it."""
    bench = Bench()
    bench.order("o1", 100)
    bench.redeem(50, order_id="c")
    bench.order("c", 1_000)
    bench.later(399)
    bench.refund("c", "r1", 1)
    bench.later(60)
    if swept:
        sweep(bench)

    bench.cancel("c")

    assert bench.moved("restored") == [50]


@swept_or_not
def test_payment_that_was_over_when_the_order_came_stays_gone(swept: bool) -> None:
    """No order came in its time, so it belongs to none, swept or not."""
    bench = Bench()
    bench.order("o1", 100)
    bench.redeem(50, order_id="c")
    bench.later(401)
    if swept:
        sweep(bench)
    bench.order("c", 10)

    bench.cancel("c")

    assert bench.moved("restored") == []


def sales(bench: Bench, number: int) -> None:
    for sale in range(number):
        fields: dict[str, Any] = {"activity": "sale.closed", "reference": f"receipt-{sale:07}"}
        bench.give("activity.recorded", store_id="sh-017", **fields)


@pytest.mark.case(12)
def test_payment_of_many_lots_is_kept_in_parts_and_comes_back_whole() -> None:
    """No value of the state outgrows a record; what was taken last comes back first."""
    bench = Bench(programme(rule("activity", activity="sale.closed", points=3)), batch=500)
    sales(bench, 1_201)
    before = bench.lots()
    bench.order("c", 100)
    bench.redeem(3 * 1_201 - 1, order_id="c")

    assert max(len(value) for value in bench.books().values()) < 100_000
    bench.refund("c", "r1", 1)
    assert sum(bench.moved("restored")) == 36
    assert list(bench.lots().values())[-12:] == [3] * 12
    bench.cancel("c")

    assert bench.lots() == before
    assert sum(bench.moved("restored")) == 3 * 1_201 - 1


def test_a_longer_window_makes_nothing_count_twice() -> None:
    """What was taken before is forgotten as it was to be: until then it is too old as well."""
    short: dict[str, Any] = {"dedup_window": "P4D", "refund_window": "P6D"}
    bench = Bench(programme(**short))
    at_ms = bench.now_ms
    bench.order("o1", 100, event_id="e1", occurred_ms=at_ms)
    bench.redeem(10, event_id="c1", occurred_ms=at_ms)
    bench.later(days=3)
    bench.programme = programme(dedup_window="P30D", refund_window="P60D")
    bench.restart()
    bench.order("o2", 1, event_id="e2", occurred_ms=bench.now_ms - 1)
    bench.later(days=2)
    bench.restart()

    redeemed = bench.redeem(10, event_id="c1", occurred_ms=at_ms)
    bench.later(days=2)
    ordered = bench.order("o1", 100, event_id="e3", occurred_ms=at_ms)

    assert outcomes(redeemed, ordered) == [Outcome.TOO_OLD, Outcome.TOO_OLD]
    assert bench.available() == 91
    # What comes from then on has the longer windows.
    asked_ms = bench.now_ms
    bench.redeem(10, event_id="c2", occurred_ms=asked_ms)
    bench.later(days=20)
    again = bench.redeem(10, event_id="c2", occurred_ms=asked_ms)
    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    late = bench.order("o3", 5, event_id="e5", occurred_ms=asked_ms)
    assert late.outcome is Outcome.POINTS_AWARDED


@pytest.mark.parametrize("kind", ["lifetime", "calendar", "rolling"])
def test_what_a_tier_measures_never_outgrows_a_record(kind: str) -> None:
    """Orders of the largest sums, without end: they are taken, and the member stays at the top."""
    window = {"kind": kind, **({"days": 30} if kind == "rolling" else {})}
    tiers = [{"id": "base", "threshold": 0}, {"id": "top", "threshold": 500}]
    ladder = {"id": "money", "qualified_by": "money", "window": window, "tiers": tiers}
    bench = Bench(programme(ladders=[ladder]), batch=1_000)
    line = {"line_id": "1", "quantity": 1, "paid_minor": 10**15, "earns": False}

    for number in range(20):
        bench.order(f"o{number}", 10**13, lines=[line])
        bench.later(days=number % 2)

    rank = bench.account().tiers["money"]
    assert rank.tier == "top"
    assert max(rank.amount, *(amount for _, amount in rank.periods), 0) <= 2**53
    bench.later(days=90)


def test_points_that_come_back_are_not_redeemed_beyond_all_numbers() -> None:
    """Spent on orders that are returned, the same points are spent again, but not for ever."""
    bench = Bench(batch=100)
    for _ in range(5):
        bench.adjust(10**15)
    last = None
    for number in range(12):
        last = bench.redeem(10**15, order_id=f"o{number}")
        bench.order(f"o{number}", 1)
        bench.cancel(f"o{number}")

    assert last is not None
    assert last.outcome is Outcome.LIMIT_REACHED
    assert bench.wallet().redeemed == 9 * 10**15
