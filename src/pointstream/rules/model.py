"""What a rule set is compiled to: rewards, indexed by the kind of event that earns them.

Every reward carries the names that its ledger entries show (rule, version, hash of the rule set)
and what it is worth as a plain callable. Points are whole, money is in minor units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from pointstream.contracts.lifetimes import Activation, Expiry

__all__ = [
    "ActivityReward",
    "Basket",
    "CheckInReward",
    "CompiledCap",
    "CompiledRuleSet",
    "Effect",
    "MemberFacts",
    "Needs",
    "OrderReward",
    "Period",
    "ReferralReward",
    "RegisteredReward",
    "Reward",
    "Scoped",
    "Test",
    "Unmet",
]


class Scoped(Protocol):
    """What a rule's scope looks at: every input event has it."""

    @property
    def event_id(self) -> str: ...
    @property
    def store_id(self) -> str | None: ...
    @property
    def brand_id(self) -> str | None: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def campaign_codes(self) -> tuple[str, ...]: ...


class MemberFacts(Protocol):
    """What rules ask about the member, as of the event; read only when it is asked for."""

    @property
    def at_ms(self) -> int: ...
    @property
    def local(self) -> datetime:
        """The event's moment as a wall clock in the programme's time zone shows it."""
        ...

    @property
    def segments(self) -> Sequence[str]: ...
    @property
    def orders(self) -> int:
        """How many orders of the member came before this event."""
        ...

    @property
    def joined_days(self) -> int | None: ...
    @property
    def age(self) -> int | None: ...
    def tier(self, ladder: str | None) -> str | None:
        """The member's tier on a ladder, None for the first; None if there is no such ladder."""
        ...

    @property
    def tiers(self) -> frozenset[str]:
        """The member's tiers on all ladders."""
        ...

    def profile(self, name: str) -> Any:
        """What member events told last, None if nothing."""
        ...

    def near_birthday(self, unit: str) -> bool:
        """Tell whether the birthday is in the local day, week or month of the event."""
        ...

    def spend_minor(self, days: int) -> int:
        """What the member paid in so many local days up to the event's, without the event."""
        ...


class Basket(Protocol):
    """What is left of an order, all of it as long as nothing was refunded.

    Lines are named by their place, from 0; None stands for all lines, and for the order where it
    has none.
    """

    @property
    def paid_minor(self) -> int: ...
    @property
    def earning_minor(self) -> int: ...
    @property
    def gone(self) -> bool: ...
    def has(self, number: int) -> bool: ...
    def pieces(self, number: int, quantity: int) -> int: ...
    def money(self, numbers: list[int] | None) -> int: ...
    def each(self, numbers: list[int] | None) -> list[int]: ...


class Effect(Protocol):
    """What an order rule gives, where its earning money alone does not decide."""

    def keep(self, event: Any, facts: MemberFacts) -> list[Any]:
        """Return what refunds must know of the event and the member, as JSON holds it."""
        ...

    def points(self, kept: list[Any], basket: Basket) -> int:
        """Return the points for what is left of an order; never more for less."""
        ...


class Period(StrEnum):
    """Over which local calendar unit a cap counts; the values stand in keys of the state."""

    DAY = "d"
    WEEK = "w"
    MONTH = "m"
    LIFETIME = "l"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCap:
    """The most points that one member gets by a rule, or by several together."""

    name: bytes
    """What it is called in keys: the same for all versions of the rule set, so that a new version
    goes on counting where the old one stood."""
    event: int | None
    limits: tuple[tuple[Period, int], ...]


@dataclass(frozen=True, slots=True)
class Unmet:
    """One comparison that keeps a rule from matching, as data: for tables and for JSON."""

    path: str
    """Where it stands in the rule, such as `scope.stores` or `when.any[0]`."""
    field: str
    found: Any
    """What the event or the member has."""
    operator: str
    asked: Any
    negated: bool = False
    """It holds, and stands under a `not`."""

    def __str__(self) -> str:
        """What was found and what is asked, in words."""
        but = "which is not to be" if self.negated else "not"
        asked = f"{self.operator} {_plain(self.asked)}"
        return f"{self.path}: {self.field} is {_plain(self.found)}, {but} {asked}"


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    return repr(list(value) if isinstance(value, tuple) else value)


