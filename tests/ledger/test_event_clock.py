"""`clock: events`: partition time is that of the events, for backfills of old data."""

from __future__ import annotations

from typing import Any

import pytest
from driver_bench import DriverBench
from ledger_support import DAY_MS, START_MS, programme

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.rules import CompiledProgramme


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


def by_events(**settings: Any) -> CompiledProgramme:
    return programme(clock="events", wallets=[{"id": "points", "expiry": {"days": 30}}], **settings)


def history(bench: DriverBench) -> DriverBench:
    """What happened over two hundred days, published long after."""
    for number in range(20):
        bench.order(f"o{number}", 10, occurred_ms=day(10 * number))
        if number == 5:
            bench.redeem(15, occurred_ms=day(10 * number) + 1)
    return bench


def test_old_data_is_taken_at_its_own_time() -> None:
    """Points expire between old events as they would have then, not all at once now."""
    bench = history(DriverBench(by_events(), now_ms=day(1_000)))

    assert bench.answers[0]["outcome"] == "accepted"
    for entry in bench.entries:
        assert entry["recorded_at"] == entry["occurred_at"]
    expired = [e for e in bench.entries if e["type"] == "points.expired"]
    assert expired[0]["occurred_at"] == rfc3339(day(30))
    assert bench.available() == 30


def test_backfill_makes_what_the_events_made_when_they_were_new() -> None:
    """The same entries, but for where the records stand on the topics."""
    replayed = history(DriverBench(by_events(), now_ms=day(1_000)))
    live = DriverBench(programme(wallets=[{"id": "points", "expiry": {"days": 30}}]))
    order = live.order

    for number in range(20):
        live.now_ms = day(10 * number)
        order(f"o{number}", 10)
        if number == 5:
            live.now_ms += 1
            live.redeem(15)

    assert replayed.entries == live.entries


def test_ticks_are_ignored() -> None:
    """The broker's time of today says nothing about then."""
    bench = DriverBench(by_events(), now_ms=day(1_000))
    bench.order("a", 10, occurred_ms=day(0))

    assert bench.tick(day(1_001)) == []

    assert bench.available() == 10
    assert max(ledger.now_ms for ledger in bench.ledgers) == day(0)


@pytest.mark.parametrize("ahead_days", [1, 4_000])
def test_event_dated_ahead_of_its_record_moves_no_clock(ahead_days: int) -> None:
    """One wrong date must not expire everybody's points."""
    bench = DriverBench(by_events(), now_ms=day(10))
    bench.order("a", 10, occurred_ms=day(9))

    decision = bench.order("b", 10, occurred_ms=day(10 + ahead_days))

    assert decision.outcome is Outcome.TOO_FAR_IN_FUTURE
    assert bench.available() == 10
    assert bench.order("c", 5, occurred_ms=day(9) + 1).outcome is Outcome.POINTS_AWARDED


def test_late_event_takes_time_not_back() -> None:
    """It is scored as of its own time, and what has expired since is gone."""
    bench = DriverBench(by_events(), now_ms=day(1_000))
    bench.order("a", 10, occurred_ms=day(100))

    earned, expired = bench.order("b", 10, occurred_ms=day(20)).entries

    assert (earned["recorded_at"], expired["occurred_at"]) == (rfc3339(day(100)), rfc3339(day(50)))
    assert bench.available() == 10
