"""Flags as a reviewer meets them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pointstream.contracts.decoding import Decoded, decode
from pointstream.contracts.wire import epoch_ms
from pointstream.operations.reviews import Flag, Reviewer, newest_first, review_command

DAY_MS = 86_400_000
NOW_MS = epoch_ms(datetime.fromisoformat("2026-03-12T00:00:00Z"))


def record(flag_id: str, state: str = "raised", **fields: Any) -> dict[str, Any]:
    return {
        "flag_id": flag_id,
        "state": state,
        "action": "hold",
        "detector": "too-fast",
        "member_ids": ["m1"],
        "occurred_at": "2026-03-02T00:00:00.000Z",
        **fields,
    }


def test_the_latest_record_of_a_flag_counts() -> None:
    """Its end closes it; what was found is told by the one before."""
    found = record("f", explanation="found")
    joined = record("f", explanation="found", member_ids=["m1", "m2"])
    ended = record("f", "released", explanation="ann releases")

    assert Flag([found, joined]).open
    assert Flag([found, joined]).members == ["m1", "m2"]
    flag = Flag([found, joined, ended])
    assert not flag.open
    assert (flag.latest, flag.raised) == (ended, joined)
    assert flag.members == ["m1", "m2"]
    assert Flag([ended]).raised == ended


def test_flags_are_found_by_state_detector_action_and_member() -> None:
    """The newest first."""
    flags = [
        Flag([record("a")]),
        Flag([record("b", occurred_at="2026-03-03T00:00:00.000Z", action="flag")]),
        Flag([record("c"), record("c", "confirmed", occurred_at="2026-03-04T00:00:00.000Z")]),
        Flag([record("d", detector="x", member_ids=["m2"])]),
    ]

    def ids(**wanted: str) -> list[str]:
        return [flag.latest["flag_id"] for flag in newest_first(flags, **wanted)]

    assert ids() == ["c", "b", "a", "d"]
    assert ids(state="raised") == ["b", "a", "d"]
    assert ids(action="flag") == ["b"]
    assert ids(detector="x") == ids(member="m2") == ["d"]


def test_a_flag_ages_from_when_it_was_raised_until_it_is_decided() -> None:
    """What joins it makes it no younger; the decision ends it."""
    joined = record("f", occurred_at="2026-03-05T00:00:00.000Z")
    ended = record("f", "released", occurred_at="2026-03-06T00:00:00.000Z")
    waiting, decided = Flag([record("f"), joined]), Flag([record("f"), joined, ended])
    new = Flag([record("g", occurred_at="2026-03-11T00:00:00.000Z")])

    assert waiting.age_ms(NOW_MS) == 10 * DAY_MS
    assert decided.age_ms(NOW_MS) == 4 * DAY_MS

    def older_than(days: int) -> list[Flag]:
        flags = [waiting, decided, new]
        return newest_first(flags, older_than_ms=days * DAY_MS, now_ms=NOW_MS)

    assert older_than(10) == [waiting]
    assert older_than(4) == [decided, waiting]
    assert older_than(0) == [new, decided, waiting]


@pytest.mark.parametrize(
    ("reviewer", "actor"),
    [
        (Reviewer("ann", "head_office"), {"id": "ann", "role": "head_office"}),
        (Reviewer("till", "store", "s1"), {"id": "till", "role": "store", "store_id": "s1"}),
    ],
)
def test_a_review_is_a_command_for_a_member_of_the_flag(
    reviewer: Reviewer, actor: dict[str, str]
) -> None:
    """As the contract has it, with an id of its own."""
    flag = Flag([record("f", member_ids=["m7", "m8"])])

    command_id, sent = review_command("points.", flag, "release", reviewer, "fine", 1_000)
    other_id, _ = review_command("points.", flag, "release", reviewer, "fine", 1_000)

    assert (sent.topic, sent.key) == ("points.commands", b"m7")
    decoded = decode("commands", sent.key, sent.value, ())
    assert isinstance(decoded, Decoded)
    event = decoded.event
    assert (event.event_id, event.type, event.member_id) == (command_id, "review.release", "m7")
    assert (event.flag_id, event.reason) == ("f", "fine")
    assert event.actor.model_dump(mode="json", exclude_none=True) == actor
    assert event.store_id == reviewer.store_id
    assert command_id != other_id
