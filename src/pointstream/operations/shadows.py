"""What candidates in shadow would have changed, summed up from `shadow-diffs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pointstream.contracts.wire import epoch_ms, loads
from pointstream.operations.reading import CommittedReader

__all__ = ["RuleSum", "ShadowSum", "read_shadow_sums"]


@dataclass(slots=True)
class RuleSum:
    """One rule, in points of its wallet, over the events for which anything differs."""

    events: int = 0
    """For which this rule differs."""
    given: int = 0
    would_give: int = 0
    other_life: int = 0
    """Events for which the points would be the same, and live or wait by another policy."""

    @property
    def difference(self) -> int:
        """Points that the candidate would have given more; below zero: less."""
        return self.would_give - self.given


@dataclass(slots=True)
class ShadowSum:
    """One content of one candidate."""

    rule_set: str
    version: int
    hash: str
    events: int = 0
    """For which it would have given something else."""
    members: int = 0
    """Of these events."""
    errors: dict[str, int] = field(default_factory=dict)
    """Events about which it could not be asked, by why. They count for nothing else."""
    first_at: str = ""
    last_at: str = ""
    """Of these events: when they were taken."""
    rules: dict[tuple[str, str, str], RuleSum] = field(default_factory=dict)
    """By rule set, rule and wallet; rules that never differ are among them."""
    _seen: set[str] = field(default_factory=set)

    def add(self, diff: Mapping[str, Any]) -> None:
        """Take one record."""
        recorded_at = str(diff["recorded_at"])
        self.first_at = min(self.first_at or recorded_at, recorded_at)
        self.last_at = max(self.last_at, recorded_at)
        error = diff.get("error")
        if error is not None:
            self.errors[error] = self.errors.get(error, 0) + 1
            return
        self.events += 1
        member_id = str(diff["member_id"])
        if member_id not in self._seen:
            self._seen.add(member_id)
            self.members += 1
        for award in diff["awards"]:
            name = (award["ruleset_id"], award["rule_id"], award["wallet"])
            rule = self.rules.setdefault(name, RuleSum())
            given, would_give = int(award["given"]), int(award["would_give"])
            other_life = given == would_give and bool(award.get("other_life"))
            rule.given += given
            rule.would_give += would_give
            rule.other_life += other_life
            rule.events += other_life or given != would_give

    def end_partition(self) -> None:
        """A member has all records in one partition: those seen there need not be known longer."""
        self._seen.clear()


async def read_shadow_sums(
    reader: CommittedReader,
    prefix: str,
    rule_set_id: str,
    *,
    since_ms: int = 0,
    on_step: Callable[[float], None] = lambda share: None,
) -> list[ShadowSum]:
    """Sum up the records of a rule set's candidates, each content by itself, the latest last.

    `since_ms` leaves out events that were taken before. `on_step` is told which share of the work
    is done, 0 to 1. Raises `NoTopicsError`.
    """
    topic = f"{prefix}shadow-diffs"
    partitions = await reader.existing(topic)
    sums: dict[str, ShadowSum] = {}
    for done, partition in enumerate(partitions):
        async for records in reader.read(topic, partition):
            for record in records:
                diff = loads(record.value or b"{}")
                if diff.get("ruleset_id") != rule_set_id or _taken_ms(diff) < since_ms:
                    continue
                hash_ = str(diff["ruleset_hash"])
                known = sums.get(hash_)
                if known is None:
                    version = int(diff["ruleset_version"])
                    known = sums[hash_] = ShadowSum(rule_set_id, version, hash_)
                known.add(diff)
        for each in sums.values():
            each.end_partition()
        on_step((done + 1) / len(partitions))
    return sorted(sums.values(), key=lambda each: (each.last_at, each.hash))


def _taken_ms(diff: Mapping[str, Any]) -> int:
    return epoch_ms(datetime.fromisoformat(str(diff["recorded_at"])))
