"""Who may give which command: every role, every command."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import pytest
from ledger_support import Bench
from pydantic import Field, TypeAdapter

from pointstream.contracts.inputs import Command
from pointstream.ledger import Outcome
from pointstream.ledger.rights import permitted

STORE = {"id": "till-4", "role": "store", "store_id": "s1"}
MEMBER = {"id": "m1", "role": "member"}

SPENDING = {"member", "store", "head_office", "system"}
AT_THE_DESK = SPENDING - {"member"}
CENTRAL = {"head_office", "system"}

RIGHTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "points.redeem": ({"points": 1}, SPENDING),
    "points.hold": ({"hold_id": "new", "points": 1}, SPENDING),
    "points.capture": ({"hold_id": "open"}, SPENDING),
    "points.void": ({"hold_id": "open"}, SPENDING),
    "points.transfer": ({"to_member_id": "m2", "points": 1}, SPENDING),
    "points.adjust": ({"points": 1, "reason": "asked"}, AT_THE_DESK),
    "points.clear": ({"reason": "asked"}, CENTRAL),
    "account.freeze": ({"reason": "asked"}, CENTRAL),
    "account.unfreeze": ({"reason": "asked"}, CENTRAL),
    "account.merge": ({"into_member_id": "m2", "reason": "asked"}, CENTRAL),
    "account.erase": ({"reason": "asked"}, CENTRAL),
    "account.resync": ({"reason": "asked"}, AT_THE_DESK),
    "accounts.resync": ({"reason": "asked", "home_store_id": "s1"}, AT_THE_DESK),
    "review.release": ({"flag_id": "f1", "reason": "asked"}, AT_THE_DESK),
    "review.reject": ({"flag_id": "f1", "reason": "asked"}, AT_THE_DESK),
}
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


def test_the_table_has_every_command() -> None:
    """A command that is added must be placed here."""
    assert {get_args(m.model_fields["type"].annotation)[0] for m in get_args(Command)} == {*RIGHTS}


@pytest.mark.parametrize("type_", RIGHTS)
def test_each_role_may_do_its_own(type_: str) -> None:
    """Members spend their own, shops adjust and review on their own matters, the rest does all."""
    fields, roles = RIGHTS[type_]
    asked: list[tuple[dict[str, Any], str | None, bool]] = [
        (MEMBER, None, "member" in roles),
        (MEMBER, "s1", "member" in roles),
        ({"id": "m2", "role": "member"}, None, False),
        (STORE, "s1", "store" in roles),
        (STORE, "s2", False),
        (STORE, None, False),
        ({"id": "till-4", "role": "store"}, None, False),
        ({"id": "till-4", "role": "store"}, "s1", False),
        ({"id": "boss", "role": "head_office"}, "s2", True),
        ({"id": "job", "role": "system"}, None, True),
    ]
    for actor, store_id, allowed in asked:
        body = {
            "event_id": "c1",
            "type": type_,
            "member_id": "m1",
            "occurred_at": "2026-03-02T00:00:00Z",
            "actor": actor,
            **fields,
        }
        command = COMMAND.validate_python(
            body if store_id is None else body | {"store_id": store_id}
        )
        assert permitted(command) == allowed, (actor, store_id)


# A review needs a flag, and a resync of many is about no member.
_ABOUT_A_MEMBER = [t for t in RIGHTS if not t.startswith(("review.", "accounts."))]


@pytest.mark.parametrize("type_", _ABOUT_A_MEMBER)
def test_who_may_not_changes_nothing_and_who_may_is_named(type_: str) -> None:
    """Whatever moved says who did it, and why where the command gives a reason."""
    fields, _ = RIGHTS[type_]
    bench = Bench()
    bench.order("o1", 100)
    bench.order("o2", 100, member="m2")
    bench.hold("open", 10)
    before = bench.books()

    refused = bench.give(type_, actor={"id": "m2", "role": "member"}, event_id="c1", **fields)

    assert refused.outcome is Outcome.NOT_PERMITTED
    after = bench.books()
    del after[b"Mm1\0c1"]
    assert after == before
    seen = len(bench.entries)
    done = bench.give(type_, actor={"id": "boss", "role": "head_office"}, event_id="c2", **fields)
    assert done.outcome is not Outcome.NOT_PERMITTED
    moved = [entry for entry in bench.entries[seen:] if entry["member_id"] == "m1"]
    assert moved or not type_.startswith("points.")
    for entry in moved:
        assert entry["actor_id"] == "boss"
        assert entry.get("reason") == fields.get("reason")
        assert entry["cause_event_id"] == "c2"


def test_a_shop_cannot_end_another_shops_hold() -> None:
    """One that no shop made can be ended by any, and head office ends all."""
    bench = Bench()
    bench.order("o1", 100)
    bench.hold("theirs", 10, store_id="s2")
    bench.hold("ours", 10, store_id="s1", actor=STORE)
    bench.hold("online", 10, actor=MEMBER)

    for end in (bench.capture, bench.void):
        theirs = end("theirs", actor=STORE, store_id="s1")
        assert theirs.outcome is Outcome.NOT_PERMITTED
    assert bench.capture("ours", actor=STORE, store_id="s1").outcome is Outcome.POINTS_CAPTURED
    assert bench.capture("online", actor=STORE, store_id="s1").outcome is Outcome.POINTS_CAPTURED
    assert bench.void("theirs").outcome is Outcome.POINTS_VOIDED
