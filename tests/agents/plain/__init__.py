"""A plain model of the whole ledger: members with lists of lots, and time that is walked through.

It shares nothing with the ledger, and is as plain as it can be made: every question is answered by
going over everything. It is told which records each partition took in which order, and nothing of
what the ledger made of them but one thing: how entries are called, for lots of equal age and expiry
are spent by name.
"""

from __future__ import annotations

from .commands import Commands
from .events import Events
from .members import FUTURE_MS, HOUR_MS, NEVER, Event, Member, Rules, ms_of
from .sagas import Sagas

__all__ = ["HOUR_MS", "NEVER", "Club", "Member", "Rules"]


class Club(Events, Commands, Sagas):
    """All members, over all partitions."""

    def take(self, partition: int, event: Event) -> None:
        """Take one input record, at the partition's time."""
        self.at_ms = self.now_ms[partition]
        member = self.member(event["member_id"])
        if ms_of(event) > self.at_ms + FUTURE_MS:
            return self.letter(member, "too_far_in_future", event)
        if member.erased is not None:
            return self.refuse(member, event)
        if event["event_id"] in member.seen:
            seen, answer = member.seen[event["event_id"]]
            if seen != event:
                self.letter(member, "id_reused_with_other_content", event)
            elif answer is not None:
                member.answers.append(answer)
            return None
        kind = event["type"].replace(".", "_")
        if "actor" not in event:
            if getattr(self, f"on_{kind}")(member, event):
                member.seen[event["event_id"]] = (event, None)
            return None
        reason = getattr(self, f"on_{kind}")(member, event)
        member.seen[event["event_id"]] = (event, None)
        if reason != "waits":
            self.answer(member, event["event_id"], reason or "accepted")
        return None
