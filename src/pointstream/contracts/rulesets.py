"""Rule sets: what earns how many points, as data.

A rule set is whole and versioned: it is replaced, never patched. An event is scored by the version
in force at the event's own time, so a rule set (and each rule in it) carries the span in which it
holds: from `effective_from`, inclusive, to `effective_to`, exclusive, both with a UTC offset.

Points are whole numbers, money is whole minor units of the programme's currency (100 = 1.00 CNY).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ActivityRule",
    "Cap",
    "CheckInRule",
    "Identifier",
    "OrderBonusRule",
    "ReferralRule",
    "Rule",
    "RuleSet",
    "Scope",
    "SharedCap",
    "SpendRule",
    "Streak",
]

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Names in configuration: lower case, so that they are safe in keys, metrics and field names."""

Points = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
Minor = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000_000)]


class _Strict(BaseModel):
    """Configuration is written by hand, so an unknown field is a typing error and is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Strict):
    """Where a rule holds. Every list that is given must contain the event's value."""

    stores: tuple[str, ...] | None = None
    brands: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    campaign_codes: tuple[str, ...] | None = Field(
        None, description="Holds when the event carries at least one of these codes."
    )


class _Span(_Strict):
    effective_from: AwareDatetime | None = Field(None, description="Inclusive; open if absent.")
    effective_to: AwareDatetime | None = Field(None, description="Exclusive; open if absent.")

    @model_validator(mode="after")
    def _span_is_not_empty(self) -> Self:
        if (
            self.effective_from is not None
            and self.effective_to is not None
            and self.effective_to <= self.effective_from
        ):
            raise ValueError("effective_to must be later than effective_from")
        return self


class Cap(_Strict):
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


class _Rule(_Span):
    id: Identifier
    description: str = ""
    wallet: Identifier = "points"
    scope: Scope = Scope()
    cap: Cap | None = Field(None, description="What one member gets by this rule at most.")
    budget: Identifier | None = Field(
        None, description="The programme's budget that pays for what this rule gives."
    )


class SpendRule(_Rule):
    """`points` for every full `per_minor` of an order's earning money, rounded down per order."""

    kind: Literal["spend"]
    points: Points = 1
    per_minor: Minor
    min_minor: int = Field(0, strict=True, ge=0, description="Smaller orders earn nothing by it.")
    keep_on_refund: bool = Field(
        False, description="Refunds leave what this rule gave, until nothing of the order is left."
    )


class OrderBonusRule(_Rule):
    """A fixed bonus for an order whose earning money reaches `min_minor`."""

    kind: Literal["order_bonus"]
    points: Points
    min_minor: int = Field(0, strict=True, ge=0)
    keep_on_refund: bool = Field(
        False,
        description="Keep the bonus when refunds bring the order below min_minor, until nothing of"
        " the order is left.",
    )


class Streak(_Strict):
    """A bonus for `days` check-in days in a row; with `repeat`, again for every further `days`."""

    days: int = Field(strict=True, ge=2, le=366)
    points: Points
    repeat: bool = True


class CheckInRule(_Rule):
    """Points for a check-in: once per local day, unless `every_time`."""

    kind: Literal["check_in"]
    points: Points
    streak: Streak | None = None
    every_time: bool = Field(
        False, description="Also for a second and later check-in of the same local day."
    )


class ReferralRule(_Rule):
    """Points for the referrer, once per referee and kind of referral."""

    kind: Literal["referral"]
    when: Literal["registered", "first_order"]
    points: Points
    min_minor: int = Field(
        0, strict=True, ge=0, description="For first_order: smaller first orders earn nothing."
    )


class ActivityRule(_Rule):
    """Points for an activity: per unit of quantity, or per amount of its value."""

    kind: Literal["activity"]
    activity: Annotated[str, Field(min_length=1, max_length=128)]
    points: Points
    per_minor: Minor | None = Field(
        None, description="With it: `points` for every full per_minor of the activity's value."
    )


Rule = Annotated[
    SpendRule | OrderBonusRule | CheckInRule | ReferralRule | ActivityRule,
    Field(discriminator="kind"),
]


class RuleSet(_Span):
    """One version of one rule set. Of versions with the same id, the highest in force counts;
    rule sets with different ids are in force side by side."""

    id: Identifier
    version: int = Field(strict=True, ge=1, le=2_147_483_647)
    description: str = ""
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=1_000)
    caps: tuple[SharedCap, ...] = Field((), max_length=100)

    @model_validator(mode="after")
    def _rule_ids_are_unique(self) -> Self:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"two rules have the id {rule.id!r}")
            seen.add(rule.id)
        return self

    @model_validator(mode="after")
    def _caps_fit_the_rules(self) -> Self:
        wallets = {rule.id: rule.wallet for rule in self.rules}
        seen: set[str] = set()
        for cap in self.caps:
            if cap.id in seen:
                raise ValueError(f"two caps have the id {cap.id!r}")
            seen.add(cap.id)
            for rule_id in cap.rules:
                if rule_id not in wallets:
                    raise ValueError(
                        f"cap {cap.id!r} is over the rule {rule_id!r}, which is not in the rule set"
                    )
            if len({wallets[rule_id] for rule_id in cap.rules or wallets}) > 1:
                raise ValueError(f"cap {cap.id!r} is over rules that pay into different wallets")
        return self
