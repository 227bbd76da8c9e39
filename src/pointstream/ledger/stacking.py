"""How what several rules give for one event goes together.

All of them give, unless they are in a group: of a group one gives, the first by priority or the one
that gives most. Then multipliers come: those of the base give on top of what spend rules gave into
the same wallet, those of all on top of everything before them. Each is an award of its own, and
none multiplies another of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence

from pointstream.ledger.scored import Due, LookedAt, Trace
from pointstream.rules.ladders import PLAIN
from pointstream.rules.model import OrderReward, Reward

__all__ = ["multiplied", "one_per_group"]

_Name = tuple[str, str]


def one_per_group(dues: list[Due], trace: Trace | None = None) -> list[Due]:
    """Return what is left when of each group only one rule gives. The order stays."""
    groups: dict[str, dict[_Name, int]] = {}
    how: dict[str, str] = {}
    for due in dues:
        group = due.reward.group
        if group is not None:
            sums = groups.setdefault(group, {})
            sums[_name(due.reward)] = sums.get(_name(due.reward), 0) + due.points
            how.setdefault(group, due.reward.in_group)
    winners: dict[str, _Name] = {}
    for group, sums in groups.items():
        # Of equals the first: by priority, then as written.
        first = next(iter(sums))
        winners[group] = first if how[group] == "first" else max(sums, key=sums.__getitem__)
    if trace is not None:
        _tell(trace, dues, winners)
    return [
        due
        for due in dues
        if due.reward.group is None or winners[due.reward.group] == _name(due.reward)
    ]


def multiplied(
    dues: list[Due], multipliers: Sequence[OrderReward], trace: Trace | None = None
) -> list[Due]:
    """Return what is due, and after it what multipliers that match give on top."""
    for of_all in (False, True):
        more: list[Due] = []
        for reward in multipliers:
            if reward.of_all is not of_all:
                continue
            parts = [
                due
                for due in dues
                if due.reward.wallet == reward.wallet
                and (of_all or (isinstance(due.reward, OrderReward) and due.reward.base))
            ]
            of = sum(due.points for due in parts)
            points = of * reward.more_permille // PLAIN
            if points:
                more.append(Due(reward, points, kept=[_part(due) for due in parts]))
            if trace is not None:
                says = f"{of} points x {reward.more_permille} thousandths = {points} points more"
                numbers = {"of": of, "more_permille": reward.more_permille}
                trace.append(LookedAt.of(reward, True, points, says, **numbers))
        dues = dues + one_per_group(more, trace)
    return dues


def _part(due: Due) -> list[object]:
    """Return what refunds must know of what was multiplied, as `scoring.left_of` takes it."""
    reward = due.reward
    return [reward.ruleset_hash, reward.rule_id, due.multiplier, due.kept, due.points]


def _name(reward: Reward) -> _Name:
    return reward.ruleset_hash, reward.rule_id


def _tell(trace: Trace, dues: list[Due], winners: dict[str, _Name]) -> None:
    lost = {
        _name(due.reward): due.reward.group
        for due in dues
        if due.reward.group is not None and winners[due.reward.group] != _name(due.reward)
    }
    for looked in trace:
        group = lost.get((looked.ruleset_hash, looked.rule_id))
        if group is not None:
            looked.points = 0
            looked.lost_to = winners[group][1]
            looked.says += f"; of the group {group!r} the rule {winners[group][1]!r} gives"
