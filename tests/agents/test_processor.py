"""Records in, records out: what the job promises about every single record."""

import orjson
import pytest

from pointstream.contracts.detectors import Entity
from pointstream.contracts.outputs import BalanceChange, CommandResult, CrmSync, MallSync
from pointstream.engine import Record
from pointstream.engine.driver import CommitFate, EngineTestDriver
from pointstream.operations.generate import Generated, StreamPlan, generate
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import CompiledProgramme, compile_programme

NOW_MS = 1_767_225_600_000
DAY_MS = 86_400_000


def stream(events: int = 1500, seed: int = 3) -> list[Generated]:
    """A believable stream that ends now."""
    return list(
        generate(
            StreamPlan(
                events=events,
                members=60,
                seed=seed,
                start_ms=NOW_MS - 20 * DAY_MS,
                end_ms=NOW_MS,
                redelivered=0.03,
            )
        )
    )


def publish(driver: EngineTestDriver, events: list[Generated]) -> None:
    driver.tick(NOW_MS)
    for number, event in enumerate(events):
        driver.send(
            f"points.{event.topic}", event.key, event.value, timestamp_ms=NOW_MS + number // 10
        )


def order(event_id: str = "e1", order_id: str = "o1", **fields: object) -> bytes:
    return orjson.dumps(
        {
            "event_id": event_id,
            "type": "order.paid",
            "member_id": "m1",
            "occurred_at": "2025-12-31T23:00:00Z",
            "order_id": order_id,
            "currency": "CNY",
            "paid_minor": 12_000,
            **fields,
        }
    )


def headers(record: Record) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


@pytest.mark.case(1)
def test_a_redelivery_after_a_restart_makes_no_second_entry(new_driver) -> None:
    """Case 1: the same event id, and a new event id for the same order."""
    driver = new_driver()
    driver.tick(NOW_MS)
    driver.send("points.orders", b"m1", order())
    driver.run()
    driver.lose_state()
    driver.send("points.orders", b"m1", order())
    driver.send("points.orders", b"m1", order(event_id="e2"))
    driver.run()
    entries = [orjson.loads(r.value) for r in driver.outputs("points.balance-changes")]
    assert [(e["type"], e["amount"], e["available_after"]) for e in entries] == [
        ("points.earned", 120, 120)
    ]


def test_without_dedupe_a_redelivered_command_counts_twice(new_driver) -> None:
    """What remembering ids guards: a redemption is taken once."""
    redeem = orjson.dumps(
        {
            "event_id": "c1",
            "type": "points.redeem",
            "member_id": "m1",
            "occurred_at": "2025-12-31T23:30:00Z",
            "points": 50,
            "actor": {"id": "m1", "role": "member"},
        }
    )
    left = {}
    for dedupe in (True, False):
        driver = new_driver(dedupe=dedupe)
        driver.tick(NOW_MS)
        driver.send("points.orders", b"m1", order())
        for _ in range(2):
            driver.send("points.commands", b"m1", redeem)
        driver.run()
        last = orjson.loads(driver.outputs("points.mall-sync")[-1].value)
        left[dedupe] = last["available"]
    assert left == {True: 70, False: 20}


BAD = {
    "not_json": (b"m1", b"{"),
    "schema_invalid": (b"m1", order(paid_minor="12")),
    "unknown_type": (b"m1", order(type="order.lost")),
    "key_missing": (None, order()),
    "key_mismatch": (b"m2", order()),
    "lines_do_not_add_up": (
        b"m1",
        order(lines=[{"line_id": "1", "quantity": 1, "paid_minor": 1}]),
    ),
    "too_far_in_future": (b"m1", order(occurred_at="2026-01-01T00:06:00Z")),
    "too_old": (b"m1", order("old", "old", occurred_at="2024-11-01T00:00:00Z")),
    "too_large": (b"m1", order(source="x" * 300_000)),
}


@pytest.mark.parametrize("code", BAD)
def test_a_bad_record_becomes_a_dead_letter_and_the_rest_is_untouched(
    new_driver, code: str
) -> None:
    """Byte for byte, with its headers, its place and a code; its neighbours earn as ever."""
    driver = new_driver()
    driver.tick(NOW_MS)
    key, value = BAD[code]
    driver.send("points.orders", b"m1", order("e1", "o1"))
    _, offset = driver.send("points.orders", key, value, headers=[("trace", b"t-1")])
    driver.send("points.orders", b"m1", order("e3", "o3"))
    driver.run()
    (letter,) = driver.outputs("points.dead-letters")
    told = headers(letter)
    assert (letter.key, letter.value) == (key, value)
    assert told["trace"] == "t-1"
    assert told["points.error.code"] == told["__streams.errors.exception"] == code
    assert told["__streams.errors.topic"] == "points.orders"
    assert (told["__streams.errors.partition"], told["__streams.errors.offset"]) == (
        "0",
        str(offset),
    )
    assert told["__streams.errors.message"]
    entries = driver.outputs("points.balance-changes")
    assert [orjson.loads(e.value)["cause_event_id"] for e in entries] == ["e1", "e3"]


