"""What the forecast says is what then happens."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import orjson
import pytest
from job_support import (
    DAY_MS,
    NOW_MS,
    PARTITIONS,
    changelog_of,
    entries_of,
    job,
    programme_of,
    publish,
)

from pointstream.contracts.wire import epoch_ms
from pointstream.engine.driver import EngineTestDriver
from pointstream.ledger import decode_account, is_account_key
from pointstream.operations import forecast as forecasting
from pointstream.operations.forecast import By, Forecast, StateCopy, look_ahead
from pointstream.rules.compile import CompiledProgramme

FROM_MS = NOW_MS + 2 * DAY_MS
UNTIL_MS = 1_785_513_600_000  # 2026-08-01 in Shanghai
MONTHS = ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06", "2026-07"]


def seen_from(
    driver: EngineTestDriver, programme: CompiledProgramme, by: By = By.MONTH
) -> Forecast:
    into = Forecast(programme, from_ms=FROM_MS, until_ms=UNTIL_MS, by=by)
    for partition in range(PARTITIONS):
        look_ahead(changelog_of(driver, partition), into)
    return into


def outstanding(driver: EngineTestDriver) -> Counter[str]:
    """What all members have, from the accounts."""
    sums: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        for key, value in driver.state(partition).items():
            if is_account_key(key):
                for wallet, totals in decode_account(key, value).wallets.items():
                    has = totals.available + totals.pending + totals.held - totals.debt
                    sums[wallet] += has
    return sums


def moment_of(entry: dict[str, Any]) -> str:
    """The day that an entry is told of: what expires at midnight, of the day before."""
    at = datetime.fromisoformat(entry["recorded_at"])
    at_ms = epoch_ms(at) - (entry["type"] == "points.expired")
    zone = programme_of().calendar.zone
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d")


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("per_step", [7, 10_000])
def test_the_forecast_is_what_then_happens(
    by: By, per_step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per period and wallet: what moves, by type, and what is outstanding after it."""
    monkeypatch.setattr(forecasting, "TIMERS_PER_STEP", per_step)
    programme = programme_of()
    with job(programme) as driver:
        publish(driver, events=400)
        driver.tick(FROM_MS)
        driver.run()
        forecast = seen_from(driver, programme, by)
        assert forecast.opening == outstanding(driver)

        length = 7 if by is By.MONTH else 10
        happened: dict[tuple[str, str], Counter[str]] = {}
        driver.tick(UNTIL_MS)
        driver.run()
        for entry in later(driver):
            place = (moment_of(entry)[:length], entry["wallet"])
            happened.setdefault(place, Counter())[entry["type"]] += entry["amount"]

        periods = forecast.periods()
        told = {(p.name, p.wallet): p.amounts for p in periods if p.amounts}
        assert told == happened
        kinds = {kind for amounts in happened.values() for kind in amounts}
        assert kinds >= {"points.activated", "points.expired"}
        closing = {period.wallet: period.outstanding for period in periods}
        assert closing == dict(outstanding(driver))
        if by is By.MONTH:
            assert [p.name for p in periods if p.wallet == "points"] == MONTHS
            assert forecast.opening["points"] > closing["points"]


def later(driver: EngineTestDriver) -> list[dict[str, Any]]:
    """The entries recorded after the forecast was made."""
    return [
        entry
        for entry in entries_of(driver)
        if epoch_ms(datetime.fromisoformat(entry["recorded_at"])) > FROM_MS
    ]


def test_tiers_reminders_and_what_a_programme_does_at_a_date_are_foreseen() -> None:
    """Downgrades, reminders, clear-outs and moved expiries come by the same timers."""
    programme = programme_of(
        wallets=[
            {"id": "points", "expiry": {"days": 60}, "remind_before": ["P7D"]},
            {"id": "growth", "expiry": {"months": 1, "end_of": "month"}},
        ],
        expiry_migrations=[
            {"id": "shorter", "at": "2026-01-15T00:00:00+08:00", "wallet": "growth"}
        ],
        clear_outs=[
            {
                "id": "spring",
                "at": "2026-02-01T00:00:00+08:00",
                "condition": {"max_balance": 500},
                "remind_before": ["P3D"],
            }
        ],
        ladders=[
            {
                "id": "status",
                "qualified_by": "money",
                "window": {"kind": "calendar", "unit": "month"},
                "holds_for": {"months": 1, "end_of": "month"},
                "grace": "P5D",
                "tiers": [{"id": "member", "threshold": 0}, {"id": "gold", "threshold": 20_000}],
            }
        ],
    )
    with job(programme) as driver:
        publish(driver, events=400)
        driver.tick(FROM_MS)
        driver.run()
        reminders, changes = told_by(driver)

        forecast = seen_from(driver, programme)

        driver.tick(UNTIL_MS)
        driver.run()
        reminders_later, changes_later = told_by(driver)
        assert forecast.reminders == reminders_later - reminders
        assert forecast.tier_changes == changes_later - changes
        assert forecast.reminders["reminder.points_expiring"]
        assert forecast.reminders["reminder.balance_clearing"]
        assert forecast.tier_changes["downgrade"]
        cleared = [p.name for p in forecast.periods() if p.amounts["points.cleared"]]
        assert cleared == ["2026-02"]
        closing = {p.wallet: p.outstanding for p in forecast.periods()}
        assert closing == dict(outstanding(driver))
        assert sum((p.amounts for p in forecast.periods()), Counter()) == amounts(later(driver))


