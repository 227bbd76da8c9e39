"""What the ledger is given with a record, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.ledger.messages import Message

__all__ = [
    "Answer",
    "DeadLetter",
    "Decision",
    "Effects",
    "Entry",
    "Outcome",
    "SetAside",
    "Source",
    "Standing",
]

Entry = dict[str, Any]
"""One ledger entry: the fields of a `balance-changes` record by their names in the contract."""

Answer = dict[str, Any]
"""The answer to a command: the fields of a `command-results` record."""


class Source(NamedTuple):
    """The raw record an event came from: the address that entries name, and the bytes that a dead
    letter must give back unchanged. `timestamp_ms` is the broker's append time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be taken. `message` is for people; `code` is the closed list."""

    code: DeadLetterCode
    message: str
    source: Source


class Outcome(StrEnum):
    """What became of a record or a timer. Closed; each is named after what happened, or after the
    rule that was broken."""

    # Taken
    POINTS_AWARDED = "points_awarded"
    NOTHING_EARNED = "nothing_earned"
    AWARD_UNDER_WAY = "award_under_way"
    ORDER_REFUNDED = "order_refunded"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_COMPLETED = "order_completed"
    PARKED_UNTIL_ORDER = "parked_until_order"
    POINTS_REDEEMED = "points_redeemed"
    POINTS_HELD = "points_held"
    POINTS_CAPTURED = "points_captured"
    POINTS_VOIDED = "points_voided"
    POINTS_ADJUSTED = "points_adjusted"
    POINTS_CLEARED = "points_cleared"
    TRANSFER_STARTED = "transfer_started"
    """Points have left; the answer follows when the recipient's side is known."""
    TRANSFER_RECEIVED = "transfer_received"
    TRANSFER_REFUSED = "transfer_refused"
    TRANSFER_COMPLETED = "transfer_completed"
    TRANSFER_RETURNED = "transfer_returned"
    FROZEN = "frozen"
    UNFROZEN = "unfrozen"
    MEMBER_RECORDED = "member_recorded"
    AWAITING_CONSENT = "awaiting_consent"
    STANDING_SENT = "standing_sent"
    """Again, as it is."""
    REVIEW_RELEASED = "review_released"
    REVIEW_REJECTED = "review_rejected"
    ITEM_PUBLISHED = "item_published"
    ITEM_WITHDRAWN = "item_withdrawn"
    RULESET_PUBLISHED = "ruleset_published"
    RULESET_WITHDRAWN = "ruleset_withdrawn"
    DETECTORS_PUBLISHED = "detectors_published"
    DETECTORS_WITHDRAWN = "detectors_withdrawn"
    SHADOW_PUBLISHED = "shadow_published"
    """A candidate, that will run in shadow."""
    SHADOW_WITHDRAWN = "shadow_withdrawn"

    # Under way: the answer comes later
    STOCK_ASKED = "stock_asked"
    MERGE_ASKED = "merge_asked"
    REVIEW_ASKED = "review_asked"
    """Of the owner of the flag, which is in another partition."""
    RESYNC_ASKED = "resync_asked"
    """Of all partitions."""
    ERASED = "erased"

    # Timers
    POINTS_MOVED_BY_TIME = "points_moved_by_time"
    ORDER_NEVER_CAME = "order_never_came"
    STANDINGS_SENT = "standings_sent"
    """Again, by one step of a resync."""
    ACCOUNTS_WALKED = "accounts_walked"
    TOO_LATE_FOR_ALL_ACCOUNTS = "too_late_for_all_accounts"
    WITHDRAWN_FOR_ALL_ACCOUNTS = "withdrawn_for_all_accounts"
    HOLD_TIMED_OUT = "hold_timed_out"
    CONSENT_NEVER_CAME = "consent_never_came"
    DETECTORS_DROPPED = "detectors_dropped"
    RULESET_DROPPED = "ruleset_dropped"
    """Versions of a rule set that no event can ask for any more."""

    # Messages of owners of other partitions
    ITEM_TOLD = "item_told"
    DETECTORS_TOLD = "detectors_told"
    DETECTORS_ENDED = "detectors_ended"
    DETECTORS_SET_ASIDE = "detectors_set_aside"
    RULESET_TOLD = "ruleset_told"
    RULESET_ENDED = "ruleset_ended"
    RULESET_SET_ASIDE = "ruleset_set_aside"
    """Accepted by its owner, but it does not fit the programme of this process."""
    SHADOW_TOLD = "shadow_told"
    SHADOW_ENDED = "shadow_ended"
    RESYNC_TOLD = "resync_told"
    RESYNC_DONE = "resync_done"
    """By all partitions: the command is answered."""
    GRANTED = "granted"
    NOT_GRANTED = "not_granted"
    GRANT_TAKEN_BACK = "grant_taken_back"
    GRANT_NOT_NEEDED = "grant_not_needed"
    PASSED_ON_TO_SURVIVOR = "passed_on_to_survivor"
    NOTES_TAKEN = "notes_taken"
    APPEARANCES_TOLD = "appearances_told"
    REFERRERS_TAKEN = "referrers_taken"
    SUSPICION_TAKEN = "suspicion_taken"
    MEMBER_GONE = "member_gone"
    """What was asked of, or told to, a member who was erased."""
    MERGE_WELCOME = "merge_welcome"
    MERGE_REFUSED = "merge_refused"
    MERGE_CALLED_OFF = "merge_called_off"
    MERGE_SENT = "merge_sent"
    MERGE_TAKEN = "merge_taken"
    MERGED = "merged"
    POINTS_WITHHELD = "points_withheld"
    FLAG_RELEASED = "flag_released"
    FLAG_CONFIRMED = "flag_confirmed"
    FLAG_WITHOUT_MEMBER = "flag_without_member"
    """The member was erased, or the flag has ended for it already."""
    DESCENT_REVERSED = "descent_reversed"
    NOTHING_DESCENDED = "nothing_descended"
    REFERRAL_NOTED = "referral_noted"
    LINEAGE_FORGOTTEN = "lineage_forgotten"

    # Ignored: known already. Nothing but the event's id is kept
    EVENT_ALREADY_TAKEN = "event_already_taken"
    COMMAND_ALREADY_ANSWERED = "command_already_answered"
    ORDER_ALREADY_AWARDED = "order_already_awarded"
    REFUND_ALREADY_TAKEN = "refund_already_taken"
    ORDER_ALREADY_CANCELLED = "order_already_cancelled"
    ALREADY_CHECKED_IN = "already_checked_in"
    REFERRAL_ALREADY_AWARDED = "referral_already_awarded"
    ACTIVITY_ALREADY_AWARDED = "activity_already_awarded"
    MEMBER_KNOWN_LATER = "member_known_later"
    ITEM_KNOWN_LATER = "item_known_later"
    RULESET_ALREADY_KNOWN = "ruleset_already_known"
    DETECTORS_ALREADY_KNOWN = "detectors_already_known"
    SHADOW_ALREADY_KNOWN = "shadow_already_known"
    """The same candidate, or a later one."""

    # Commands rejected
    INSUFFICIENT_POINTS = "insufficient_points"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_NOT_FROZEN = "account_not_frozen"
    ACCOUNT_ERASED = "account_erased"
    ACCOUNT_MERGED = "account_merged"
    ACCOUNT_MERGING = "account_merging"
    MERGE_INTO_SELF = "merge_into_self"
    TRANSFER_UNDER_WAY = "transfer_under_way"
    REVIEW_REQUIRED = "review_required"
    WALLET_UNKNOWN = "wallet_unknown"
    WALLET_NOT_SPENDABLE = "wallet_not_spendable"
    EXPIRY_IN_THE_PAST = "expiry_in_the_past"
    LIMIT_REACHED = "limit_reached"
    HOLD_UNKNOWN = "hold_unknown"
    HOLD_EXISTS = "hold_exists"
    HOLD_EXPIRED = "hold_expired"
    HOLD_ALREADY_CAPTURED = "hold_already_captured"
    HOLD_ALREADY_VOIDED = "hold_already_voided"
    CAPTURE_EXCEEDS_HOLD = "capture_exceeds_hold"
    TRANSFER_TO_SELF = "transfer_to_self"
    FLAG_UNKNOWN = "flag_unknown"
    FLAG_ALREADY_RELEASED = "flag_already_released"
    FLAG_ALREADY_REJECTED = "flag_already_rejected"
    ITEM_UNKNOWN = "item_unknown"
    ITEM_NOT_AVAILABLE = "item_not_available"
    OUT_OF_STOCK = "out_of_stock"
    TIER_TOO_LOW = "tier_too_low"
    PRICE_CHANGED = "price_changed"
    NOT_PERMITTED = "not_permitted"
    NOT_SUPPORTED = "not_supported"

    # Dead letters, named like their codes
    ID_REUSED_WITH_OTHER_CONTENT = "id_reused_with_other_content"
    REFUND_EXCEEDS_ORDER = "refund_exceeds_order"
    TOO_FAR_IN_FUTURE = "too_far_in_future"
    TOO_OLD = "too_old"
    CURRENCY_NOT_SUPPORTED = "currency_not_supported"
    LINE_UNKNOWN = "line_unknown"
    POINTS_OUT_OF_RANGE = "points_out_of_range"
    RULESET_INVALID = "ruleset_invalid"
    DETECTORS_INVALID = "detectors_invalid"


@dataclass(slots=True)
class Effects:
    """What follows besides ledger entries; most records have nothing of it."""

    messages: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    """To commands that were waiting, by the names of `command-results`."""
    tier_changes: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `tier-changes`."""
    reminders: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `reminders`."""
    flags: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `fraud-flags`."""
    shadow_diffs: list[dict[str, Any]] = field(default_factory=list)
    """By the names of `shadow-diffs`."""


@dataclass(slots=True)
class Decision:
    """What follows from one record, or from one timer that was due.

    Mostly there is at most one dead letter: the record itself. An order that releases parked
    refunds can have one for each refund that turns out not to fit it.
    """

    outcome: Outcome
    entries: list[Entry] = field(default_factory=list)
    result: Answer | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    effects: Effects | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A version of a rule set or detector set that is in the state and not used, and why."""

    rule_set: str
    """Its id."""
    version: int
    reason: str
    what: str = "rule set"
    """Which of the two it is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A member's latest standing, as the CRM and the mall get it, at the end of a batch."""

    member_id: str
    crm_sync: dict[str, Any] | None
    """None is a tombstone, as in the other: the member was erased."""
    mall_sync: dict[str, Any] | None
