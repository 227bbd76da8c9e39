"""The whole job in memory, with a generated stream, for what reads its topics from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.programme import Programme
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.ledger import Ledger
from pointstream.operations.forecast import StateCopy
from pointstream.operations.generate import StreamPlan, generate
from pointstream.rules.compile import CompiledProgramme, compile_programme

DAY_MS = 86_400_000
NOW_MS = 1_767_225_600_000
PARTITIONS = 3


def programme_of(**settings: Any) -> CompiledProgramme:
    """Points wait for ten days and live for a month and a half; staff points come at once."""
    rules = [
        {"kind": "spend", "id": "spend", "points": 1, "per_minor": 100},
        {"kind": "spend", "id": "growth", "points": 1, "per_minor": 1000, "wallet": "growth"},
        {"kind": "check_in", "id": "check-in", "points": 2},
    ]
    settings.setdefault(
        "wallets",
        [
            {
                "id": "points",
                "activation": {"after": "P10D"},
                "expiry": {"months": 1, "days": 15, "end_of": "day"},
            },
            {"id": "growth", "expiry": {"months": 3, "end_of": "quarter"}},
        ],
    )
    settings.setdefault("rule_sets", [{"id": "all", "version": 1, "rules": rules}])
    return compile_programme(Programme.model_validate({"id": "test", **settings}))


@contextmanager
def job(programme: CompiledProgramme) -> Iterator[EngineTestDriver]:
    """The job of a programme, on three partitions."""
    driver = EngineTestDriver(
        lambda partition: PointsProcessor(Ledger(programme), partitions=PARTITIONS),
        inputs=[f"points.{suffix}" for suffix in INPUTS],
        ticks=f"points.{TICKS}",
        partitions=PARTITIONS,
    )
    driver.tick(NOW_MS)
    try:
        yield driver
    finally:
        driver.close()


def publish(driver: EngineTestDriver, *, events: int = 1_000, seed: int = 5) -> None:
    """A believable stream of the last forty days, taken within one."""
    plan = StreamPlan(
        events=events, members=40, seed=seed, start_ms=NOW_MS - 40 * DAY_MS, end_ms=NOW_MS
    )
    for number, event in enumerate(generate(plan)):
        at_ms = NOW_MS + number * DAY_MS // events
        driver.send(f"points.{event.topic}", event.key, event.value, timestamp_ms=at_ms)
    driver.run()


def entries_of(driver: EngineTestDriver) -> list[dict[str, Any]]:
    return [orjson.loads(r.value or b"") for r in driver.outputs("points.balance-changes")]


def changelog_of(driver: EngineTestDriver, partition: int) -> StateCopy:
    """A partition's state as its changelog tells it."""
    state = StateCopy()
    for record in driver.broker.records(Target("changelog", partition)):
        state.take(record.key or b"", record.value)
    return state
