"""The commands that have standings sent again, to the CRM and the mall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from pointstream.contracts.wire import dumps, rfc3339
from pointstream.operations.publish import OutgoingRecord

__all__ = ["resync_of_all", "resync_of_members"]

_COMMANDS: Final = "commands"


def resync_of_members(
    prefix: str, members: Sequence[str], actor_id: str, reason: str, now_ms: int
) -> list[tuple[str, OutgoingRecord]]:
    """Return the id and record of an `account.resync` for each member, dated `now_ms`."""
    return [_command(prefix, "account.resync", each, actor_id, reason, now_ms) for each in members]


def resync_of_all(
    prefix: str, home_store_id: str | None, actor_id: str, reason: str, now_ms: int
) -> tuple[str, OutgoingRecord]:
    """Return the id and record of an `accounts.resync`, of one shop's members or of all."""
    fields = {} if home_store_id is None else {"home_store_id": home_store_id}
    return _command(prefix, "accounts.resync", None, actor_id, reason, now_ms, **fields)


def _command(
    prefix: str,
    type_: str,
    member_id: str | None,
    actor_id: str,
    reason: str,
    now_ms: int,
    **fields: str,
) -> tuple[str, OutgoingRecord]:
    command_id = f"resync-{uuid4().hex}"
    # A request that is about many is named after itself: no member has such an id.
    key = command_id if member_id is None else member_id
    body: dict[str, Any] = {
        "event_id": command_id,
        "type": type_,
        "member_id": key,
        "occurred_at": rfc3339(now_ms),
        "actor": {"id": actor_id, "role": "head_office"},
        "reason": reason,
        **fields,
    }
    return command_id, OutgoingRecord(prefix + _COMMANDS, key.encode(), dumps(body))
