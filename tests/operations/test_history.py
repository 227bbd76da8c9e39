"""What a member had at a moment, folded from the entries, is what the ledger had then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from job_support import DAY_MS, NOW_MS, PARTITIONS, entries_of, job, programme_of, publish

from pointstream.contracts.wire import dumps, epoch_ms, rfc3339
from pointstream.engine.driver import EngineTestDriver
from pointstream.operations.books import StateBooks
from pointstream.operations.history import MemberThen


def fold(entries: list[dict[str, Any]], at_ms: int) -> dict[str, MemberThen]:
    """Every member at a moment."""
    members: dict[str, MemberThen] = {}
    for entry in entries:
        if epoch_ms(datetime.fromisoformat(entry["recorded_at"])) <= at_ms:
            member_id = entry["member_id"]
            members.setdefault(member_id, MemberThen(member_id)).add(entry)
    return members


def in_state(driver: EngineTestDriver) -> tuple[dict[str, Any], dict[Any, dict[str, int]]]:
    """All accounts, and the points in lots."""
    books = StateBooks()
    for partition in range(PARTITIONS):
        for key, value in driver.state(partition).items():
            books.put(key, value)
    return books.accounts, books.lot_sums()


MEMBERS = [f"M-{number:06}" for number in range(1, 11)]


def merge(driver: EngineTestDriver, survivors: dict[str, str]) -> None:
    """Let members be merged, and wait until all that they had has arrived."""
    for member, survivor in survivors.items():
        body = {
            "event_id": f"merge-{member}",
            "type": "account.merge",
            "member_id": member,
            "into_member_id": survivor,
            "reason": "asked",
            "actor": {"id": "desk", "role": "head_office"},
            "occurred_at": rfc3339(NOW_MS + DAY_MS),
        }
        driver.send("points.commands", member.encode(), dumps(body), timestamp_ms=NOW_MS + DAY_MS)
    for _ in range(5):
        driver.run()


def test_the_balance_of_a_moment_is_what_the_ledger_had() -> None:
    """At several times, of every member: places, lots, and the number of the last entry.

    Also of members who were merged, when some of what they had could not be spent yet.
    """
    programme = programme_of()
    with job(programme) as driver:
        publish(driver, events=500)
        merge(driver, dict(zip(MEMBERS[:5], MEMBERS[5:10], strict=True)))
        snapshots = []
        for day in (2, 11, 20, 45, 60, 100):
            driver.tick(NOW_MS + day * DAY_MS)
            driver.run()
            snapshots.append((NOW_MS + day * DAY_MS, *in_state(driver)))
        entries = entries_of(driver)

        pending = 0
        for at_ms, accounts, lots in snapshots:
            members = fold(entries, at_ms)
            assert {m for m, account in accounts.items() if account.seq} == members.keys()
            for member_id, then in members.items():
                account = accounts[member_id]
                assert then.seq == account.seq
                for name, totals in account.wallets.items():
                    wallet = then.wallets[name]
                    found = (wallet.available, wallet.pending, wallet.held, wallet.debt)
                    assert found == (totals.available, totals.pending, totals.held, totals.debt)
                    sums = lots.get((member_id, name), {"available": 0, "pending": 0})
                    left = wallet.lots_left()
                    assert sum(x.points for x in left if x.pending) == sums["pending"]
                    assert sum(x.points for x in left if not x.pending) == sums["available"]
                    assert all(
                        lot.expires_at is None
                        or epoch_ms(datetime.fromisoformat(lot.expires_at)) > at_ms
                        for lot in left
                    )
                    pending += totals.pending
        assert pending
        merged = [e for e in entries if e["type"] == "points.merged_in"]
        assert any(e["pending_after"] for e in merged)
        assert [m for m, then in fold(entries, snapshots[0][0]).items() if then.merged_away]


def entry(kind: str, delta: int, *lots: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": f"points.{kind}",
        "wallet": "points",
        "seq": 1,
        "recorded_at": "2026-01-01T00:00:00.000Z",
        "available_after": 0,
        "pending_after": 0,
        "held_after": 0,
        "debt_after": 0,
        "delta": delta,
        "lots": list(lots),
        **fields,
    }


def test_lots_are_told_in_the_order_of_expiry() -> None:
    """Those that live for ever last; what is empty is left out, and comes back when restored."""
    then = MemberThen("m1")
    early, late = "2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"
    then.add(entry("earned", 5, {"lot_id": "for-ever", "delta": 5}))
    then.add(entry("earned", 7, {"lot_id": "late", "delta": 7, "expires_at": late}))
    then.add(entry("earned", 3, {"lot_id": "early", "delta": 3, "expires_at": early}))
    then.add(entry("redeemed", -4, {"lot_id": "early", "delta": -3, "expires_at": early}))

    assert [lot.lot_id for lot in then.wallets["points"].lots_left()] == ["late", "for-ever"]
    then.add(entry("restored", 2, {"lot_id": "early", "delta": 2, "expires_at": early}))
    assert [(lot.lot_id, lot.points) for lot in then.wallets["points"].lots_left()] == [
        ("early", 2),
        ("late", 7),
        ("for-ever", 5),
    ]


def test_who_was_merged_away_by_then_is_told() -> None:
    """It is the last thing that happens to an account."""
    then = MemberThen("m1")
    then.add(entry("earned", 5, {"lot_id": "a", "delta": 5}))
    assert not then.merged_away
    then.add(entry("merged_out", -5, {"lot_id": "a", "delta": -5}))
    assert then.merged_away
