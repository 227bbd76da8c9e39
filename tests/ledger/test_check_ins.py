"""Check-ins: once per local day, streaks with their bonus, late ones that mend."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, START_MS, Bench, programme, rule

from pointstream.ledger import Outcome

CHECK_IN = rule("check_in", points=2, streak={"days": 7, "points": 50})


def on_day(bench: Bench, day: int, **fields: object) -> Outcome:
    """A check-in at noon of the day with that number, told now."""
    return bench.check_in(occurred_ms=START_MS + day * DAY_MS + DAY_MS // 2, **fields).outcome


def bonuses(bench: Bench) -> list[int]:
    return [e["amount"] for e in bench.entries if e.get("reason") == "streak"]


@pytest.mark.case(30)
def test_seven_days_in_a_row_pay_a_bonus_and_fourteen_another() -> None:
    """The bonus comes with the seventh check-in, not before."""
    bench = Bench(programme(CHECK_IN))
    paid_on = []
    for day in range(15):
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
        if len(bonuses(bench)) > len(paid_on):
            paid_on.append(day + 1)

    assert paid_on == [7, 14]
    assert bench.available() == 15 * 2 + 2 * 50


@pytest.mark.case(30)
def test_a_missed_day_starts_the_streak_anew() -> None:
    """1…5, a gap, then seven more: the bonus comes on the seventh after the gap."""
    bench = Bench(programme(CHECK_IN))
    for day in [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]:
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
    assert bonuses(bench) == []

    bench.later(1)
    on_day(bench, 12)
    assert bonuses(bench) == [50]


@pytest.mark.case(30)
@pytest.mark.parametrize(("late_days", "mended"), [(2.5, True), (3.5, False)])
def test_late_check_in_mends_the_streak_within_the_late_window(
    late_days: float, mended: bool
) -> None:
    """Day 6 is told late: inside late_window the seven are whole and the bonus comes then."""
    bench = Bench(programme(CHECK_IN, late_window="P3D"))
    for day in [0, 1, 2, 3, 4, 6]:
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
    bench.tick(round(START_MS + (5.5 + late_days) * DAY_MS))

    assert on_day(bench, 5) is Outcome.POINTS_AWARDED

    assert bonuses(bench) == ([50] if mended else [])
    assert bench.available() == 7 * 2 + (50 if mended else 0)


def test_mending_pays_no_bonus_twice() -> None:
    """5 days, a gap, 7 days with their bonus; the gap mended makes 13 days, worth one bonus."""
    bench = Bench(programme(CHECK_IN, late_window="P30D"))
    for day in [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]:
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
    assert bonuses(bench) == [50]
    on_day(bench, 5)
    assert bonuses(bench) == [50]

    bench.later(1)
    on_day(bench, 13)
    assert bonuses(bench) == [50, 50]


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(15)))
def test_streaks_do_not_depend_on_the_order_of_arrival(days: list[int]) -> None:
    """Fifteen days in a row are worth the same in every order, within the late window."""
    bench = Bench(programme(CHECK_IN, late_window="P30D"), now_ms=START_MS + 15 * DAY_MS)
    for day in days:
        on_day(bench, day)

    assert bench.available() == 15 * 2 + 2 * 50


def test_one_check_in_per_local_day() -> None:
    """The day is the programme's: 23:59 and 00:01 in Shanghai are two, though one day in UTC."""
    bench = Bench(programme(CHECK_IN), now_ms=START_MS + DAY_MS - 60_000)

    first = bench.check_in().outcome
    before = bench.books()
    again = bench.check_in().outcome
    assert bench.books() == before
    bench.later(ms=120_000)
    next_day = bench.check_in().outcome

    assert [first, again, next_day] == [
        Outcome.POINTS_AWARDED,
        Outcome.ALREADY_CHECKED_IN,
        Outcome.POINTS_AWARDED,
    ]


def test_a_rule_can_pay_every_check_in_of_a_day() -> None:
    """Only the rule that says so pays again; the streak counts days all the same."""
    always = rule("check_in", id="always", points=1, every_time=True)
    bench = Bench(programme(CHECK_IN, always))

    assert [bench.check_in().outcome for _ in range(3)] == [Outcome.POINTS_AWARDED] * 3
    assert bench.available() == 2 + 3


def test_a_streak_without_repeat_pays_once_per_run() -> None:
    """After a missed day a new run can earn it again."""
    once = rule("check_in", points=1, streak={"days": 2, "points": 9, "repeat": False})
    bench = Bench(programme(once))
    for day in [0, 1, 2, 3, 5, 6]:
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)

    assert bonuses(bench) == [9, 9]


def test_an_account_keeps_few_runs_however_often_days_are_missed() -> None:
    """Runs that no late check-in can reach any more are dropped."""
    sizes = []
    bench = Bench(programme(CHECK_IN))
    for day in range(0, 200, 2):
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
        sizes.append(len(bench.books()[b"am1"]))

    assert max(sizes) < min(sizes[5:]) + 60
