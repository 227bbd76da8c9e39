"""The reference consumers behind real workers, killed on the way."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cases.conftest import Deploy
from cases.deployment import now_ms

from pointstream.operations.chain import DAY_MS
from pointstream.operations.generate import StreamPlan, generate
from pointstream.operations.processes import ends_with_parent

pytestmark = pytest.mark.broker

_CONSUMERS = Path(__file__).resolve().parents[3] / "deploy" / "consumers"


class Consumer:
    """One of the scripts as a process, and the database that it writes."""

    def __init__(self, name: str, servers: str, directory: Path, topic: str) -> None:
        self.file = directory / f"{name}.db"
        self._command = [sys.executable, str(_CONSUMERS / f"{name}.py")]
        self._command += [servers, str(self.file), topic]
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def ended(self) -> str:
        """Wait until it ends by itself; returns what it said."""
        assert self._process is not None
        return self._process.communicate(timeout=30)[1]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(self.file, timeout=10)) as database:
                return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # It has not made its tables yet.

    def until(self, query: str, wanted: object) -> None:
        deadline = time.monotonic() + 40
        while (found := self.rows(query)) != wanted:
            assert self._process is not None
            assert self._process.poll() is None, self.ended()
            assert time.monotonic() < deadline, f"{query}: {found}, not {wanted}"
            time.sleep(0.05)


@pytest.fixture
def running() -> Iterator[list[Consumer]]:
    """To be filled with what must not be left alive."""
    consumers: list[Consumer] = []
    yield consumers
    for consumer in consumers:
        consumer.kill()


def test_they_have_what_the_ledger_has_after_a_kill_of_theirs_and_of_a_workers(
    deploy: Deploy, running: list[Consumer], tmp_path: Path
) -> None:
    """Every entry counted once, every standing the latest; then a gap is met, and named."""
    club = deploy(workers=2, partitions=2)
    balances = Consumer("balances", club.servers, tmp_path, club.prefix + "balance-changes")
    standings = Consumer("standings", club.servers, tmp_path, club.prefix + "crm-sync")
    running += [balances, standings]
    end_ms = now_ms()
    plan = StreamPlan(
        events=1_500, members=120, seed=11, start_ms=end_ms - 20 * DAY_MS, end_ms=end_ms
    )
    club.publish(json.loads(event.value) for event in generate(plan))
    while (balances.rows("SELECT sum(seq) FROM members") or [(None,)])[0][0] is None:
        time.sleep(0.02)
    balances.kill()
    standings.kill()
    club.workers[0].kill()
    club.start(wait=False)
    counted = balances.rows("SELECT sum(seq) FROM members")[0][0]
    balances.start()
    standings.start()
    club.settle()
    entries = club.entries()
    assert counted < len(entries)

    sums = {entry["member_id"]: entry["available_after"] for entry in entries}
    balances.until("SELECT sum(seq) FROM members", [(len(entries),)])
    assert dict(balances.rows("SELECT member_id, available FROM balances")) == sums
    latest = sorted((r["member_id"], r["seq"], r["updated_at"]) for r in club.standings().values())
    query = "SELECT member_id, seq, body->>'updated_at' FROM standings ORDER BY member_id"
    standings.until(query, latest)
    bodies = dict(standings.rows("SELECT member_id, body FROM standings"))
    assert {member: json.loads(body) for member, body in bodies.items()} == club.standings()

    # A database from which entries went: as a reader sees it whom the topic kept some from.
    balances.kill()
    with closing(sqlite3.connect(balances.file)) as database, database:
        database.execute("UPDATE members SET seq = seq - 2 WHERE member_id = 'M-000000'")
    balances.start()
    club.order("one-more", 10, "M-000000")
    assert "are missing at" in balances.ended()
