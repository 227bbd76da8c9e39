"""Many timers at one instant, timers that ring in steps, and times that come out of order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, DictState, programme, rule

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.wire import dumps, rfc3339
from pointstream.ledger import LedgerError, Outcome, Source

MONTHLY = {
    "id": "points",
    "activation": {"after": "P1D"},
    "expiry": {"days": 30, "end_of": "month"},
}


class CountingState(DictState):
    """Counts what scans step over, by kind of key: as in a store, what was deleted is in the way
    until the batch has ended, and longer."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[bytes, int] = {}
        self.deleted: set[bytes] = set()

    def put(self, key: bytes, value: bytes) -> None:
        self.deleted.discard(key)
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        self.deleted.add(key)
        super().delete(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs: list[tuple[bytes, bytes | None]] = list(super().scan(start, stop))
        pairs += [(key, None) for key in self.deleted if start <= key < stop]
        for key, value in sorted(pairs):
            self.read[key[:1]] = self.read.get(key[:1], 0) + 1
            if value is not None:
                yield key, value


def crowd(bench: Bench, members: int) -> Bench:
    """So many members whose points become active, and later expire, at one instant."""
    for number in range(members):
        bench.order(f"o{number}", 10 + number % 7, member=f"m{number}")
    bench.refund("unknown", "r1", 5)
    bench.flush()
    return bench


def test_timers_due_at_one_instant_are_read_once() -> None:
    """What one tick reads is in proportion to what is due, not to its square."""
    state = CountingState()
    bench = crowd(Bench(programme(SPEND, wallets=[MONTHLY]), state=state, batch=1_000), 300)
    bench.later(2)
    bench.flush()
    state.read.clear()

    bench.later(70)
    bench.flush()

    assert len(bench.moved("expired")) == 300
    assert state.read[b"t"] <= 4 * 300


@pytest.mark.bare_ledger("gives the limit of each step itself")
@pytest.mark.case(20)
@pytest.mark.parametrize("limit", [1, 7, 299])
def test_timers_rung_in_steps_make_what_one_step_makes(limit: int) -> None:
    """Steps in batches of their own, with restarts between: same entries, order and state."""
    whole = crowd(Bench(programme(SPEND, wallets=[MONTHLY])), 40)
    whole.later(70)

    bench = crowd(Bench(programme(SPEND, wallets=[MONTHLY])), 40)
    now_ms = bench.now_ms + 70 * DAY_MS
    steps, behind = 0, True
    while behind:
        bench.restart()
        bench.ledger.open(bench.state)
        bench._note(*bench.ledger.advance(now_ms, limit))
        behind = bench.ledger.behind
        assert bench.ledger.now_ms == now_ms or behind
        bench.ledger.close()
        steps += 1

    assert steps == max(1, -(-81 // limit))  # 40 activations, 40 expiries, one parked refund
    assert bench.entries == whole.entries
    assert bench.state.values == whole.state.values


@pytest.mark.bare_ledger("gives the limit of each step itself")
@pytest.mark.case(22, 23)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_holds_that_end_by_time_in_steps_make_what_one_step_makes(limit: int) -> None:
    """Holds count as timers do. What a hold frees may be over for long: it rings nothing twice."""
    compiled = programme(SPEND, wallets=[{"id": "points", "expiry": {"days": 3}}])

    def begun() -> Bench:
        bench = Bench(compiled)
        for number in range(12):
            member = f"m{number}"
            bench.order(f"o{number}", 100, member=member)
            for hold, days in (("a", 1), ("b", 3), ("c", 5)):
                until = rfc3339(START_MS + days * DAY_MS)
                bench.hold(hold, 20, member=member, expires_at=until)
            if number % 3 == 0:
                bench.freeze(member)
        return bench

    whole = begun()
    whole.later(6)
    assert whole.moved("voided") == [20] * 36
    assert sum(whole.moved("expired")) == 12 * 100

    bench, behind, steps = begun(), True, 0
    while behind:
        bench.restart()
        bench.ledger.open(bench.state)
        decisions = bench.ledger.advance(START_MS + 6 * DAY_MS, limit)
        assert len(decisions) <= limit
        bench._note(*decisions)
        behind = bench.ledger.behind
        bench.ledger.close()
        steps += 1

    assert steps >= 48 // limit
    assert bench.entries == whole.entries
    assert bench.state.values == whole.state.values
    told = [entry["recorded_at"] for entry in bench.entries]
    assert told == sorted(told)


def test_nothing_is_decided_while_earlier_timers_are_due() -> None:
    """A record in between would find points that were gone by its time."""
    bench = crowd(Bench(programme(SPEND, wallets=[MONTHLY])), 3)
    body = {
        "event_id": "late",
        "type": "order.paid",
        "member_id": "m1",
        "occurred_at": rfc3339(bench.now_ms),
        "order_id": "x",
        "currency": "CNY",
        "paid_minor": 100,
    }
    decoded = decode("orders", b"m1", dumps(body), ())
    assert isinstance(decoded, Decoded)
    source = Source("orders", 0, 99, bench.now_ms, b"m1", dumps(body))
    bench.ledger.open(bench.state)

    bench.ledger.advance(bench.now_ms + 2 * DAY_MS, 1)
    with pytest.raises(LedgerError):
        bench.ledger.decide(decoded.event, decoded.digest, source)
    bench.ledger.advance(bench.now_ms + 2 * DAY_MS)

    decision = bench.ledger.decide(decoded.event, decoded.digest, source)
    assert decision.outcome is Outcome.POINTS_AWARDED


def test_timer_set_while_others_ring_rings_in_its_turn() -> None:
    """Activation sets the expiry: both are due in one tick, over all members in due order."""
    bench = Bench(
        programme(wallets=[{"id": "points", "activation": {"after": "P1D"}, "expiry": {"days": 2}}])
    )
    bench.order("a", 10, member="m1")
    bench.later(0.5)
    bench.order("b", 10, member="m2")
    bench.later(10)

    told = [(e["member_id"], e["type"], e["recorded_at"]) for e in bench.entries[2:]]
    assert [(member, kind) for member, kind, _ in told] == [
        ("m1", "points.activated"),
        ("m2", "points.activated"),
        ("m1", "points.expired"),
        ("m2", "points.expired"),
    ]
    assert [at for _, _, at in told] == sorted(at for _, _, at in told)


def test_record_with_an_older_time_lets_ring_what_is_due_by_partition_time() -> None:
    """Time does not go back, so neither does what is due by it."""
    bench = Bench(programme(wallets=[{"id": "points", "activation": {"after": "P1D"}}]))
    bench.later(5)
    bench.ledger.open(bench.state)
    bench.ledger._book.ring(bench.ledger._book.account("m1", b"m1"), START_MS + 4 * DAY_MS)
    assert bench.ledger._book.timers.next_ms == START_MS + 4 * DAY_MS

    bench.ledger.advance(START_MS)

    assert bench.ledger._book.timers.next_ms > START_MS + 5 * DAY_MS
    assert bench.ledger.now_ms == START_MS + 5 * DAY_MS
    assert bench.ledger.close() == []


def test_command_dated_ahead_reads_only_the_lots_that_are_over_by_then() -> None:
    """Its cost is not that of all the lots the member has."""
    state = CountingState()
    bench = Bench(programme(wallets=[{"id": "points", "expiry": {"days": 30}}]), state=state)
    for number in range(50):
        bench.order(f"o{number}", 10)
        bench.later(ms=1_000)
    bench.tick(START_MS + 30 * DAY_MS - 60_000)
    state.read.clear()

    decision = bench.redeem(600, occurred_ms=START_MS + 30 * DAY_MS)

    assert decision.outcome is Outcome.INSUFFICIENT_POINTS
    assert state.read[b"l"] == 2


@pytest.mark.case(30)
def test_streak_is_mended_over_a_day_of_25_hours() -> None:
    """What a late check-in can join is told by local days, not by 24 hours."""

    def at(text: str) -> int:

        return round(datetime.fromisoformat(text).timestamp() * 1_000)

    compiled = programme(
        rule("check_in", points=2, streak={"days": 3, "points": 30}),
        time_zone="America/New_York",
        late_window="P1D",
    )
    bench = Bench(compiled, now_ms=at("2026-10-31T12:00:00-04:00"))
    bench.check_in()
    bench.tick(at("2026-11-02T23:30:00-05:00"))
    bench.check_in()
    bench.later(ms=600_000)

    bench.check_in(occurred_ms=at("2026-11-01T23:50:00-05:00"))

    assert bench.moved("earned") == [2, 2, 2, 30]
