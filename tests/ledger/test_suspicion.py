"""Flags: how suspicions come together in one."""

from __future__ import annotations

from typing import Any

from ledger_support import DAY_MS, START_MS, Bench

from pointstream.contracts.vocabulary import EntityKind, FlagAction
from pointstream.ledger.suspicion import Suspicion, flag_id_of, raise_flag

AT_MS = START_MS + DAY_MS // 2


def suspicion(*events: str, **fields: Any) -> Suspicion:
    """Too many check-ins of m1."""
    given: dict[str, Any] = {
        "detector": "too-fast",
        "version": 3,
        "action": FlagAction.FLAG,
        "entity_kind": EntityKind.MEMBER,
        "entity_id": "m1",
        "observed": 11,
        "threshold": 10,
        "window_seconds": 60,
        "events": tuple(("m1", event) for event in events),
        "members": ("m1",),
        "explanation": "m1 checked in 11 times within 60 s, 10 are allowed",
        "occurred_ms": AT_MS,
    }
    return Suspicion(**{**given, **fields})


def raised(bench: Bench, *suspicions: Suspicion) -> list[dict[str, Any]]:
    """Raise flags as the handler of a record does; return the records that come out."""
    before = len(bench.flags)
    bench.open_for(lambda book: [raise_flag(book, one) for one in suspicions])
    return bench.flags[before:]


def test_a_flag_says_what_was_found() -> None:
    """All of it by the words of the contract."""
    bench = Bench()

    (flag,) = raised(bench, suspicion("e1", "e2"))

    assert flag["flag_id"] == flag_id_of(suspicion())
    assert (flag["state"], flag["action"], flag["detector"]) == ("raised", "flag", "too-fast")
    assert (flag["entity_kind"], flag["entity_id"]) == ("member", "m1")
    assert (flag["member_ids"], flag["evidence"]) == (["m1"], ["e1", "e2"])
    assert (flag["observed"], flag["threshold"], flag["window_seconds"]) == (11, 10, 60)


def test_what_goes_on_is_one_flag_that_tells_of_new_members_and_of_doubling() -> None:
    """A record for each further event would be more and more of the same."""
    bench = Bench()
    names = [f"e{n}" for n in range(1, 9)]
    (first,) = raised(bench, suspicion(*names[:3]))

    assert raised(bench, suspicion(*names[:3])) == []
    assert raised(bench, suspicion(*names[:5])) == []
    (doubled,) = raised(bench, suspicion(*names[2:6]))
    (joined,) = raised(bench, suspicion("x1", events=(("m2", "x1"),)))

    assert doubled["flag_id"] == joined["flag_id"] == first["flag_id"]
    assert doubled["evidence"] == names[:6]
    assert joined["member_ids"] == ["m1", "m2"]
    assert joined["evidence"] == [*names[:6], "x1"]


def test_another_episode_detector_or_entity_is_another_flag() -> None:
    """An episode is as long as the window, but at least an hour."""
    hour = 3_600_000
    ids = [
        flag_id_of(suspicion(**fields))
        for fields in (
            {},
            {"occurred_ms": AT_MS + hour},
            {"detector": "too-far"},
            {"entity_id": "m2"},
            {"entity_kind": EntityKind.DEVICE},
        )
    ]

    assert len(set(ids)) == len(ids)
    assert flag_id_of(suspicion(occurred_ms=AT_MS + hour - 1)) == ids[0]
