"""Points that wait for the judgement of another partition, whose owner dies in between."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.engine.task import Boundary
from pointstream.ledger import Ledger
from pointstream.operations.placement import partition_of
from pointstream.rules import CompiledProgramme, compile_programme

NOW_MS = 1_767_225_600_000
WINDOW_MS = 60_000
PARTITIONS = 3
HEAD_OFFICE = {"id": "clerk", "role": "head_office"}


def programme(pending_window: str) -> CompiledProgramme:
    """A farm is more than 5 members on a device, a ring a circle of referrals."""
    farm = {"id": "farm", "kind": "distinct", "entity": "device", "of": "member", "limit": 5}
    detectors = [
        {**farm, "within": "P1D", "action": "hold"},
        {"id": "ring", "kind": "referral_cycle", "action": "hold"},
    ]
    one = {"id": "base", "version": 1, "detectors": detectors, "pending_window": pending_window}
    rules = [
        {"kind": "spend", "id": "spend", "points": 1, "per_minor": 100},
        {"kind": "referral", "id": "ref", "points": 50, "when": "registered"},
    ]
    return compile_programme(
        Programme.model_validate(
            {
                "id": "test",
                "rule_sets": [{"id": "all", "version": 1, "rules": rules}],
                "fraud": {"detector_sets": [one]},
            }
        )
    )


def in_partition(number: int, prefix: str) -> str:
    """A member of a partition."""
    names = (f"{prefix}{nth}" for nth in range(100))
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == number)


RING = [in_partition(number, f"r{number}-") for number in range(PARTITIONS)]
FARM = [f"d{nth}" for nth in range(6)]


class Club:
    """The job, and members who spend what they earn in the next moment."""

    def __init__(self, pending_window: str, batch_records: int = 100) -> None:
        self.programme = programme(pending_window)
        self.driver = EngineTestDriver(
            lambda _: PointsProcessor(Ledger(self.programme), partitions=PARTITIONS),
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            batch_records=batch_records,
        )
        self.driver.tick(NOW_MS)
        self.made = 0

    def send(self, topic: str, kind: str, member: str, **fields: Any) -> str:
        self.made += 1
        event_id = fields.pop("event_id", f"e{self.made}")
        body = {
            "event_id": event_id,
            "type": kind,
            "member_id": member,
            "occurred_at": "2025-12-31T23:59:59Z",
            **fields,
        }
        self.driver.send(f"points.{topic}", member.encode(), orjson.dumps(body))
        return event_id

    def order(self, member: str, **fields: Any) -> str:
        paid = {"order_id": f"o{self.made}", "currency": "CNY", "paid_minor": 1_000}
        return self.send("orders", "order.paid", member, **paid, **fields)

    def refer(self, referrer: str, referee: str) -> str:
        return self.send("referrals", "referral.registered", referrer, referee_id=referee)

    def redeem(self, member: str, points: int) -> str:
        actor = {"id": member, "role": "member"}
        return self.send("commands", "points.redeem", member, points=points, actor=actor)

    def run(self) -> None:
        while self.driver.lag():
            self.driver.run()

    def later(self, ms: int) -> None:
        self.driver.tick(NOW_MS + ms)
        self.run()

    def points(self, member: str) -> tuple[int, int, int]:
        """What a member can spend, what is pending and what is held."""
        told = [orjson.loads(r.value or b"") for r in self.driver.outputs("points.crm-sync")]
        last = [body for body in told if body["member_id"] == member][-1]
        return last["available"], last["pending"], last["held"]

    def outcomes(self) -> dict[str, str]:
        told = [orjson.loads(r.value or b"") for r in self.driver.outputs("points.command-results")]
        return {body["command_id"]: body["outcome"] for body in told}

    def flag_ids(self) -> dict[str, str]:
        told = [orjson.loads(r.value or b"") for r in self.driver.outputs("points.fraud-flags")]
        return {flag["detector"]: flag["flag_id"] for flag in told}


@pytest.fixture
def club() -> Any:
    made: list[Club] = []

    def new(pending_window: str = "PT1M", batch_records: int = 100) -> Club:
        made.append(Club(pending_window, batch_records))
        return made[-1]

    yield new
    for each in made:
        each.driver.close()


def attack(club: Club) -> list[str]:
    """Six accounts of one device and a circle of referrers, who spend at once what they get."""
    spent = []
    for member in FARM:
        club.order(member, device_id="D")
        spent.append(club.redeem(member, 10))
    for place, member in enumerate(RING):
        club.refer(member, RING[(place + 1) % PARTITIONS])
        spent.append(club.redeem(member, 50))
    return spent


@pytest.mark.case(35)
@pytest.mark.case(36)
@pytest.mark.parametrize("batch_records", [1, 100])
@pytest.mark.parametrize("crash", [None, *Boundary, *CommitFate])
def test_nothing_can_be_spent_before_the_flag_of_another_partition_comes(
    club: Any, batch_records: int, crash: Boundary | CommitFate | None
) -> None:
    """A farm and a ring who redeem in the next record get nothing, whoever dies when."""
    job = club(batch_records=batch_records)
    spent = attack(job)
    died = 0
    while job.driver.lag():
        if crash is not None and died < 25:
            job.driver.crash()
            job.driver.crash_at(crash, after=died % PARTITIONS)
        died += not job.driver.run()
    assert died or crash is None

    assert {job.outcomes()[each] for each in spent} == {"rejected"}
    assert job.flag_ids().keys() == {"farm", "ring"}
    job.later(WINDOW_MS)
    assert {job.points(member) for member in FARM} == {(0, 10, 0)}
    assert {job.points(member) for member in RING} == {(0, 50, 0)}


def test_without_a_window_the_points_are_gone_when_the_flag_comes(club: Any) -> None:
    """What the window is there for: the same attack gets everything."""
    job = club("PT0S", batch_records=1)
    spent = attack(job)
    job.run()
    assert {job.outcomes()[each] for each in spent} == {"accepted"}


def test_what_nobody_flags_is_there_when_the_window_is_over(club: Any) -> None:
    """Not a millisecond before; and at once where no detector elsewhere judges the event."""
    job = club()
    job.order("m1", device_id="E")
    job.order("m2")
    job.run()
    assert (job.points("m1"), job.points("m2")) == ((0, 10, 0), (10, 0, 0))
    job.later(WINDOW_MS - 1)
    assert job.points("m1") == (0, 10, 0)
    job.later(WINDOW_MS)
    assert job.points("m1") == (10, 0, 0)


def test_a_flag_that_comes_later_than_the_window_holds_what_is_there(club: Any) -> None:
    """The owner was away for longer: what was spent meanwhile is spent, the rest is held."""
    job = club()
    for member in FARM[:5]:
        job.order(member, device_id="D")
    job.run()
    job.later(WINDOW_MS)
    assert {job.points(member) for member in FARM[:5]} == {(10, 0, 0)}
    job.redeem(FARM[0], 10)
    job.run()
    job.order(FARM[5], device_id="D")
    job.run()
    assert [job.points(member) for member in FARM] == [(0, 0, 0), *[(0, 0, 10)] * 4, (0, 10, 0)]


@pytest.mark.case(39)
def test_a_release_within_the_window_leaves_the_rest_of_it_to_wait(club: Any) -> None:
    """Another owner may still be judging; the points come at the end of the window, once."""
    job = club()
    attack(job)
    job.run()
    flags = job.flag_ids()
    for flag_id, member in ((flags["farm"], FARM[0]), (flags["ring"], RING[0])):
        job.send(
            "commands",
            "review.release",
            member,
            flag_id=flag_id,
            actor=HEAD_OFFICE,
            reason="a family",
        )
    job.run()
    assert {job.points(member) for member in FARM} == {(0, 10, 0)}
    job.later(WINDOW_MS)
    assert {job.points(member) for member in FARM} == {(10, 0, 0)}
    assert {job.points(member) for member in RING} == {(50, 0, 0)}
