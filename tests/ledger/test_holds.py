"""Points reserved: captured, voided, freed by time; and the lots they came from."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, DictState, outcomes, programme

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Decision, Outcome
from pointstream.ledger.state import account_key, hold_key

HOUR_MS = 3_600_000


def in_days(days: float) -> str:
    return rfc3339(START_MS + round(days * DAY_MS))


def bench_with(*orders: int, days: int = 30, **settings: Any) -> Bench:
    """A member with orders of so many CNY, a day apart, whose points live so many days."""
    settings.setdefault("wallets", [{"id": "points", "expiry": {"days": days}}])
    bench = Bench(programme(**settings))
    for number, paid in enumerate(orders):
        if number:
            bench.later(1)
        bench.order(f"o{number}", paid)
    return bench


def places(bench: Bench) -> tuple[int, int, int]:
    """Available, held and redeemed."""
    totals = bench.wallet()
    return totals.available, totals.held, totals.redeemed


def told(*decisions: Decision) -> list[tuple[str, int, int, int, int]]:
    """What entries say: type, amount, delta, available and held after."""
    return [
        (
            entry["type"].removeprefix("points."),
            entry["amount"],
            entry["delta"],
            entry["available_after"],
            entry["held_after"],
        )
        for decision in decisions
        for entry in decision.entries
    ]


@pytest.mark.case(23)
def test_two_holds_of_60_on_100() -> None:
    """The second is rejected: what is held is not there to be held or spent again."""
    bench = bench_with(100)

    first, second = bench.hold("h1", 60), bench.hold("h2", 60)

    assert outcomes(first, second) == [Outcome.POINTS_HELD, Outcome.INSUFFICIENT_POINTS]
    assert told(first) == [("held", 60, -60, 40, 60)]
    assert bench.redeem(41).outcome is Outcome.INSUFFICIENT_POINTS
    assert bench.redeem(40).outcome is Outcome.POINTS_REDEEMED
    standing = bench.standings[-1]
    assert (standing.crm_sync["held"], standing.mall_sync["held"]) == (60, 60)
    assert standing.mall_sync["available"] == 0


@pytest.mark.case(23)
def test_capture_of_40_out_of_60_frees_20() -> None:
    """Captured in one entry, freed in the next; the order of both adds up at each step."""
    bench = bench_with(100)
    bench.hold("h1", 60)

    decision = bench.capture("h1", points=40)

    assert told(decision) == [("captured", 40, 0, 40, 20), ("voided", 20, 20, 60, 0)]
    assert places(bench) == (60, 0, 40)


@pytest.mark.case(23)
def test_capture_of_61_out_of_60_is_rejected() -> None:
    """And the hold is still there to be captured in whole."""
    bench = bench_with(100)
    bench.hold("h1", 60)

    assert bench.capture("h1", points=61).outcome is Outcome.CAPTURE_EXCEEDS_HOLD
    assert told(bench.capture("h1")) == [("captured", 60, 0, 40, 0)]


@pytest.mark.case(23)
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("capture", "hold_already_captured"),
        ("void", "hold_already_voided"),
        ("wait", "hold_expired"),
    ],
)
def test_a_hold_ends_once(end: str, reason: str) -> None:
    """However it ended, nothing ends it again, its id is used up, and no point moves."""
    bench = bench_with(100)
    bench.hold("h1", 60)
    if end == "wait":
        bench.later(1)
    else:
        getattr(bench, end)("h1")
    before = places(bench)

    decisions = [bench.capture("h1", points=1), bench.capture("h1"), bench.void("h1")]

    assert [decision.result and decision.result["reason"] for decision in decisions] == [reason] * 3
    assert bench.hold("h1", 10).outcome is Outcome.HOLD_EXISTS
    assert places(bench) == before


@pytest.mark.case(23)
def test_a_hold_past_its_time_is_voided_by_itself() -> None:
    """At the time it was due, however late the tick; one millisecond before it still captures."""
    bench = bench_with(100)
    bench.hold("h1", 60, expires_at=in_days(0.5), store_id="s1")
    bench.hold("h2", 10)

    assert not bench.later(0.5, ms=-1)
    (timed_out,) = bench.later(0.25)

    assert timed_out.outcome is Outcome.HOLD_TIMED_OUT
    assert told(timed_out) == [("voided", 60, 60, 90, 10)]
    (entry,) = timed_out.entries
    assert (entry["occurred_at"], entry["recorded_at"]) == (in_days(0.5), in_days(0.5))
    assert (entry["cause_type"], entry["reason"]) == ("timer.points.voided", "hold_expired")
    assert entry["store_id"] == "s1"
    # Without a time of its own a hold lasts as long as the programme says: one day.
    assert told(*bench.later(1)) == [("voided", 10, 10, 100, 0)]


def test_a_hold_can_be_captured_until_just_before_it_ends() -> None:
    """A command dated ahead of partition time finds the hold over when it is over by then."""
    for ahead_ms, outcome in ((-1, Outcome.POINTS_CAPTURED), (0, Outcome.HOLD_EXPIRED)):
        bench = bench_with(100)
        bench.hold("h1", 60, expires_at=rfc3339(START_MS + 60_000))
        decision = bench.capture("h1", occurred_ms=START_MS + 60_000 + ahead_ms)
        assert decision.outcome is outcome


def test_a_hold_must_last() -> None:
    """One that would be over when it begins is rejected, and so is an unknown one's end."""
    bench = bench_with(100)

    assert bench.hold("h1", 1, expires_at=in_days(0)).outcome is Outcome.EXPIRY_IN_THE_PAST
    assert bench.void("h1").outcome is Outcome.HOLD_UNKNOWN
    assert bench.capture("h1").outcome is Outcome.HOLD_UNKNOWN
    assert bench.hold("h1", 1).outcome is Outcome.POINTS_HELD


