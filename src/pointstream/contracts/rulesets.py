"""Rule sets: what earns how many points, as data.

A rule set is whole and versioned: it is replaced, never patched. An event is scored by the version
in force at the event's own time, so a rule set (and each rule in it) carries the span in which it
holds: from `effective_from`, inclusive, to `effective_to`, exclusive, both with a UTC offset.

Points are whole numbers, money is whole minor units of the programme's currency (100 = 1.00 CNY).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from pointstream.contracts.askable import Earned, mistakes
from pointstream.contracts.conditions import Condition, LineCondition, raise_mistakes
from pointstream.contracts.lifetimes import Activation, Expiry
from pointstream.contracts.ruleparts import (
    Cap,
    Draw,
    Identifier,
    Minor,
    Points,
    Prize,
    Rate,
    Scope,
    SharedCap,
    Streak,
    Strict,
)

__all__ = [
    "ActivityRule",
    "Cap",
    "CheckInRule",
    "Draw",
    "Identifier",
    "MultiplierRule",
    "OrderBonusRule",
    "Prize",
    "QuantityRule",
    "Rate",
    "ReferralRule",
    "RegisteredRule",
    "Rule",
    "RuleSet",
    "Scope",
    "SharedCap",
    "SpendRule",
    "Streak",
]


class _Span(Strict):
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


class _Rule(_Span):
    earned: ClassVar[Earned]

    id: Identifier
    description: str = ""
    wallet: Identifier = "points"
    scope: Scope = Scope()
    cap: Cap | None = Field(None, description="What one member gets by this rule at most.")
    budget: Identifier | None = Field(
        None, description="The programme's budget that pays for what this rule gives."
    )
    priority: int = Field(
        0,
        strict=True,
        ge=-1_000,
        le=1_000,
        description="Rules of higher priority come first: for caps, and in their group.",
    )
    group: Identifier | None = Field(
        None, description="Of the rules of a group that match, one gives. None: all give."
    )
    in_group: Literal["first", "best"] = Field(
        "best", description="The first by priority, or the one that gives most."
    )
    activation: Activation | None = Field(
        None, description="When its points become spendable, if not as the wallet says."
    )
    expiry: Expiry | None = Field(
        None, description="When its points die, if not as the wallet says."
    )

    @property
    def condition(self) -> Condition | None:
        """What is asked besides the scope."""
        condition = getattr(self, self.condition_name)
        return condition if isinstance(condition, Condition) else None

    @property
    def condition_name(self) -> str:
        """The field that holds the condition."""
        return "when"

    @property
    def about(self) -> Earned:
        """By what kind of event the rule earns."""
        return self.earned

    @model_validator(mode="after")
    def _condition_fits_the_event(self) -> Self:
        condition = self.condition
        if condition is not None:
            found = mistakes(condition, self.about, (self.condition_name,))
            raise_mistakes(type(self).__name__, list(found))
        if self.activation is not None and self.activation.on_activity is not None:
            where = ("activation", "on_activity")
            message = "only a wallet's points wait for an activity; leave it out"
            raise_mistakes(type(self).__name__, [(where, message)])
        return self


class _Conditional(_Rule):
    when: Condition | None = Field(None, description="Holds only for events that fit this.")


class _OrderRule(_Conditional):
    earned: ClassVar[Earned] = Earned.ORDER

    lines: LineCondition | None = Field(
        None, description="Only lines that fit this count, with their money and pieces."
    )
    keep_on_refund: bool = Field(
        False, description="Refunds leave what this rule gave, until nothing of the order is left."
    )

    @model_validator(mode="after")
    def _lines_are_lines(self) -> Self:
        if self.lines is not None:
            found = mistakes(self.lines, self.about, ("lines",))
            raise_mistakes(type(self).__name__, list(found))
        return self


class _Fixed(_Rule):
    """A rule that gives so many points, or what is drawn."""

    points: Points | None = None
    draw: Draw | None = None

    @model_validator(mode="after")
    def _gives_one_thing(self) -> Self:
        name = type(self).__name__
        if self.points is None and self.draw is None:
            raise_mistakes(name, [(("points",), "Field required: points, or a draw")], "missing")
        if self.points is not None and self.draw is not None:
            raise_mistakes(name, [(("draw",), "a rule gives points or a draw, not both")])
        return self


class SpendRule(_OrderRule):
    """`points` for every full `per_minor` of an order's earning money, rounded down per order.

    With `rates`, the best of the rates that the money has reached pays for all of it.
    """

    kind: Literal["spend"]
    points: Points = 1
    per_minor: Minor | None = None
    rates: tuple[Rate, ...] = Field((), max_length=100)
    per_line: bool = Field(False, description="Rounded down per line instead of per order.")
    min_minor: int = Field(0, strict=True, ge=0, description="Smaller orders earn nothing by it.")

    @model_validator(mode="after")
    def _has_one_rate(self) -> Self:
        if self.per_minor is None and not self.rates:
            where = ("per_minor",)
            raise_mistakes("SpendRule", [(where, "Field required: per_minor or rates")], "missing")
        if self.per_minor is not None and self.rates:
            raise_mistakes("SpendRule", [(("rates",), "does not go with per_minor")])
        starts = [rate.from_minor for rate in self.rates]
        for place in range(1, len(starts)):
            if starts[place] <= starts[place - 1]:
                at = ("rates", place, "from_minor")
                raise_mistakes("SpendRule", [(at, "rates rise: each begins above the last")])
        return self


class OrderBonusRule(_OrderRule, _Fixed):
    """A fixed bonus, or a draw, for an order whose earning money reaches `min_minor`."""

    kind: Literal["order_bonus"]
    min_minor: int = Field(0, strict=True, ge=0)


class QuantityRule(_OrderRule):
    """`points` for every full `per_pieces` pieces of an order, over all lines that count."""

    kind: Literal["quantity"]
    points: Points
    per_pieces: int = Field(1, strict=True, ge=1, le=1_000_000)


class MultiplierRule(_Conditional):
    """So many times what other rules give for an order: an award of its own of what is more.

    Of several multipliers each counts by itself, they do not multiply each other.
    """

    earned: ClassVar[Earned] = Earned.ORDER

    kind: Literal["multiplier"]
    factor: Annotated[Decimal, Field(gt=1, le=100, max_digits=6, decimal_places=3)]
    of: Literal["base", "all"] = Field(
        "base",
        description="base: of what spend rules give into its wallet. all: of that, of bonuses, and"
        " of multipliers of the base.",
    )


class CheckInRule(_Conditional, _Fixed):
    """Points for a check-in: once per local day, unless `every_time`."""

    earned: ClassVar[Earned] = Earned.CHECK_IN

    kind: Literal["check_in"]
    streak: Streak | None = None
    every_time: bool = Field(
        False, description="Also for a second and later check-in of the same local day."
    )


class ReferralRule(_Fixed):
    """Points for the referrer, once per referee and kind of referral: `when` says which kind, and
    `provided` holds the condition that other rules have in `when`."""

    kind: Literal["referral"]
    when: Literal["registered", "first_order"]
    provided: Condition | None = Field(None, description="Holds only for events that fit this.")
    min_minor: int = Field(
        0, strict=True, ge=0, description="For first_order: smaller first orders earn nothing."
    )

    @property
    def condition_name(self) -> str:
        """The field that holds the condition."""
        return "provided"

    @property
    def about(self) -> Earned:
        """By what kind of event the rule earns."""
        return Earned.REGISTERED if self.when == "registered" else Earned.FIRST_ORDER


class ActivityRule(_Conditional, _Fixed):
    """Points for an activity: per unit of quantity, or per amount of its value."""

    earned: ClassVar[Earned] = Earned.ACTIVITY

    kind: Literal["activity"]
    activity: Annotated[str, Field(min_length=1, max_length=128)]
    per_minor: Minor | None = Field(
        None, description="With it: `points` for every full per_minor of the activity's value."
    )

    @model_validator(mode="after")
    def _draws_once(self) -> Self:
        if self.draw is not None and self.per_minor is not None:
            raise_mistakes("ActivityRule", [(("per_minor",), "does not go with a draw")])
        return self


class RegisteredRule(_Conditional, _Fixed):
    """A gift for the member who registers: once per member."""

    earned: ClassVar[Earned] = Earned.MEMBER

    kind: Literal["registered"]


Rule = Annotated[
    SpendRule
    | OrderBonusRule
    | QuantityRule
    | MultiplierRule
    | CheckInRule
    | ReferralRule
    | ActivityRule
    | RegisteredRule,
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
    def _groups_agree(self) -> Self:
        known: dict[str, str] = {}
        for place, rule in enumerate(self.rules):
            if rule.group is not None and known.setdefault(rule.group, rule.in_group) != (
                rule.in_group
            ):
                message = f"the group {rule.group!r} is of {known[rule.group]!r} in another rule"
                raise_mistakes("RuleSet", [(("rules", place, "in_group"), message)])
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
