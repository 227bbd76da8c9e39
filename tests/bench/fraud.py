"""`make bench-fraud`: what watching for fraud costs the job, with the detectors of the programme.

The same events through the whole job of four partitions, with the detectors that come along and
without any: decoding, scoring, watching, what partitions tell each other about devices, addresses,
shops and referrers, and writing the state. Both take the same batches in turn, in one process, on
states of their own; the figure is the processor time of a batch. Kafka is left out there;
`--broker` measures it as well: one worker on a real broker, with and without detectors in turn.
Ends with 1 when watching takes more than a quarter of the throughput: of the worker's with
`--broker`, else of the job's.

The stream is of four weeks and published within seconds. With the programme's `clock: events` time
goes by in it as it does where events come as they happen, and that is what the limit is for. So
they are published a few at a time, or some topics would be days ahead of others. What partitions
tell each other is younger than all of it and taken last; its time counts.

By the broker's clock all of it is a backlog: each event is days late, what is late is remembered
from when it came, and so members remember four weeks at once and not two days. That is measured
beside it.

The share is that of a round with detectors to the one before it without: of all rounds the median.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pointstream.agents.processor import PointsProcessor
from pointstream.contracts.programme import Clock, Programme
from pointstream.engine import Output, Record, State
from pointstream.engine.store import RocksMemory, RocksStore
from pointstream.ledger import Ledger
from pointstream.operations.broker import broker_for_run
from pointstream.operations.garbage import collect_seldom
from pointstream.operations.generate import Generated, StreamPlan, generate
from pointstream.operations.placement import partition_of
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme

from .__main__ import Bench

PARTITIONS = 4
BATCH = 2_000
TOGETHER = 50
"""Events that are published at a time, half an hour of a stream of 60,000. Published all at once,
the topics would be days apart: the broker gives all of a producer's batch one time."""
LIMIT = 0.25
"""Of the throughput: so much less with all detectors on."""
_MESSAGES = "points.internal.messages"
_DAY_MS = 86_400_000
_END_MS = 1_772_323_200_000


class Job:
    """All partitions of the job, in one process."""

    def __init__(self, programme: Programme, directory: Path) -> None:
        compiled, memory = compile_programme(programme), RocksMemory()
        self._tasks = [
            (
                PointsProcessor(Ledger(compiled), partitions=PARTITIONS),
                RocksStore(directory / str(partition), b"bench", memory),
            )
            for partition in range(PARTITIONS)
        ]
        self._offsets: Counter[tuple[str, int]] = Counter()
        self.seconds: list[float] = []
        self.messages = 0
        self.flags = 0

    def take(self, events: list[Generated]) -> None:
        """Take a batch, and all that partitions have to tell each other because of it."""
        batch: dict[int, list[Record]] = {}
        for event in events:
            partition = partition_of(event.key, PARTITIONS)
            record = self._record(
                f"points.{event.topic}", partition, event.at_ms, event.key, event.value
            )
            batch.setdefault(partition, []).append(record)
        began = time.process_time()
        waiting = deque(batch.items())
        while waiting:
            partition, records = waiting.popleft()
            told: dict[int, list[Record]] = {}
            for output in self._run(partition, records):
                for target, sent in output.records.items():
                    self.flags += len(sent) if target.topic == "points.fraud-flags" else 0
                    if target.topic == _MESSAGES:
                        self.messages += len(sent)
                        told.setdefault(target.partition, []).extend(
                            self._record(
                                _MESSAGES, target.partition, events[-1].at_ms, each.key, each.value
                            )
                            for each in sent
                        )
            waiting.extend(told.items())
        self.seconds.append((time.process_time() - began) / len(events))

    def _run(self, partition: int, records: list[Record]) -> list[Output]:
        processor, store = self._tasks[partition]
        outputs = []
        while records:
            state, output = State(store), Output(partition)
            processor.begin(state, output)
            done = processor.process(records)
            processor.finish()
            store.write(state.writes.items(), 0)
            outputs.append(output)
            records = records[done:]
        return outputs

    def _record(
        self, topic: str, partition: int, at_ms: int, key: bytes | None, value: bytes | None
    ) -> Record:
        offset = self._offsets[topic, partition]
        self._offsets[topic, partition] = offset + 1
        return Record(topic, partition, offset, at_ms, key, value, ())


