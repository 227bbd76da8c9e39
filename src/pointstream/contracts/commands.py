"""Every command: what someone wants done to an account, and who that is."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from pointstream.contracts.envelope import INPUT_CONFIG, MemberEnvelope
from pointstream.contracts.fields import (
    Id,
    Instant,
    PositivePoints,
    Quantity,
    SignedPoints,
    Text,
)
from pointstream.contracts.vocabulary import Role

__all__ = [
    "AccountErase",
    "AccountFreeze",
    "AccountMerge",
    "AccountResync",
    "AccountUnfreeze",
    "AccountsResync",
    "Actor",
    "Command",
    "CommandEnvelope",
    "PointsAdjust",
    "PointsCapture",
    "PointsClear",
    "PointsHold",
    "PointsRedeem",
    "PointsTransfer",
    "PointsVoid",
    "ReviewReject",
    "ReviewRelease",
]


class Actor(BaseModel):
    """Who gives a command, and on whose behalf."""

    model_config = INPUT_CONFIG

    id: Id
    role: Annotated[Role, Strict(False)]
    store_id: Id | None = None


class CommandEnvelope(MemberEnvelope):
    """What every command carries. Its `event_id` is the `command_id` of its answer."""

    actor: Actor


class PointsRedeem(CommandEnvelope):
    """Spend points: a number of them, or the price of a catalogue item."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["points"]}, {"required": ["item_id"]}]}
    )

    type: Literal["points.redeem"]
    points: PositivePoints | None = None
    wallet: Id | None = None
    item_id: Id | None = None
    quantity: Quantity | None = None
    order_id: Id | None = None

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.points is None and self.item_id is None:
            raise PydanticCustomError("nothing_to_redeem", "points or item_id must be given")
        if self.quantity is not None and self.item_id is None:
            raise PydanticCustomError("quantity_of_nothing", "quantity needs an item_id")
        return self


class PointsHold(CommandEnvelope):
    """Reserve points until they are captured, voided, or `expires_at` has come."""

    type: Literal["points.hold"]
    hold_id: Id
    points: PositivePoints
    expires_at: Instant | None = None


class PointsCapture(CommandEnvelope):
    """Spend what a hold reserved; with fewer `points` the rest is freed."""

    type: Literal["points.capture"]
    hold_id: Id
    points: PositivePoints | None = None


class PointsVoid(CommandEnvelope):
    """Free what a hold reserved."""

    type: Literal["points.void"]
    hold_id: Id


class PointsTransfer(CommandEnvelope):
    """Give points to another member."""

    type: Literal["points.transfer"]
    to_member_id: Id
    points: PositivePoints


class PointsAdjust(CommandEnvelope):
    """Correct a balance by hand; `points` has a sign and is not 0."""

    type: Literal["points.adjust"]
    points: Annotated[SignedPoints, Field(json_schema_extra={"not": {"const": 0}})]
    reason: Text
    expires_at: Instant | None = None
    wallet: Id | None = None

    @model_validator(mode="after")
    def _not_zero(self) -> Self:
        if self.points == 0:
            raise PydanticCustomError("adjusts_nothing", "points must not be 0")
        return self


class PointsClear(CommandEnvelope):
    """Clear out the balance of a wallet."""

    type: Literal["points.clear"]
    reason: Text
    wallet: Id | None = None


class AccountFreeze(CommandEnvelope):
    """Stop an account from spending."""

    type: Literal["account.freeze"]
    reason: Text


class AccountUnfreeze(CommandEnvelope):
    """Let a frozen account spend again."""

    type: Literal["account.unfreeze"]
    reason: Text


class AccountMerge(CommandEnvelope):
    """Move everything of this account to another one."""

    type: Literal["account.merge"]
    into_member_id: Id
    reason: Text


class AccountErase(CommandEnvelope):
    """Forget a member."""

    type: Literal["account.erase"]
    reason: Text


class AccountResync(CommandEnvelope):
    """Send the member's latest standing again, as it is."""

    type: Literal["account.resync"]
    reason: Text


class AccountsResync(CommandEnvelope):
    """Send the latest standings of all members again, or of those of one shop.

    Its `member_id` names the request, and is no member's.
    """

    type: Literal["accounts.resync"]
    reason: Text
    home_store_id: Id | None = None
    """Only members whose profile names this shop as their home."""


class ReviewRelease(CommandEnvelope):
    """A suspicion was unfounded: what it held back is let go."""

    type: Literal["review.release"]
    flag_id: Id
    reason: Text


class ReviewReject(CommandEnvelope):
    """A suspicion was right: what it held back is reversed."""

    type: Literal["review.reject"]
    flag_id: Id
    reason: Text


Command = (
    PointsRedeem
    | PointsHold
    | PointsCapture
    | PointsVoid
    | PointsTransfer
    | PointsAdjust
    | PointsClear
    | AccountFreeze
    | AccountUnfreeze
    | AccountMerge
    | AccountErase
    | AccountResync
    | AccountsResync
    | ReviewRelease
    | ReviewReject
)