@pytest.mark.case(22)
def test_points_that_expire_while_held_can_be_captured() -> None:
    """They were reserved in time. Nothing expires meanwhile, for nothing of them is available."""
    bench = bench_with(100)
    bench.hold("h1", 60, expires_at=in_days(40))

    expired = bench.later(31)
    decision = bench.capture("h1")

    assert told(*expired) == [("expired", 40, -40, 0, 60)]
    assert told(decision) == [("captured", 60, 0, 0, 0)]
    assert bench.wallet().expired == 40


@pytest.mark.case(22)
@pytest.mark.parametrize("end", ["void", "wait"])
def test_points_that_expire_while_held_expire_at_once_when_freed(end: str) -> None:
    """With the void itself, not with a later tick; by hand or by time."""
    bench = bench_with(100)
    bench.hold("h1", 60, expires_at=in_days(40))
    bench.later(31)

    decisions = [bench.void("h1")] if end == "void" else bench.later(10)

    assert told(*decisions) == [("voided", 60, 60, 60, 0), ("expired", 60, -60, 0, 0)]
    assert len({entry["event_id"] for entry in bench.entries}) == len(bench.entries)
    assert bench.later(1) == []
    assert bench.wallet().expired == 100


@pytest.mark.case(22)
def test_partial_capture_spends_first_what_expires_first() -> None:
    """The older lot is dead by then: it is captured first, and the rest lives on."""
    bench = bench_with(50, 50, 30)
    bench.hold("h1", 110, expires_at=in_days(40))
    lots = [entry["lots"][0]["lot_id"] for entry in bench.entries[:3]]
    bench.later(28.5)  # the first order's points are over, the others' are not

    decision = bench.capture("h1", points=60)

    assert [entry["type"] for entry in decision.entries] == ["points.captured", "points.voided"]
    captured, freed = (
        [(lot["lot_id"], lot["delta"]) for lot in entry["lots"]] for entry in decision.entries
    )
    # What is spent left its lots when it was held: `delta` says so only once.
    assert captured == [(lots[0], 0), (lots[1], 0)]
    assert freed == [(lots[1], 40), (lots[2], 10)]
    assert bench.lots() == {lots[1]: 40, lots[2]: 30}


def test_lots_in_the_entries_of_holds_add_up_to_what_is_in_the_lots() -> None:
    """While points are held, after a capture of a part, and after a hold that was voided."""
    bench = bench_with(50, 50)

    def told() -> dict[str, int]:
        sums: dict[str, int] = {}
        for entry in bench.entries:
            for lot in entry["lots"]:
                sums[lot["lot_id"]] = sums.get(lot["lot_id"], 0) + lot["delta"]
        return {lot_id: points for lot_id, points in sums.items() if points}

    bench.hold("h1", 70)
    assert told() == bench.lots()
    assert list(bench.lots().values()) == [30]
    bench.capture("h1", points=60)
    assert told() == bench.lots()
    assert list(bench.lots().values()) == [40]
    bench.hold("h2", 40)
    bench.void("h2")
    assert told() == bench.lots()
    assert list(bench.lots().values()) == [40]