def told_by(driver: EngineTestDriver) -> tuple[Counter[str], Counter[str]]:
    """What was told so far: reminders by type, changes of tiers by direction."""
    reminders = [orjson.loads(r.value or b"") for r in driver.outputs("points.reminders")]
    changes = [orjson.loads(r.value or b"") for r in driver.outputs("points.tier-changes")]
    return Counter(r["type"] for r in reminders), Counter(c["direction"] for c in changes)


def amounts(entries: list[dict[str, Any]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for entry in entries:
        sums[entry["type"]] += entry["amount"]
    return sums


def test_nothing_of_the_state_is_changed() -> None:
    """Looking ahead writes to a copy, and looking twice gives the same."""
    programme = programme_of()
    with job(programme) as driver:
        publish(driver, events=200)
        before = driver.state_hash()

        first, second = seen_from(driver, programme), seen_from(driver, programme)

        assert first.periods() == second.periods()
        assert driver.state_hash() == before


def test_what_is_overdue_counts_as_due_now() -> None:
    """The workers are down: what they have missed belongs to the first period."""
    programme = programme_of()
    with job(programme) as driver:
        publish(driver, events=200)
        late = Forecast(programme, from_ms=UNTIL_MS - DAY_MS, until_ms=UNTIL_MS)
        for partition in range(PARTITIONS):
            look_ahead(changelog_of(driver, partition), late)

        in_time = seen_from(driver, programme)

        (period,) = [period for period in late.periods() if period.wallet == "points"]
        assert period.name == "2026-07"
        sums = sum((p.amounts for p in in_time.periods() if p.wallet == "points"), Counter())
        assert period.amounts == sums


def test_held_points_are_outstanding_until_they_are_freed_and_expire() -> None:
    """A hold past its time is voided by its timer, here after the lot has expired."""
    programme = programme_of(wallets=[{"id": "points", "expiry": {"days": 30}}, {"id": "growth"}])
    with job(programme) as driver:
        held_until = "2026-03-15T00:00:00Z"
        actor = {"id": "desk", "role": "head_office"}
        give(driver, "points.adjust", points=100, reason="asked", actor=actor)
        give(driver, "points.hold", hold_id="h1", points=60, expires_at=held_until, actor=actor)
        driver.tick(FROM_MS)
        driver.run()

        periods = [p for p in seen_from(driver, programme).periods() if p.wallet == "points"]

        assert [(p.name, p.outstanding) for p in periods][:4] == [
            ("2026-01", 60),
            ("2026-02", 60),
            ("2026-03", 0),
            ("2026-04", 0),
        ]
        assert periods[0].amounts == {"points.expired": 40}
        assert periods[2].amounts == {"points.voided": 60, "points.expired": 60}


def give(driver: EngineTestDriver, type_: str, **fields: Any) -> None:
    body = {
        "event_id": type_,
        "type": type_,
        "member_id": "m1",
        "occurred_at": "2026-01-01T00:00:00Z",
        **fields,
    }
    driver.send("points.commands", b"m1", orjson.dumps(body))


def test_a_copy_of_the_state_is_ordered_and_keeps_up_with_what_is_written() -> None:
    """Reading sees every write of the steps before, in key order; event ids are left out."""
    state = StateCopy()
    for key in (b"lb", b"la", b"Mx", b"lc"):
        state.take(key, b"1")
    state.take(b"lc", None)

    assert list(state.scan(b"l", b"m")) == [(b"la", b"1"), (b"lb", b"1")]
    assert state.get(b"Mx") is None
    state.apply({b"la": None, b"lb": b"2", b"l0": b"3", b"lz": None})
    assert list(state.scan(b"l", b"m")) == [(b"l0", b"3"), (b"lb", b"2")]
    state.apply({b"la": b"4"})
    assert list(state.scan(b"la", b"lb")) == [(b"la", b"4")]
