"""Clearing out a whole programme: at its date, once, in bounded steps, with reminders."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from driver_bench import DriverBench
from ledger_support import DAY_MS, SPEND, START_MS, Bench, programme
from pydantic import ValidationError

from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.walks import LOOKED_AT, VISITED
from pointstream.rules import CompiledProgramme


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


def clearing(
    on: float = 10, condition: dict[str, Any] | None = None, **fields: Any
) -> CompiledProgramme:
    settings = {k: fields.pop(k) for k in ("wallets", "ladders") if k in fields}
    clear_out = {
        "id": "spring",
        "at": rfc3339(day(on)),
        "condition": condition or {},
        **fields,
    }
    return programme(SPEND, clear_outs=[clear_out], **settings)


def members(bench: Bench, count: int, paid: int = 100) -> Bench:
    for number in range(count):
        bench.order(f"o{number}", paid + number, member=f"m{number:03}")
    return bench


def cleared(bench: Bench) -> dict[str, int]:
    """What was cleared, by member; each at most once."""
    entries = [e for e in bench.entries if e["type"] == "points.cleared"]
    assert len({e["member_id"] for e in entries}) == len(entries)
    return {e["member_id"]: e["amount"] for e in entries}


def test_balances_are_cleared_at_the_date_and_not_before() -> None:
    """The entry names the clear-out, not a command; what is pending or held stays."""
    wallet = {"id": "points", "activation": {"on_activity": "order.completed"}}
    bench = Bench(clearing(wallets=[wallet]))
    for order in ("a", "b"):
        bench.order(order, 100)
    bench.give("activity.recorded", activity="order.completed", reference="a")
    bench.hold("h", 30, expires_at=rfc3339(day(40)))
    bench.tick(day(10) - 1)
    assert bench.available() == 70
    bench.tick(day(10))

    entry = bench.entries[-1]
    assert (entry["type"], entry["amount"], entry["delta"]) == ("points.cleared", 70, -70)
    assert (entry["cause_type"], entry["reason"]) == ("programme.clear_out", "spring")
    assert entry["recorded_at"] == rfc3339(day(10))
    totals = bench.wallet()
    assert (totals.available, totals.held, totals.pending, totals.cleared) == (0, 30, 100, 70)
    bench.order("c", 5)
    bench.tick(day(60))
    assert cleared(bench) == {"m1": 70}


@pytest.mark.parametrize(
    ("condition", "gone"),
    [
        ({}, {"asleep", "awake", "rich"}),
        ({"inactive_for": "P8D"}, {"asleep", "rich"}),
        ({"max_balance": 60}, {"asleep", "awake"}),
        ({"segments": ["x", "vip"]}, {"rich"}),
        ({"inactive_for": "P8D", "max_balance": 60}, {"asleep"}),
    ],
)
def test_only_those_are_cleared_of_whom_the_condition_is_true(
    condition: dict[str, Any], gone: set[str]
) -> None:
    """All that is said must be true. Inactive means: as the standing shows it."""
    bench = Bench(clearing(condition=condition))
    bench.order("a", 50, member="asleep")
    bench.order("b", 40, member="awake")
    bench.order("c", 500, member="rich")
    bench.give("member.updated", "rich", segments=["vip"])
    bench.tick(day(2) + 1)
    bench.check_in("awake")

    bench.tick(day(10))

    assert set(cleared(bench)) == gone


def test_members_of_a_tier_are_cleared() -> None:
    """By the tier at that moment, of the first ladder."""
    ladder = {
        "id": "club",
        "qualified_by": "points",
        "window": {"kind": "lifetime"},
        "tiers": [{"id": "basic", "threshold": 0}, {"id": "gold", "threshold": 200}],
    }
    compiled = clearing(condition={"tiers": ["basic"]}, ladders=[ladder])
    bench = Bench(compiled)
    bench.order("a", 50, member="basic")
    bench.order("b", 300, member="gold")

    bench.tick(day(10))

    assert cleared(bench) == {"basic": 50}


def test_members_are_reminded_of_what_would_go() -> None:
    """At each lead time, by the condition and the balance of that moment."""
    compiled = clearing(
        condition={"inactive_for": "P5D"},
        remind_before=["P3D", "P1D"],
        wallets=[{"id": "points", "expiry": {"days": 9}}],
    )
    bench = Bench(compiled)
    bench.order("a", 40, member="expires")
    bench.tick(day(2))
    bench.order("b", 60, member="asleep")
    bench.order("c", 80, member="wakes")
    bench.tick(day(8))
    bench.redeem(1, member="wakes")
    bench.tick(day(20))

    told = [(r["member_id"], r["occurred_at"], r["points"]) for r in bench.reminders]
    assert told == [
        ("asleep", rfc3339(day(7)), 60),
        ("wakes", rfc3339(day(7)), 80),
        ("asleep", rfc3339(day(9)), 60),
    ]
    assert {r["type"] for r in bench.reminders} == {"reminder.balance_clearing"}
    assert {r["due_at"] for r in bench.reminders} == {rfc3339(day(10))}
    assert len({r["event_id"] for r in bench.reminders}) == 3
    assert cleared(bench) == {"asleep": 60}


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_walk_in_steps_with_crashes_makes_what_one_step_makes(limit: int) -> None:
    """No ring holds more than its bound, no account comes twice, nothing depends on steps."""
    count = 3 * LOOKED_AT + 7
    compiled = clearing(remind_before=["P1D"], condition={"max_balance": 150 + VISITED})
    whole = members(Bench(compiled, batch=10_000), count)
    whole.tick(day(12))
    whole.flush()
    assert len(cleared(whole)) == 51 + VISITED == len(whole.reminders)

    bench = members(Bench(compiled), count)
    behind, steps = True, 0
    while behind:
        bench.restart()
        bench.ledger.open(bench.state)
        decisions = bench.ledger.advance(day(12), limit)
        for decision in decisions:
            assert len(decision.entries) <= VISITED
        assert len(decisions) <= limit
        bench._note(*decisions)
        behind = bench.ledger.behind
        bench.ledger.close()
        steps += 1

    assert steps >= 2 * count // LOOKED_AT // limit
    assert bench.entries == whole.entries
    assert bench.reminders == whole.reminders
    assert bench.state.values == whole.state.values


def test_each_partition_clears_its_own_members() -> None:
    """Through the whole job, in transactions, with a crash before the date and one after."""
    bench = members(DriverBench(clearing(remind_before=["P1D"])), 60)
    bench.restart()
    bench.tick(day(12))
    bench.restart()
    bench.tick(day(13))

    assert len(bench.ledgers) == 2
    assert cleared(bench) == {f"m{number:03}": 100 + number for number in range(60)}
    assert len(bench.reminders) == 60


def test_members_who_came_in_the_same_batch_are_found() -> None:
    """An account that no batch has written yet is an account all the same."""
    for size in (1, 1_000):
        bench = Bench(clearing(), batch=size)
        bench.redeem(5, member="m0")
        bench.flush()
        bench.order("z", 5, member="m0")
        members(bench, 30)
        bench.tick(day(10))
        assert len(cleared(bench)) == 31
        assert bench.available("m0") == 0


@pytest.mark.parametrize("first_seen", [10, 11])
def test_date_that_is_over_when_first_seen_clears_nothing(first_seen: int) -> None:
    """Nobody was told in time. It is counted as an outcome, once."""
    bench = members(Bench(), 3)
    bench.tick(day(first_seen))
    bench.programme = clearing(remind_before=["P3D"])
    bench.restart()
    decisions = bench.later(1)
    bench.restart()
    decisions += bench.later(1)

    assert [d.outcome for d in decisions] == [Outcome.TOO_LATE_FOR_ALL_ACCOUNTS]
    assert (cleared(bench), bench.reminders) == ({}, [])


def test_lead_time_that_is_over_when_first_seen_has_no_reminder() -> None:
    """The shorter ones are kept."""
    bench = members(Bench(), 1)
    bench.tick(day(8))
    bench.programme = clearing(remind_before=["P3D", "P1D"])
    bench.restart()
    bench.tick(day(20))

    assert [r["occurred_at"] for r in bench.reminders] == [rfc3339(day(9))]
    assert len(cleared(bench)) == 1


def test_clear_out_can_be_moved_before_it_begins() -> None:
    """Earlier or later; the old date does nothing."""
    for on in (5, 15):
        bench = members(Bench(clearing(remind_before=["P1D"])), 1)
        bench.tick(day(2))
        bench.programme = clearing(on, remind_before=["P1D"])
        bench.restart()
        bench.tick(day(30))

        assert [e["recorded_at"] for e in bench.entries if e["type"] == "points.cleared"] == [
            rfc3339(day(on))
        ]
        assert [r["occurred_at"] for r in bench.reminders] == [rfc3339(day(on - 1))]


def test_id_of_a_clear_out_that_has_begun_is_used_up() -> None:
    """Moved on, it would take what members were promised to keep: once is once."""
    bench = members(Bench(clearing(5)), 2)
    bench.tick(day(6))
    bench.order("more", 10, member="m000")
    for on in (15, 25):
        bench.programme = clearing(on)
        bench.restart()
        (decision,) = bench.later(1)
        assert decision.outcome is Outcome.TOO_LATE_FOR_ALL_ACCOUNTS
    bench.tick(day(40))

    assert len(cleared(bench)) == 2
    assert bench.available("m000") == 10


def test_withdrawn_clear_out_does_nothing() -> None:
    """It is in the programme no more when its date comes."""
    bench = members(Bench(clearing(remind_before=["P1D"])), 2)
    bench.programme = programme()
    bench.restart()

    decisions = bench.tick(day(20))

    assert {d.outcome for d in decisions} == {Outcome.WITHDRAWN_FOR_ALL_ACCOUNTS}
    assert (cleared(bench), bench.reminders) == ({}, [])


def test_what_expires_at_the_same_instant_has_expired() -> None:
    """Expiry comes first, and is what the entry says."""
    bench = Bench(clearing(wallets=[{"id": "points", "expiry": {"days": 10}}]))
    bench.order("a", 100)
    bench.tick(day(1))
    bench.order("b", 20)

    bench.tick(day(10))

    assert bench.moved("expired") == [100]
    assert cleared(bench) == {"m1": 20}


@pytest.mark.parametrize(
    "wrong",
    [
        {"wallet": "unknown"},
        {"condition": {"tiers": ["gold"]}},
        {"at": "2026-03-02T00:00:00"},
        {"condition": {"inactive_for": "P0D"}},
    ],
)
def test_clear_out_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """A wallet or a tier that the programme has not, a date without a zone."""
    with pytest.raises(ValidationError):
        clearing(**wrong)
