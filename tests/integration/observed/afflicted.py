"""A worker that can be made ill while it runs: run as a program, it is `pointstream worker`.

The file that `AFFLICTIONS` names has a JSON object with what is to go wrong:

- `slow`: partitions that take two records in half a second, and no more;
- `stuck`: partitions that take a batch and never get done with it;
- `restore`: partitions whose restore halts before the last record;
- `miscount`: numbers of workers that count points that nobody gave, which their own check of the
  books must find.

The worker and everything in it is the real one; what is added only waits, or miscounts.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointstream.cli import main
from pointstream.engine.inbox import Inbox
from pointstream.engine.kafka import KafkaPartitionLog
from pointstream.engine.task import PartitionTask
from pointstream.ledger.book import Book

ILLS = Path(os.environ["AFFLICTIONS"])
NUMBER = int(os.environ["AFFLICTED"])
LOOK_SECONDS = 0.05

well_transact = PartitionTask._transact
well_changelog = KafkaPartitionLog.changelog
well_check = Book.check


def ill(kind: str, number: int) -> bool:
    """Whether a partition, or worker, has an illness now."""
    return number in json.loads(ILLS.read_text()).get(kind, ())


async def transact(task: PartitionTask, inbox: Inbox) -> None:
    while ill("stuck", task.partition):  # noqa: ASYNC110 - what is waited for is a file
        await asyncio.sleep(LOOK_SECONDS)
    if ill("slow", task.partition):
        whole = task.limits
        task.limits = replace(whole, batch_records=2)
        await asyncio.sleep(0.5)
        await well_transact(task, inbox)
        task.limits = whole
    else:
        await well_transact(task, inbox)


async def changelog(
    log: KafkaPartitionLog, position: int | None
) -> AsyncGenerator[tuple[list[Any], int, int], None]:
    async with aclosing(well_changelog(log, position)) as found:
        async for changes, reached, end in found:
            if changes and ill("restore", log._partition):
                yield changes[:-1], reached - 1, end
                while ill("restore", log._partition):
                    await asyncio.sleep(LOOK_SECONDS)
                    yield [], reached - 1, end
                yield changes[-1:], reached, end
            else:
                yield changes, reached, end


def check(book: Book) -> None:
    if ill("miscount", NUMBER):
        for _, _, totals in book._touched:
            totals.earned += 1
    well_check(book)


PartitionTask._transact = transact  # type: ignore[method-assign]
KafkaPartitionLog.changelog = changelog  # type: ignore[method-assign, assignment]
Book.check = check  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