def test_a_hold_that_may_have_been_answered_before_is_too_old() -> None:
    """As all commands: what is forgotten must not be taken again. A known one keeps its answer."""
    bench = bench_with(100, days=0, dedup_window="P2D")
    body = {"event_id": "once", "occurred_ms": START_MS, "expires_at": in_days(90)}
    bench.hold("h1", 60, **body)
    bench.later(2, ms=-1)
    again = bench.hold("h1", 60, **body)
    bench.later(ms=1)

    late, late_end = bench.hold("h1", 60, **body), bench.void("h1", occurred_ms=START_MS)

    assert again.outcome is Outcome.COMMAND_ALREADY_ANSWERED
    assert outcomes(late, late_end) == [Outcome.TOO_OLD] * 2
    assert late.result is late_end.result is None
    assert places(bench) == (40, 60, 0)


def test_void_gives_each_lot_back_what_was_taken_from_it() -> None:
    """Same lots, same expiries, same order of spending: as if it had never been held."""
    bench = bench_with(30, 30, 30)
    before, lots = bench.wallet(), bench.lots()

    held = bench.hold("h1", 70)
    assert [lot["delta"] for lot in held.entries[0]["lots"]] == [-30, -30, -10]
    bench.void("h1")

    assert bench.lots() == lots
    assert bench.wallet() == before


def test_held_points_are_out_of_a_refunds_reach_and_pay_the_debt_when_freed() -> None:
    """What was held when its order came back is owed; freed, it pays that first."""
    bench = bench_with(100, refund_policy="debt")
    bench.hold("h1", 60)
    bench.cancel("o0")
    assert (bench.wallet().available, bench.wallet().held, bench.wallet().debt) == (0, 60, 60)

    decision = bench.void("h1")

    assert told(decision) == [("voided", 60, 0, 0, 0)]
    assert decision.entries[0]["debt_after"] == 0
    assert decision.entries[0]["lots"] == []


def test_refund_after_a_lot_expired_in_parts_asks_for_neither() -> None:
    """40 expired by time, 60 when the hold was voided: nothing of the order is left to owe."""
    bench = bench_with(100, refund_policy="debt")
    bench.hold("h1", 60, expires_at=in_days(40))
    bench.later(31)
    bench.void("h1")

    bench.cancel("o0")

    assert bench.wallet().debt == 0
    assert bench.wallet().expired == 100


def test_the_end_of_a_hold_is_remembered_for_a_bounded_time() -> None:
    """Then its id is free, whether the sweep has come by or not; the sweep deletes it."""
    bench = bench_with(100, days=0, refund_window="P2D")
    for number in range(3_000):
        bench.hold(f"h{number}", 1)
        bench.void(f"h{number}")
    assert bench.state.get(hold_key(b"m1", "h0")) is not None
    bench.later(2, ms=-1)
    assert bench.hold("h0", 1).outcome is Outcome.HOLD_EXISTS
    bench.later(ms=1)
    assert bench.void("h0").outcome is Outcome.HOLD_UNKNOWN

    bench.hold("open", 1, expires_at=in_days(400))
    for number in range(6_000):
        bench.order(f"new{number}", 1)

    kept = [key for key in bench.state.values if key[:1] == b"H"]
    assert kept == [hold_key(b"m1", "open")]
    assert bench.capture("open").outcome is Outcome.POINTS_CAPTURED


class CountingState(DictState):
    """Counts how many values are read by key and by range."""

    read = 0

    def get(self, key: bytes) -> bytes | None:
        self.read += 1
        return super().get(key)

    def scan(self, start: bytes, stop: bytes) -> Any:
        for pair in super().scan(start, stop):
            self.read += 1
            yield pair


def test_a_hold_costs_the_same_whatever_was_held_before() -> None:
    """Open and ended holds have keys of their own: the account's value does not grow."""
    compiled = programme(SPEND)
    costs = []
    for holds in (5, 500):
        bench = Bench(compiled, state=CountingState(), batch=100)
        state = bench.state
        assert isinstance(state, CountingState)
        bench.order("o", 5_000)
        for number in range(holds):
            bench.hold(f"h{number}", 1)
            bench.hold(f"open{number}", 1)
            bench.capture(f"h{number}")
        bench.flush()
        bench.restart()
        state.read = 0
        bench.hold("new", 2)
        bench.capture("new", points=1)
        bench.flush()
        costs.append((state.read, len(state.values[account_key(b"m1")])))

    (few, short), (many, long) = costs
    assert few == many
    assert long - short < 12
