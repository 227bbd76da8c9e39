"""Keeps every member's latest standing in a database, as `points.crm-sync` tells it.

    pip install aiokafka
    python standings.py localhost:9092 standings.db
    python standings.py localhost:9092 positions.db points.mall-sync

To be copied. What a reader of a compacted topic has to do, and where it is done here:

- begin at the beginning: what is kept there is the latest record of everybody, so the first pass
  brings the whole state, and what follows keeps it (`follow`);
- put each record in the place of the one before, whatever its `seq`: between two records there are
  entries that had no record of their own left, and a standing can change without an entry (`take`);
- delete what a tombstone names, a record without a value: the member was erased (`take`);
- write how far it has read in the transaction of what it read (`take`);
- use the fields that it needs, and bear fields that it does not know: `body` keeps them all.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer

TOPIC = "points.crm-sync"
TABLES = """
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS standings (
    member_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, available INTEGER NOT NULL, tier TEXT,
    body TEXT NOT NULL
);
"""


class Standings:
    """The database. SQLite here; any other with transactions does as well."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(TABLES)

    def position(self, topic: str, partition: int) -> int:
        """Where to read on; 0 at first."""
        query = "SELECT next_offset FROM positions WHERE topic = ? AND partition = ?"
        row = self._connection.execute(query, (topic, partition)).fetchone()
        return row[0] if row else 0

    def take(
        self, topic: str, partition: int, records: Iterable[tuple[int, bytes, bytes | None]]
    ) -> None:
        """Take a batch of one partition, offsets, keys, values: all or, on any error, nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            position = self.position(topic, partition)
            for offset, key, value in records:
                if offset < position:
                    continue
                position = offset + 1
                if value is None:
                    query = "DELETE FROM standings WHERE member_id = ?"
                    self._connection.execute(query, (key.decode(),))
                    continue
                standing = json.loads(value)
                self._connection.execute(
                    "INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?, ?)",
                    (
                        standing["member_id"],
                        standing["seq"],
                        standing["available"],
                        # Left out or null: both say that there is none.
                        standing.get("tier"),
                        value.decode(),
                    ),
                )
            self._connection.execute(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic, partition, position)
            )


async def follow(servers: str, topic: str, standings: Standings) -> None:
    """Read on from where the database is, for ever."""
    # Without a group, all partitions are read. Here go security_protocol, sasl_mechanism and so on.
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        isolation_level="read_committed",
        # A position that the topic does not have (somebody made it anew) must not go unnoticed.
        auto_offset_reset="none",
    )
    async with consumer:
        for place in consumer.assignment():
            consumer.seek(place, standings.position(topic, place.partition))
        while True:
            for place, records in (await consumer.getmany(timeout_ms=1_000)).items():
                batch = ((record.offset, record.key, record.value) for record in records)
                standings.take(topic, place.partition, batch)


def main(servers: str, file: str, topic: str = TOPIC) -> None:
    # Transactions begin where `take` says so, and not by themselves.
    standings = Standings(sqlite3.connect(file, isolation_level=None))
    asyncio.run(follow(servers, topic, standings))


if __name__ == "__main__":
    main(*sys.argv[1:])
