"""The same bench over the whole job: records, partition tasks, transactions, committed outputs.

A test that is marked with a case runs twice, on the bare ledger and on this (`conftest.py`). What
comes out is read where a consumer would read it; only what became of a record (`Decision`), which
no topic says, is noted on its way.
"""

from __future__ import annotations

import asyncio
import atexit
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ledger_support import START_MS, Bench
from pydantic import BaseModel

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.contracts.outputs import (
    BalanceChange,
    CommandResult,
    CrmSync,
    FraudFlag,
    MallSync,
    Reminder,
    ShadowDiff,
    TierChange,
)
from pointstream.contracts.topics import topic_of_type
from pointstream.contracts.wire import dumps, loads
from pointstream.engine import Output
from pointstream.engine.driver import EngineTestDriver
from pointstream.engine.records import Target
from pointstream.ledger import Decision, Ledger, Standing
from pointstream.rules import CompiledProgramme

__all__ = ["DriverBench"]

PARTITIONS = 2
_MESSAGES = "points.internal.messages"
#: One event loop for all: a test that makes a thousand would run out of files.
_RUNNER = asyncio.Runner()
atexit.register(_RUNNER.close)


class _Noting(PointsProcessor):
    """A processor that notes what became of each record, and by which topic it came."""

    def __init__(self, noted: list[tuple[str, Decision]], ledger: Ledger, **settings: Any) -> None:
        super().__init__(ledger, **settings)
        self._noted = noted

    def _send_decision(
        self, suffix: str, decision: Decision, output: Output, *, passed_on: bool = False
    ) -> None:
        self._noted.append((suffix, decision))
        super()._send_decision(suffix, decision, output, passed_on=passed_on)


class _Union:
    """The committed states of all partitions as one, to be read."""

    def __init__(self, driver: EngineTestDriver) -> None:
        self._driver = driver

    @property
    def values(self) -> dict[bytes, bytes]:
        return {
            key: value
            for partition in range(PARTITIONS)
            for key, value in self._driver.state(partition).items()
        }

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(pair for pair in self.values.items() if start <= pair[0] < stop))


class DriverBench(Bench):
    """A `Bench` through `EngineTestDriver`, on two partitions."""

    def __init__(
        self,
        compiled: CompiledProgramme | None = None,
        *,
        batch: int = 1,
        dedupe: bool = True,
        now_ms: int = START_MS,
        new_ledger: Callable[..., Ledger] = Ledger,
    ) -> None:
        """`batch` makes no difference here: a test asks for what became of every record."""
        super().__init__(compiled, batch=batch, dedupe=dedupe, now_ms=now_ms, new_ledger=new_ledger)
        noted: list[tuple[str, Decision]] = []
        owners: dict[int, Ledger] = {}

        def processor(partition: int) -> PointsProcessor:
            owners[partition] = new_ledger(self.programme, dedupe=dedupe)
            return _Noting(noted, owners[partition], partitions=PARTITIONS)

        driver = EngineTestDriver(
            processor,
            inputs=[f"points.{suffix}" for suffix in INPUTS],
            ticks=f"points.{TICKS}",
            partitions=PARTITIONS,
            runner=_RUNNER,
        )
        self._driver, self._noted, self._owners = driver, noted, owners
        self._read: Counter[Target] = Counter()
        self.state = _Union(driver)

    def restart(self) -> None:
        """Let every owner die, and its local state with it: the next ones restore."""
        if hasattr(self, "_driver"):
            self._driver.lose_state()

    def give_body(self, body: dict[str, Any]) -> Decision:
        """Publish one event and process it; returns what became of it."""
        suffix = topic_of_type(body["type"])
        key = body["member_id"] if suffix != "catalogue" else body["item_id"]
        self._driver.broker.now_ms = self.now_ms
        self._driver.send(f"points.{suffix}", key.encode(), dumps(body), headers=self.headers)
        # What is due rings before the record, what it sends is taken after it.
        return next(decision for came_by, decision in self._run() if came_by == suffix)

    def tick(self, now_ms: int) -> list[Decision]:
        """Let the time of every partition go on."""
        self.now_ms = now_ms
        self._driver.tick(now_ms)
        return [decision for came_by, decision in self._run() if came_by == "timers"]

    @property
    def ledgers(self) -> list[Ledger]:
        """The ledger of each partition."""
        return [*self._owners.values()]

    def flush(self) -> None:
        """Nothing is held back here."""

    def deliver(self) -> None:
        """Messages are delivered with every record."""

    def _run(self) -> list[tuple[str, Decision]]:
        """Process all there is, and what that sends between partitions; read what came out."""
        driver = self._driver
        self._noted.clear()
        sent = -1
        while sent != (sent := len(driver.outputs(_MESSAGES))):
            try:
                driver.run()
            except BaseException:
                driver.crash()
                raise
        noted = list(self._noted)
        self.decisions.extend(decision for _, decision in noted)
        self.entries += self._new("balance-changes", BalanceChange)
        self.answers += self._new("command-results", CommandResult)
        self.tier_changes += self._new("tier-changes", TierChange)
        self.reminders += self._new("reminders", Reminder)
        self.flags += self._new("fraud-flags", FraudFlag)
        self.shadow_diffs += self._new("shadow-diffs", ShadowDiff)
        crm, mall = self._new("crm-sync", CrmSync), self._new("mall-sync", MallSync)
        for told_crm, told_mall in zip(crm, mall, strict=True):
            assert told_crm["member_id"] == told_mall["member_id"]
            erased = told_crm.keys() == {"member_id"}
            self.standings.append(
                Standing(
                    told_crm["member_id"],
                    None if erased else told_crm,
                    None if erased else told_mall,
                )
            )
        return noted

    def _new(self, suffix: str, model: type[BaseModel]) -> list[dict[str, Any]]:
        """What was committed to a topic since the last look, held against its contract."""
        found = []
        for partition in range(PARTITIONS):
            place = Target(f"points.{suffix}", partition)
            records = self._driver.broker.records(place)
            for record in records[self._read[place] :]:
                if record.value is None:
                    # A tombstone: the member was erased.
                    found.append({"member_id": (record.key or b"").decode()})
                    continue
                found.append(loads(record.value))
                model.model_validate(found[-1])
            self._read[place] = len(records)
        return found
