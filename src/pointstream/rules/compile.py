"""From the rule sets of a programme to what the ledger asks: rewards with plain callables.

A programme is compiled once, before the first event, a rule set when it is first seen. Which of
them is in force when is for `tables.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

from pointstream.contracts.detectors import DetectorSet
from pointstream.contracts.lifetimes import Activation, EndOf, Expiry, ExpiryKind
from pointstream.contracts.programme import (
    Budget,
    Programme,
    RefundPolicy,
    Wallet,
)
from pointstream.contracts.rulesets import (
    Cap,
    CheckInRule,
    MultiplierRule,
    OrderBonusRule,
    QuantityRule,
    ReferralRule,
    RegisteredRule,
    Rule,
    RuleSet,
    Scope,
    SpendRule,
)
from pointstream.contracts.vocabulary import Role
from pointstream.contracts.wire import dumps
from pointstream.rules.calendar import Calendar
from pointstream.rules.conditions import asks_spend
from pointstream.rules.effects import compile_draw, compile_order_effect
from pointstream.rules.index import needs_of
from pointstream.rules.ladders import CompiledLadder
from pointstream.rules.model import (
    ActivityReward,
    CheckInReward,
    CompiledCap,
    CompiledRuleSet,
    MemberFacts,
    OrderReward,
    Period,
    ReferralReward,
    RegisteredReward,
    Reward,
    Scoped,
    Test,
    Unmet,
)
from pointstream.rules.reasons import tests_of
from pointstream.rules.tables import RuleBook, Version

__all__ = ["CompiledProgramme", "CompiledWallet", "compile_programme", "compile_rule_set"]

_MS: Final = timedelta(milliseconds=1)


class CompiledWallet:
    """One wallet's name and how long its points wait and live."""

    def __init__(self, wallet: Wallet, calendar: Calendar) -> None:
        self.source: Final = wallet
        self.id: Final = wallet.id
        self.spendable: Final = wallet.spendable
        self._activation = wallet.activation
        self._expiry = wallet.expiry
        self._calendar = calendar
        self.at_once: Final = (
            not wallet.activation.after
            and wallet.activation.end_of is EndOf.NONE
            and not wallet.activation.on_days
        )
        """Whether points are spendable as soon as they are earned, or as what they wait for."""
        self.on_activity: Final = wallet.activation.on_activity
        """The activity that the points of an order wait for."""
        at_latest = wallet.activation.at_latest
        self.at_latest_ms: Final = None if at_latest is None else at_latest // _MS
        """How long after it was earned a lot stops waiting; None for never."""
        leads_ms = {lead // _MS for lead in wallet.remind_before}
        self.leads_ms: Final = tuple(sorted(leads_ms, reverse=True))
        """How long before points expire the member is reminded of them, longest first."""
        self.sliding: Final = wallet.expiry if wallet.expiry.kind is ExpiryKind.SLIDING else None
        """How long points live after the member's latest activity, if that is what counts."""
        self._by_day = wallet.expiry.end_of is not EndOf.NONE or wallet.expiry.period is not None
        # One entry per local day on which points were earned: small, and a pure result.
        self._expires_by_day: dict[int, int] = {}

    def activates_at_ms(self, earned_at_ms: int) -> int:
        """Return when points earned at an instant become spendable."""
        if self.at_once:
            return earned_at_ms
        return self._calendar.activates_at_ms(self._activation, earned_at_ms)

    def expires_at_ms(self, earned_at_ms: int) -> int | None:
        """Return the first instant at which points earned then are gone, or None for never.

        Where it slides: points of a member whose latest activity was then.
        """
        if not self._by_day:
            return self._calendar.expires_at_ms(self._expiry, earned_at_ms)
        day = self._calendar.local_day(earned_at_ms)
        at_ms = self._expires_by_day.get(day)
        if at_ms is None:
            at_ms = self._calendar.expires_at_end_ms(self._expiry, day)
            self._expires_by_day[day] = at_ms
        return at_ms


class CompiledProgramme:
    """A programme ready to be asked. Holds no state but caches of pure results."""

    def __init__(
        self,
        programme: Programme,
        instead: Sequence[Version] = (),
        detectors_instead: Sequence[DetectorSet] = (),
    ) -> None:
        """`instead` and `detectors_instead` hold for their spans in the place of other versions of
        the same ids, in a simulation; workers have none."""
        self.source: Final = programme
        self.instead: Final = tuple(instead)
        self.detectors_instead: Final = tuple(detectors_instead)
        self.calendar: Final = Calendar(programme.time_zone)
        self.currency: Final = programme.currency
        self.wallets: Final[Mapping[str, CompiledWallet]] = {
            wallet.id: CompiledWallet(wallet, self.calendar) for wallet in programme.wallets
        }
        self._own_lives: dict[tuple[str, Activation | None, Expiry | None], CompiledWallet] = {}
        self.reminds: Final = any(wallet.leads_ms for wallet in self.wallets.values())
        """Whether points of any wallet have reminders before they expire."""
        self.refund_policy: Final[RefundPolicy] = programme.refund_policy
        self.dedup_window_ms: Final = programme.dedup_window // _MS
        self.park_window_ms: Final = programme.park_window // _MS
        self.late_window_ms: Final = programme.late_window // _MS
        self.future_tolerance_ms: Final = programme.future_tolerance // _MS
        self.refund_window_ms: Final = programme.refund_window // _MS
        self.restored_ms: Final = timedelta(days=programme.restored_days) // _MS
        self.hold_ms: Final = programme.hold_time // _MS
        self.ladders: Final = tuple(
            CompiledLadder(ladder, self.calendar) for ladder in programme.ladders
        )
        self.measured_in: Final[Mapping[str, tuple[CompiledLadder, ...]]] = {
            measure: tuple(ladder for ladder in self.ladders if ladder.qualified_by == measure)
            for measure in {ladder.qualified_by for ladder in self.ladders}
        }
        """The ladders by what they measure: a wallet, or money."""
        self.transfers: Final = programme.transfers
        self.limits: Final[Mapping[tuple[Role, str], int]] = {
            (role, f"points.{name}"): limit
            for role, limits in programme.limits.items()
            for name, limit in limits
            if limit is not None
        }
        self.consent_always: Final = frozenset(programme.consent_always)
        self.consent_ms: Final = programme.consent_window // _MS
        self.budgets: Final[Mapping[str, Budget]] = {
            budget.id: budget for budget in programme.budgets
        }
        self.versions: Final = tuple(
            Version.of(rule_set, compile_rule_set(rule_set)) for rule_set in programme.rule_sets
        )
        """The rule sets of the programme itself: what is published while it runs comes on top."""

    def campaign_of(self, budget_id: str | None) -> str | None:
        """Return the campaign that entries name for a budget, or None for no (known) budget."""
        budget = self.budgets.get(budget_id) if budget_id is not None else None
        return None if budget is None else budget.campaign_id or budget.id

    def wallet_of(self, reward: Reward) -> CompiledWallet:
        """Return the wallet that a reward pays into, with the reward's own policies if it has any.

        Raises `KeyError` for a wallet that the programme does not have.
        """
        wallet = self.wallets[reward.wallet]
        if reward.activation is None and reward.expiry is None:
            return wallet
        key = (reward.wallet, reward.activation, reward.expiry)
        own = self._own_lives.get(key)
        if own is None:
            told = {"activation": reward.activation, "expiry": reward.expiry}
            policies = {name: policy for name, policy in told.items() if policy is not None}
            own = CompiledWallet(wallet.source.model_copy(update=policies), self.calendar)
            self._own_lives[key] = own
        return own

    def rule_book(self) -> RuleBook:
        """Return a new rule book that begins with the programme's own rule sets."""
        return RuleBook(self.versions, self.instead)


def compile_programme(
    programme: Programme,
    instead: Sequence[Version] = (),
    detectors_instead: Sequence[DetectorSet] = (),
) -> CompiledProgramme:
    """Compile a programme, with every version of its rule sets; see `CompiledProgramme`."""
    return CompiledProgramme(programme, instead, detectors_instead)


def compile_rule_set(rule_set: RuleSet) -> CompiledRuleSet:
    """Compile one version of one rule set."""
    source = dumps(rule_set.model_dump(mode="json", exclude_defaults=True))
    hash_ = _hash(source)
    rewards = {
        rule.id: _limited(_reward(rule, rule_set.version, hash_), rule_set, rule)
        for rule in rule_set.rules
    }
    return CompiledRuleSet(
        id=rule_set.id,
        version=rule_set.version,
        hash=hash_,
        source=source,
        orders={id_: reward for id_, reward in rewards.items() if isinstance(reward, OrderReward)},
        rewards=rewards,
    )


def _hash(source: bytes) -> str:
    return blake2b(source, digest_size=8).hexdigest()


def _reward(rule: Rule, version: int, hash_: str) -> Reward:
    tests = (*_scope(rule.scope), *tests_of(rule.condition, rule.condition_name))
    draw = getattr(rule, "draw", None)
    common: dict[str, Any] = {
        "rule_id": rule.id,
        "rule_version": version,
        "ruleset_hash": hash_,
        "wallet": rule.wallet,
        "matches": _matches(tests),
        "priority": rule.priority,
        "group": rule.group,
        "in_group": rule.in_group,
        "activation": rule.activation,
        "expiry": rule.expiry,
        "asks_spend": asks_spend(rule.condition),
        "draws": compile_draw(draw) if draw is not None else None,
        "tests": tests,
        "needs": needs_of(rule),
    }
    if isinstance(rule, MultiplierRule):
        return OrderReward(
            **common,
            points=_nothing,
            keep_on_refund=False,
            more_permille=int(rule.factor * 1_000) - 1_000,
            of_all=rule.of == "all",
        )
    if isinstance(rule, SpendRule | OrderBonusRule | QuantityRule):
        effect = compile_order_effect(rule)
        return OrderReward(
            **common,
            points=_nothing if effect is not None else _by_money(rule),
            keep_on_refund=rule.keep_on_refund,
            multiplied=isinstance(rule, SpendRule),
            effect=effect,
            base=isinstance(rule, SpendRule),
        )
    if isinstance(rule, CheckInRule):
        streak = rule.streak
        return CheckInReward(
            **common,
            points=rule.points or 0,
            every_time=rule.every_time,
            streak_days=streak.days if streak else 0,
            streak_points=streak.points if streak else 0,
            streak_repeats=streak.repeat if streak else False,
        )
    if isinstance(rule, ReferralRule):
        return ReferralReward(**common, points=rule.points or 0, min_minor=rule.min_minor)
    if isinstance(rule, RegisteredRule):
        return RegisteredReward(**common, points=rule.points or 0)
    return ActivityReward(**common, unit_points=rule.points or 0, per_minor=rule.per_minor)


def _limited(reward: Reward, rule_set: RuleSet, rule: Rule) -> Reward:
    """Return a reward with the caps it falls under and the budget that pays for it."""
    caps: list[CompiledCap] = []
    if rule.cap is not None:
        caps.append(_cap(rule.cap, rule_set.id, "rule", rule.id))
    for cap in rule_set.caps:
        if not cap.rules or rule.id in cap.rules:
            caps.append(_cap(cap, rule_set.id, "cap", cap.id))
    if not caps and rule.budget is None:
        return reward
    return replace(reward, caps=tuple(caps), budget=rule.budget, limited=True)


def _cap(cap: Cap, *names: str) -> CompiledCap:
    limits = (
        (Period.DAY, cap.day),
        (Period.WEEK, cap.week),
        (Period.MONTH, cap.month),
        (Period.LIFETIME, cap.lifetime),
    )
    return CompiledCap(
        name="\0".join(names).encode(),
        event=cap.event,
        limits=tuple((period, points) for period, points in limits if points is not None),
    )


def _nothing(earning_minor: int) -> int:
    return 0


def _by_money(rule: SpendRule | OrderBonusRule | QuantityRule) -> Callable[[int], int]:
    """Return the points for an order's earning money, of a rule that asks for no more than that."""
    if isinstance(rule, SpendRule):
        points, per_minor, min_minor = rule.points, rule.per_minor or 1, rule.min_minor
        return lambda minor: points * (minor // per_minor) if minor >= min_minor else 0
    assert isinstance(rule, OrderBonusRule)
    bonus, at_least_minor = rule.points or 0, rule.min_minor
    # An order with nothing left of it is no order any more, even where the rule asks for none.
    return lambda minor: bonus if minor >= at_least_minor and minor > 0 else 0


def _scope(scope: Scope) -> tuple[Test, ...]:
    """Return what a scope asks of an event."""
    tests: list[Test] = []
    for name, field in (("stores", "store_id"), ("brands", "brand_id"), ("channels", "channel")):
        allowed = getattr(scope, name)
        if allowed is not None:
            tests.append(_one_of(f"scope.{name}", field, frozenset(allowed)))
    if scope.campaign_codes is not None:
        tests.append(_some_of("scope.campaign_codes", frozenset(scope.campaign_codes)))
    if scope.tiers is not None:
        tests.append(_in_tier(frozenset(scope.tiers)))
    if scope.segments is not None:
        tests.append(_in_segment(frozenset(scope.segments)))
    return tuple(tests)


def _in_tier(allowed: frozenset[str]) -> Test:
    return Test(
        "scope.tiers",
        lambda _, facts: not allowed.isdisjoint(facts.tiers),
        lambda _, facts: _unmet("scope.tiers", "tiers", facts.tiers, allowed),
    )


def _in_segment(allowed: frozenset[str]) -> Test:
    return Test(
        "scope.segments",
        lambda _, facts: not allowed.isdisjoint(facts.segments),
        lambda _, facts: _unmet("scope.segments", "segments", facts.segments, allowed),
    )


def _one_of(path: str, field: str, allowed: frozenset[str]) -> Test:
    value_of = attrgetter(field)

    def unmet(event: Scoped, facts: MemberFacts) -> list[Unmet]:
        return [Unmet(path, field, value_of(event), "in", sorted(allowed))]

    return Test(path, lambda event, _: value_of(event) in allowed, unmet)


def _some_of(path: str, codes: frozenset[str]) -> Test:
    def unmet(event: Scoped, facts: MemberFacts) -> list[Unmet]:
        return _unmet(path, "campaign_codes", event.campaign_codes, codes)

    return Test(path, lambda event, _: not codes.isdisjoint(event.campaign_codes), unmet)


def _unmet(path: str, field: str, found: Iterable[str], allowed: frozenset[str]) -> list[Unmet]:
    return [Unmet(path, field, sorted(found), "some of", sorted(allowed))]


def _matches(tests: tuple[Test, ...]) -> Callable[[Scoped, MemberFacts], bool] | None:
    """Return one callable for all that a rule asks, or None where it asks nothing."""
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0].holds
    conditions = [test.holds for test in tests]
    return lambda event, facts: all(condition(event, facts) for condition in conditions)
