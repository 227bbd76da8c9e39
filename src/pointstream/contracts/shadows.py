"""How candidates that run in shadow are named, apart from the rule sets that are in force."""

from typing import Final

__all__ = ["SHADOW_KEY", "shadow_key", "shadowed"]

SHADOW_KEY: Final = "shadow:"
"""What begins the key of a candidate on `points.rules`. No rule set's id has a colon."""


def shadow_key(rule_set_id: str) -> str:
    """Return the key under which a candidate of a rule set is published and withdrawn.

    It must not be the rule set's own: on a compacted topic the candidate would push out what is in
    force, and a tombstone would not tell which of the two is withdrawn.
    """
    return SHADOW_KEY + rule_set_id


def shadowed(key: str) -> str | None:
    """Return the rule set whose candidate a key names, or None if it is no candidate's."""
    return key[len(SHADOW_KEY) :] if key.startswith(SHADOW_KEY) else None
