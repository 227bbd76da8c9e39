"""What a worker's log says of records, and the trace that they pass on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from pointstream.agents.telling import WorkerLog, address_of
from pointstream.contracts.vocabulary import DeadLetterCode
from pointstream.engine import Record
from pointstream.engine.observing import Commit
from pointstream.engine.tracing import trace_id_of, trace_of
from pointstream.ledger import DeadLetter, Ledger, Source
from pointstream.operations.metrics import Counts

from .observed import ObservedJob
from .test_processor import NOW_MS, order

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = (
    ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01".encode()),
    ("tracestate", b"vendor=7"),
)


@pytest.fixture
def job() -> Iterator[ObservedJob]:
    """Two partitions of the job at a given time."""
    made = ObservedJob()
    made.driver.tick(NOW_MS)
    made.driver.run()
    yield made
    made.driver.close()


def commit(partition: int = 0) -> Commit:
    return Commit(partition, [], 0, 0, 0.0, 0.0, 0.0)


def letters(count: int, code: DeadLetterCode = DeadLetterCode.NOT_JSON) -> Counts:
    counts = Counts()
    for offset in range(count):
        source = Source("points.orders", 0, offset, NOW_MS, b"m-secret", b"{", TRACE)
        counts.dead_letters.append(DeadLetter(code, "near m-secret", source))
    return counts


def test_a_dead_letter_is_told_by_its_address_and_not_by_its_content() -> None:
    """Topic, partition, offset and trace: whoever may read the topic finds it."""
    counts = letters(1)
    with capture_logs() as told:
        WorkerLog(lambda partition: counts).committed(commit())
    assert told == [
        {
            "event": "dead letter",
            "log_level": "warning",
            "code": "not_json",
            "topic": "points.orders",
            "partition": 0,
            "offset": 0,
            "trace_id": TRACE_ID,
        }
    ]


def test_a_flood_of_dead_letters_is_no_flood_of_lines() -> None:
    """Ten lines a minute for each reason, and then how many more there were."""
    now = 1000.0
    counts = letters(5_000)
    log = WorkerLog(lambda partition: counts, clock=lambda: now)
    with capture_logs() as told:
        log.committed(commit())
        assert len(told) == 10
        counts.clear()
        now += 61
        log.committed(commit())
    assert told[-1] == {
        "event": "more dead letters",
        "log_level": "warning",
        "code": "not_json",
        "count": 4_990,
    }


@pytest.mark.parametrize(
    ("headers", "value", "event_id"),
    [
        ((), b'{"event_id": "e1"}', "e1"),
        ((("ce_id", b"e2"),), b'{"event_id": "e1"}', "e2"),
        ((), b'{"event_id": "two\\nlines"}', None),
        ((), b'{"event_id": 7}', None),
        ((), b"[]", None),
        ((), b"{", None),
        ((), None, None),
        ((("ce_id", b"\xff"),), b"{}", None),
        ((), b'{"event_id": "' + b"x" * 200 + b'"}', None),
    ],
)
def test_an_event_is_named_only_by_what_is_an_id(headers, value, event_id) -> None:
    """Whatever a broken record holds in the place of its id does not get into the log."""
    record = Record("points.orders", 1, 2, NOW_MS, b"m1", value, headers)
    told = address_of(record)
    assert (told["topic"], told["partition"], told["offset"]) == ("points.orders", 1, 2)
    assert told.get("event_id") == event_id


def test_a_fault_is_told_with_the_record_it_came_with(job, monkeypatch) -> None:
    """Who has to find out why a worker stops begins with the record."""
    monkeypatch.setattr(Ledger, "decide", lambda *_, **__: 1 / 0)
    partition, offset = job.driver.send("points.orders", b"m1", order(), headers=TRACE)
    with capture_logs() as told, pytest.raises(ZeroDivisionError):
        job.driver.run()
    assert told == [
        {
            "event": "the fault comes with this record",
            "log_level": "error",
            "topic": "points.orders",
            "partition": partition,
            "offset": offset,
            "event_id": "e1",
            "trace_id": TRACE_ID,
        }
    ]


def traces(job: ObservedJob, suffix: str) -> list[list[tuple[str, bytes]]]:
    return [
        [header for header in record.headers if header[0] in ("traceparent", "tracestate")]
        for record in job.driver.outputs(f"points.{suffix}")
    ]


def command(type_: str, **fields: Any) -> bytes:
    body = {
        "event_id": f"c-{type_}",
        "type": type_,
        "member_id": "m1",
        "occurred_at": "2025-12-31T23:30:00Z",
        "actor": {"id": "m1", "role": "member"},
        **fields,
    }
    return orjson.dumps(body)


def test_all_that_follows_from_a_record_carries_its_trace(job) -> None:
    """Entries, standings, answers, dead letters, and what another partition does about it."""
    job.driver.send("points.orders", b"m1", order(), headers=TRACE)
    job.driver.send("points.orders", b"m1", b"{", headers=TRACE)
    others = [f"m{n}" for n in range(2, 40)]
    for other in others:
        job.driver.send(
            "points.orders", other.encode(), order(f"e-{other}", f"o-{other}", member_id=other)
        )
    job.driver.run()
    assert traces(job, "dead-letters") == [list(TRACE)]
    assert traces(job, "balance-changes").count(list(TRACE)) == 1
    assert traces(job, "balance-changes").count([]) == len(others)
    for suffix in ("crm-sync", "mall-sync"):
        assert traces(job, suffix).count(list(TRACE)) == 1
        assert traces(job, suffix).count([]) == len(others)

    elsewhere = next(o for o in others if job.partition_of(o) != job.partition_of("m1"))
    give = command("points.transfer", points=20, to_member_id=elsewhere)
    job.driver.send("points.commands", b"m1", give, headers=TRACE)
    for _ in range(4):
        job.driver.run()
    moved = [
        (record.key, [h for h in record.headers if h[0] == "traceparent"])
        for record in job.driver.outputs("points.balance-changes")
        if orjson.loads(record.value)["type"].startswith("points.transferred")
    ]
    assert {key for key, _ in moved} == {b"m1", elsewhere.encode()}
    assert all(trace == [TRACE[0]] for _, trace in moved)
    assert traces(job, "command-results") == [list(TRACE)]


def test_what_time_does_belongs_to_no_trace(job) -> None:
    """Points that expire while a traced record lets time pass are not that record's doing."""
    job.driver.send("points.orders", b"m1", order())
    job.driver.run()
    years_later = NOW_MS + 800 * 86_400_000
    job.driver.broker.now_ms = years_later
    job.driver.send("points.check-ins", b"m1", b"{", headers=TRACE)
    job.driver.run()
    assert len(traces(job, "balance-changes")) > 1
    assert all(trace == [] for trace in traces(job, "balance-changes"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-{'0' * 16}-01".encode(),
        f"ff-{TRACE_ID}-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE_ID}-00f067aa0ba902b7-01-more".encode(),
        b"x" * 100_000,
    ],
)
def test_a_trace_that_is_none_is_not_passed_on(value) -> None:
    """As the recommendation asks; and nobody blows up our outputs by a header."""
    assert trace_of((("traceparent", value), TRACE[1])) == ()
    assert trace_id_of((("traceparent", value),)) is None


def test_a_trace_is_passed_on_as_it_came() -> None:
    """Both headers, among others; a state that is too long is left out."""
    assert trace_of((("ce_id", b"e1"), *TRACE)) == TRACE
    assert trace_of((TRACE[0], ("tracestate", b"x" * 513))) == (TRACE[0],)
    assert trace_id_of(TRACE) == TRACE_ID
