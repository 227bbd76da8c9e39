"""Every record that comes in, as a model.

Unknown extra fields are ignored, everything else must fit. An event is frozen: what was decoded is
what is decided on. `InputEvent` is the union of all of them, told apart by `type`; `Command` is the
union of those that get an answer.
"""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    Strict,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pointstream.contracts.commands import (
    AccountErase,
    AccountFreeze,
    AccountMerge,
    AccountResync,
    AccountsResync,
    AccountUnfreeze,
    Actor,
    Command,
    CommandEnvelope,
    PointsAdjust,
    PointsCapture,
    PointsClear,
    PointsHold,
    PointsRedeem,
    PointsTransfer,
    PointsVoid,
    ReviewReject,
    ReviewRelease,
)
from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.envelope import INPUT_CONFIG, Envelope, Geo, MemberEnvelope
from pointstream.contracts.fields import (
    TEXT_CHARACTERS_MAX,
    Currency,
    Id,
    Instant,
    Minor,
    Points,
    PositivePoints,
    Quantity,
    SignedPoints,
)
from pointstream.contracts.rulesets import RuleSet
from pointstream.contracts.shadows import shadow_key
from pointstream.contracts.vocabulary import DeadLetterCode

__all__ = [
    "AccountErase",
    "AccountFreeze",
    "AccountMerge",
    "AccountResync",
    "AccountUnfreeze",
    "AccountsResync",
    "ActivityRecorded",
    "Actor",
    "CheckinRecorded",
    "Command",
    "CommandEnvelope",
    "DetectorsPublished",
    "DetectorsWithdrawn",
    "Envelope",
    "Geo",
    "InputEvent",
    "ItemPublished",
    "ItemWithdrawn",
    "MemberEnvelope",
    "MemberEvent",
    "MemberRegistered",
    "MemberUpdated",
    "OrderCancelled",
    "OrderLine",
    "OrderPaid",
    "OrderRefundLine",
    "OrderRefunded",
    "PointsAdjust",
    "PointsCapture",
    "PointsClear",
    "PointsHold",
    "PointsRedeem",
    "PointsTransfer",
    "PointsVoid",
    "ReferralFirstOrder",
    "ReferralRegistered",
    "ReviewReject",
    "ReviewRelease",
    "RulesetPublished",
    "RulesetWithdrawn",
    "Withdrawn",
]


def _lines_do_not_add_up(lines_minor: int, whole_minor: int, whole: str) -> PydanticCustomError:
    return PydanticCustomError(
        DeadLetterCode.LINES_DO_NOT_ADD_UP.value,
        "the lines add up to {lines_minor}, {whole} is {whole_minor}",
        {"lines_minor": lines_minor, "whole": whole, "whole_minor": whole_minor},
    )


def _line_twice(line_id: str) -> PydanticCustomError:
    return PydanticCustomError(
        "line_twice", "line_id must be unique among the lines: {line_id}", {"line_id": line_id}
    )


# --- orders --------------------------------------------------------------------------------------


class OrderLine(BaseModel):
    """One line of an order; `paid_minor` is its share of the money really paid."""

    model_config = INPUT_CONFIG

    line_id: Id
    sku: Id | None = None
    category: Id | None = None
    quantity: Quantity
    paid_minor: Minor
    earns: bool = True
    """False for what never earns, such as a gift card."""


class OrderPaid(MemberEnvelope):
    """An order was paid: `paid_minor` after discounts, without the part paid in points."""

    type: Literal["order.paid"]
    order_id: Id
    currency: Currency
    paid_minor: Minor
    points_paid: Points = 0
    """The points that paid for the rest of the order."""
    lines: Annotated[tuple[OrderLine, ...], Strict(False)] = ()

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        lines = self.lines
        if lines:
            lines_minor = sum([line.paid_minor for line in lines])
            if lines_minor != self.paid_minor:
                raise _lines_do_not_add_up(lines_minor, self.paid_minor, "paid_minor")
            if len(lines) > 1:
                _check_unique([line.line_id for line in lines])
        return self


class OrderRefundLine(BaseModel):
    """The part of a refund that one line of the order gets back."""

    model_config = INPUT_CONFIG

    line_id: Id
    refunded_minor: Minor


class OrderRefunded(MemberEnvelope):
    """Part or all of an order's money was given back. Several refunds may follow each other."""

    type: Literal["order.refunded"]
    order_id: Id
    refund_id: Id
    refunded_minor: Minor
    lines: Annotated[tuple[OrderRefundLine, ...], Strict(False)] = ()

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        lines = self.lines
        if lines:
            lines_minor = sum([line.refunded_minor for line in lines])
            if lines_minor != self.refunded_minor:
                raise _lines_do_not_add_up(lines_minor, self.refunded_minor, "refunded_minor")
            _check_unique([line.line_id for line in lines])
        return self


def _check_unique(line_ids: list[str]) -> None:
    if len(set(line_ids)) != len(line_ids):
        raise _line_twice(next(line_id for line_id in line_ids if line_ids.count(line_id) > 1))


class OrderCancelled(MemberEnvelope):
    """An order was cancelled: everything not refunded yet is reversed."""

    type: Literal["order.cancelled"]
    order_id: Id


# --- check-ins, referrals, activities, members ---------------------------------------------------


class CheckinRecorded(MemberEnvelope):
    """A member checked in."""

    type: Literal["checkin.recorded"]
    place: Id | None = None


