"""Devices, circles of referrers and shops over three partitions, whose owners die in between."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random
from typing import Any

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.operations.placement import partition_of
from pointstream.rules import compile_programme

NOW_MS = 1_767_225_600_000
PARTITIONS = 3
CRASHES = [*Boundary, *CommitFate]
CLERK = {"id": "anna", "role": "store", "store_id": "s1"}

Event = tuple[str, dict[str, Any]]

PROGRAMME = compile_programme(
    Programme.model_validate(
        {
            "id": "test",
            "rule_sets": [
                {
                    "id": "all",
                    "version": 1,
                    "rules": [
                        {"kind": "spend", "id": "spend", "points": 1, "per_minor": 100},
                        {"kind": "referral", "id": "ref", "points": 50, "when": "registered"},
                    ],
                }
            ],
            "fraud": {
                "detector_sets": [
                    {
                        "id": "base",
                        "version": 1,
                        "detectors": [
                            {
                                "id": "farm",
                                "kind": "distinct",
                                "entity": "device",
                                "of": "member",
                                "limit": 5,
                                "within": "P1D",
                                "action": "hold",
                            },
                            {"id": "ring", "kind": "referral_cycle", "action": "hold"},
                            {"id": "self", "kind": "shared_device", "action": "hold"},
                            {
                                "id": "staff",
                                "kind": "velocity",
                                "entity": "staff",
                                "types": ["points.adjust"],
                                "measure": "points",
                                "limit": 500,
                                "within": "P1D",
                                "action": "hold",
                            },
                        ],
                    }
                ]
            },
        }
    )
)


def in_partition(number: int, prefix: str) -> str:
    """A member of a partition."""
    names = (f"{prefix}{nth}" for nth in range(100))
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == number)


RING = [in_partition(number, f"r{number}-") for number in range(PARTITIONS)]
EDGES = [(RING[place], RING[(place + 1) % PARTITIONS]) for place in range(PARTITIONS)]


def event(topic: str, kind: str, member: str, event_id: str, **fields: Any) -> Event:
    body = {
        "event_id": event_id,
        "type": kind,
        "member_id": member,
        "occurred_at": "2025-12-31T12:00:00Z",
        **fields,
    }
    return topic, body


def order(member: str, event_id: str, **fields: Any) -> Event:
    paid = {"order_id": f"o{event_id}", "currency": "CNY", "paid_minor": 1_000}
    return event("orders", "order.paid", member, event_id, **paid, **fields)


def referral(referrer: str, referee: str, **fields: Any) -> Event:
    kind, event_id = "referral.registered", f"{referrer}>{referee}"
    return event("referrals", kind, referrer, event_id, referee_id=referee, **fields)


def story() -> list[Event]:
    """Eight members on a device, a circle and a self-referral among others, and a busy clerk."""
    told = [order(f"d{nth}", f"d{nth}", device_id="D") for nth in range(8)]
    told += [order(f"n{nth}", f"n{nth}", device_id=f"N{nth % 4}") for nth in range(12)]
    told += [referral(*edge) for edge in EDGES]
    told += [referral(RING[0], "x"), referral("x", "y"), referral("y", "z")]
    told += [referral("p", "q"), order("p", "p", device_id="P"), order("q", "q", device_id="P")]
    told += [
        event(
            "commands",
            "points.adjust",
            f"a{nth}",
            f"a{nth}",
            points=100,
            reason="goodwill",
            actor=CLERK,
            store_id="s1",
        )
        for nth in range(7)
    ]
    Random(5).shuffle(told)
    # Redeliveries.
    return [*told, *told[::3]]


@pytest.fixture
def new() -> Any:
    made: list[EngineTestDriver] = []

    def driver(batch_records: int) -> EngineTestDriver:
        made.append(
            EngineTestDriver(
                lambda _: PointsProcessor(Ledger(PROGRAMME), partitions=PARTITIONS),
                inputs=[f"points.{suffix}" for suffix in INPUTS],
                ticks=f"points.{TICKS}",
                partitions=PARTITIONS,
                batch_records=batch_records,
            )
        )
        made[-1].tick(NOW_MS)
        return made[-1]

    yield driver
    for each in made:
        each.close()


def publish(driver: EngineTestDriver, told: list[Event]) -> None:
    for topic, body in told:
        driver.send(f"points.{topic}", body["member_id"].encode(), orjson.dumps(body))


def flags(driver: EngineTestDriver) -> dict[str, tuple[str, list[str], list[str]]]:
    """The latest record of each flag: its detector, members and evidence."""
    found = {}
    for record in driver.outputs("points.fraud-flags"):
        flag = orjson.loads(record.value or b"")
        named = (flag["detector"], sorted(flag["member_ids"]), sorted(flag["evidence"]))
        found[flag["flag_id"]] = named
    return found


def withheld(driver: EngineTestDriver) -> dict[str, tuple[int, int]]:
    """What each member can spend, and what is held or pending."""
    return {
        body["member_id"]: (body["available"], body["held"] + body["pending"])
        for body in (orjson.loads(r.value or b"") for r in driver.outputs("points.crm-sync"))
    }


@pytest.mark.case(35)
@pytest.mark.case(36)
@pytest.mark.parametrize("batch_records", [1, 7, 1000])
@pytest.mark.parametrize("crash", [None, *CRASHES])
def test_all_is_found_and_held_whoever_dies_when(
    new: Any, batch_records: int, crash: Boundary | CommitFate | None
) -> None:
    """One flag each, with all of its members and events, and their points held once."""
    driver = new(batch_records)
    publish(driver, story())
    died = 0
    while driver.lag():
        if crash is not None and died < 25:
            driver.crash()
            driver.crash_at(crash, after=died % PARTITIONS)
        died += not driver.run()
    assert died or crash is None

    found = sorted(flags(driver).values())
    assert found == sorted(
        [
            ("farm", *[[f"d{nth}" for nth in range(8)]] * 2),
            ("ring", sorted(RING), sorted(f"{one}>{other}" for one, other in EDGES)),
            ("self", ["p", "q"], ["p>q"]),
            ("staff", *[[f"a{nth}" for nth in range(7)]] * 2),
        ]
    )
    points = withheld(driver)
    assert {points[f"d{nth}"] for nth in range(8)} == {(0, 10)}
    assert {points[f"n{nth}"] for nth in range(12)} == {(10, 0)}
    assert {points[f"a{nth}"] for nth in range(7)} == {(0, 100)}
    assert points[RING[0]] == (50, 50)
    assert points[RING[1]] == points[RING[2]] == (0, 50)
    assert (points["p"], points["q"], points["x"]) == ((10, 50), (10, 0), (50, 0))


@pytest.mark.case(36)
@pytest.mark.parametrize("edges", list(permutations(EDGES)))
def test_a_circle_over_three_partitions_is_found_in_every_order(
    new: Any, edges: tuple[tuple[str, str], ...]
) -> None:
    """Each referral told, and all that follows from it, before the next; and all at once."""
    for at_once in (True, False):
        driver = new(100)
        for edge in edges:
            publish(driver, [referral(*edge)])
            while not at_once and driver.lag():
                driver.run()
        while driver.lag():
            driver.run()
        assert [members for _, members, _ in flags(driver).values()] == [sorted(RING)]


def test_what_a_transaction_tells_one_partition_is_one_record(new: Any) -> None:
    """However many notes there are: they travel together."""
    driver = new(1000)
    publish(driver, [order(f"n{nth}", f"n{nth}", device_id=f"N{nth}") for nth in range(200)])
    driver.run()
    records = driver.outputs("points.internal.messages")
    told = Counter(orjson.loads(r.value or b"")["type"] for r in records)
    assert told == {"fraud.noted": PARTITIONS * PARTITIONS}
    notes = [note for r in records for note in orjson.loads(r.value or b"")["body"]["notes"]]
    assert len(notes) == 200
