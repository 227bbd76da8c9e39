"""The topics: what each is called, what travels on it, how it is keyed and kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pointstream.contracts.vocabulary import MovementType, ReminderType

__all__ = ["DEFAULT_PREFIX", "INPUT_TYPES", "TopicSpec", "topic_of_type", "topic_specs"]

DEFAULT_PREFIX = "points."

_DAY_MS = 86_400_000
_FOREVER = -1
_LARGEST_RECORD_BYTES = 16 << 20
_TIMED_BY_BROKER = ("internal.ticks", "internal.messages")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic.

    All have the same number of partitions, so that the owner of a partition number owns it of every
    topic. `retention_ms` is `None` where the broker's default is right and -1 where
    records are kept for ever.
    """

    name: str
    suffix: str
    """The name without the prefix."""
    cleanup: Literal["delete", "compact"]
    direction: Literal["in", "out", "internal"]
    keyed_by: str
    retention_ms: int | None
    description: str
    types: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, str]:
        """The topic settings that must hold, under Kafka's names."""
        config: dict[str, str] = {"cleanup.policy": self.cleanup}
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        if self.direction == "in" or self.suffix in _TIMED_BY_BROKER:
            # A partition's topics are merged by the broker's time: a publisher's clock that runs
            # ahead would otherwise move the time of everyone in its partition.
            config["message.timestamp.type"] = "LogAppendTime"
        if self.suffix in ("dead-letters", "internal.changelog", "internal.messages"):
            # They take the largest input whole, with headers on top, as a dead letter, parked or
            # forwarded: one that they refused would stop its partition for good.
            config["max.message.bytes"] = str(_LARGEST_RECORD_BYTES)
        if self.suffix == "internal.changelog":
            # Local states that lack more than half of this are restored whole.
            config["delete.retention.ms"] = str(_DAY_MS)
        return config


INPUT_TYPES: Mapping[str, tuple[str, ...]] = {
    "orders": ("order.paid", "order.refunded", "order.cancelled"),
    "check-ins": ("checkin.recorded",),
    "referrals": ("referral.registered", "referral.first_order"),
    "activities": ("activity.recorded",),
    "members": ("member.registered", "member.updated"),
    "commands": (
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
        "account.resync",
        "accounts.resync",
        "review.release",
        "review.reject",
    ),
    "rules": ("ruleset.published",),
    "detectors": ("detectors.published",),
    "catalogue": ("item.published",),
}
"""The types that each input topic takes, by the topic's suffix."""

_TOPIC_OF_TYPE = {type_: suffix for suffix, types in INPUT_TYPES.items() for type_ in types}


def topic_of_type(type: str) -> str:
    """The suffix of the topic that an input type belongs on. Raises `KeyError` for another type."""
    return _TOPIC_OF_TYPE[type]


def topic_specs(prefix: str = DEFAULT_PREFIX) -> tuple[TopicSpec, ...]:
    """All topics, inputs first, then outputs, then those that only the worker itself uses."""

    def spec(
        suffix: str,
        direction: Literal["in", "out", "internal"],
        description: str,
        *,
        types: tuple[str, ...] = (),
        cleanup: Literal["delete", "compact"] = "delete",
        keyed_by: str = "member_id",
        retention_ms: int | None = None,
    ) -> TopicSpec:
        return TopicSpec(
            name=prefix + suffix,
            suffix=suffix,
            cleanup=cleanup,
            direction=direction,
            keyed_by=keyed_by,
            retention_ms=retention_ms,
            description=description,
            types=INPUT_TYPES.get(suffix, types),
        )

    return (
        spec("orders", "in", "Orders paid, refunded and cancelled."),
        spec("check-ins", "in", "Check-ins of members."),
        spec("referrals", "in", "Members who brought others; keyed by the referrer."),
        spec("activities", "in", "Whatever else earns: reviews, lotteries, group buys."),
        spec("members", "in", "Members who joined, and changes of their profiles."),
        spec("commands", "in", "What someone wants done to an account; each is answered once."),
        spec(
            "rules",
            "in",
            "Rule sets, whole and versioned; a tombstone withdraws one.",
            cleanup="compact",
            keyed_by="ruleset_id",
        ),
        spec(
            "detectors",
            "in",
            "Sets of fraud detectors, whole and versioned; a tombstone withdraws one.",
            cleanup="compact",
            keyed_by="detector_set_id",
        ),
        spec(
            "catalogue",
            "in",
            "Items that points buy; a tombstone withdraws one.",
            cleanup="compact",
            keyed_by="item_id",
        ),
        spec(
            "balance-changes",
            "out",
            "The ledger: every movement of every member, in order.",
            types=tuple(MovementType),
            retention_ms=_FOREVER,
        ),
        spec(
            "crm-sync",
            "out",
            "Each member's latest standing, for the CRM; a tombstone for an erased member.",
            types=("member.standing",),
            cleanup="compact",
        ),
        spec(
            "mall-sync",
            "out",
            "Each member's latest spendable position, for the mall; a tombstone when erased.",
            types=("member.position",),
            cleanup="compact",
        ),
        spec("tier-changes", "out", "Each change of a tier.", types=("tier.changed",)),
        spec(
            "reminders",
            "out",
            "Points about to expire, balances about to be cleared, tiers about to be lost.",
            types=tuple(ReminderType),
        ),
        spec(
            "command-results",
            "out",
            "The one final answer to each command.",
            types=("command.answered",),
        ),
        spec(
            "fraud-flags",
            "out",
            "Suspicions raised, released and confirmed.",
            types=("fraud.flag",),
            keyed_by="entity_id",
            # Who reviews finds open flags here alone, and how each ended.
            retention_ms=400 * _DAY_MS,
        ),
        spec(
            "shadow-diffs",
            "out",
            "Events for which a candidate in shadow would have given something else.",
            types=("ruleset.differed",),
            retention_ms=30 * _DAY_MS,
        ),
        spec(
            "dead-letters",
            "out",
            "Inputs that could not be taken, byte for byte, with the reason in the headers.",
            keyed_by="the key of the input",
            retention_ms=30 * _DAY_MS,
        ),
        spec(
            "internal.ticks",
            "internal",
            "The passing of time, written by each partition's owner.",
            keyed_by="none",
            retention_ms=_DAY_MS,
        ),
        spec(
            "internal.messages",
            "internal",
            "What owners of partitions tell each other: points under way, stock asked for, "
            "records of members who were merged.",
            keyed_by="the member, item or budget that is told",
            retention_ms=30 * _DAY_MS,
        ),
        spec(
            "internal.journal",
            "internal",
            "Which input offsets each transaction took, in which order.",
            keyed_by="none",
        ),
        spec(
            "internal.replays",
            "internal",
            "Which dead letters were sent again: written with them, in one transaction.",
            keyed_by="the dead letter's partition and offset",
            # Longer than the dead letters: one whose mark is gone could be sent a second time.
            retention_ms=60 * _DAY_MS,
        ),
        spec(
            "internal.changelog",
            "internal",
            "The state of each partition, key by key.",
            cleanup="compact",
            keyed_by="the state key",
        ),
    )