@dataclass(frozen=True, slots=True)
class Test:
    """One thing that a rule asks of an event."""

    path: str
    """Where it stands in the rule, such as `scope.stores`."""
    holds: Callable[[Scoped, MemberFacts], bool]
    unmet: Callable[[Scoped, MemberFacts], list[Unmet]]
    """What is asked and what the event has, comparison by comparison, where it does not hold."""


class Needs(NamedTuple):
    """One of some values, without which of an event a rule gives nothing for it."""

    of: str
    """What has the value, by the names of `index.py`."""
    values: frozenset[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What every compiled rule has. `matches` is None for a rule that holds everywhere."""

    rule_id: str
    rule_version: int
    ruleset_hash: str
    wallet: str
    matches: Callable[[Scoped, MemberFacts], bool] | None
    caps: tuple[CompiledCap, ...] = ()
    """The rule's own, then those that it shares."""
    budget: str | None = None
    limited: bool = False
    """Whether it has caps or a budget: less may be granted than it gives."""
    priority: int = 0
    group: str | None = None
    """Of the rewards of a group that are due, one is given."""
    in_group: str = "best"
    activation: Activation | None = None
    expiry: Expiry | None = None
    """How long its points wait and live, where that is not as the wallet says."""
    asks_spend: bool = False
    """Whether it asks what the member has paid in a window."""
    draws: Callable[[str], int] | None = None
    """What gives the points by the event's id, where they are drawn."""
    tests: tuple[Test, ...] = ()
    """What `matches` asks, one by one: for whoever wants to know why it does not match."""
    needs: tuple[Needs, ...] = ()
    """What of that the rule can be found by, among many."""

    def why_not(self, event: Scoped, facts: MemberFacts) -> list[Unmet]:
        """Return what an event does not fit; `matches` has said that there is something."""
        return [
            unmet
            for test in self.tests
            if not test.holds(event, facts)
            for unmet in test.unmet(event, facts)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReward(Reward):
    """A rule about orders.

    `points` gives the points for an order's earning money (minor units, >= 0). It never gives more
    for less money: refunds rely on it.
    """

    points: Callable[[int], int]
    keep_on_refund: bool
    multiplied: bool = False
    """Whether a tier's multiplier counts."""
    effect: Effect | None = None
    """What it gives, if not `points` of the earning money."""
    more_permille: int = 0
    """Of a multiplier: what it gives on top of what is multiplied, in thousandths. Else 0."""
    of_all: bool = False
    """Of a multiplier: whether it multiplies bonuses, too."""
    base: bool = False
    """Whether it is what multipliers of the base multiply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInReward(Reward):
    """A rule about check-ins. `streak_days` is 0 where there is no streak bonus."""

    points: int
    every_time: bool
    streak_days: int
    streak_points: int
    streak_repeats: bool

    def bonuses_due(self, days_in_a_row: int) -> int:
        """Return how many streak bonuses a run of so many days is worth in all.

        With repetition two runs are never worth more apart than joined: mending relies on it.
        """
        if not self.streak_days:
            return 0
        full = days_in_a_row // self.streak_days
        return full if self.streak_repeats else min(full, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralReward(Reward):
    """A rule about referrals; `min_minor` counts for first orders only."""

    points: int
    min_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityReward(Reward):
    """A rule about one activity; with `per_minor` it pays by value, else by quantity."""

    unit_points: int
    per_minor: int | None

    def points(self, quantity: int, value_minor: int | None) -> int:
        """Return the points for one activity."""
        if self.per_minor is None:
            return self.unit_points * quantity
        return self.unit_points * ((value_minor or 0) // self.per_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredReward(Reward):
    """A gift for the member who registers."""

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRuleSet:
    """One version of one rule set. `source` is its canonical JSON, `hash` names that content."""

    id: str
    version: int
    hash: str
    source: bytes
    orders: Mapping[str, OrderReward]
    """By rule id, whatever span the rule has: refunds ask for the rules of the order's time."""
    rewards: Mapping[str, Reward]
    """All of them, by rule id: an award that waited for its budget asks for the rule it came by."""
