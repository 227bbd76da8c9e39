"""Every record that goes out, as a model.

These models are the promise to readers, and the source of their schemas. The worker itself writes
plain dictionaries, for speed; the tests hold what it writes against these models, which are strict
towards ourselves: a field that is not promised here is an error. Readers are told the opposite
(`schemas/` leaves them open), because a field may be added in a later version.

A field that has nothing to say is left out or null; readers take both alike.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator

from pointstream.contracts.fields import Id, Points, Quantity, Text
from pointstream.contracts.vocabulary import (
    AccountStatus,
    CommandOutcome,
    DeadLetterCode,
    EntityKind,
    FlagAction,
    FlagState,
    MovementType,
    Reason,
    ReminderType,
    TierDirection,
)

__all__ = [
    "BalanceChange",
    "CommandResult",
    "CrmSync",
    "DeadLetterHeaders",
    "FraudFlag",
    "LadderStanding",
    "LotChange",
    "MallSync",
    "Reminder",
    "ShadowAward",
    "ShadowDiff",
    "TierChange",
]

_CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

Timestamp = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
    ),
    Field(json_schema_extra={"format": "date-time"}),
]
"""A moment as we always write it: RFC 3339 in UTC with milliseconds and `Z`."""

Balance = Annotated[int, Field(ge=0)]
Seq = Annotated[int, Field(ge=1)]


class LotChange(BaseModel):
    """What an entry did to one lot: `delta` points in (+) or out (-)."""

    model_config = _CONFIG

    lot_id: Id
    delta: int
    expires_at: Timestamp | None = None
    """The lot is spendable until just before; null or left out: for ever."""


class BalanceChange(BaseModel):
    """One ledger entry: one movement of one member's points."""

    model_config = _CONFIG

    event_id: Id
    """The same cause gives the same id, so that a sink can write by it twice without harm."""
    type: Annotated[MovementType, Strict(False)]
    member_id: Id
    wallet: Id
    seq: Seq
    """1, 2, 3 … for each member, over all wallets, without a gap."""
    occurred_at: Timestamp
    recorded_at: Timestamp
    amount: Balance
    """The points moved."""
    delta: int
    """The signed change of the spendable balance."""
    due: Points | None = None
    """What the rules gave, where a cap or a budget granted less."""
    written_off: Points = 0
    """What a refund should have taken back and could not."""
    available_after: Balance
    pending_after: Balance
    held_after: Balance
    debt_after: Balance
    lots: Annotated[tuple[LotChange, ...], Strict(False)]
    cause_event_id: Id | None = None
    cause_type: Id | None = None
    cause_topic: str | None = None
    cause_partition: Annotated[int, Field(ge=0)] | None = None
    cause_offset: Annotated[int, Field(ge=0)] | None = None
    rule_id: Id | None = None
    rule_version: Annotated[int, Field(ge=1)] | None = None
    ruleset_hash: Id | None = None
    order_id: Id | None = None
    store_id: Id | None = None
    brand_id: Id | None = None
    channel: Id | None = None
    campaign_id: Id | None = None
    actor_id: Id | None = None
    reason: Text | None = None
    transfer_id: Id | None = None
    """Names one transfer: all of its entries carry it, at the sender and at the recipient."""
    counterparty_id: Id | None = None
    """The other member of the transfer or merge."""
    confirmed_by: Id | None = None
    """The second actor, who consented to what is above the first one's limit."""
    item_id: Id | None = None
    """The catalogue item that the points bought."""
    quantity: Quantity | None = None
    """How many of it, where there is an item."""
    flag_id: Id | None = None
    """The flag that the points are under, that let them go, or that had them reversed."""


class LadderStanding(BaseModel):
    """A member's tier on one more ladder."""

    model_config = _CONFIG

    ladder: Id
    tier: Id
    tier_since: Timestamp | None = None
    tier_until: Timestamp | None = None
    next_tier: Id | None = None
    next_tier_missing: Balance | None = None
    services: Annotated[tuple[Text, ...], Strict(False)] = ()


class CrmSync(BaseModel):
    """A member's latest standing; of the `points` wallet. Every other wallet adds
    `<wallet>_available`."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"patternProperties": {"_available$": {"type": "integer", "minimum": 0}}},
    )

    member_id: Id
    seq: Annotated[int, Field(ge=0)]
    """The member's last ledger entry that is counted in; 0 before the first."""
    status: Annotated[AccountStatus, Strict(False)]
    tier: Id | None = None
    tier_since: Timestamp | None = None
    tier_until: Timestamp | None = None
    next_tier: Id | None = None
    next_tier_missing: Balance | None = None
    """What is missing to reach it: points, or minor units where the ladder measures money."""
    services: Annotated[tuple[Text, ...], Strict(False)] = ()
    """What the tier gives besides points."""
    tiers: Annotated[tuple[LadderStanding, ...], Strict(False)] = ()
    """On the programme's other ladders; the fields above are of its first."""
    available: Balance
    pending: Balance
    held: Balance
    debt: Balance
    lifetime_earned: Balance
    lifetime_redeemed: Balance
    lifetime_expired: Balance
    next_expiry_at: Timestamp | None = None
    next_expiry_points: Balance = 0
    last_activity_at: Timestamp | None = None
    segments: Annotated[tuple[Id, ...], Strict(False)] = ()
    updated_at: Timestamp

    @model_validator(mode="before")
    @classmethod
    def _only_wallets_are_extra(cls, value: Any) -> Any:
        for name in set(value) - set(cls.model_fields) if isinstance(value, dict) else ():
            if not name.endswith("_available"):
                raise ValueError(f"{name} is not promised")
            if type(value[name]) is not int or value[name] < 0:
                raise ValueError(f"{name} must be an integer from 0")
        return value


