"""What rules are made of: scopes, caps, rates, streaks and draws.

Points are whole numbers, money is whole minor units of the programme's currency (100 = 1.00 CNY).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pointstream.contracts.conditions import raise_mistakes

__all__ = [
    "Cap",
    "Draw",
    "Identifier",
    "Minor",
    "Points",
    "Prize",
    "Rate",
    "Scope",
    "SharedCap",
    "Streak",
    "Strict",
]

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Names in configuration: lower case, so that they are safe in keys, metrics and field names."""

Points = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
Minor = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000_000)]


class Strict(BaseModel):
    """Configuration is written by hand, so an unknown field is a typing error and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(Strict):
    """Where a rule holds. Every list that is given must contain the event's value."""

    stores: tuple[str, ...] | None = None
    brands: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    campaign_codes: tuple[str, ...] | None = Field(
        None, description="Holds when the event carries at least one of these codes."
    )
    tiers: tuple[str, ...] | None = Field(
        None, description="Holds when the member has one of these tiers, of any ladder."
    )
    segments: tuple[str, ...] | None = Field(
        None, description="Holds when the member is in at least one of these segments."
    )


class Cap(Strict):
    """The most points that one member gets: by one event, in one local calendar day, week (from
    Monday) and month, and ever. Each limit that is given counts."""

    event: Points | None = None
    day: Points | None = None
    week: Points | None = None
    month: Points | None = None
    lifetime: Points | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if (self.event, self.day, self.week, self.month, self.lifetime) == (None,) * 5:
            raise ValueError("a cap needs one of event, day, week, month, lifetime")
        return self


class SharedCap(Cap):
    """A cap that several rules of a rule set use up together."""

    id: Identifier
    rules: tuple[Identifier, ...] = Field(
        (), description="The rules that share it; if absent, all rules of the rule set."
    )


class Prize(Strict):
    """One outcome of a draw; `points` may be 0."""

    points: int = Field(strict=True, ge=0, le=1_000_000_000)
    weight: int = Field(1, strict=True, ge=1, le=1_000_000_000)


class Draw(Strict):
    """Points drawn from a prize table, by the event's id and a seed.

    Whoever publishes the commitment, the SHA-256 of the seed, before the first draw, and the seed
    after the last, lets everybody check every draw.
    """

    seed: Annotated[str, Field(min_length=16, max_length=256)]
    commitment: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="SHA-256 of the seed (UTF-8), in hexadecimal: it must fit."
    )
    prizes: tuple[Prize, ...] = Field(min_length=1, max_length=1_000)

    @model_validator(mode="after")
    def _fits_the_commitment(self) -> Self:
        if self.commitment not in (None, sha256(self.seed.encode()).hexdigest()):
            raise_mistakes("Draw", [(("commitment",), "must be the SHA-256 of the seed")])
        if not any(prize.points for prize in self.prizes):
            raise_mistakes("Draw", [(("prizes",), "at least one prize must have points")])
        return self


class Rate(Strict):
    """A rate from an amount of money on: `points` for every full `per_minor`."""

    from_minor: int = Field(0, strict=True, ge=0, le=1_000_000_000_000)
    points: Points = 1
    per_minor: Minor


class Streak(Strict):
    """A bonus for `days` check-in days in a row; with `repeat`, again for every further `days`."""

    days: int = Field(strict=True, ge=2, le=366)
    points: Points
    repeat: bool = True
