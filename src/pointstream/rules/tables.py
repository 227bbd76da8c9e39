"""Which rules are in force when: versions of rule sets in, one table per span of time out.

Time is cut at every moment at which a version or a rule begins or ends, and each piece has its own
table. Scoring an event is then one bisection and a look at the rules that can match. A table is
built when it is first asked for: whoever publishes a version pays for no span that nobody asks for.

Of the versions of one rule set the highest in force counts, rule sets of different ids are in
force side by side.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from pointstream.contracts.rulesets import ActivityRule, ReferralRule, RuleSet
from pointstream.contracts.wire import epoch_ms
from pointstream.rules.index import Rewards, RuleTable
from pointstream.rules.model import (
    ActivityReward,
    CheckInReward,
    CompiledRuleSet,
    OrderReward,
    ReferralReward,
    RegisteredReward,
    Reward,
)
from pointstream.rules.versions import VersionBook

__all__ = ["RuleBook", "RuleTables", "Version"]


R = TypeVar("R", bound=Reward)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one rule set, and when it holds: from, inclusive, to, exclusive; None: open.

    The span is what the rule set says unless it was published without a beginning or was withdrawn.
    """

    rule_set: RuleSet
    compiled: CompiledRuleSet
    from_ms: int | None
    to_ms: int | None

    @classmethod
    def of(cls, rule_set: RuleSet, compiled: CompiledRuleSet) -> Version:
        """Return a version that holds for the span that it names itself."""
        return cls(rule_set, compiled, _ms(rule_set.effective_from), _ms(rule_set.effective_to))

    @property
    def id(self) -> str:
        """Of the rule set."""
        return self.rule_set.id

    @property
    def number(self) -> int:
        """Of the version, from 1."""
        return self.rule_set.version

    def until(self, at_ms: int) -> Version:
        """Return the version as it is when it holds no longer than until a moment."""
        return (
            self if self.to_ms is not None and self.to_ms <= at_ms else replace(self, to_ms=at_ms)
        )

    def holds(self, at_ms: int | None) -> bool:
        """Tell whether it is in force at a moment; None stands for before everything."""
        return _holds(self.from_ms, self.to_ms, at_ms)


class RuleTables:
    """The tables of some versions. Never changes; what it builds late is a pure result."""

    def __init__(self, versions: Iterable[Version]) -> None:
        """Of two versions with the same number, the later one counts."""
        self.versions: Final = tuple(versions)
        moments: set[int] = set()
        for version in self.versions:
            moments.update(_known(version.from_ms, version.to_ms))
            for rule in version.rule_set.rules:
                moments.update(_known(_ms(rule.effective_from), _ms(rule.effective_to)))
        self._cuts_ms: Final = sorted(moments)
        # One more than cuts: the first is of the time before everything.
        self._tables: Final[list[RuleTable | None]] = [None] * (len(moments) + 1)

    def at(self, at_ms: int) -> RuleTable:
        """Return the rewards in force at an instant."""
        place = bisect_right(self._cuts_ms, at_ms)
        table = self._tables[place]
        if table is None:
            since_ms = self._cuts_ms[place - 1] if place else None
            table = self._tables[place] = _table(self.versions, since_ms)
        return table

    def in_force(self, at_ms: int) -> list[Version]:
        """Return the version of each rule set that counts at an instant, by id."""
        found = _highest(self.versions, at_ms)
        return [found[id_] for id_ in sorted(found)]


class RuleBook(VersionBook[Version]):
    """The rule sets that one partition knows, as they come and go while it runs.

    Each change makes new tables out of versions that are compiled already. What was handed out
    before stays as it was.
    """

    def __init__(self, base: Sequence[Version], instead: Sequence[Version] = ()) -> None:
        """See `VersionBook`."""
        super().__init__(base, instead)
        self.tables: RuleTables
        self._renew()

    def rules_at(self, at_ms: int) -> RuleTable:
        """Return the rewards in force at an instant."""
        return self.tables.at(at_ms)

    def _renew(self) -> None:
        self.tables = RuleTables(self._all())


def _highest(versions: Sequence[Version], at_ms: int | None) -> dict[str, Version]:
    """Return, by id, the version that counts at `at_ms`; None stands for before everything."""
    highest: dict[str, Version] = {}
    for version in versions:
        known = highest.get(version.id)
        if version.holds(at_ms) and (known is None or known.number <= version.number):
            highest[version.id] = version
    return highest


def _table(versions: Sequence[Version], at_ms: int | None) -> RuleTable:
    """Return the table in force from `at_ms` on; None stands for before everything."""
    highest = _highest(versions, at_ms)
    orders: list[OrderReward] = []
    check_ins: list[CheckInReward] = []
    referrals: dict[str, list[ReferralReward]] = {}
    activities: dict[str, list[ActivityReward]] = {}
    registered: list[RegisteredReward] = []
    asks_spend = False
    for version in highest.values():
        rewards = version.compiled.rewards
        for rule in version.rule_set.rules:
            if not _holds(_ms(rule.effective_from), _ms(rule.effective_to), at_ms):
                continue
            reward = rewards[rule.id]
            asks_spend = asks_spend or reward.asks_spend
            if isinstance(reward, OrderReward):
                orders.append(reward)
            elif isinstance(reward, CheckInReward):
                check_ins.append(reward)
            elif isinstance(reward, ReferralReward):
                assert isinstance(rule, ReferralRule)
                referrals.setdefault(rule.when, []).append(reward)
            elif isinstance(reward, ActivityReward):
                assert isinstance(rule, ActivityRule)
                activities.setdefault(rule.activity, []).append(reward)
            elif isinstance(reward, RegisteredReward):
                registered.append(reward)
    return RuleTable(
        orders=_ranked(orders),
        check_ins=_ranked(check_ins),
        referrals={when: _ranked(rewards) for when, rewards in referrals.items()},
        activities={name: _ranked(rewards) for name, rewards in activities.items()},
        registered=_ranked(registered),
        asks_spend=asks_spend,
    )


def _ranked(rewards: Iterable[R]) -> Rewards[R]:
    """Return rewards of higher priority first, of equal priority as they were written."""
    return Rewards(sorted(rewards, key=lambda reward: -reward.priority))


def _holds(from_ms: int | None, to_ms: int | None, at_ms: int | None) -> bool:
    if at_ms is None:
        return from_ms is None
    return (from_ms is None or from_ms <= at_ms) and (to_ms is None or at_ms < to_ms)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_ms(moment)


def _known(*moments_ms: int | None) -> list[int]:
    return [at_ms for at_ms in moments_ms if at_ms is not None]