def run(events: int, pending_s: int = 0) -> dict[str, float]:
    """What an event costs with and without detectors, in µs, and what is told because of them."""
    watched = load_programme()
    assert watched.fraud is not None
    if pending_s:
        window = {"pending_window": timedelta(seconds=pending_s)}
        sets = tuple(each.model_copy(update=window) for each in watched.fraud.detector_sets)
        fraud = watched.fraud.model_copy(update={"detector_sets": sets})
        watched = watched.model_copy(update={"fraud": fraud})
    blind = watched.model_copy(update={"fraud": None})
    plan = StreamPlan(
        events=events,
        members=max(100, events // 20),
        seed=7,
        start_ms=_END_MS - 28 * _DAY_MS,
        end_ms=_END_MS,
        fraudsters=max(1, events // 2_000),
    )
    stream = list(generate(plan))
    with tempfile.TemporaryDirectory() as directory:
        jobs = {
            name: Job(programme, Path(directory, name))
            for name, programme in (("off", blind), ("on", watched))
        }
        collect_seldom()
        for first in range(0, len(stream), BATCH):
            for job in jobs.values():
                job.take(stream[first : first + BATCH])
    results: dict[str, float] = {}
    for name, job in jobs.items():
        # The first batches fill caches that are empty yet.
        results[f"us_{name}"] = statistics.median(job.seconds[2:]) * 1e6
        results[f"messages_{name}"] = job.messages / len(stream)
    pairs = zip(jobs["off"].seconds[2:], jobs["on"].seconds[2:], strict=True)
    results["less"] = 1 - statistics.median(off / on for off, on in pairs)
    results["flags"] = jobs["on"].flags
    return results


def on_a_broker(events: int, rounds: int) -> dict[str, list[float]]:
    """Events a second of one worker, with and without detectors, in rounds in turn.

    `off` and `on` live, in the time of the events; `backlog_off` and `backlog_on` all of it late.
    """
    watched = load_programme()
    blind = watched.model_copy(update={"fraud": None})
    live = {"clock": Clock.EVENTS}
    programmes = {
        "off": blind.model_copy(update=live),
        "on": watched.model_copy(update=live),
        "backlog_off": blind,
        "backlog_on": watched,
    }
    rates: dict[str, list[float]] = {what: [] for what in programmes}
    with tempfile.TemporaryDirectory(prefix="pointstream-bench-") as name:
        files = {what: Path(name) / f"{what}.yaml" for what in programmes}
        for what, programme in programmes.items():
            files[what].write_text(programme.model_dump_json(), encoding="utf-8")
        with broker_for_run(say=lambda text: print(text, file=sys.stderr)) as broker:
            bench = Bench(
                broker.bootstrap_servers, events, Path(name), together=TOGETHER, to_the_end=True
            )
            # The first round warms the broker up.
            for number in range(rounds + 1):
                for what, file in files.items():
                    rate, _ = bench.pointstream(file)
                    if number:
                        rates[what].append(rate)
    return rates


def less(rates: dict[str, list[float]], off: str, on: str) -> float:
    """How much less it is with detectors, as a share: the median of the rounds."""
    pairs = zip(rates[off], rates[on], strict=True)
    return 1 - statistics.median(with_ / without for without, with_ in pairs)


def main() -> int:
    """Measure and print; 1 when watching costs too much."""
    parser = argparse.ArgumentParser(prog="make bench-fraud", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--broker", action="store_true", help="a worker on a broker as well")
    parser.add_argument("--rounds", type=int, default=5, help="with --broker; after a warm-up")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pending", type=int, default=0, help="seconds of a pending window")
    chosen = parser.parse_args()
    results = run(chosen.events, chosen.pending)
    rates = on_a_broker(chosen.events, chosen.rounds) if chosen.broker else None
    if chosen.json:
        print(json.dumps({**results, "rates": rates}))
    else:
        console = Console()
        table = Table("detectors", "µs an event", "messages an event", "throughput")
        for name in ("off", "on"):
            share = f"{-results['less']:+.1%}" if name == "on" else ""
            messages = f"{results[f'messages_{name}']:.2f}"
            table.add_row(name, f"{results[f'us_{name}']:.1f}", messages, share)
        console.print(table)
        if rates is not None:
            console.print(_on_a_broker(rates))
    costs = results["less"] if rates is None else less(rates, "off", "on")
    return 0 if costs <= LIMIT else 1


def _on_a_broker(rates: dict[str, list[float]]) -> Table:
    table = Table(
        "a worker on a broker", "records/s without", "with detectors", "throughput", "raw"
    )
    for what, off, on in (
        ("live", "off", "on"),
        ("a backlog, all of it late", "backlog_off", "backlog_on"),
    ):
        medians = (f"{statistics.median(rates[name]):,.0f}" for name in (off, on))
        raw = "; ".join(", ".join(f"{rate:,.0f}" for rate in rates[name]) for name in (off, on))
        table.add_row(what, *medians, f"{-less(rates, off, on):+.1%}", raw)
    return table


if __name__ == "__main__":
    sys.exit(main())
