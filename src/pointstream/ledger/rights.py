"""Who may give which command.

`system` and `head_office` may give all of them. A member may spend, on the own account. A shop may
do what its till and its service desk do, on matters of that shop. `adjust_limits` of the programme
bound what one adjustment may move.
"""

from __future__ import annotations

from typing import Final

from pointstream.contracts.inputs import (
    CommandEnvelope,
    PointsAdjust,
    PointsCapture,
    PointsHold,
    PointsRedeem,
    PointsTransfer,
    PointsVoid,
)
from pointstream.contracts.vocabulary import Role
from pointstream.ledger.records import Hold
from pointstream.rules.compile import CompiledProgramme

__all__ = ["may_end", "permitted"]

_OF_MEMBERS: Final = (PointsRedeem, PointsHold, PointsCapture, PointsVoid, PointsTransfer)
_OF_STORES: Final = (*_OF_MEMBERS, PointsAdjust)


def permitted(programme: CompiledProgramme, event: CommandEnvelope) -> bool:
    """Tell whether the actor may give this command, whatever the account looks like."""
    actor = event.actor
    if actor.role is Role.MEMBER:
        return isinstance(event, _OF_MEMBERS) and actor.id == event.member_id
    if actor.role is Role.STORE and not (
        isinstance(event, _OF_STORES)
        and actor.store_id is not None
        and actor.store_id == event.store_id
    ):
        return False
    if isinstance(event, PointsAdjust):
        limit = programme.adjust_limits.get(actor.role)
        return limit is None or abs(event.points) <= limit
    return True


def may_end(event: CommandEnvelope, hold: Hold) -> bool:
    """Tell whether the actor may capture or void a hold: a shop not that of another shop."""
    return (
        event.actor.role is not Role.STORE
        or hold.store_id is None
        or hold.store_id == event.actor.store_id
    )
