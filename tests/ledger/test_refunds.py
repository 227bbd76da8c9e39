"""Refunds, cancellations, parked ones, and points that paid for what is returned."""

from __future__ import annotations

from itertools import permutations

import pytest
from ledger_support import SPEND, Bench, programme, rule

from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger import Outcome

BONUS = rule("order_bonus", points=50, min_minor=30_000)


@pytest.mark.case(3)
def test_refund_before_its_order_is_parked_and_netted() -> None:
    """The order's award and the waiting refund's reversal come together."""
    bench = Bench()
    parked = bench.refund("o1", "r1", 30)
    assert parked.outcome is Outcome.PARKED_UNTIL_ORDER
    assert not parked.entries
    bench.later(6)
    bench.restart()

    order = bench.order("o1", 100)

    assert [(e["type"], e["amount"]) for e in order.entries] == [
        ("points.earned", 100),
        ("points.reversed", 30),
    ]
    assert order.entries[1]["cause_type"] == "order.refunded"
    assert bench.available() == 70
    assert not bench.later(10), "the refund waits no longer"


@pytest.mark.case(3)
def test_refund_whose_order_never_comes_is_a_dead_letter_with_its_bytes() -> None:
    """At the end of the park window the raw record comes out as it went in."""
    bench = Bench()
    # Kafka tells a header without a value from one whose value is empty.
    headers = [("trace", b"t-1"), ("none", None), ("empty", b"")]
    bench.headers = headers
    bench.refund("o1", "r1", 30, event_id="e")
    assert not bench.later(7, ms=-1)

    (decision,) = bench.later(ms=1)

    assert decision.outcome is Outcome.ORDER_NEVER_CAME
    (letter,) = decision.dead_letters
    assert letter.code is DeadLetterCode.REFUND_WITHOUT_ORDER
    assert letter.source.key == b"m1"
    assert letter.source.offset == 0
    assert letter.source.value is not None
    assert b'"refund_id":"r1"' in letter.source.value
    assert letter.source.headers == headers
    assert not any(key[:1] in b"pMt" for key in bench.books()), "nothing is left of it"


@pytest.mark.case(3)
def test_dead_lettered_refund_counts_when_it_is_given_again() -> None:
    """Whoever repairs the stream gives the same records again, in the right order."""
    bench = Bench()
    asked_ms = bench.now_ms
    bench.refund("o1", "r1", 30, event_id="e")
    bench.later(8)
    bench.order("o1", 100)

    again = bench.refund("o1", "r1", 30, event_id="e", occurred_ms=asked_ms)

    assert again.outcome is Outcome.ORDER_REFUNDED
    assert bench.available() == 70


@pytest.mark.case(4)
@pytest.mark.parametrize("arrival", list(permutations(["order", "refund 30", "refund 70"])))
def test_order_and_its_refunds_come_to_nothing_in_every_order(arrival: tuple[str, ...]) -> None:
    """Whatever arrives first, an order refunded whole leaves 0 points."""
    bench = Bench()
    for name in arrival:
        if name == "order":
            bench.order("o1", 100)
        else:
            bench.refund("o1", name, int(name.split()[1]))

    totals = bench.wallet()
    assert (totals.available, totals.earned, totals.reversed) == (0, 100, 100)


@pytest.mark.case(6)
def test_refunds_round_over_the_whole_order() -> None:
    """Four refunds of 5.00 out of 20.00 at 1 point per 10.00 take 1, 0, 1 and 0."""
    bench = Bench(programme(rule("spend", points=1, per_minor=1_000)))
    bench.order("o1", 20)

    reversed_points = [
        sum(e["amount"] for e in bench.refund("o1", f"r{n}", 5).entries) for n in range(4)
    ]

    assert reversed_points == [1, 0, 1, 0]


@pytest.mark.case(7)
def test_refunds_above_the_order_are_refused() -> None:
    """The refund that would exceed the money is a dead letter and changes nothing."""
    bench = Bench()
    bench.order("o1", 100)
    bench.refund("o1", "r1", 60)
    before = bench.books()

    too_much = bench.refund("o1", "r2", 41)

    assert too_much.dead_letters[0].code is DeadLetterCode.REFUND_EXCEEDS_ORDER
    assert bench.books() == before
    assert bench.refund("o1", "r3", 40).outcome is Outcome.ORDER_REFUNDED
    assert bench.wallet().reversed == 100


