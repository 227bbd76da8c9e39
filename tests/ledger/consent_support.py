"""Limits, actors, and short ways to ask for consent and to give it."""

from __future__ import annotations

from typing import Any

from ledger_support import Bench, programme

from pointstream.ledger import Outcome

TILL = {"id": "till-4", "role": "store", "store_id": "s1"}
MANAGER = {"id": "manager-1", "role": "store", "store_id": "s1"}
ELSEWHERE = {"id": "manager-2", "role": "store", "store_id": "s2"}
BOSS = {"id": "boss", "role": "head_office"}
LIMITS = {
    "store": {"adjust": 100, "redeem": 100, "hold": 100, "transfer": 100},
    "head_office": {"adjust": 1_000, "clear": 500},
}


def bench_of(**settings: Any) -> Bench:
    """A member with 300 points, under limits."""
    bench = Bench(programme(limits=LIMITS, **settings))
    bench.order("o1", 300)
    return bench


def review(bench: Bench, verdict: str, flag_id: str, actor: dict[str, Any], **fields: Any) -> Any:
    """Release or reject a flag; a store does so as a matter of its shop."""
    if "store_id" in actor:
        fields.setdefault("store_id", actor["store_id"])
    fields.setdefault("reason", "looked at it")
    return bench.give(f"review.{verdict}", flag_id=flag_id, actor=actor, **fields)


def waiting(bench: Bench) -> str:
    """A till asks for more than it may; the id of the flag that this raises."""
    asked = bench.adjust(150, event_id="c1", actor=TILL, store_id="s1", reason="broken kettle")
    assert asked.outcome is Outcome.AWAITING_CONSENT
    return str(bench.flags[-1]["flag_id"])


def answer_to(bench: Bench, command_id: str) -> dict[str, Any]:
    """The one answer to a command."""
    (answer,) = [answer for answer in bench.answers if answer["command_id"] == command_id]
    return answer