def test_an_id_reused_with_other_content_is_a_dead_letter(new_driver) -> None:
    """The first content stays; the second is given back."""
    driver = new_driver()
    driver.tick(NOW_MS)
    driver.send("points.orders", b"m1", order())
    driver.send("points.orders", b"m1", order(order_id="o2"))
    driver.run()
    (letter,) = driver.outputs("points.dead-letters")
    assert headers(letter)["points.error.code"] == "id_reused_with_other_content"
    assert len(driver.outputs("points.balance-changes")) == 1


@pytest.mark.parametrize("value", [b"noon", b"99999999999999", None])
def test_time_is_the_brokers_whatever_a_tick_says(new_driver, value: bytes | None) -> None:
    """A worker whose clock runs ahead, or rubbish on the topic, expires nobody's points."""
    driver = new_driver()
    driver.tick(NOW_MS)
    driver.send("points.orders", b"m1", order())
    driver.send("points.internal.ticks", None, value, timestamp_ms=NOW_MS + 1000)
    driver.run()
    assert [orjson.loads(e.value)["type"] for e in driver.outputs("points.balance-changes")] == [
        "points.earned"
    ]
    assert not driver.outputs("points.dead-letters")


def test_everything_sent_keeps_the_contract(new_driver) -> None:
    """Every output record fits its model, is keyed by its member and is CloudEvents binary."""
    driver = new_driver(partitions=3)
    publish(driver, stream())
    driver.run()
    models = {
        "balance-changes": BalanceChange,
        "crm-sync": CrmSync,
        "mall-sync": MallSync,
        "command-results": CommandResult,
    }
    for suffix, model in models.items():
        records = driver.outputs(f"points.{suffix}")
        assert records, suffix
        for record in records:
            body = model.model_validate_json(record.value)
            assert record.key == body.member_id.encode()
            told = headers(record)
            assert told["ce_specversion"] == "1.0"
            assert told["ce_id"]
            assert told["ce_subject"] == body.member_id
            assert told["content-type"] == "application/json"


def test_seq_has_no_gap_and_the_last_standing_is_the_sum_of_all_changes(new_driver) -> None:
    """What a downstream team can prove to itself."""
    driver = new_driver(partitions=3)
    publish(driver, stream())
    driver.run()
    sums: dict[str, int] = {}
    seqs: dict[str, list[int]] = {}
    for record in driver.outputs("points.balance-changes"):
        entry = orjson.loads(record.value)
        seqs.setdefault(entry["member_id"], []).append(entry["seq"])
        if entry["wallet"] == "points":
            sums[entry["member_id"]] = sums.get(entry["member_id"], 0) + entry["delta"]
    assert all(of == list(range(1, len(of) + 1)) for of in seqs.values())
    latest = {r.key.decode(): orjson.loads(r.value) for r in driver.outputs("points.crm-sync")}
    assert {m: latest[m]["available"] - latest[m]["debt"] for m in sums} == sums
    assert {m: latest[m]["seq"] for m in seqs} == {m: len(of) for m, of in seqs.items()}


def _detectors_of_members_alone() -> CompiledProgramme:
    """The programme that comes along, with the detectors that tell no other key anything."""
    programme = load_programme()
    assert programme.fraud is not None
    (base,) = programme.fraud.detector_sets
    mine = tuple(
        each
        for each in base.detectors
        if getattr(each, "entity", Entity.MEMBER) is Entity.MEMBER
        and each.kind not in ("shared_device", "referral_cycle")
    )
    assert len(mine) > 5
    sets = (base.model_copy(update={"detectors": mine}),)
    fraud = programme.fraud.model_copy(update={"detector_sets": sets})
    return compile_programme(programme.model_copy(update={"fraud": fraud}))


@pytest.mark.parametrize("size", [1, 7])
def test_the_batch_size_does_not_show(new_driver, size: int) -> None:
    """The same entries, answers, dead letters and state, to the byte, whatever the batches."""
    # Later steps of a transfer, and what devices and friends are told, are records of their own,
    # there as soon as a batch is committed: how batches are cut is part of the order of the input.
    told = (b"points.transfer", b'"referral.')
    events = [each for each in stream(800) if not any(word in each.value for word in told)]
    alone = _detectors_of_members_alone()
    whole = new_driver(batch_records=1000, other=alone)
    split = new_driver(batch_records=size, other=alone)
    for driver in (whole, split):
        publish(driver, events)
        driver.run()
        driver.tick(NOW_MS + 400 * DAY_MS)
        driver.run()
    for suffix in ("balance-changes", "tier-changes", "command-results", "dead-letters"):
        one, other = (
            [(r.key, r.value, r.headers) for r in driver.outputs(f"points.{suffix}")]
            for driver in (whole, split)
        )
        assert one == other, suffix
        assert one or suffix == "dead-letters"
    assert whole.state_hash() == split.state_hash()