@pytest.mark.case(7)
def test_parked_refunds_above_the_order_are_refused_when_it_comes() -> None:
    """Each of several that do not fit comes out by itself."""
    bench = Bench()
    bench.refund("o1", "r1", 60)
    bench.refund("o1", "r2", 41)
    bench.refund("o1", "r3", 99)

    order = bench.order("o1", 100)

    assert [letter.source.offset for letter in order.dead_letters] == [1, 2]
    assert {letter.code for letter in order.dead_letters} == {DeadLetterCode.REFUND_EXCEEDS_ORDER}
    assert bench.available() == 40
    # They were not taken, so given again they are looked at again.
    assert bench.refund("o1", "r2", 41, event_id="e2").outcome is Outcome.REFUND_EXCEEDS_ORDER


@pytest.mark.case(8)
def test_bonus_goes_when_the_order_no_longer_qualifies() -> None:
    """50.00 back of 300.00: 50 of the base and the whole bonus of 50."""
    bench = Bench(programme(SPEND, BONUS))
    bench.order("o1", 300)
    assert bench.available() == 350

    bench.refund("o1", "r1", 50)

    assert [(e["rule_id"], e["amount"]) for e in bench.entries[2:]] == [
        ("spend", 50),
        ("order_bonus", 50),
    ]
    assert bench.available() == 250


@pytest.mark.case(8)
def test_bonus_stays_where_its_rule_says_so() -> None:
    """With keep_on_refund only the base goes."""
    bench = Bench(programme(SPEND, {**BONUS, "keep_on_refund": True}))
    bench.order("o1", 300)
    bench.refund("o1", "r1", 50)

    assert bench.available() == 300


@pytest.mark.case(10)
@pytest.mark.parametrize(
    ("policy", "left", "written_off", "debt", "amount"),
    [("only_pending", 20, 100, 0, 0), ("within_balance", 0, 80, 0, 20), ("debt", 0, 0, 80, 100)],
)
def test_refund_of_spent_points_follows_the_policy(
    policy: str, left: int, written_off: int, debt: int, amount: int
) -> None:
    """Earn 100, spend 80, refund all; the entry shows what really moved."""
    bench = Bench(programme(refund_policy=policy))
    bench.order("o1", 100)
    bench.redeem(80)

    (entry,) = bench.refund("o1", "r1", 100).entries

    totals = bench.wallet()
    assert (totals.available, totals.debt, totals.written_off) == (left, debt, written_off)
    assert (entry["amount"], entry["delta"]) == (amount, left - 20)
    assert (entry["written_off"], entry["debt_after"]) == (written_off, debt)
    assert "due" not in entry, "due tells of caps and budgets alone"


@pytest.mark.case(8)
@pytest.mark.case(15)
@pytest.mark.parametrize("policy", ["only_pending", "within_balance", "debt"])
def test_bonus_that_stays_goes_when_the_whole_order_does(policy: str) -> None:
    """keep_on_refund is for orders of which something is left: no money, no points."""
    bench = Bench(
        programme(
            SPEND,
            {**BONUS, "keep_on_refund": True},
            refund_policy=policy,
            wallets=[{"id": "points", "activation": {"after": "P7D"}}],
        )
    )
    for number in range(10):
        bench.order(f"o{number}", 300)
        if number % 2:
            bench.refund(f"o{number}", "r1", 100)
            assert bench.wallet().pending == 250
            bench.refund(f"o{number}", "r2", 200)
        else:
            bench.cancel(f"o{number}")

    totals = bench.wallet()
    assert (totals.pending, totals.available, totals.reversed) == (0, 0, 3_500)


