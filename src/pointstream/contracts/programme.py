"""A programme: the settings of one membership points ledger, with its wallets and rule sets.

Everything that changes what an event is worth or how long points live is here, not in code and not
in the worker's own settings: two workers with the same programme make the same ledger.

Durations are written in ISO 8601 (`P7D`, `PT5M`). Calendar periods (`months`) are counted in the
programme's time zone.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pointstream.contracts.dated import ClearOut, ExpiryMigration, LeadTimes
from pointstream.contracts.detectors import Fraud
from pointstream.contracts.fields import MAX_AMOUNT
from pointstream.contracts.fitting import misfits
from pointstream.contracts.lifetimes import Activation, Duration, EndOf, Expiry, ExpiryKind
from pointstream.contracts.rulesets import Identifier, RuleSet
from pointstream.contracts.tiers import MONEY, Ladder
from pointstream.contracts.vocabulary import Role

__all__ = [
    "Activation",
    "Budget",
    "Clock",
    "EndOf",
    "Expiry",
    "ExpiryKind",
    "Limits",
    "Programme",
    "RefundPolicy",
    "TransferFee",
    "Transfers",
    "Wallet",
]

Limit = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RefundPolicy(StrEnum):
    """What a refund does about points of the order that were spent already."""

    ONLY_PENDING = "only_pending"
    """Take only what is not active yet."""
    WITHIN_BALANCE = "within_balance"
    """Take what is there; the rest is written off and recorded."""
    DEBT = "debt"
    """The rest becomes debt, paid off by the next credits."""


class Clock(StrEnum):
    """What tells a partition the time."""

    BROKER = "broker"
    """The broker's time of records and ticks."""
    EVENTS = "events"
    """The latest `occurred_at` taken; ticks are ignored. For backfills and replays of old data."""


class Wallet(_Strict):
    """One purse of an account."""

    id: Identifier
    spendable: bool = True
    activation: Activation = Activation()
    expiry: Expiry = Expiry()
    remind_before: LeadTimes = Field(
        (), description="So long before points expire, the member is reminded of them."
    )