class MallSync(BaseModel):
    """A member's latest spendable position, of the `points` wallet."""

    model_config = _CONFIG

    member_id: Id
    seq: Annotated[int, Field(ge=0)]
    status: Annotated[AccountStatus, Strict(False)]
    tier: Id | None = None
    available: Balance
    held: Balance
    next_expiry_at: Timestamp | None = None
    next_expiry_points: Balance = 0
    updated_at: Timestamp


class TierChange(BaseModel):
    """One change of a member's tier."""

    model_config = _CONFIG

    event_id: Id
    member_id: Id
    ladder: Id | None = None
    """The programme's ladder of tiers on which the member moved."""
    direction: Annotated[TierDirection, Strict(False)]
    from_tier: Id | None = None
    to_tier: Id
    tier_until: Timestamp | None = None
    qualified_by: Id
    """The wallet, or `money`, that the tier is measured in."""
    observed: int
    """How much of it the member had, in points or minor units."""
    threshold: int
    """How much of it the new tier takes."""
    occurred_at: Timestamp
    recorded_at: Timestamp


class Reminder(BaseModel):
    """Something that will happen at `due_at` unless the member does something before."""

    model_config = _CONFIG

    event_id: Id
    type: Annotated[ReminderType, Strict(False)]
    member_id: Id
    wallet: Id | None = None
    points: Points | None = None
    """The points that would go; with `reminder.tier_ending` what is missing to keep the tier."""
    tier: Id | None = None
    due_at: Timestamp
    occurred_at: Timestamp
    recorded_at: Timestamp


class CommandResult(BaseModel):
    """The one final answer to one command."""

    model_config = _CONFIG

    command_id: Id
    """The command's `event_id`."""
    type: Id
    member_id: Id
    outcome: Annotated[CommandOutcome, Strict(False)]
    reason: Annotated[Reason, Strict(False)] | None = None
    """The rule that the command would have broken; null or left out when it was accepted."""
    seq: Annotated[int, Field(ge=0)]
    """The member's last ledger entry when the answer was given; 0 before the first."""
    available_after: Balance
    resent: Annotated[int, Field(ge=0)] | None = None
    """Of `account.resync` and `accounts.resync`: how many members' standings were sent again."""

    @model_validator(mode="after")
    def _a_reason_when_rejected(self) -> "CommandResult":
        if (self.outcome is CommandOutcome.REJECTED) != (self.reason is not None):
            raise ValueError("a rejected command has a reason, an accepted one has none")
        return self


class FraudFlag(BaseModel):
    """One suspicion, raised, released or confirmed."""

    model_config = _CONFIG

    flag_id: Id
    state: Annotated[FlagState, Strict(False)]
    action: Annotated[FlagAction, Strict(False)]
    detector: Id
    rule_version: Annotated[int, Field(ge=1)]
    entity_kind: Annotated[EntityKind, Strict(False)]
    entity_id: Id
    member_ids: Annotated[tuple[Id, ...], Strict(False)]
    observed: int
    threshold: int
    window_seconds: Annotated[int, Field(ge=0)]
    evidence: Annotated[tuple[Id, ...], Strict(False)]
    """The `event_id`s that show it."""
    explanation: Text
    """One sentence that a reviewer can act on."""
    occurred_at: Timestamp


class ShadowAward(BaseModel):
    """What one rule gave for an event, and what it would have given."""

    model_config = _CONFIG

    ruleset_id: Id
    rule_id: Id
    wallet: Id
    reason: Text | None = None
    """What it is for, besides the rule: of check-ins `streak`, of activities their name."""
    due: Balance = 0
    """By the rules in force, before caps."""
    given: Balance = 0
    """By the rules in force, after caps."""
    would_be_due: Balance = 0
    would_give: Balance = 0
    """With the candidate, after caps as they stand: it takes no room under them."""
    other_life: bool = False
    """The points would become spendable, or expire, by another policy."""


class ShadowDiff(BaseModel):
    """One event for which a candidate in shadow would have given something else."""

    model_config = _CONFIG

    event_id: Id
    member_id: Id
    ruleset_id: Id
    """Of the candidate, and of the rule set whose place it would take."""
    ruleset_version: Annotated[int, Field(ge=1)]
    ruleset_hash: Id
    against_version: Annotated[int, Field(ge=1)] | None = None
    """The version that was in force instead; null or left out: none was."""
    awards: Annotated[tuple[ShadowAward, ...], Strict(False)] = ()
    """Of each rule that gave something or would have, other rule sets' too."""
    error: Id | None = None
    """Why the candidate could not be asked; what it would have given is not known then."""
    occurred_at: Timestamp
    recorded_at: Timestamp
    cause_event_id: Id
    cause_type: Id
    cause_topic: str
    cause_partition: Annotated[int, Field(ge=0)]
    cause_offset: Annotated[int, Field(ge=0)]
    order_id: Id | None = None
    store_id: Id | None = None
    brand_id: Id | None = None
    channel: Id | None = None


class DeadLetterHeaders(BaseModel):
    """The headers that a dead letter has besides those of the input, as text."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, populate_by_name=True)

    exception: str = Field(alias="__streams.errors.exception")
    message: str = Field(alias="__streams.errors.message")
    topic: str = Field(alias="__streams.errors.topic")
    partition: str = Field(alias="__streams.errors.partition", pattern=r"^[0-9]+$")
    offset: str = Field(alias="__streams.errors.offset", pattern=r"^[0-9]+$")
    code: Annotated[DeadLetterCode, Strict(False)] = Field(alias="points.error.code")