@pytest.mark.case(10)
def test_later_credits_pay_off_debt_first() -> None:
    """50 earned on a debt of 80 leave 30 of debt and nothing to spend."""
    bench = Bench(programme(refund_policy="debt"))
    bench.order("o1", 100)
    bench.redeem(80)
    bench.refund("o1", "r1", 100)

    (entry,) = bench.order("o2", 50).entries

    assert (entry["amount"], entry["delta"], entry["debt_after"]) == (50, 0, 30)
    assert bench.redeem(1).outcome is Outcome.INSUFFICIENT_POINTS
    (entry,) = bench.order("o3", 40).entries
    assert (entry["amount"], entry["delta"], entry["debt_after"]) == (40, 10, 0)
    assert [lot["delta"] for lot in entry["lots"]] == [10]
    assert bench.available() == 10


@pytest.mark.case(11)
def test_refund_takes_the_orders_own_lot() -> None:
    """B is refunded: A's lot is untouched, although it would be spent first."""
    bench = Bench()
    a = bench.order("a", 100).entries[0]["lots"][0]["lot_id"]
    bench.order("b", 60)

    bench.refund("b", "r1", 60)

    assert bench.lots() == {a: 100}


@pytest.mark.case(11)
def test_all_lots_of_the_order_go_before_any_other() -> None:
    """The base of B is spent: its bonus gives what is asked back, not C, which expires first."""
    bench = Bench(programme(SPEND, BONUS, wallets=[{"id": "points", "expiry": {"days": 30}}]))
    base, bonus = (e["lots"][0]["lot_id"] for e in bench.order("b", 400).entries)
    bench.redeem(400)
    c = bench.order("c", 100, occurred_ms=bench.now_ms - 1_000).entries[0]["lots"][0]["lot_id"]
    assert base not in bench.lots()

    bench.refund("b", "r1", 10)

    assert bench.lots() == {c: 100, bonus: 40}


@pytest.mark.case(12)
def test_points_that_paid_for_a_returned_order_are_back_once() -> None:
    """Same lots, same expiries; the second return of the order gives nothing more."""
    bench = Bench(
        programme(wallets=[{"id": "points", "expiry": {"days": 60}}], refund_window="P400D")
    )
    bench.order("a", 100)
    bench.later(10)
    bench.order("b", 50)
    lots = bench.lots()
    horizon = bench.wallet().horizon
    bench.redeem(120, order_id="c")
    bench.order("c", 10, points_paid=120)

    back = bench.cancel("c")
    again = bench.cancel("c")

    restored = [e for e in back.entries if e["type"] == "points.restored"]
    assert [e["amount"] for e in restored] == [120]
    assert again.outcome is Outcome.ORDER_ALREADY_CANCELLED
    assert bench.lots() == lots
    assert bench.wallet().horizon == horizon
    bench.later(50)
    assert bench.lots().keys() == set(list(lots)[1:]), "the first lot kept its own expiry"


@pytest.mark.case(12)
def test_part_of_an_order_gives_back_part_of_its_points() -> None:
    """In proportion to the money, rounded down, and all of them in the end."""
    bench = Bench(programme(rule("spend", points=1, per_minor=100, min_minor=5_000)))
    bench.order("a", 100)
    bench.redeem(100, order_id="c")
    bench.order("c", 30)

    bench.refund("c", "r1", 10)
    assert bench.available() == 33
    bench.refund("c", "r2", 10)
    assert bench.available() == 66
    bench.refund("c", "r3", 10)
    assert bench.available() == 100


@pytest.mark.case(12)
def test_every_wallet_gets_its_own_share_of_a_returned_payment() -> None:
    """Half of the money back is half of what each wallet paid, whichever paid first or more."""
    bench = Bench(
        programme(
            SPEND,
            rule("spend", id="gift", wallet="gift", per_minor=100),
            wallets=[{"id": "points"}, {"id": "gift"}],
        )
    )
    bench.order("a", 100)
    bench.redeem(100, order_id="c")
    bench.redeem(31, order_id="c", wallet="gift")
    bench.redeem(29, order_id="c", wallet="gift")
    bench.give("order.paid", order_id="c", currency="CNY", paid_minor=90)

    bench.give("order.refunded", order_id="c", refund_id="r1", refunded_minor=45)
    assert (bench.available(), bench.wallet(wallet="gift").available) == (50, 40 + 30)
    bench.give("order.refunded", order_id="c", refund_id="r2", refunded_minor=45)
    assert (bench.available(), bench.wallet(wallet="gift").available) == (100, 100)


