"""The newest flags and dead letters of this process, for people who look at its page.

Without members: a record is named by its address, from where whoever may read the topic reads it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from pointstream.contracts.wire import rfc3339
from pointstream.ledger import DeadLetter

__all__ = ["News"]

_KEPT = 20
_OF_FLAG = (
    *("flag_id", "state", "action", "detector", "rule_version", "entity_kind"),
    *("observed", "threshold", "window_seconds", "occurred_at"),
)


class News:
    """The newest flags and dead letters, as they are shown."""

    def __init__(self) -> None:
        self._flags: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._dead_letters: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def flag(self, flag: dict[str, Any]) -> None:
        """Take a flag that was committed, by the names of `fraud-flags`."""
        shown = {name: flag[name] for name in _OF_FLAG}
        self._flags.append(shown | {"members": len(flag["member_ids"])})

    def dead_letter(self, letter: DeadLetter) -> None:
        """Take a dead letter that was committed; why, and where the input lies."""
        source = letter.source
        self._dead_letters.append(
            {
                "code": letter.code.value,
                "topic": source.topic,
                "partition": source.partition,
                "offset": source.offset,
                "recorded_at": rfc3339(source.timestamp_ms),
            }
        )

    def flags(self) -> list[dict[str, Any]]:
        """Return the newest flags, the newest first, without whom they are about."""
        return list(reversed(self._flags))

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return the newest dead letters, the newest first."""
        return list(reversed(self._dead_letters))
