"""Keeps every member's balances in a database: each entry counted once, none missed unseen.

    pip install aiokafka
    python balances.py localhost:9092 balances.db

To be copied. What a reader of `points.balance-changes` has to do, and where it is done here:

- read what is committed and nothing else (`isolation_level`);
- write how far it has read in the transaction of what it read, in its own database: a kill at any
  moment then neither loses nor doubles anything, and Kafka's own positions are not needed (`take`);
- pass over what it has already: a `seq` that is not above the member's last (`_count`);
- stop at a gap, a `seq` that is too high: something is missing, and a wrong balance is worse than
  an old one (`_count`);
- use the fields that it needs, and bear fields and types that it does not know.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer

TOPIC = "points.balance-changes"
TABLES = """
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS members (member_id TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS balances (
    member_id TEXT, wallet TEXT, available INTEGER NOT NULL, PRIMARY KEY (member_id, wallet)
);
"""


class ReadingError(Exception):
    """It can't go on; nothing of the batch was written."""


class Balances:
    """The database. SQLite here; any other with transactions does as well."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(TABLES)

    def position(self, topic: str, partition: int) -> int:
        """Where to read on; 0 at first: the topic is kept for ever."""
        query = "SELECT next_offset FROM positions WHERE topic = ? AND partition = ?"
        row = self._connection.execute(query, (topic, partition)).fetchone()
        return row[0] if row else 0

    def take(self, topic: str, partition: int, records: Iterable[tuple[int, bytes]]) -> None:
        """Count a batch of one partition, offsets and values: all of it or, on any error, none."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            position = self.position(topic, partition)
            for offset, value in records:
                if offset >= position:
                    self._count(json.loads(value), f"{topic}/{partition}/{offset}")
                    position = offset + 1
            self._connection.execute(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic, partition, position)
            )

    def _count(self, entry: dict[str, object], where: str) -> None:
        member, seq, wallet = entry["member_id"], int(entry["seq"]), entry["wallet"]
        query = "SELECT seq FROM members WHERE member_id = ?"
        last = (self._connection.execute(query, (member,)).fetchone() or (0,))[0]
        if seq <= last:
            return
        if seq > last + 1:
            raise ReadingError(
                f"entries {last + 1} to {seq - 1} of a member are missing at {where}"
            )
        self._connection.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", (member, seq))
        query = "SELECT available FROM balances WHERE member_id = ? AND wallet = ?"
        before = (self._connection.execute(query, (member, wallet)).fetchone() or (0,))[0]
        after = before + int(entry["delta"])
        if after != entry["available_after"]:
            raise ReadingError(f"{after} is here, {entry['available_after']} at {where}")
        self._connection.execute(
            "INSERT OR REPLACE INTO balances VALUES (?, ?, ?)", (member, wallet, after)
        )


async def follow(servers: str, topic: str, balances: Balances) -> None:
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
            consumer.seek(place, balances.position(topic, place.partition))
        while True:
            for place, records in (await consumer.getmany(timeout_ms=1_000)).items():
                balances.take(topic, place.partition, ((r.offset, r.value) for r in records))


def main(servers: str, file: str, topic: str = TOPIC) -> None:
    # Transactions begin where `take` says so, and not by themselves.
    balances = Balances(sqlite3.connect(file, isolation_level=None))
    try:
        asyncio.run(follow(servers, topic, balances))
    except ReadingError as error:
        sys.exit(f"stopped: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