@pytest.mark.case(12)
def test_redemption_that_comes_after_the_return_is_given_back_at_once() -> None:
    """The two topics have no order between them, so neither may be the one to come first."""
    bench = Bench()
    bench.order("a", 100)
    bench.order("c", 10)
    bench.cancel("c")

    late = bench.redeem(50, order_id="c")

    assert [e["type"] for e in late.entries] == ["points.redeemed", "points.restored"]
    assert bench.available() == 100


@pytest.mark.case(12)
def test_points_of_an_expired_lot_come_back_for_restored_days() -> None:
    """The old lot is gone, so they get a lot of their own that lives for 30 days."""
    bench = Bench(programme(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("a", 100)
    bench.redeem(100, order_id="c")
    bench.order("c", 0, points_paid=100)
    bench.later(11)

    bench.refund("c", "r1", 0)

    assert bench.available() == 100
    bench.later(30, ms=-1)
    assert bench.available() == 100
    bench.later(ms=1)
    assert bench.available() == 0


@pytest.mark.case(13)
def test_refund_after_the_lot_expired_reverses_nothing() -> None:
    """What time has taken is not taken again from other lots."""
    bench = Bench(programme(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("a", 100)
    bench.later(10)
    bench.order("b", 70)

    decision = bench.refund("a", "r1", 100)

    assert not decision.entries
    totals = bench.wallet()
    assert (totals.available, totals.expired, totals.reversed) == (70, 100, 0)


@pytest.mark.case(13)
def test_of_a_lot_partly_spent_and_partly_expired_the_spent_part_is_owed() -> None:
    """80 spent and 20 expired: the whole refund asks for 80, half of it for 30."""
    bench = Bench(programme(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("a", 100)
    bench.redeem(80)
    bench.later(10)
    bench.order("b", 500)

    bench.refund("a", "r1", 50)
    assert bench.wallet().reversed == 30
    bench.refund("a", "r2", 50)
    assert bench.wallet().reversed == 80


@pytest.mark.case(14)
@pytest.mark.parametrize("policy", ["only_pending", "within_balance", "debt"])
def test_points_refunded_while_pending_never_activate(policy: str) -> None:
    """The pending lot shrinks and is gone; its timer finds nothing."""
    bench = Bench(
        programme(refund_policy=policy, wallets=[{"id": "points", "activation": {"after": "P7D"}}])
    )
    bench.order("a", 100)
    assert (bench.wallet().pending, bench.wallet().available) == (100, 0)
    bench.refund("a", "r1", 40)
    assert bench.wallet().pending == 60
    bench.refund("a", "r2", 60)

    assert not bench.later(8)
    totals = bench.wallet()
    assert (totals.pending, totals.available, totals.reversed) == (0, 0, 100)


@pytest.mark.case(15)
def test_buying_and_refunding_ten_times_leaves_nothing() -> None:
    """No points are made by going back and forth."""
    bench = Bench(programme(SPEND, BONUS))
    for number in range(10):
        bench.order(f"o{number}", 333)
        bench.refund(f"o{number}", "r", 333)

    assert bench.available() == 0
    assert not bench.lots()


@pytest.mark.case(15)
def test_returned_points_do_not_escape_the_clawback_of_the_same_return() -> None:
    """What the order earned is spent: what comes back pays for it, and only the rest is left."""
    bench = Bench()
    bench.order("a", 100)
    bench.redeem(100, order_id="d")
    bench.order("d", 50)
    bench.redeem(50)

    back = bench.cancel("d")

    assert [(e["type"], e["amount"], e["written_off"]) for e in back.entries] == [
        ("points.restored", 100, 0),
        ("points.reversed", 50, 0),
    ]
    assert bench.available() == 50


@pytest.mark.case(15)
def test_paying_with_points_and_returning_ten_times_makes_no_points() -> None:
    """Whoever spends what a returned order earned has spent their own points."""
    bench = Bench()
    bench.order("a", 1_000)
    for number in range(10):
        bench.redeem(100, order_id=f"d{number}")
        bench.order(f"d{number}", 100)
        bench.redeem(100)
        bench.cancel(f"d{number}")

    totals = bench.wallet()
    assert (totals.available, totals.redeemed - totals.restored) == (0, 1_000)
    assert totals.written_off == 0


def test_refund_id_counts_once_per_order() -> None:
    """The same refund told by two events is one refund."""
    bench = Bench()
    bench.order("o1", 100)
    bench.refund("o1", "r1", 30)

    assert bench.refund("o1", "r1", 30).outcome is Outcome.REFUND_ALREADY_TAKEN
    assert bench.available() == 70


def test_cancellation_takes_what_refunds_left_and_late_refunds_take_no_more() -> None:
    """A refund that arrives after the cancellation is a true one, but all is reversed already."""
    bench = Bench()
    bench.order("o1", 100)
    bench.refund("o1", "r1", 30)
    bench.cancel("o1")
    assert bench.wallet().reversed == 100

    late = bench.refund("o1", "r2", 70)

    assert late.outcome is Outcome.ORDER_REFUNDED
    assert not late.entries
    too_much = bench.refund("o1", "r3", 1)
    assert too_much.outcome is Outcome.REFUND_EXCEEDS_ORDER


def test_cancellation_before_its_order_waits_for_it() -> None:
    """A cancelled order that comes late earns and loses its points at once."""
    bench = Bench()
    assert bench.cancel("o1").outcome is Outcome.PARKED_UNTIL_ORDER
    bench.order("o1", 100)

    assert bench.available() == 0


LINES = [
    {"line_id": "tea", "quantity": 1, "paid_minor": 6_000},
    {"line_id": "card", "quantity": 1, "paid_minor": 4_000, "earns": False},
]


def test_lines_that_do_not_earn_neither_give_nor_take() -> None:
    """Refunding the gift card leaves the points that the tea earned."""
    bench = Bench()
    bench.order("o1", 100, lines=LINES)
    assert bench.available() == 60

    bench.refund("o1", "r1", 40, lines=[{"line_id": "card", "refunded_minor": 4_000}])
    assert bench.available() == 60
    bench.refund("o1", "r2", 30, lines=[{"line_id": "tea", "refunded_minor": 3_000}])
    assert bench.available() == 30


def test_refund_without_lines_is_spread_over_all_lines() -> None:
    """Half of the money back is half of the earning money back."""
    bench = Bench()
    bench.order("o1", 100, lines=LINES)
    bench.refund("o1", "r1", 50)

    assert bench.available() == 30


@pytest.mark.parametrize(
    ("line", "minor", "code"),
    [
        ("tea", 6_001, DeadLetterCode.REFUND_EXCEEDS_ORDER),
        ("cup", 1, DeadLetterCode.LINE_UNKNOWN),
    ],
)
def test_refund_that_does_not_fit_its_lines_is_refused(
    line: str, minor: int, code: DeadLetterCode
) -> None:
    """A line cannot give back more than it cost, nor one that was not bought."""
    bench = Bench()
    bench.order("o1", 100, lines=LINES)
    before = bench.books()

    decision = bench.give(
        "order.refunded",
        order_id="o1",
        refund_id="r1",
        refunded_minor=minor,
        lines=[{"line_id": line, "refunded_minor": minor}],
    )

    assert decision.dead_letters[0].code is code
    assert bench.books() == before


def test_refund_follows_the_rules_of_the_orders_time() -> None:
    """An order keeps its rule set, also when the programme no longer names it."""
    first = {
        "id": "head-office",
        "version": 1,
        "rules": [rule("spend", points=2, per_minor=100)],
    }
    second = {**first, "version": 2, "rules": [rule("spend", points=5, per_minor=100)]}
    bench = Bench(programme(rule_sets=[first]))
    bench.order("o1", 100)
    bench.programme = programme(rule_sets=[second])
    bench.restart()

    bench.refund("o1", "r1", 30)
    bench.order("o2", 1)

    assert bench.moved("reversed") == [60]
    assert bench.moved("earned") == [200, 5]


def test_order_is_forgotten_after_the_refund_window() -> None:
    """A refund later than that finds no order, and waits like any other."""
    bench = Bench(programme(refund_window="P30D"))
    bench.order("o1", 100)
    bench.later(30)

    assert bench.refund("o1", "r1", 10).outcome is Outcome.PARKED_UNTIL_ORDER
    assert bench.available() == 100
