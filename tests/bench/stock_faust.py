"""The peer: the same ledger core under a stock Faust agent with a Table, at-least-once.

One agent per input topic, an event at a time, the state in a Faust Table on RocksDB with its
changelog, every effect sent with Faust's own producer. What Faust lacks is lent to it in memory:
a Table has no ordered scan, so a sorted list of its keys stands beside it. That costs less than
a scan of a store would.

    python -m tests.bench.stock_faust SERVERS APP_ID PREFIX PARTITIONS DATA_DIR WEB_PORT
"""

import logging
import sys
from bisect import bisect_left, insort
from collections.abc import Iterator

import faust

from pointstream.agents.processor import INPUTS, TICKS, PointsProcessor
from pointstream.engine import Output, Record
from pointstream.ledger import Ledger
from pointstream.operations.programme import load_programme
from pointstream.rules.compile import compile_programme


class TableState:
    """A Faust Table as the ledger's key/values."""

    def __init__(self, table: faust.Table) -> None:
        self._table = table
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._table.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            insort(self._keys, key)
        self._table[key] = value

    def delete(self, key: bytes) -> None:
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            del self._keys[at]
            self._table.pop(key, None)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        some = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]
        return iter([(key, self._table[key]) for key in some])


def build(
    servers: str,
    app_id: str,
    prefix: str,
    partitions: int,
    data_dir: str,
    port: int,
    programme_file: str,
) -> faust.App:
    """The app."""
    app = faust.App(
        app_id,
        broker=[f"kafka://{server}" for server in servers.split(",")],
        store="rocksdb://?driver=rocksdict",
        topic_partitions=partitions,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.5,
        stream_wait_empty=False,
        web_port=port,
        datadir=data_dir,
        key_serializer="raw",
        value_serializer="raw",
    )
    table = app.Table("state", partitions=partitions, key_type=bytes, value_type=bytes)
    # A Table keeps the keys of each partition apart, and so must what stands beside it.
    states = [TableState(table) for _ in range(partitions)]
    programme = compile_programme(load_programme(programme_file))
    processors = [
        PointsProcessor(Ledger(programme), partitions=partitions, prefix=prefix)
        for _ in range(partitions)
    ]
    outputs = {
        suffix: app.topic(prefix + suffix, key_type=bytes, value_type=bytes)
        for suffix in (
            "balance-changes", "crm-sync", "mall-sync", "command-results", "dead-letters",
            "tier-changes", "reminders",
        )
    }  # fmt: skip

    async def work(stream: faust.StreamT) -> None:
        async for event in stream.events():
            message = event.message
            record = Record(
                message.topic,
                message.partition,
                message.offset,
                int(message.timestamp * 1000),
                message.key,
                message.value,
                tuple(message.headers or ()),
            )
            output = Output(message.partition)
            processor = processors[message.partition]
            processor.begin(states[message.partition], output)
            processor.process([record])
            processor.finish()
            for target, records in output.records.items():
                topic = outputs[target.topic.removeprefix(prefix)]
                for out in records:
                    await topic.send(key=out.key, value=out.value, headers=list(out.headers))

    for suffix in (*INPUTS, TICKS):
        agent = _named(work, suffix)
        app.agent(app.topic(prefix + suffix, key_type=bytes, value_type=bytes))(agent)
    return app


def _named(work: object, suffix: str) -> object:
    async def agent(stream: faust.StreamT) -> None:
        await work(stream)

    agent.__name__ = agent.__qualname__ = suffix.replace("-", "_").replace(".", "_")
    return agent


if __name__ == "__main__":
    servers, app_id, prefix, partitions, data_dir, port, programme_file = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    app = build(servers, app_id, prefix, int(partitions), data_dir, int(port), programme_file)
    faust.Worker(
        app, loglevel=logging.WARNING, override_logging=False, redirect_stdouts=False, quiet=True
    ).execute_from_commandline()
