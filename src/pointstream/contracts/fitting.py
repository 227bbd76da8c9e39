"""Whether a rule set fits a programme: what it names must be there.

A rule set alone can be without fault and still pay into a wallet that a programme does not have.
The programme's file is checked with this, and so is what is published while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pointstream.contracts.conditions import Condition
from pointstream.contracts.rulesets import RuleSet

if TYPE_CHECKING:
    from pointstream.contracts.programme import Programme

__all__ = ["Misfit", "misfits"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing that a programme does not have."""

    where: tuple[str | int, ...]
    """The way to it inside the rule set, such as `("rules", 2, "wallet")`."""
    message: str
    """What is wrong, and what is allowed."""

    @property
    def path(self) -> str:
        """The way to it in words: `rules[2].wallet`."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.where)
        return "".join(steps).lstrip(".")


def misfits(programme: Programme, rule_set: RuleSet) -> list[Misfit]:
    """Return what a rule set asks for and a programme does not have; nothing if it fits."""
    return [
        misfit
        for checked in (_wallets, _budgets, _tiers)
        for misfit in checked(programme, rule_set)
    ]


def _wallets(programme: Programme, rule_set: RuleSet) -> Iterator[Misfit]:
    wallets = [wallet.id for wallet in programme.wallets]
    for place, rule in enumerate(rule_set.rules):
        if rule.wallet not in wallets:
            there = ", ".join(wallets)
            yield Misfit(
                ("rules", place, "wallet"),
                f"rule {rule.id!r} of rule set {rule_set.id!r} pays into the wallet"
                f" {rule.wallet!r}; this programme has {there}",
            )


def _budgets(programme: Programme, rule_set: RuleSet) -> Iterator[Misfit]:
    budgets = {budget.id: budget for budget in programme.budgets}
    for place, rule in enumerate(rule_set.rules):
        if rule.budget is None:
            continue
        known = budgets.get(rule.budget)
        if known is None:
            there = ", ".join(budgets) or "none"
            message = f"unknown budget {rule.budget!r}; this programme has {there}"
        elif known.wallet != rule.wallet:
            message = (
                f"budget {known.id!r} is of {known.wallet!r}, the rule pays into {rule.wallet!r}"
            )
        else:
            continue
        yield Misfit(("rules", place, "budget"), message)


def _tiers(programme: Programme, rule_set: RuleSet) -> Iterator[Misfit]:
    tiers = {ladder.id: [tier.id for tier in ladder.tiers] for ladder in programme.ladders}
    known = [tier for ladder in tiers.values() for tier in ladder]
    for place, rule in enumerate(rule_set.rules):
        for number, tier in enumerate(rule.scope.tiers or ()):
            if tier not in known:
                yield Misfit(
                    ("rules", place, "scope", "tiers", number),
                    f"unknown tier {tier!r}; this programme has {', '.join(known) or 'none'}",
                )
        if rule.condition is not None:
            where = ("rules", place, rule.condition_name)
            yield from _tiers_asked(rule.condition, tiers, where)


def _tiers_asked(
    condition: Condition, tiers: dict[str, list[str]], where: tuple[str | int, ...]
) -> Iterator[Misfit]:
    """Return what a condition asks about tiers and ladders that there are not."""
    for name in ("all", "any"):
        for place, part in enumerate(getattr(condition, name) or ()):
            yield from _tiers_asked(part, tiers, (*where, name, place))
    if condition.not_ is not None:
        yield from _tiers_asked(condition.not_, tiers, (*where, "not"))
    field = condition.field or ""
    if field.startswith("member.tiers."):
        known = tiers.get(field.removeprefix("member.tiers."))
    elif field == "member.tier":
        known = next(iter(tiers.values()), None)
    else:
        return
    if known is None:
        ladders = ", ".join(tiers) or "none"
        yield Misfit((*where, "field"), f"no such ladder; this programme has {ladders}")
        return
    operator = condition.operator
    if operator == "exists":
        return
    listed = operator in ("in", "not_in")
    for place, tier in enumerate(condition.operand if listed else (condition.operand,)):
        if tier not in known:
            at = (*where, operator, place) if listed else (*where, operator)
            there = ", ".join(known)
            yield Misfit(at, f"unknown tier {tier!r}; this ladder has {there}")
