"""Migrations of expiry: lots that members have get the end of the present policy."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme
from pydantic import ValidationError

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.rules import CompiledProgramme


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


AT = 10


def made(expiry: dict[str, Any], migrate: bool = False, **settings: Any) -> CompiledProgramme:
    """A programme with a policy, and perhaps a migration to it on day 10."""
    activation = settings.pop("activation", {})
    at_least = settings.pop("at_least_days", 5)
    if migrate:
        settings["expiry_migrations"] = [
            {"id": "2026", "at": rfc3339(day(AT)), "at_least_days": at_least}
        ]
    wallet = {"id": "points", "expiry": expiry, "activation": activation}
    return programme(SPEND, wallets=[wallet], **settings)


def migrated(bench: Bench, expiry: dict[str, Any], **settings: Any) -> Bench:
    """Give a bench the programme with the migration, and let it take place."""
    bench.programme = made(expiry, migrate=True, **settings)
    bench.restart()
    bench.tick(day(AT))
    return bench


OLD, LONGER, SHORTER = {"days": 20}, {"days": 60}, {"days": 12}
SLIDING = {"kind": "sliding", "days": 30}


@pytest.mark.case(21)
@pytest.mark.parametrize(
    ("expiry", "ends"),
    [
        (LONGER, 60),
        (SHORTER, 15),  # not before five days after the migration
        (SLIDING, 40),
        ({}, None),
        ({"kind": "calendar", "period": "month", "days": 3}, 33),
    ],
)
def test_migration_gives_lots_the_end_of_the_present_policy(
    expiry: dict[str, Any], ends: int | None
) -> None:
    """Counted from when they were earned, and told by the standing at once."""
    bench = Bench(made(OLD))
    bench.order("a", 100)
    bench.tick(day(5))
    assert bench.standings[-1].crm_sync["next_expiry_at"] == rfc3339(day(20))

    migrated(bench, expiry)

    crm = bench.standings[-1].crm_sync
    if ends is None:
        assert crm["next_expiry_at"] is None
        bench.tick(day(500))
        assert bench.available() == 100
        return
    assert (crm["next_expiry_at"], crm["next_expiry_points"]) == (rfc3339(day(ends)), 100)
    bench.tick(day(ends) - 1)
    assert bench.available() == 100
    bench.tick(day(ends))
    assert (bench.available(), bench.wallet().expired) == (0, 100)
    assert len(bench.entries) == 2


@pytest.mark.case(21)
def test_without_a_migration_lots_keep_their_end() -> None:
    """A new policy is for new lots."""
    bench = Bench(made(OLD))
    bench.order("a", 100)
    bench.programme = made(LONGER)
    bench.restart()
    bench.order("b", 50)

    bench.tick(day(20))

    assert bench.available() == 50


@pytest.mark.parametrize("policy", ["only_pending", "within_balance", "debt"])
@pytest.mark.parametrize("expiry", [LONGER, SLIDING, {}])
@pytest.mark.parametrize("waiting", [False, True])
def test_refund_finds_the_orders_own_lot_after_a_migration(
    policy: str, expiry: dict[str, Any], waiting: bool
) -> None:
    """Spendable or pending: none of the order is left, and the other order is untouched."""
    settings: dict[str, Any] = {"refund_policy": policy}
    if waiting:
        settings["activation"] = {"on_activity": "order.completed"}
    bench = Bench(made(OLD, **settings))
    bench.order("a", 100)
    bench.order("b", 50)
    migrated(bench, expiry, **settings)

    bench.refund("a", "r", 100)

    totals = bench.wallet()
    if policy == "only_pending" and not waiting:
        assert (totals.available, totals.written_off) == (150, 100)
    else:
        assert totals.available + totals.pending == 50
        assert (totals.reversed, totals.written_off, totals.debt) == (100, 0, 0)
        (entry,) = [e for e in bench.entries if e["type"] == "points.reversed"]
        first = bench.entries[0]["lots"][0]["lot_id"]
        assert [lot["lot_id"] for lot in entry["lots"]] == [first]


@pytest.mark.parametrize("expiry", [LONGER, SHORTER, SLIDING, {}])
def test_order_is_completed_after_a_migration(expiry: dict[str, Any]) -> None:
    """What waits for an activity waits on, until its new end at the latest."""
    waits = {"activation": {"on_activity": "order.completed"}}
    for completed in (True, False):
        bench = Bench(made(OLD, **waits))
        bench.order("a", 100)
        migrated(bench, expiry, **waits)
        bench.tick(day(14))
        if completed:
            bench.give("activity.recorded", activity="order.completed", reference="a")
            assert bench.available() == 100
        bench.tick(day(200))
        totals = bench.wallet()
        if expiry:
            # An end that slides is no end for what still waits.
            kept = 100 if expiry is SLIDING and not completed else 0
            assert (totals.pending, totals.available, totals.expired) == (kept, 0, 100 - kept)
        else:
            assert totals.available + totals.pending == 100


def test_waiting_lot_keeps_its_latest_activation() -> None:
    """Counted from earning, where its own end was no sooner."""
    waits = {"activation": {"on_activity": "order.completed", "at_latest": "P30D"}}
    bench = Bench(made(OLD, **waits))
    bench.order("a", 100)
    migrated(bench, LONGER, **waits)

    bench.tick(day(30) - 1)
    assert (bench.available(), bench.wallet().pending) == (0, 100)
    bench.tick(day(30))
    assert bench.available() == 100
    bench.refund("a", "r", 40)
    assert bench.available() == 60


@pytest.mark.case(22)
@pytest.mark.parametrize("expiry", [LONGER, SHORTER, SLIDING, {}])
def test_held_points_move_with_their_lots(expiry: dict[str, Any]) -> None:
    """Freed, they are one lot again with what was not held; captured, they are spent."""
    for end in ("void", "capture", "time"):
        bench = Bench(made(OLD))
        bench.order("a", 100)
        lots = bench.lots()
        for hold in ("h1", "h2"):
            bench.hold(hold, 30, expires_at=rfc3339(day(14)))
        migrated(bench, expiry)
        bench.capture("h2")
        if end == "void":
            bench.void("h1")
        elif end == "capture":
            bench.capture("h1", points=10)
        bench.tick(day(14))
        left = 60 if end == "capture" else 70
        assert bench.lots() == {next(iter(lots)): left}
        assert bench.wallet().held == 0
        bench.tick(day(200))
        assert bench.available() == (0 if expiry else left)


@pytest.mark.case(12)
@pytest.mark.parametrize("expiry", [LONGER, SHORTER, SLIDING, {}])
def test_points_that_paid_come_back_into_the_lot_where_it_is_now(expiry: dict[str, Any]) -> None:
    """With what was not spent of it they are one lot, with one end."""
    bench = Bench(made(OLD))
    bench.adjust(100)
    lots = bench.lots()
    bench.redeem(60, order_id="a")
    bench.give("order.paid", order_id="a", currency="CNY", paid_minor=99)
    migrated(bench, expiry)
    bench.tick(day(12))

    bench.cancel("a")

    assert bench.lots() == lots
    bench.tick(day(200))
    assert bench.available() == (0 if expiry else 100)
    assert bench.moved("expired") == ([100] if expiry else [])


def test_points_sent_to_nobody_come_back_where_their_lot_is_now() -> None:
    """A transfer under way keeps its lots under the new end too."""
    transfers = {"transfers": {"enabled": True}}
    bench = Bench(made(OLD, **transfers))
    bench.order("a", 100)
    lots = bench.lots()
    deliver, bench.deliver = bench.deliver, lambda: None  # type: ignore[method-assign]
    bench.command("points.transfer", to_member_id="nobody", points=60)
    migrated(bench, LONGER, **transfers)
    assert bench.available() == 40
    bench.deliver = deliver  # type: ignore[method-assign]
    bench.tick(day(11))

    assert bench.lots() == lots
    bench.tick(day(60))
    assert bench.moved("expired") == [100]


def test_what_is_over_stays_over() -> None:
    """Expired points do not come back, nor do held ones whose lot has expired."""
    bench = Bench(made({"days": 8}))
    bench.order("a", 100)
    bench.hold("h", 30, expires_at=rfc3339(day(20)))
    migrated(bench, LONGER)
    assert bench.wallet().expired == 70

    bench.void("h")

    assert (bench.available(), bench.wallet().expired) == (0, 100)


@pytest.mark.case(31)
def test_frozen_account_is_migrated_too() -> None:
    """What it keeps pending past its activation has the new end when it is unfrozen."""
    bench = Bench(made(OLD, activation={"after": "P3D"}))
    bench.order("a", 100)
    bench.freeze()
    bench.tick(day(5))
    migrated(bench, LONGER, activation={"after": "P3D"})
    bench.tick(day(30))
    bench.unfreeze()
    assert bench.available() == 100
    bench.refund("a", "r", 100)
    assert (bench.available(), bench.wallet().reversed) == (0, 100)


def test_migrations_can_follow_each_other() -> None:
    """Rolling to sliding and back: sums, lots and standing agree all the way."""
    bench = Bench(made(OLD))
    for number in range(8):
        bench.order(f"o{number}", 10 + number)
        bench.later(0.5)
    total = bench.available()
    for number, expiry in enumerate((SLIDING, LONGER, {"kind": "sliding", "days": 9}, LONGER)):
        wallet = {"id": "points", "expiry": expiry}
        migration = {"id": f"m{number}", "at": rfc3339(day(AT + number))}
        bench.programme = programme(SPEND, wallets=[wallet], expiry_migrations=[migration])
        bench.restart()
        bench.tick(day(AT + number))
        assert sum(bench.lots().values()) == bench.available() == total
        assert bench.redeem(3).outcome is Outcome.POINTS_REDEEMED
        total -= 3
    crm = bench.standings[-1].crm_sync
    # The first lot of 10 is spent, and 2 of the second.
    assert (crm["next_expiry_at"], crm["next_expiry_points"]) == (rfc3339(day(60.5)), 9)
    bench.tick(day(200))
    assert (bench.available(), bench.wallet().expired) == (0, total)


@pytest.mark.parametrize("limit", [1, 4])
def test_migration_in_steps_makes_what_one_step_makes(limit: int) -> None:
    """With crashes between the steps, and what is due at the new times afterwards."""

    def begun(batch: int) -> Bench:
        bench = Bench(made(OLD), batch=batch)
        for number in range(60):
            member = f"m{number % 25}"
            bench.order(f"o{number}", 10 + number, member=member)
            if number % 3 == 0:
                bench.hold(f"h{number}", 4, member=member, expires_at=rfc3339(day(12 + number % 5)))
            if number % 7 == 0:
                bench.redeem(3, member=member, order_id=f"x{number}")
        bench.flush()
        bench.programme = made(SHORTER, migrate=True)
        bench.restart()
        return bench

    whole = begun(1_000)
    whole.tick(day(40))
    whole.flush()
    bench, behind = begun(1), True
    while behind:
        bench.restart()
        bench.ledger.open(bench.state)
        bench._note(*bench.ledger.advance(day(40), limit))
        behind = bench.ledger.behind
        bench.ledger.close()

    assert bench.entries == whole.entries
    assert bench.state.values == whole.state.values
    assert sum(whole.moved("expired")) > 0


def test_date_that_is_over_when_first_seen_moves_nothing() -> None:
    """As with all that is dated."""
    bench = Bench(made(OLD))
    bench.order("a", 100)
    bench.tick(day(AT))
    bench.programme = made(LONGER, migrate=True)
    bench.restart()

    assert [d.outcome for d in bench.later(1)] == [Outcome.TOO_LATE_FOR_ALL_ACCOUNTS]
    bench.tick(day(20))
    assert bench.available() == 0


def test_migration_of_an_unknown_wallet_is_refused() -> None:
    """And so are two of one id."""
    migration = {"id": "a", "at": "2026-05-01T00:00:00Z"}
    for wrong in ([{**migration, "wallet": "other"}], [migration, migration]):
        with pytest.raises(ValidationError):
            programme(SPEND, expiry_migrations=wrong)
