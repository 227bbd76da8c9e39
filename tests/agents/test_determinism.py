"""The same input in the same order gives the same bytes, on any machine and in any batch size."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest

from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target

from .recorded import (
    COALESCED,
    DAY_MS,
    NOW_MS,
    apart,
    inputs_of,
    new_driver,
    record,
    replay,
    stream,
)

PARTITIONS = 3
BATCHES = (1, 7, 1_000)


@pytest.fixture(scope="module")
def recorded() -> EngineTestDriver:
    """A run over three partitions that tell each other much."""
    return record(stream(), PARTITIONS)


def sent(driver: EngineTestDriver) -> dict[str, list[tuple[bytes | None, bytes | None, object]]]:
    """What was committed to each topic that anybody reads, standings left out."""
    topics = {target.topic for target in driver.broker.topics}
    return {
        topic: list(chain(*apart([(r.key, r.value, r.headers) for r in driver.outputs(topic)])))
        for topic in sorted(topics)
        if topic not in (*COALESCED, "changelog", "journal")
    }


def added_up(notes: list[Any]) -> tuple[list[str], Counter[Any]]:
    """Notes in no order, and the sums of all tallies."""
    tallies: Counter[Any] = Counter()
    for note in notes:
        if len(note) == 2:
            tallies[note[0]] += note[1][0]
    return sorted(str(note) for note in notes if len(note) > 2), tallies


def latest(driver: EngineTestDriver) -> dict[tuple[str, bytes | None], bytes | None]:
    """The latest standing of each member."""
    return {(topic, r.key): r.value for topic in COALESCED for r in driver.outputs(topic)}


def test_a_stream_in_batches_of_any_size_makes_the_same_bytes() -> None:
    """1, 7 or 1,000 records in a transaction: equal outputs, equal state."""
    runs = []
    for batch in BATCHES:
        driver = new_driver(1, batch)
        driver.tick(NOW_MS)
        for number, (topic, key, value) in enumerate(stream(alone=True)):
            at_ms = NOW_MS + number * 10_000
            driver.send(topic, key, value, timestamp_ms=at_ms)
        driver.tick(NOW_MS + 5 * DAY_MS)
        driver.tick(NOW_MS + 30 * DAY_MS)
        driver.run()
        assert driver.lag() == 0
        runs.append(driver)

    one, *others = runs
    assert len(one.outputs("points.balance-changes")) > 1_500
    for other in others:
        assert sent(other) == sent(one)
        assert latest(other) == latest(one)
        assert other.state_hash() == one.state_hash()
    for driver in runs:
        driver.close()


def test_the_recorded_stream_brings_everything_about(recorded: EngineTestDriver) -> None:
    """What the replays say would be little if the stream had left something out."""
    kinds = Counter(
        orjson.loads(r.value or b"")["type"] for r in recorded.outputs("points.balance-changes")
    )
    told = Counter(
        orjson.loads(r.value or b"")["type"] for r in recorded.outputs("points.internal.messages")
    )
    assert kinds.keys() >= {
        "points.earned",
        "points.pending",
        "points.activated",
        "points.redeemed",
        "points.held",
        "points.captured",
        "points.voided",
        "points.expired",
        "points.reversed",
        "points.adjusted",
        "points.cleared",
        "points.transferred_out",
        "points.transferred_in",
        "points.merged_out",
        "points.merged_in",
    }
    assert told.keys() >= {
        "transfer.sent",
        "transfer.settled",
        "merge.asked",
        "merge.arrived",
        "record.forwarded",
        "grant.asked",
        "grant.given",
    }


@pytest.mark.parametrize("batch", BATCHES)
def test_a_replay_in_the_recorded_order_makes_the_same_bytes(
    recorded: EngineTestDriver, batch: int
) -> None:
    """Partition by partition, with what the others had told it: in batches of any size."""
    made = [
        replay(inputs_of(recorded, partition), partition, PARTITIONS, batch)
        for partition in range(PARTITIONS)
    ]

    for partition, one in enumerate(made):
        assert one.state == recorded.state(partition)
        for target, rows in one.sent.items():
            if target.topic != "points.internal.messages":
                committed = recorded.broker.records(target)
                assert rows == [(r.key, r.value, r.headers) for r in committed]
        for topic, standings in one.standings.items():
            committed = recorded.broker.records(Target(topic, partition))
            assert standings == {r.key: (r.key, r.value, r.headers) for r in committed}
    # A partition's messages come from all owners: the replays together must have sent the same.
    for partition in range(PARTITIONS):
        target = Target("points.internal.messages", partition)
        told = Counter(row[:2] for one in made for row in one.sent.get(target, []))
        rest, notes = apart([(r.key, r.value) for r in recorded.broker.records(target)])
        assert told == Counter(rest)
        noted = [note for one in made for note in one.notes.get(target, [])]
        assert added_up(noted) == added_up(notes)


def test_two_processes_make_the_same_bytes(recorded: EngineTestDriver, tmp_path: Path) -> None:
    """Another process, other hash seeds, other batches: the same outputs and state."""
    recordings = [
        (partition, PARTITIONS, inputs_of(recorded, partition)) for partition in range(PARTITIONS)
    ]
    file = tmp_path / "recording"
    file.write_bytes(pickle.dumps(recordings))
    tests = str(Path(__file__).parents[1])
    prints = []
    for seed, batch in (("1", "7"), ("2", "1000")):
        path = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, "-m", "agents.recorded", str(file), batch],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        prints.append(done.stdout.split())

    here = [replay(records, p, n, 1).fingerprint() for p, n, records in recordings]
    assert prints == [here, here]
