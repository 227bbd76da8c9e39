"""A ledger that finds suspicious what a test says, as detectors would, and short ways to say so.

A suspicion about a member is found while the member's event is handled: its points come under the
flag at once. One about anything else is found by its owner, a message later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ledger_support import Bench, programme

from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.ledger import Decision, Ledger, Outcome
from pointstream.ledger.messages import Message
from pointstream.ledger.suspicion import Suspicion, hold_back, owner_key, raise_flag
from pointstream.rules import CompiledProgramme

__all__ = ["flagging", "new_ledger", "review", "suspicion", "watched"]

_FOUND = "test.suspicion"


class _Suspecting(Ledger):
    """A ledger with a list of the events that are suspicious."""

    suspicions: dict[str, Suspicion]

    def decide(self, event: Any, digest: bytes, source: Any, **named: Any) -> Decision:
        found = self.suspicions.get(getattr(event, "event_id", ""))
        member = named.get("as_member") or getattr(event, "member_id", None)
        local = found is not None and owner_key(found.entity_kind, found.entity_id) == member
        if found is not None and local:
            hold_back(self._book, [found])
        decision = super().decide(event, digest, source, **named)
        if found is None or decision.outcome is Outcome.EVENT_ALREADY_TAKEN:
            return decision
        if local:
            raise_flag(self._book, found)
        else:
            to = owner_key(found.entity_kind, found.entity_id)
            self._book.tell(_FOUND, to, {"event_id": event.event_id})
        return self._also(decision)

    def receive(self, message: Message, source: Any) -> Decision:
        if message.type != _FOUND:
            return super().receive(message, source)
        raise_flag(self._book, self.suspicions[message.body["event_id"]])
        return self._also(Decision(Outcome.NOTHING_EARNED))

    def _also(self, decision: Decision) -> Decision:
        """Put what the flag did behind what the record did."""
        before, effects = decision.entries, decision.effects
        decision.entries = []
        self._finish(decision)
        decision.entries = [*before, *decision.entries]
        if effects is not None and decision.effects is not effects:
            for name, more in asdict(decision.effects).items() if decision.effects else ():
                kept = getattr(effects, name)
                kept.extend(getattr(decision.effects, name) if more else ())
            decision.effects = effects
        return decision


def new_ledger(suspicions: dict[str, Suspicion]) -> Callable[..., Ledger]:
    """Make ledgers that suspect these events."""

    def new(compiled: CompiledProgramme, *, dedupe: bool = True) -> Ledger:
        ledger = _Suspecting(compiled, dedupe=dedupe)
        ledger.suspicions = suspicions
        return ledger

    return new


def watched(*rules: dict[str, Any], **settings: Any) -> CompiledProgramme:
    """A programme with detectors in use, though none of its own."""
    return programme(*rules, fraud={"detector_sets": [{"id": "none", "version": 1}]}, **settings)


def flagging(
    suspicions: dict[str, Suspicion], compiled: CompiledProgramme | None = None, **settings: Any
) -> Bench:
    """A bench on which the named events are suspicious."""
    return Bench(compiled or watched(), new_ledger=new_ledger(suspicions), **settings)


def suspicion(*events: str, member: str = "m1", **fields: Any) -> Suspicion:
    """A suspicion that holds; of `events` of one member, unless `events` is given with members."""
    given: dict[str, Any] = {
        "detector": "too-fast",
        "version": 3,
        "action": FlagAction.HOLD,
        "entity_kind": EntityKind.MEMBER,
        "entity_id": member,
        "observed": 11,
        "threshold": 10,
        "window_seconds": 60,
        "events": tuple((member, event) for event in events),
        "members": (member,),
        "explanation": f"{member} checked in 11 times within 60 s, 10 are allowed",
        "occurred_ms": 1_772_400_000_000,
    }
    return Suspicion(**{**given, **fields})


def review(bench: Bench, how: str, flag_id: str, member: str = "m1", **fields: Any) -> Decision:
    """A `review.release` or `review.reject`, by head office unless an actor is named."""
    fields.setdefault("reason", "looked at it")
    return bench.command(f"review.{how}", member, flag_id=flag_id, **fields)
