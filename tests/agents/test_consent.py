"""A command that waits for a second actor, through the whole job and its crashes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointstream.contracts.outputs import FraudFlag
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary

NOW_MS = 1_767_225_600_000
MEMBERS = [f"m{number}" for number in range(6)]


def command(driver: EngineTestDriver, type_: str, member: str, **fields: Any) -> None:
    body = {
        "event_id": f"{type_}-{member}",
        "type": type_,
        "member_id": member,
        "occurred_at": "2025-12-31T23:00:00Z",
        "reason": "asked",
        **fields,
    }
    driver.send("points.commands", member.encode(), orjson.dumps(body))


def adjust(driver: EngineTestDriver, member: str) -> None:
    till = {"id": "till-4", "role": "store", "store_id": "s1"}
    command(driver, "points.adjust", member, points=800, actor=till, store_id="s1")


def bodies(driver: EngineTestDriver, topic: str) -> list[Any]:
    return [orjson.loads(record.value or b"") for record in driver.outputs(topic)]


@pytest.mark.parametrize("place", [None, *Boundary, *CommitFate])
def test_consent_takes_effect_once_whatever_crashes(new_driver, place) -> None:
    """A crash at any place, while it waits and while it is released: one entry, one answer."""
    driver: EngineTestDriver = new_driver(partitions=2)
    driver.tick(NOW_MS)
    for member in MEMBERS:
        adjust(driver, member)
        adjust(driver, member)
    if place is not None:
        driver.crash_at(place)
    while not driver.run():
        pass
    assert bodies(driver, "points.balance-changes") == []
    assert bodies(driver, "points.command-results") == []
    raised = {flag["entity_id"]: flag["flag_id"] for flag in bodies(driver, "points.fraud-flags")}
    assert sorted(raised) == MEMBERS
    driver.lose_state()
    for member in MEMBERS:
        boss = {"id": "boss", "role": "head_office"}
        command(driver, "review.release", member, flag_id=raised[member], actor=boss)
        adjust(driver, member)
    if place is not None:
        driver.crash_at(place)

    while not driver.run():
        pass

    entries = bodies(driver, "points.balance-changes")
    assert sorted(entry["member_id"] for entry in entries) == MEMBERS
    for entry in entries:
        assert (entry["delta"], entry["available_after"]) == (800, 800)
        assert (entry["actor_id"], entry["confirmed_by"]) == ("till-4", "boss")
        assert entry["cause_topic"] == "points.commands"
    # The repeat after the release is answered again, with the recorded answer.
    answers = bodies(driver, "points.command-results")
    of_adjust = [answer for answer in answers if answer["type"] == "points.adjust"]
    assert len(of_adjust) == 2 * len(MEMBERS)
    assert all(answer["outcome"] == "accepted" for answer in answers)
    flags = bodies(driver, "points.fraud-flags")
    for flag in flags:
        FraudFlag.model_validate(flag)
    assert sorted((flag["entity_id"], flag["state"]) for flag in flags) == sorted(
        (member, state) for member in MEMBERS for state in ("raised", "released")
    )


def test_the_end_of_the_window_is_a_timer_of_the_partition(new_driver) -> None:
    """Nobody consents: with the next tick after it the command is answered, and the flag ends."""
    driver: EngineTestDriver = new_driver(partitions=2)
    driver.tick(NOW_MS)
    adjust(driver, "m1")
    driver.run()
    driver.crash()
    driver.tick(NOW_MS + 8 * 86_400_000)
    driver.run()

    (answer,) = bodies(driver, "points.command-results")
    assert (answer["outcome"], answer["reason"]) == ("rejected", "review_required")
    states = [flag["state"] for flag in bodies(driver, "points.fraud-flags")]
    assert states == ["raised", "confirmed"]
    assert driver.outputs("points.fraud-flags")[-1].key == b"m1"
