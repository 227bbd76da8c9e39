"""`make bench-simulate`: how fast history is replayed, beside the worker that made it.

One worker process takes the stream of `make bench`; then `rules simulate` replays all of it by the
real rules and by a candidate: with the span over everything, each record is taken twice, and with
an empty state before it. Both are input records per second on the same broker and machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from pointstream.agents.replaying import replaying_jobs
from pointstream.engine.topics import ensure_topics
from pointstream.operations.broker import broker_for_run
from pointstream.operations.garbage import collect_seldom
from pointstream.operations.generate import generate
from pointstream.operations.programme import load_programme
from pointstream.operations.reading import CommittedReader
from pointstream.operations.settings import Settings
from pointstream.operations.simulation import Plan, Simulation, simulate
from pointstream.operations.topics import wanted_topics
from pointstream.operations.workers import WorkerGroup

from .__main__ import PARTITIONS, committed_rate, plan_of, publish

#: Of the worker's rate that a simulation should reach.
GOAL = 0.5


async def replayed(settings: Settings, events: int) -> Simulation:
    """Replay what the worker has taken; the candidate is the programme's own first rule set."""
    programme = load_programme()
    plan = Plan(programme, programme.rule_sets[:1], plan_of(events).start_ms, 253_402_300_799_999)

    jobs = replaying_jobs(settings.topic_prefix, settings.app_id)
    # As `rules simulate` does it, and the worker.
    collect_seldom()
    async with CommittedReader(settings.bootstrap_servers, fetch_bytes=4 << 20) as reader:
        return await simulate(reader, settings.topic_prefix, plan, jobs)


def main() -> int:
    """Run both and print the ratio; 1 below the goal, or when the ledger is not made again."""
    parser = argparse.ArgumentParser(prog="make bench-simulate", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=60_000, help="input records")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    stream = list(generate(plan_of(chosen.events)))
    with (
        tempfile.TemporaryDirectory(prefix="pointstream-bench-") as name,
        broker_for_run(say=console.print) as broker,
    ):
        settings = Settings(
            bootstrap_servers=broker.bootstrap_servers,
            app_id="bench-simulate",
            topic_prefix="bench-simulate.",
            partitions=PARTITIONS,
            data_dir=Path(name),
        )
        servers, prefix = settings.bootstrap_servers, settings.topic_prefix
        asyncio.run(ensure_topics(servers, wanted_topics(settings)))
        asyncio.run(publish(servers, prefix, stream))
        with WorkerGroup(settings, 1, settings.data_dir) as group:
            live = asyncio.run(
                committed_rate(servers, settings.app_id, prefix, len(stream), group.check)
            )
        found = asyncio.run(replayed(settings, chosen.events))
    ratio = found.per_second / live
    out = Console()
    out.print(f"one worker:      {live:>8,.0f} input records/s")
    out.print(f"rules simulate:  {found.per_second:>8,.0f} input records/s, each taken twice")
    out.print(f"                 {ratio:>8.2f} of the worker (the goal is {GOAL})")
    out.print(f"                 {found.verdict.same:>8,} ledger entries made again byte for byte")
    return 0 if ratio >= GOAL and found.sound else 1


if __name__ == "__main__":
    sys.exit(main())