class ReferralRegistered(MemberEnvelope):
    """Someone whom the member referred has registered."""

    type: Literal["referral.registered"]
    referee_id: Id
    """Who was referred; `member_id` is the referrer, who earns."""


class ReferralFirstOrder(MemberEnvelope):
    """Someone whom the member referred has paid a first order."""

    type: Literal["referral.first_order"]
    referee_id: Id
    order_id: Id
    paid_minor: Minor
    currency: Currency


class ActivityRecorded(MemberEnvelope):
    """A member took part in something; the same `activity` and `reference` earn once."""

    type: Literal["activity.recorded"]
    activity: Id
    """What it was: `review.posted`, `lottery.won`, `groupbuy.joined`, or another name."""
    reference: Id
    """The business key: the same activity and reference earn once."""
    quantity: Quantity = 1
    value_minor: Minor | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _value_with_currency(self) -> Self:
        if (self.value_minor is None) != (self.currency is None):
            raise PydanticCustomError(
                "value_without_currency", "value_minor and currency go together: both or neither"
            )
        return self


def _real_birthday(text: str) -> str:
    try:
        # A birthday without a year may be 29 February: 2000 has one.
        date.fromisoformat(text if len(text) > len("MM-DD") else f"2000-{text}")
    except ValueError:
        raise PydanticCustomError("birthday", "must be a day of the calendar") from None
    return text


Birthday = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_real_birthday),
]


def _tag_kind(value: object) -> object:
    if type(value) not in (str, int, bool):
        raise PydanticCustomError("tag", "must be a text, an integer, true or false")
    return value


Tag = Annotated[
    Annotated[str, StringConstraints(max_length=TEXT_CHARACTERS_MAX)] | SignedPoints | bool,
    BeforeValidator(_tag_kind),
]


class _MemberProfile(MemberEnvelope):
    birthday: Birthday | None = None
    """`MM-DD` or a date."""
    joined_at: Instant | None = None
    segments: Annotated[tuple[Id, ...], Strict(False)] = ()
    tags: dict[Id, Tag] = Field({})
    home_store_id: Id | None = None
    referrer_id: Id | None = None


class MemberRegistered(_MemberProfile):
    """A member joined the programme."""

    type: Literal["member.registered"]


class MemberUpdated(_MemberProfile):
    """A member's profile changed; a field that is given replaces the one before."""

    type: Literal["member.updated"]


# --- published by head office --------------------------------------------------------------------


class RulesetPublished(Envelope):
    """One whole, versioned rule set; the record's key is its `ruleset_id`.

    Inside `ruleset` an unknown field is refused, not ignored: it would be a rule that its author
    believes in and that nobody follows.
    """

    type: Literal["ruleset.published"]
    ruleset_id: Id
    ruleset: RuleSet
    shadow: bool = False
    """A candidate that awards nothing: what it would have given goes to `points.shadow-diffs`. Its
    `ruleset_id` is `shadow:` and then the id of the rule set."""

    @model_validator(mode="after")
    def _one_id(self) -> Self:
        if self.shadow and self.ruleset_id != shadow_key(self.ruleset.id):
            message = "with shadow, ruleset_id must be shadow: and then ruleset.id"
            raise PydanticCustomError("two_ids", message)
        if not self.shadow and self.ruleset.id != self.ruleset_id:
            raise PydanticCustomError("two_ids", "ruleset_id and ruleset.id must be the same")
        return self


class DetectorsPublished(Envelope):
    """One whole, versioned set of fraud detectors; the record's key is its `detector_set_id`.

    Inside `detector_set` an unknown field is refused, as in a rule set.
    """

    type: Literal["detectors.published"]
    detector_set_id: Id
    detector_set: DetectorSet

    @model_validator(mode="after")
    def _one_id(self) -> Self:
        if self.detector_set.id != self.detector_set_id:
            message = "detector_set_id and detector_set.id must be the same"
            raise PydanticCustomError("two_ids", message)
        return self


class ItemPublished(Envelope):
    """One item of the catalogue; the record's key is its `item_id`. Left out limits do not bind."""

    type: Literal["item.published"]
    item_id: Id
    price_points: PositivePoints
    stock: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    limit_per_member: Quantity | None = None
    limit_per_tier: dict[Id, Quantity] = Field({})
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    """The item can be redeemed until just before."""

    @model_validator(mode="after")
    def _valid_at_some_time(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise PydanticCustomError("never_valid", "valid_until must be later than valid_from")
        return self


class RulesetWithdrawn(BaseModel):
    """A tombstone on `points.rules`: the rule set with this key is withdrawn."""

    model_config = INPUT_CONFIG

    ruleset_id: Id


class DetectorsWithdrawn(BaseModel):
    """A tombstone on `points.detectors`: the detector set with this key is withdrawn."""

    model_config = INPUT_CONFIG

    detector_set_id: Id


class ItemWithdrawn(BaseModel):
    """A tombstone on `points.catalogue`: the item with this key is withdrawn."""

    model_config = INPUT_CONFIG

    item_id: Id


MemberEvent = (
    OrderPaid
    | OrderRefunded
    | OrderCancelled
    | CheckinRecorded
    | ReferralRegistered
    | ReferralFirstOrder
    | ActivityRecorded
    | MemberRegistered
    | MemberUpdated
    | Command
)

InputEvent = MemberEvent | RulesetPublished | DetectorsPublished | ItemPublished

Withdrawn = RulesetWithdrawn | DetectorsWithdrawn | ItemWithdrawn
"""What a null value says on the compacted inputs. It has no envelope: there is no body for one."""
