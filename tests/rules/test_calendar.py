"""Local days and calendar periods."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from pointstream.contracts.programme import Activation, EndOf, Expiry
from pointstream.contracts.wire import epoch_ms
from pointstream.rules import Calendar


def at(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


@pytest.mark.case(17)
@pytest.mark.parametrize(
    ("zone", "expires_at"),
    [("Asia/Shanghai", "2026-05-01T16:00:00Z"), ("America/New_York", "2026-05-01T04:00:00Z")],
)
def test_a_month_to_the_end_of_the_local_day(zone: str, expires_at: str) -> None:
    """The same instant falls on different days, and New York changes its clock in between."""
    policy = Expiry(months=1, end_of=EndOf.DAY)

    assert Calendar(zone).expires_at_ms(policy, at("2026-03-31T16:30:00Z")) == at(expires_at)


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("earned", "months", "expires_at"),
    [
        ("2026-01-31T12:00+08:00", 1, "2026-03-01T00:00+08:00"),
        ("2028-01-31T12:00+08:00", 1, "2028-03-01T00:00+08:00"),
        ("2028-02-29T12:00+08:00", 12, "2029-03-01T00:00+08:00"),
    ],
)
def test_a_day_the_month_does_not_have_is_its_last(
    earned: str, months: int, expires_at: str
) -> None:
    """31 January + 1 month ends on 28 or 29 February, 29 February + 12 months on the 28th."""
    policy = Expiry(months=months, end_of=EndOf.DAY)

    assert Calendar("Asia/Shanghai").expires_at_ms(policy, at(earned)) == at(expires_at)


@pytest.mark.parametrize(
    ("end_of", "expires_at"),
    [
        (EndOf.NONE, "2026-05-15T10:20:30.5+08:00"),
        (EndOf.DAY, "2026-05-16T00:00+08:00"),
        (EndOf.MONTH, "2026-06-01T00:00+08:00"),
        (EndOf.QUARTER, "2026-07-01T00:00+08:00"),
        (EndOf.YEAR, "2027-01-01T00:00+08:00"),
    ],
)
def test_expiry_is_moved_to_the_end_of_a_local_unit(end_of: EndOf, expires_at: str) -> None:
    """Months are counted first, then the end of the unit in which that falls."""
    policy = Expiry(months=2, end_of=end_of)
    earned_ms = at("2026-03-15T10:20:30.5+08:00")

    assert Calendar("Asia/Shanghai").expires_at_ms(policy, earned_ms) == at(expires_at)


def test_points_without_a_period_never_expire() -> None:
    """Neither months nor days: no expiry."""
    assert Calendar("Asia/Shanghai").expires_at_ms(Expiry(), 0) is None


def test_local_days_follow_the_change_of_clocks() -> None:
    """A day of 23 and a day of 25 hours are each one day, next to their neighbours."""
    calendar = Calendar("America/New_York")
    for start, hours in (("2026-03-08T05:00Z", 23), ("2026-11-01T04:00Z", 25)):
        day = calendar.local_day(at(start))
        length_ms = hours * 3_600_000

        assert calendar.start_of_day_ms(day) == at(start)
        assert calendar.local_day(at(start) - 1) == day - 1
        assert calendar.local_day(at(start) + length_ms - 1) == day
        assert calendar.local_day(at(start) + length_ms) == day + 1


def test_activation_waits_and_rounds_up_to_the_end_of_the_local_day() -> None:
    """After seven days, or at the end of the day on which they are over."""
    calendar = Calendar("Asia/Shanghai")
    earned_ms = at("2026-03-15T10:20+08:00")
    week = timedelta(days=7)

    assert calendar.activates_at_ms(Activation(after=week), earned_ms) == at(
        "2026-03-22T10:20+08:00"
    )
    assert calendar.activates_at_ms(Activation(after=week, end_of=EndOf.DAY), earned_ms) == at(
        "2026-03-23T00:00+08:00"
    )


@pytest.mark.parametrize(
    ("zone", "earned", "days", "active"),
    [
        ("Asia/Shanghai", "2026-03-02T00:00+08:00", (1, 15), "2026-03-15T00:00+08:00"),
        ("Asia/Shanghai", "2026-03-15T00:00+08:00", (1, 15), "2026-03-15T00:00+08:00"),
        ("Asia/Shanghai", "2026-03-15T00:00:00.001+08:00", (15, 1), "2026-04-01T00:00+08:00"),
        ("Asia/Shanghai", "2026-12-20T12:00+08:00", (15,), "2027-01-15T00:00+08:00"),
        # A day that the month does not have is its last.
        ("Asia/Shanghai", "2026-02-10T12:00+08:00", (31,), "2026-02-28T00:00+08:00"),
        ("Asia/Shanghai", "2028-02-10T12:00+08:00", (30,), "2028-02-29T00:00+08:00"),
        ("Asia/Shanghai", "2026-03-30T12:00+08:00", (31,), "2026-03-31T00:00+08:00"),
        # The clock changes on 8 March in New York, and at midnight of 6 September in Santiago.
        ("America/New_York", "2026-03-08T00:30-05:00", (9,), "2026-03-09T00:00-04:00"),
        ("America/New_York", "2026-11-01T00:30-04:00", (2,), "2026-11-02T00:00-05:00"),
        ("America/Santiago", "2026-09-01T12:00-04:00", (6,), "2026-09-06T01:00-03:00"),
    ],
)
def test_activation_on_fixed_days_is_the_next_local_midnight(
    zone: str, earned: str, days: tuple[int, ...], active: str
) -> None:
    """At that moment or after it, whatever clocks and months do."""
    policy = Activation(on_days=days)

    assert Calendar(zone).activates_at_ms(policy, at(earned)) == at(active)


def test_fixed_days_are_counted_after_the_delay() -> None:
    """Earned on the 10th, a week on is the 17th, the next 1st is active."""
    policy = Activation(after=timedelta(days=7), on_days=(1, 15))

    active_ms = Calendar("Asia/Shanghai").activates_at_ms(policy, at("2026-03-10T10:00+08:00"))

    assert active_ms == at("2026-04-01T00:00+08:00")


@pytest.mark.parametrize(
    ("zone", "earned", "policy", "expires_at"),
    [
        ("Asia/Shanghai", "2026-05-20T12:00+08:00", {"period": "year"}, "2027-01-01T00:00+08:00"),
        (
            "Asia/Shanghai",
            "2026-12-31T23:59:59.999+08:00",
            {"period": "year", "months": 3},
            "2027-04-01T00:00+08:00",
        ),
        (
            "Asia/Shanghai",
            "2027-01-01T00:00+08:00",
            {"period": "year", "months": 3},
            "2028-04-01T00:00+08:00",
        ),
        (
            "Asia/Shanghai",
            "2026-05-20T12:00+08:00",
            {"period": "quarter", "days": 10},
            "2026-07-11T00:00+08:00",
        ),
        ("Asia/Shanghai", "2028-02-29T12:00+08:00", {"period": "month"}, "2028-03-01T00:00+08:00"),
        # The same instant is in one year in one zone and in another in the other.
        ("Asia/Shanghai", "2026-12-31T16:30Z", {"period": "year"}, "2028-01-01T00:00+08:00"),
        ("America/New_York", "2026-12-31T16:30Z", {"period": "year"}, "2027-01-01T00:00-05:00"),
        (
            "America/New_York",
            "2026-02-10T12:00-05:00",
            {"period": "month", "days": 8},
            "2026-03-09T00:00-04:00",
        ),
    ],
)
def test_calendar_expiry_is_the_end_of_the_period_and_a_grace(
    zone: str, earned: str, policy: dict[str, object], expires_at: str
) -> None:
    """All that was earned in one local period ends at one instant."""
    expiry = Expiry.model_validate({"kind": "calendar", **policy})

    assert Calendar(zone).expires_at_ms(expiry, at(earned)) == at(expires_at)


@pytest.mark.parametrize(
    "expiry",
    [
        {"kind": "calendar"},
        {"period": "year"},
        {"kind": "calendar", "period": "year", "end_of": "month"},
        {"kind": "calendar", "period": "day"},
        {"kind": "sliding"},
        {"kind": "sliding", "period": "year", "months": 3},
        {"end_of": "year"},
    ],
)
def test_expiry_that_means_nothing_is_refused(expiry: dict[str, object]) -> None:
    """Each kind has its own settings, and none is silently left out of account."""
    with pytest.raises(ValidationError):
        Expiry.model_validate(expiry)


@pytest.mark.parametrize(
    "activation",
    [{"at_latest": "P3D"}, {"end_of": "day", "on_days": [1]}, {"on_days": [0]}, {"on_days": [32]}],
)
def test_activation_that_means_nothing_is_refused(activation: dict[str, object]) -> None:
    """The same for what delays points."""
    with pytest.raises(ValidationError):
        Activation.model_validate(activation)