def test_every_standing_has_an_id_of_its_own(new_driver) -> None:
    """The CRM's and the mall's differ, and so do two that no ledger entry lies between."""
    driver = new_driver()
    driver.tick(NOW_MS)
    driver.send("points.orders", b"m1", order())
    driver.run()
    for number, segment in enumerate("ab"):
        told = {
            "event_id": f"p{number}",
            "type": "member.updated",
            "member_id": "m1",
            "occurred_at": f"2025-12-31T23:0{number}:00Z",
            "segments": [segment],
        }
        driver.send("points.members", b"m1", orjson.dumps(told))
        driver.run()
    sent = {
        system: [headers(r)["ce_id"] for r in driver.outputs(f"points.{system}-sync")]
        for system in ("crm", "mall")
    }
    assert len(sent["crm"]) == 3
    assert len(set(sent["crm"])) == 3
    assert not set(sent["crm"]) & set(sent["mall"])
    assert all(id_.startswith("crm:m1:1:") for id_ in sent["crm"])


def test_standings_are_sent_once_per_member_and_transaction(new_driver) -> None:
    """Eight orders in one batch make one record for the CRM."""
    driver = new_driver()
    driver.tick(NOW_MS)
    for number in range(8):
        driver.send("points.orders", b"m1", order(f"e{number}", f"o{number}"))
    driver.run()
    assert len(driver.outputs("points.balance-changes")) == 8
    (standing,) = driver.outputs("points.crm-sync")
    assert orjson.loads(standing.value)["available"] == 960


@pytest.mark.case(23)
def test_a_hold_outlives_its_worker_and_ends_by_its_time(new_driver) -> None:
    """Taken by one task, voided by the next one's tick, dated when it was due."""
    driver = new_driver()
    driver.tick(NOW_MS)
    driver.send("points.orders", b"m1", order())
    for number, points in enumerate((60, 61)):
        hold = {
            "event_id": f"c{number}",
            "type": "points.hold",
            "member_id": "m1",
            "occurred_at": "2026-01-01T00:00:00Z",
            "hold_id": f"h{number}",
            "points": points,
            "expires_at": "2026-01-01T06:00:00Z",
            "actor": {"id": "m1", "role": "member"},
        }
        driver.send("points.commands", b"m1", orjson.dumps(hold))
    driver.run()
    driver.lose_state()
    driver.tick(NOW_MS + DAY_MS)
    driver.run()

    answers = [orjson.loads(r.value) for r in driver.outputs("points.command-results")]
    assert [answer.get("reason") for answer in answers] == [None, "insufficient_points"]
    entries = [orjson.loads(r.value) for r in driver.outputs("points.balance-changes")]
    assert [(e["type"], e["delta"], e["held_after"]) for e in entries] == [
        ("points.earned", 120, 0),
        ("points.held", -60, 60),
        ("points.voided", 60, 0),
    ]
    assert entries[-1]["occurred_at"] == "2026-01-01T06:00:00.000Z"


def test_a_month_that_expires_at_one_instant_takes_many_transactions(new_driver) -> None:
    """Thousands of lots due at midnight: bounded transactions, and nothing in between."""
    members = 2_500
    driver = new_driver(partitions=1)
    driver.tick(NOW_MS)
    for number in range(members):
        body = orjson.loads(order(f"e{number}", f"o{number}")) | {"member_id": f"m{number}"}
        driver.send("points.orders", f"m{number}".encode(), orjson.dumps(body))
    driver.run()
    taken = len(driver.outputs("journal"))
    later_ms = NOW_MS + 500 * DAY_MS
    driver.tick(later_ms)
    late = order("late", "late", occurred_at="2026-01-01T00:00:00Z")
    driver.send("points.orders", b"m1", late, timestamp_ms=later_ms)
    driver.crash_at(CommitFate.DECIDED, after=1)
    driver.run()
    driver.run()
    entries = [orjson.loads(e.value) for e in driver.outputs("points.balance-changes")]
    expired = [e for e in entries if e["type"] == "points.expired"]
    assert len(expired) == members
    assert len({e["event_id"] for e in entries}) == len(entries)
    assert len(driver.outputs("journal")) - taken >= 3
    assert driver.lag() == 0
