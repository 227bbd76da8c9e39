"""Reminders of points that are about to expire: each once, at its time, with what would go."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ledger_support import DAY_MS, START_MS, Bench, programme

from pointstream.contracts.wire import epoch_ms, rfc3339
from pointstream.rules import CompiledProgramme


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


def reminding(*leads: str, zone: str = "Asia/Shanghai", **expiry: Any) -> CompiledProgramme:
    wallet = {"id": "points", "expiry": expiry, "remind_before": leads}
    return programme(time_zone=zone, wallets=[wallet])


def by_member(record: dict[str, Any]) -> tuple[str, int, str]:
    return record["member_id"], record.get("seq", 0), record["recorded_at"]


def told(bench: Bench) -> list[tuple[str, int, str]]:
    """When each reminder was sent, of how many points, and of what moment."""
    assert len({r["event_id"] for r in bench.reminders}) == len(bench.reminders)
    for reminder in bench.reminders:
        assert reminder["type"] == "reminder.points_expiring"
        assert reminder["occurred_at"] == reminder["recorded_at"]
    return [(r["occurred_at"], r["points"], r["due_at"]) for r in bench.reminders]


def test_each_lead_time_reminds_once() -> None:
    """Thirty days and seven days before, and not when nothing changes in between."""
    bench = Bench(reminding("P7D", "P30D", days=60))
    bench.order("a", 100)
    for number in range(1, 61):
        bench.tick(day(number))
        bench.restart()

    assert told(bench) == [
        (rfc3339(day(30)), 100, rfc3339(day(60))),
        (rfc3339(day(53)), 100, rfc3339(day(60))),
    ]
    assert bench.moved("expired") == [100]


def test_reminder_tells_all_that_expires_on_that_local_day() -> None:
    """However many lots and moments; the first of them is when it is due."""
    bench = Bench(reminding("P7D", days=60))
    for number in range(40):
        bench.order(f"o{number}", 10)
        bench.later(ms=3_600_000)

    bench.tick(day(70))

    assert told(bench) == [
        (rfc3339(day(53)), 240, rfc3339(day(60))),
        (rfc3339(day(54)), 160, rfc3339(day(61))),
    ]


def test_spent_points_are_in_no_reminder() -> None:
    """What is left counts; of nothing there is none, and a day is told of once all the same."""
    bench = Bench(reminding("P7D", days=60))
    bench.order("a", 100)
    bench.tick(day(0.5))
    bench.order("b", 50)
    bench.tick(day(1))
    bench.order("c", 30)
    bench.tick(day(20))
    bench.redeem(40)
    bench.tick(day(53))
    assert told(bench) == [(rfc3339(day(53)), 110, rfc3339(day(60)))]

    # The first of the day is spent: its second moment is no new matter.
    bench.redeem(60)
    bench.tick(day(53.9))
    assert len(bench.reminders) == 1
    bench.redeem(80)
    bench.tick(day(70))

    assert len(bench.reminders) == 1
    assert not bench.moved("expired")


def test_points_that_come_too_late_for_a_lead_time_have_the_shorter_one() -> None:
    """Restored, given by hand with an expiry, or activated late."""
    bench = Bench(reminding("P30D", "P7D", days=60))
    bench.adjust(20, expires_at=rfc3339(day(10)))
    bench.adjust(5, expires_at=rfc3339(day(5)))

    bench.tick(day(20))

    assert told(bench) == [(rfc3339(day(3)), 20, rfc3339(day(10)))]


def test_pending_and_held_points_are_not_about_to_expire() -> None:
    """Reminded of is what can be spent."""
    wallet = {
        "id": "points",
        "expiry": {"days": 60},
        "activation": {"after": "P54D"},
        "remind_before": ["P7D", "P3D"],
    }
    bench = Bench(programme(wallets=[wallet]))
    bench.order("a", 100)
    bench.tick(day(55))
    bench.hold("h", 30, expires_at=rfc3339(day(80)))

    bench.tick(day(60))

    assert told(bench) == [(rfc3339(day(57)), 70, rfc3339(day(60)))]


def test_frozen_account_is_reminded_too() -> None:
    """Its points expire like all others."""
    bench = Bench(reminding("P7D", days=60))
    bench.order("a", 100)
    bench.freeze()

    bench.tick(day(60))

    assert [points for _, points, _ in told(bench)] == [100]


@pytest.mark.parametrize("lead", [3, 7])
def test_sliding_points_are_reminded_of_at_the_end_they_have_now(lead: int) -> None:
    """An activity before or after the reminder moves the end, and then there is a new one."""
    bench = Bench(reminding(f"P{lead}D", kind="sliding", days=10))
    bench.order("a", 100)
    bench.tick(day(2))
    bench.redeem(1)
    bench.tick(day(12 - lead))
    assert told(bench) == [(rfc3339(day(12 - lead)), 99, rfc3339(day(12)))]
    bench.tick(day(12 - lead + 1))
    bench.redeem(1)

    bench.tick(day(40))

    again = 12 - lead + 1 + 10
    assert told(bench)[1:] == [(rfc3339(day(again - lead)), 98, rfc3339(day(again)))]
    assert bench.moved("expired") == [98]


def test_sliding_and_fixed_points_of_one_day_are_one_reminder() -> None:
    """The member is told of a day once."""
    bench = Bench(reminding("P3D", kind="sliding", days=10))
    bench.order("a", 100)
    bench.adjust(20, expires_at=rfc3339(day(10) + 3_600_000))

    bench.tick(day(20))

    assert told(bench) == [(rfc3339(day(7)), 120, rfc3339(day(10)))]


def test_lead_time_is_exact_over_a_change_of_clocks() -> None:
    """Seven days are 168 hours; the day of expiry is the local one."""
    bench = Bench(
        reminding("P7D", zone="America/New_York", days=10, end_of="day"),
        now_ms=at("2026-03-01T12:00-05:00"),
    )
    bench.order("a", 100)
    bench.tick(at("2026-03-04T23:00-05:00") - 1)
    assert not bench.reminders
    bench.tick(at("2026-03-20T12:00-04:00"))

    # Over by the end of 11 March, which begins the 12th in summer time already.
    due_ms = at("2026-03-12T00:00-04:00")
    assert told(bench) == [(rfc3339(due_ms - 7 * DAY_MS), 100, rfc3339(due_ms))]


def test_expiry_that_is_always_sooner_than_the_lead_time_has_no_reminder() -> None:
    """There is no moment for it."""
    for expiry in ({"days": 5}, {"kind": "sliding", "days": 5}):
        bench = Bench(reminding("P7D", **expiry))
        bench.order("a", 100)
        bench.tick(day(3))
        bench.order("b", 100)
        bench.tick(day(30))
        assert not bench.reminders
        assert sum(bench.moved("expired")) == 200


def test_new_lead_time_holds_for_what_a_member_has_already() -> None:
    """From when the programme is first seen; what is over for it is over."""
    bench = Bench(reminding(days=60))
    for number in range(25):
        bench.order(f"a{number}", 100, member=f"m{number}")
    bench.tick(day(20))
    bench.programme = reminding("P50D", "P7D", days=60)
    bench.restart()
    bench.order("b", 1)

    bench.tick(day(60))

    assert told(bench) == [
        (rfc3339(day(30)), 1, rfc3339(day(80))),
        *[(rfc3339(day(53)), 100, rfc3339(day(60)))] * 25,
    ]


@pytest.mark.case(20)
@pytest.mark.parametrize("expiry", [{"days": 9, "end_of": "day"}, {"kind": "sliding", "days": 9}])
def test_reminders_due_while_the_worker_was_down_are_those_of_one_that_was_up(
    expiry: dict[str, Any],
) -> None:
    """One late tick tells what a tick every hour tells, in batches of any size."""
    benches = []
    for size, step_ms in ((1, 3_600_000), (1_000, 40 * DAY_MS), (7, 5 * DAY_MS)):
        bench = Bench(reminding("P5D", "P2D", **expiry), batch=size)
        for number in range(30):
            member = f"m{number % 4}"
            bench.order(f"o{number}", 10 + number, member=member)
            if number % 3 == 0:
                bench.redeem(5, member=member)
            bench.now_ms += (number % 5) * DAY_MS
        end_ms = bench.now_ms + 15 * DAY_MS
        while bench.now_ms < end_ms:
            bench.tick(min(bench.now_ms + step_ms, end_ms))
            bench.flush()
            bench.restart()
        benches.append(bench)

    watched, *others = benches
    assert len(told(watched)) > 20
    for slept in others:
        for one, other in ((slept.reminders, watched.reminders), (slept.entries, watched.entries)):
            # Members of two partitions may stand in another order.
            assert sorted(one, key=by_member) == sorted(other, key=by_member)
        assert slept.books() == watched.books()


def test_reminder_reads_no_more_lots_than_it_tells_of() -> None:
    """A member with thousands of lots costs what one with a few costs."""

    class Counting(type(Bench().state)):  # type: ignore[misc]
        read = 0

        def scan(self, start: bytes, stop: bytes) -> Any:
            for key, value in super().scan(start, stop):
                self.read += key[:1] == b"l"
                yield key, value

    state = Counting()
    bench = Bench(reminding("P7D", days=30), state=state)
    for _ in range(300):
        bench.adjust(1)
        bench.later(0.05)
    bench.tick(day(23) - 1)
    state.read = 0
    bench.tick(day(23))

    assert [points for _, points, _ in told(bench)] == [20]
    assert state.read < 30
