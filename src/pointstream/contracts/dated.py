"""What a programme does to all its members at a date: clear balances out, move expiries.

Each has an id, which is used once: what has begun under it is not begun again, whatever the
programme file says later. To do it once more, give it another id.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pointstream.contracts.fields import MAX_AMOUNT
from pointstream.contracts.rulesets import Identifier

__all__ = ["ClearOut", "Condition", "ExpiryMigration", "LeadTimes"]

LeadTimes = Annotated[
    tuple[Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=3_650))], ...],
    Field(max_length=8),
]
Names = Annotated[tuple[str, ...], Field(min_length=1, max_length=1_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Strict):
    """Whom it is about: members for whom all that is said here is true; nothing said: everybody."""

    inactive_for: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=36_525))] | None = (
        Field(None, description="The member's latest activity is so long before the date.")
    )
    segments: Names | None = Field(None, description="In one of these segments.")
    tiers: Names | None = Field(None, description="In one of these tiers of the first ladder.")
    max_balance: Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)] | None = Field(
        None, description="With no more than so many points available."
    )


class ClearOut(_Strict):
    """All that is available in a wallet goes, of every member of whom the condition is true."""

    id: Identifier
    description: str = ""
    at: AwareDatetime
    wallet: Identifier = "points"
    condition: Condition = Condition()
    remind_before: LeadTimes = Field(
        (), description="So long before, members are reminded to whom it would happen as it is."
    )


class ExpiryMigration(_Strict):
    """Lots of a wallet get the expiry that its present policy gives, from when they were earned."""

    id: Identifier
    description: str = ""
    at: AwareDatetime
    wallet: Identifier = "points"
    at_least_days: int = Field(
        30, strict=True, ge=1, le=3_650, description="No lot expires sooner after the date."
    )
