"""Check-ins: once per local day, streaks with their bonus, late ones that mend."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_support import DAY_MS, START_MS, Bench, programme, rule

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import Outcome
from pointstream.ledger.state import event_key
from pointstream.rules import CompiledProgramme

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
    again = bench.check_in(event_id="again").outcome
    after = bench.books()
    del after[event_key(b"m1", "again")]
    assert after == before
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


def test_a_check_in_that_earns_nothing_does_not_use_up_the_day() -> None:
    """The rule holds in one shop only: looking in elsewhere first costs nothing."""
    bench = Bench(programme(rule("check_in", points=5, scope={"stores": ["s"]})))

    made = [bench.check_in(store_id=store).outcome for store in ("t", "s", "s")]

    assert made == [
        Outcome.NOTHING_EARNED,
        Outcome.POINTS_AWARDED,
        Outcome.ALREADY_CHECKED_IN,
    ]
    assert bench.available() == 5


def test_a_day_on_which_nothing_was_earned_first_still_counts_for_the_streak() -> None:
    """The check-in that pays later that day goes on with the streak and gets its bonus."""
    once = rule("check_in", points=1, scope={"stores": ["s"]}, streak={"days": 3, "points": 9})
    bench = Bench(programme(once))
    for _ in range(3):
        bench.check_in(store_id="t")
        bench.check_in(store_id="s")
        bench.later(1)

    assert bonuses(bench) == [9]


def rules_from(day: int, *later: dict[str, object]) -> CompiledProgramme:
    """Seven days for 30 points at first; other rules from a day on."""
    first = rule("check_in", points=2, streak={"days": 7, "points": 30})
    return programme(
        rule_sets=[
            {"id": "h", "version": 1, "rules": [first]},
            {
                "id": "h",
                "version": 2,
                "effective_from": rfc3339(START_MS + day * DAY_MS),
                "rules": list(later),
            },
        ]
    )


@pytest.mark.case(30)
@pytest.mark.parametrize(
    ("later", "paid_on"),
    [
        (rule("check_in", points=2, streak={"days": 5, "points": 30}), [100, 105, 110]),
        (rule("check_in", id="daily", points=2, streak={"days": 7, "points": 30}), [105, 112]),
        (rule("check_in", points=2, streak={"days": 30, "points": 30}), [120]),
    ],
)
def test_a_streak_that_meets_another_rule_is_paid_what_each_day_adds(
    later: dict[str, object], paid_on: list[int]
) -> None:
    """After 98 days the bonus changes, or only its name: nothing is paid again or withheld."""
    bench = Bench(rules_from(98, later))
    days = []
    for day in range(1, 114 if paid_on[-1] < 114 else 121):
        if any(entry.get("reason") == "streak" for entry in bench.check_in().entries):
            days.append(day)
        bench.later(1)

    assert days == [*range(7, 99, 7), *paid_on]
    assert set(bonuses(bench)) == {30}


def test_two_rules_of_one_name_count_their_own_streaks() -> None:
    """Head office and the shop both call it daily: each pays its bonus, and names it so."""
    bench = Bench(
        programme(
            rule_sets=[
                {
                    "id": name,
                    "version": 1,
                    "rules": [rule("check_in", points=points, streak={"days": 2, "points": bonus})],
                }
                for name, points, bonus in (("office", 2, 10), ("shop", 1, 5))
            ]
        )
    )
    paid = []
    for _ in range(4):
        paid.append([(e["amount"], e.get("reason")) for e in bench.check_in().entries])
        bench.later(1)

    plain = [(2, None), (1, None)]
    with_bonus = [(2, None), (10, "streak"), (1, None), (5, "streak")]
    assert paid == [plain, with_bonus, plain, with_bonus]


@pytest.mark.case(30)
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([2, 3, 7]),
    st.sampled_from([1, 3]),
    st.sampled_from(["Asia/Shanghai", "America/New_York"]),
    st.lists(
        st.tuples(st.booleans(), st.integers(0, DAY_MS - 1), st.integers(0, 3 * DAY_MS)),
        max_size=25,
    ),
)
def test_streaks_told_late_within_the_window_are_worth_what_the_days_are(
    every: int, late: int, zone: str, told: list[tuple[bool, int, int]]
) -> None:
    """Whatever was mended in which order: one bonus for every full week (or so) of each run."""
    compiled = programme(
        rule("check_in", points=2, streak={"days": every, "points": 1_000}),
        late_window=f"P{late}D",
        time_zone=zone,
    )
    bench = Bench(compiled)
    arrivals = sorted(
        (made_ms + min(delay_ms, late * DAY_MS), made_ms)
        for day, (made, at_ms, delay_ms) in enumerate(told)
        if made
        for made_ms in [START_MS + day * DAY_MS + at_ms]
    )
    for arrives_ms, made_ms in arrivals:
        bench.tick(max(bench.now_ms, arrives_ms))
        bench.check_in(occurred_ms=made_ms)

    days = sorted({compiled.calendar.local_day(made_ms) for _, made_ms in arrivals})
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    expected = 2 * len(days) + 1_000 * sum(len(run) // every for run in runs)
    assert sum(bench.moved("earned")) == expected


def test_an_account_keeps_few_runs_however_often_days_are_missed() -> None:
    """Runs that no late check-in can reach any more are dropped."""
    sizes = []
    bench = Bench(programme(CHECK_IN))
    for day in range(0, 200, 2):
        bench.tick(START_MS + (day + 1) * DAY_MS)
        on_day(bench, day)
        sizes.append(len(bench.books()[b"am1"]))

    assert max(sizes) < min(sizes[5:]) + 60
