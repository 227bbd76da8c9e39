"""The closed lists of words on the wire.

Each list is complete: a consumer may switch over it. A word may be added in a later version, none
is renamed or given another meaning. Words that publishers may choose freely (`channel`, `activity`)
are plain strings and have no list here.
"""

from enum import StrEnum

__all__ = [
    "AccountStatus",
    "CommandOutcome",
    "DeadLetterCode",
    "EntityKind",
    "FlagAction",
    "FlagState",
    "MovementType",
    "Reason",
    "ReminderType",
    "Role",
    "TierDirection",
]


class MovementType(StrEnum):
    """What one ledger entry did; the `type` of a `balance-changes` record."""

    EARNED = "points.earned"
    PENDING = "points.pending"
    ACTIVATED = "points.activated"
    REDEEMED = "points.redeemed"
    HELD = "points.held"
    CAPTURED = "points.captured"
    VOIDED = "points.voided"
    EXPIRED = "points.expired"
    REVERSED = "points.reversed"
    RESTORED = "points.restored"
    TRANSFERRED_OUT = "points.transferred_out"
    TRANSFERRED_IN = "points.transferred_in"
    ADJUSTED = "points.adjusted"
    CLEARED = "points.cleared"
    MERGED_OUT = "points.merged_out"
    MERGED_IN = "points.merged_in"


class CommandOutcome(StrEnum):
    """The two answers that a command can get."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why a command was rejected: the rule that it would have broken."""

    # The account
    INSUFFICIENT_POINTS = "insufficient_points"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_NOT_FROZEN = "account_not_frozen"
    ACCOUNT_ERASED = "account_erased"
    ACCOUNT_MERGED = "account_merged"
    ACCOUNT_MERGING = "account_merging"
    WALLET_UNKNOWN = "wallet_unknown"
    WALLET_NOT_SPENDABLE = "wallet_not_spendable"
    EXPIRY_IN_THE_PAST = "expiry_in_the_past"
    # Holds
    HOLD_UNKNOWN = "hold_unknown"
    HOLD_EXISTS = "hold_exists"
    HOLD_EXPIRED = "hold_expired"
    HOLD_ALREADY_CAPTURED = "hold_already_captured"
    HOLD_ALREADY_VOIDED = "hold_already_voided"
    CAPTURE_EXCEEDS_HOLD = "capture_exceeds_hold"
    # The catalogue
    ITEM_UNKNOWN = "item_unknown"
    ITEM_NOT_AVAILABLE = "item_not_available"
    OUT_OF_STOCK = "out_of_stock"
    LIMIT_REACHED = "limit_reached"
    TIER_TOO_LOW = "tier_too_low"
    PRICE_CHANGED = "price_changed"
    # Transfers and merges
    TRANSFER_TO_SELF = "transfer_to_self"
    MERGE_INTO_SELF = "merge_into_self"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RECIPIENT_FROZEN = "recipient_frozen"
    RECIPIENT_ERASED = "recipient_erased"
    TRANSFER_UNDER_WAY = "transfer_under_way"
    # Reviews
    REVIEW_REQUIRED = "review_required"
    FLAG_UNKNOWN = "flag_unknown"
    FLAG_ALREADY_RELEASED = "flag_already_released"
    FLAG_ALREADY_REJECTED = "flag_already_rejected"
    # Who asked, and for what
    NOT_PERMITTED = "not_permitted"
    CONSENT_DENIED = "consent_denied"
    NOT_SUPPORTED = "not_supported"


class DeadLetterCode(StrEnum):
    """Why an input could not be taken; the header `points.error.code` of a dead letter."""

    # Found while decoding, from the record alone, in this order
    TOO_LARGE = "too_large"
    KEY_MISSING = "key_missing"
    NOT_JSON = "not_json"
    ENVELOPE_CONFLICT = "envelope_conflict"
    UNKNOWN_TYPE = "unknown_type"
    SCHEMA_INVALID = "schema_invalid"
    LINES_DO_NOT_ADD_UP = "lines_do_not_add_up"
    KEY_MISMATCH = "key_mismatch"
    # Found by the ledger, from the record and what is already known
    ID_REUSED_WITH_OTHER_CONTENT = "id_reused_with_other_content"
    REFUND_WITHOUT_ORDER = "refund_without_order"
    REFUND_EXCEEDS_ORDER = "refund_exceeds_order"
    TOO_FAR_IN_FUTURE = "too_far_in_future"
    TOO_OLD = "too_old"
    CURRENCY_NOT_SUPPORTED = "currency_not_supported"
    LINE_UNKNOWN = "line_unknown"
    POINTS_OUT_OF_RANGE = "points_out_of_range"
    ACCOUNT_ERASED = "account_erased"
    RULESET_INVALID = "ruleset_invalid"
    DETECTORS_INVALID = "detectors_invalid"


class Role(StrEnum):
    """On whose behalf an actor gives a command."""

    MEMBER = "member"
    STORE = "store"
    HEAD_OFFICE = "head_office"
    SYSTEM = "system"


class AccountStatus(StrEnum):
    """Where an account stands in its life. An erased one has no record left, but a tombstone."""

    ACTIVE = "active"
    FROZEN = "frozen"
    MERGED = "merged"


class TierDirection(StrEnum):
    """Which way a tier moved."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"


class ReminderType(StrEnum):
    """What a reminder warns of."""

    POINTS_EXPIRING = "reminder.points_expiring"
    BALANCE_CLEARING = "reminder.balance_clearing"
    TIER_ENDING = "reminder.tier_ending"


class FlagState(StrEnum):
    """How far a suspicion has come."""

    RAISED = "raised"
    RELEASED = "released"
    CONFIRMED = "confirmed"


class FlagAction(StrEnum):
    """What a raised suspicion does to the points it concerns."""

    FLAG = "flag"
    HOLD = "hold"
    BLOCK = "block"


class EntityKind(StrEnum):
    """What a suspicion is about."""

    MEMBER = "member"
    DEVICE = "device"
    IP = "ip"
    REFERRER = "referrer"
    STORE = "store"
    STAFF = "staff"
    """Who gave commands for a shop, by `actor.id`."""
