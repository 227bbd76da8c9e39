"""Ladders of tiers: what a member must reach for a tier, how long it lasts, what it gives.

A ladder measures one thing: points earned in a wallet, or money paid. Several ladders stand side by
side. Multipliers are decimals in a programme (1.5) and whole thousandths in code (1500).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pointstream.contracts.fields import MAX_AMOUNT
from pointstream.contracts.rulesets import Identifier

__all__ = [
    "MONEY",
    "Benefits",
    "Bonus",
    "CalendarWindow",
    "HoldsFor",
    "Ladder",
    "LifetimeWindow",
    "RollingWindow",
    "Tier",
]

MONEY: Final = "money"
"""What a ladder is `qualified_by` that measures money, in minor units; else it is a wallet."""

Span = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=3_660))]
Factor = Annotated[Decimal, Field(ge=1, le=100, max_digits=6, decimal_places=3)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RollingWindow(_Strict):
    """The last so many local months and days, today included."""

    kind: Literal["rolling"]
    months: int = Field(0, strict=True, ge=0, le=60)
    days: int = Field(0, strict=True, ge=0, le=1_830)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not self.months and not self.days:
            raise ValueError("a rolling window has months or days")
        return self


class CalendarWindow(_Strict):
    """The better of this local month, quarter or year and the one before."""

    kind: Literal["calendar"]
    unit: Literal["month", "quarter", "year"] = "year"


class LifetimeWindow(_Strict):
    """All that was ever earned or paid."""

    kind: Literal["lifetime"]


class HoldsFor(_Strict):
    """How long a tier is kept at least: local months and days, then to the end of a unit."""

    months: int = Field(0, strict=True, ge=0, le=120)
    days: int = Field(0, strict=True, ge=0, le=3_660)
    end_of: Literal["none", "day", "month", "quarter", "year"] = "none"

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not self.months and not self.days:
            raise ValueError("holds_for has months or days")
        return self


class Bonus(_Strict):
    """Points given for reaching a tier."""

    points: int = Field(strict=True, ge=1, le=1_000_000_000)
    wallet: Identifier = "points"


class Benefits(_Strict):
    """What a tier gives while it lasts."""

    multiplier: Factor = Field(Decimal(1), description="Of what `spend` rules give.")
    birthday_multiplier: Factor = Field(
        Decimal(1), description="On the member's birthday, if it is more than multiplier."
    )
    services: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        (), max_length=32, description="Named in crm-sync; what they mean is up to the shops."
    )


class Tier(_Strict):
    """One tier of a ladder."""

    id: Identifier
    name: str | None = None
    threshold: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=MAX_AMOUNT,
        description="Points or minor units. None: nobody reaches it, only the segment gives it.",
    )
    segment: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Members of this segment have at least this tier, whatever they reach."
    )
    bonus: Bonus | None = None
    benefits: Benefits = Benefits()

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if self.threshold is None and self.segment is None:
            raise ValueError("a tier has a threshold, or a segment that is given it")
        return self


class Ladder(_Strict):
    """Tiers in rising order. The first has the threshold 0: there everybody begins."""

    id: Identifier
    qualified_by: Identifier = Field("points", description="A wallet, or `money`.")
    window: Annotated[
        RollingWindow | CalendarWindow | LifetimeWindow, Field(discriminator="kind")
    ] = RollingWindow(kind="rolling", months=12)
    tiers: tuple[Tier, ...] = Field(min_length=2, max_length=16)
    grace: Span = Field(
        timedelta(days=1),
        description="How long a tier is kept after what is measured fell below it; the review is at"
        " the first local midnight after that.",
    )
    downgrade: Literal["one_level", "by_balance"] = "by_balance"
    holds_for: HoldsFor | None = Field(
        None, description="How long a tier is kept at least. None: as long as it is qualified for."
    )
    remind_before: tuple[Span, ...] = Field(
        (), max_length=8, description="How long before a tier ends the member is reminded."
    )

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        first = self.tiers[0]
        if first.threshold != 0:
            raise ValueError("the first tier of a ladder has the threshold 0")
        if first.bonus is not None or first.segment is not None:
            raise ValueError("the first tier is everybody's: it has no bonus and no segment")
        reached = -1
        for tier in self.tiers:
            if tier.threshold is not None:
                if tier.threshold <= reached:
                    raise ValueError(f"the threshold of tier {tier.id!r} is not above the last")
                reached = tier.threshold
        return self