class TransferFee(_Strict):
    """What the sender of a transfer pays on top, in points; the programme keeps it."""

    points: Limit = 0
    permille: int = Field(
        0, strict=True, ge=0, le=1_000, description="Of the points sent, rounded down."
    )
    min: Limit = 0
    max: Limit | None = None

    @model_validator(mode="after")
    def _min_is_below_max(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError("the fee's max is below its min")
        return self


class Transfers(_Strict):
    """What members may send to each other, in points. Left out: no limit."""

    enabled: bool = True
    min_points: Limit = 1
    max_points: Limit | None = None
    daily_points: Limit | None = Field(
        None, description="Of one sender on one local day; what was returned does not count."
    )
    fee: TransferFee = TransferFee()

    @model_validator(mode="after")
    def _min_is_below_max(self) -> Self:
        if self.max_points is not None and self.max_points < self.min_points:
            raise ValueError("max_points is below min_points")
        return self


class Limits(_Strict):
    """The most points that one command of a role may move by itself; left out: no limit."""

    redeem: Limit | None = None
    hold: Limit | None = None
    transfer: Limit | None = None
    adjust: Limit | None = None
    clear: Limit | None = None


GivenCommand = Literal[
    "points.redeem",
    "points.hold",
    "points.capture",
    "points.void",
    "points.transfer",
    "points.adjust",
    "points.clear",
    "account.freeze",
    "account.unfreeze",
    "account.merge",
    "account.erase",
]
"""A command that can be made to wait: all but the reviews, by which waiting ends."""


class Budget(_Strict):
    """Points that all members together get at most by the rules that name it, whatever the time.

    A new campaign takes a new id: what an id has given stays given.
    """

    id: Identifier
    points: Annotated[int, Field(strict=True, ge=1, le=MAX_AMOUNT)]
    wallet: Identifier = "points"
    campaign_id: Identifier | None = Field(
        None, description="What entries name as their campaign; the budget's own id if absent."
    )
    description: str = ""


class Programme(_Strict):
    """The settings of one ledger. All spans are of partition time unless said otherwise."""

    id: Identifier
    time_zone: str = "Asia/Shanghai"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"
    wallets: tuple[Wallet, ...] = Field((Wallet(id="points"),), min_length=1, max_length=16)
    clock: Clock = Clock.BROKER
    refund_policy: RefundPolicy = RefundPolicy.WITHIN_BALANCE
    dedup_window: Duration = Field(
        timedelta(days=30),
        description="How long an event_id is remembered. Older commands are not taken.",
    )
    park_window: Duration = Field(
        timedelta(days=7), description="How long a refund waits for its order."
    )
    late_window: Duration = Field(
        timedelta(days=3), description="How late a check-in may arrive and still mend a streak."
    )
    future_tolerance: Duration = Field(
        timedelta(minutes=5), description="How far ahead of partition time an event may be dated."
    )
    restored_days: int = Field(
        30, strict=True, ge=1, le=3_650, description="Life of points given back after expiry."
    )
    refund_window: Duration = Field(
        timedelta(days=400),
        description="How long orders and other business keys are remembered after their last use."
        " Older events are not taken.",
    )
    hold_time: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="How long a hold lasts that does not say until when.",
    )
    limits: dict[Role, Limits] = Field(
        {}, description="By role: what one actor may do alone. Above it, a second must consent."
    )
    consent_always: tuple[GivenCommand, ...] = Field(
        (), description="Commands that need a second actor whoever gives them, at any amount."
    )
    consent_window: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="How long a command waits for a second actor's consent.",
    )
    clear_outs: tuple[ClearOut, ...] = Field((), max_length=100)
    expiry_migrations: tuple[ExpiryMigration, ...] = Field((), max_length=100)
    ladders: tuple[Ladder, ...] = Field(
        (), max_length=4, description="Of tiers, side by side; the first is the main one."
    )
    transfers: Transfers = Transfers()
    budgets: tuple[Budget, ...] = Field((), max_length=1_000)
    rule_sets: tuple[RuleSet, ...] = Field(min_length=1, max_length=1_000)
    fraud: Fraud | None = Field(
        None, description="What is watched for fraud. Left out: only what is published."
    )

    @field_validator("time_zone")
    @classmethod
    def _time_zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"unknown time zone {value!r}; use a name of the IANA time zone database"
            ) from error
        return value

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        wallets = [wallet.id for wallet in self.wallets]
        for wallet in wallets:
            if wallets.count(wallet) > 1:
                raise ValueError(f"two wallets have the id {wallet!r}")
        if "points" not in wallets:
            raise ValueError("a programme has a wallet named 'points'")
        versions: set[tuple[str, int]] = set()
        for rule_set in self.rule_sets:
            version = (rule_set.id, rule_set.version)
            if version in versions:
                raise ValueError(f"rule set {rule_set.id!r} has version {rule_set.version} twice")
            versions.add(version)
        return self

    @model_validator(mode="after")
    def _what_is_dated_fits(self) -> Self:
        wallets = {wallet.id for wallet in self.wallets}
        migrations: set[str] = set()
        for migration in self.expiry_migrations:
            if migration.id in migrations:
                raise ValueError(f"two expiry migrations have the id {migration.id!r}")
            migrations.add(migration.id)
            if migration.wallet not in wallets:
                raise ValueError(
                    f"expiry migration {migration.id!r} is of the unknown wallet"
                    f" {migration.wallet!r}"
                )
        tiers = {tier.id for ladder in self.ladders[:1] for tier in ladder.tiers}
        ids: set[str] = set()
        for clear_out in self.clear_outs:
            if clear_out.id in ids:
                raise ValueError(f"two clear-outs have the id {clear_out.id!r}")
            ids.add(clear_out.id)
            if clear_out.wallet not in wallets:
                raise ValueError(
                    f"clear-out {clear_out.id!r} is of the unknown wallet {clear_out.wallet!r}"
                )
            for tier in clear_out.condition.tiers or ():
                if tier not in tiers:
                    raise ValueError(
                        f"clear-out {clear_out.id!r} names {tier!r}, which is no tier of the first"
                        " ladder"
                    )
        return self

    @model_validator(mode="after")
    def _ladders_fit(self) -> Self:
        wallets = {wallet.id for wallet in self.wallets}
        ladders: set[str] = set()
        tiers: set[str] = set()
        for ladder in self.ladders:
            if ladder.id in ladders:
                raise ValueError(f"two ladders have the id {ladder.id!r}")
            ladders.add(ladder.id)
            if ladder.qualified_by == MONEY:
                if MONEY in wallets:
                    raise ValueError(f"with a ladder by {MONEY}, no wallet can have that name")
            elif ladder.qualified_by not in wallets:
                raise ValueError(
                    f"ladder {ladder.id!r} is qualified by {ladder.qualified_by!r}, which is"
                    f" neither {MONEY!r} nor a wallet"
                )
            for tier in ladder.tiers:
                if tier.id in tiers:
                    raise ValueError(f"two tiers have the id {tier.id!r}")
                tiers.add(tier.id)
                if tier.bonus is not None and tier.bonus.wallet not in wallets:
                    raise ValueError(
                        f"the bonus of tier {tier.id!r} pays into the unknown wallet"
                        f" {tier.bonus.wallet!r}"
                    )
        return self

    @model_validator(mode="after")
    def _rule_sets_fit(self) -> Self:
        budgets: set[str] = set()
        problems: list[InitErrorDetails] = []
        for number, budget in enumerate(self.budgets):
            if budget.id in budgets:
                problems.append(
                    _problem(("budgets", number, "id"), f"two budgets have the id {budget.id!r}")
                )
            budgets.add(budget.id)
        for number, rule_set in enumerate(self.rule_sets):
            for misfit in misfits(self, rule_set):
                where = ("rule_sets", number, *misfit.where)
                problems.append(_problem(where, misfit.message))
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self


def _problem(where: tuple[str | int, ...], message: str) -> InitErrorDetails:
    # By the place that is wrong: a rule among hundreds is not found by its id alone.
    kind = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=kind, loc=where, input=None)
