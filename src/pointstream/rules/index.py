"""Which rules an event can match at all.

Most rules are about one shop, one brand, one campaign: of hundreds in force an event can match a
few. So each rule is filed under one thing that it asks of every event, by the values that it takes
for it, and an event finds the rules filed under the values that it has. What asks nothing of the
kind is looked at for every event.

The index only leaves out. Whether a rule holds is for `Reward.matches`, and rules come out in the
order in which they went in, as if all of them had been looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, TypeVar, overload

from pointstream.contracts.askable import WEEKDAYS
from pointstream.contracts.conditions import Comparison, Condition, LineCondition
from pointstream.contracts.rulesets import Rule
from pointstream.rules.model import (
    ActivityReward,
    CheckInReward,
    MemberFacts,
    Needs,
    OrderReward,
    ReferralReward,
    RegisteredReward,
    Reward,
)

__all__ = ["Rewards", "RuleTable", "needs_of"]

R = TypeVar("R", bound=Reward)

_FILED_MIN: Final = 8
"""Below so many rules that could be filed it is cheaper to look at all of them."""

_DAYS_MAX: Final = 400
"""A longer span of dates is no reason to file a rule: it holds nearly always."""

_VALUES: Final[dict[str, Callable[[Any, MemberFacts], Iterable[object]]]] = {
    "line.sku": lambda event, _: {line.sku for line in event.lines},
    "campaign_codes": lambda event, _: event.campaign_codes,
    "store_id": lambda event, _: (event.store_id,),
    "line.category": lambda event, _: {line.category for line in event.lines},
    "brand_id": lambda event, _: (event.brand_id,),
    "member.segments": lambda _, facts: facts.segments,
    "date": lambda _, facts: (facts.local.date().isoformat(),),
    "tiers": lambda _, facts: facts.tiers,
    "member.tier": lambda _, facts: (facts.tier(None),),
    "day_of_month": lambda _, facts: (facts.local.day,),
    "weekday": lambda _, facts: (WEEKDAYS[facts.local.weekday()],),
    "channel": lambda event, _: (event.channel,),
    "hour": lambda _, facts: (facts.local.hour,),
    "month": lambda _, facts: (facts.local.month,),
}
"""What rules are filed under, and the values that an event has: what tells most apart comes first.
Nothing here reads the state."""

_RANK: Final = {name: rank for rank, name in enumerate(_VALUES)}

_ALL_OF: Final[dict[str, Sequence[Any]]] = {
    "weekday": WEEKDAYS,
    "hour": range(24),
    "day_of_month": range(1, 32),
    "month": range(1, 13),
}


class Rewards(Sequence[R]):
    """Some rules for one kind of event, in the order in which they are looked at."""

    __slots__ = ("_all", "_everywhere", "_filed")

    def __init__(self, rewards: Iterable[R] = ()) -> None:
        self._all: Final = tuple(rewards)
        filed: dict[str, dict[object, list[int]]] = {}
        self._everywhere: list[int] = []
        for place, reward in enumerate(self._all):
            if not reward.needs:
                self._everywhere.append(place)
                continue
            best = min(reward.needs, key=lambda needs: (_RANK[needs.of], len(needs.values)))
            places = filed.setdefault(best.of, {})
            for value in best.values:
                places.setdefault(value, []).append(place)
        if len(self._all) - len(self._everywhere) < _FILED_MIN:
            filed.clear()
        self._filed: Final = [(_VALUES[name], places) for name, places in filed.items()]

    def candidates(self, event: Any, facts: MemberFacts) -> Sequence[R]:
        """Return the rules that an event can match, and perhaps some that it does not, in order."""
        if not self._filed:
            return self._all
        found = set(self._everywhere)
        for values_of, places in self._filed:
            for value in values_of(event, facts):
                here = places.get(value)
                if here is not None:
                    found.update(here)
        rewards = self._all
        return [rewards[place] for place in sorted(found)]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[R]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[R]: ...
    def __getitem__(self, place: int | slice) -> R | Sequence[R]:
        return self._all[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """The rewards in force during one span of time, indexed by what earns them."""

    orders: Rewards[OrderReward]
    check_ins: Rewards[CheckInReward]
    referrals: Mapping[str, Rewards[ReferralReward]]
    activities: Mapping[str, Rewards[ActivityReward]]
    registered: Rewards[RegisteredReward]
    asks_spend: bool
    """Whether a rule asks what members have paid in a window: it must be counted then."""


def needs_of(rule: Rule) -> tuple[Needs, ...]:
    """Return what an event must have for a rule to give anything for it, as far as it is filed."""
    scope = rule.scope
    told = (
        ("store_id", scope.stores),
        ("brand_id", scope.brands),
        ("channel", scope.channels),
        ("campaign_codes", scope.campaign_codes),
        ("tiers", scope.tiers),
        ("member.segments", scope.segments),
    )
    found = [Needs(name, frozenset(values)) for name, values in told if values is not None]
    if rule.condition is not None:
        found.extend(_asked(rule.condition))
    lines = getattr(rule, "lines", None)
    if lines is not None:
        # Without a line that fits it matches all the same, but gives nothing.
        found.extend(_of_lines(lines))
    return tuple(found)


def _asked(condition: Condition) -> Iterator[Needs]:
    for part in condition.all or ():
        yield from _asked(part)
    for line in (condition.any_line, condition.all_lines):
        if line is not None:
            yield from _of_lines(line)
    if condition.field in _VALUES:
        values = _taken(condition.field, condition)
        if values is not None:
            yield Needs(condition.field, values)


def _of_lines(condition: LineCondition) -> Iterator[Needs]:
    for part in condition.all or ():
        yield from _of_lines(part)
    name = f"line.{condition.field}"
    if name in _VALUES:
        values = _taken(name, condition)
        if values is not None:
            yield Needs(name, values)


def _taken(name: str, condition: Comparison) -> frozenset[Any] | None:
    """Return the values for which a comparison holds; None if they cannot be listed."""
    operator, operand = condition.operator, condition.operand
    if operator in ("eq", "contains"):
        return frozenset((operand,))
    if operator == "in":
        return frozenset(operand)
    if operator == "between" and name == "date":
        first, last = (date.fromisoformat(day) for day in operand)
        days = (last - first).days + 1
        if days > _DAYS_MAX:
            return None
        return frozenset((first + timedelta(days=n)).isoformat() for n in range(days))
    if operator == "between" and name in _ALL_OF:
        low, high = operand
        return frozenset(value for value in _ALL_OF[name] if low <= value <= high)
    return None
