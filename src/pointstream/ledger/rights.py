"""Who may give which command, and up to how many points alone.

`system` and `head_office` may give all of them. A member may spend, on the own account. A shop may
do what its till and its service desk do, and review what they did, on matters of that shop.
`limits` of the programme bound what one command may move; above them a second actor must consent
(`consent.py`).
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import (
    AccountResync,
    AccountsResync,
    Command,
    CommandEnvelope,
    PointsAdjust,
    PointsCapture,
    PointsHold,
    PointsRedeem,
    PointsTransfer,
    PointsVoid,
    ReviewReject,
    ReviewRelease,
)
from pointstream.contracts.vocabulary import Role
from pointstream.ledger.records import Hold
from pointstream.rules.compile import CompiledProgramme

__all__ = ["limit_of", "may_end", "permitted"]

_OF_MEMBERS: Final = (PointsRedeem, PointsHold, PointsCapture, PointsVoid, PointsTransfer)
_OF_STORES: Final = (
    *_OF_MEMBERS,
    PointsAdjust,
    ReviewRelease,
    ReviewReject,
    AccountResync,
    AccountsResync,
)


def permitted(event: CommandEnvelope) -> bool:
    """Tell whether the actor may give this command, whatever the account looks like."""
    actor = event.actor
    if actor.role is Role.MEMBER:
        return isinstance(event, _OF_MEMBERS) and actor.id == event.member_id
    return actor.role is not Role.STORE or (
        isinstance(event, _OF_STORES)
        and actor.store_id is not None
        and actor.store_id == event.store_id
    )


def limit_of(programme: CompiledProgramme, event: Command, role: Role) -> int | None:
    """Return how many points such a command may move when one actor of a role gives it alone."""
    return programme.limits.get((role, event.type))


def may_end(event: CommandEnvelope, hold: Hold) -> bool:
    """Tell whether the actor may capture or void a hold: a shop not that of another shop."""
    return (
        event.actor.role is not Role.STORE
        or hold.store_id is None
        or hold.store_id == event.actor.store_id
    )
