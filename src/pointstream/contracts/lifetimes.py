"""How long points wait before they can be spent, and how long they live.

A wallet has both policies; a rule may have its own. Durations are written in ISO 8601 (`P7D`).
Calendar periods (`months`) are counted in the programme's time zone.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Activation", "Duration", "EndOf", "Expiry", "ExpiryKind"]

Duration = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=36_525))]
DayOfMonth = Annotated[int, Field(strict=True, ge=1, le=31)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndOf(StrEnum):
    """To the end of which local calendar unit a moment is moved."""

    NONE = "none"
    DAY = "day"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Activation(_Strict):
    """When earned points become spendable: `after` the moment they were earned.

    Then at the end of that local day (`end_of: day`), or on the next of some days of the month
    (`on_days`), as it begins; a day that the month does not have is its last day.

    With `on_activity`, the points of an order wait for an activity of that name whose reference is
    the order's id. `after` and the rounding are counted from the activity then. Without it they
    activate `at_latest` after they were earned, or never.
    """

    after: Duration = timedelta(0)
    end_of: Literal[EndOf.NONE, EndOf.DAY] = EndOf.NONE
    on_days: tuple[DayOfMonth, ...] = Field((), max_length=31)
    on_activity: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    at_latest: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=36_525))] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.on_days and self.end_of is not EndOf.NONE:
            raise ValueError("on_days and end_of exclude each other")
        if self.at_latest is not None and self.on_activity is None:
            raise ValueError("at_latest needs on_activity")
        return self


class ExpiryKind(StrEnum):
    """From what the life of points is counted."""

    ROLLING = "rolling"
    """From the moment they were earned."""
    CALENDAR = "calendar"
    """From the end of the local calendar period in which they were earned."""
    SLIDING = "sliding"
    """From the member's latest activity: each moves the end of all of them."""


class Expiry(_Strict):
    """When points die: months and days after `kind` says, then to the end of a local unit.

    Rolling with neither months nor days: points of this wallet never expire. Calendar: months and
    days are the grace after the `period`, and may be none.
    """

    kind: ExpiryKind = ExpiryKind.ROLLING
    period: Literal[EndOf.MONTH, EndOf.QUARTER, EndOf.YEAR] | None = None
    months: int = Field(0, strict=True, ge=0, le=1_200)
    days: int = Field(0, strict=True, ge=0, le=36_525)
    end_of: EndOf = EndOf.NONE

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.kind is ExpiryKind.CALENDAR) != (self.period is not None):
            raise ValueError("a period belongs to kind calendar, and to no other")
        if self.kind is ExpiryKind.CALENDAR:
            if self.end_of is not EndOf.NONE:
                raise ValueError("end_of does not go with kind calendar")
        elif not self.months and not self.days:
            if self.end_of is not EndOf.NONE:
                raise ValueError("end_of needs months or days")
            if self.kind is ExpiryKind.SLIDING:
                raise ValueError("kind sliding needs months or days")
        return self
