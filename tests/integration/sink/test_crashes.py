"""Rows equal the ledger, whoever is killed on the way: worker, Kafka Connect, PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import yaml
from cases.conftest import Deploy
from cases.deployment import Deployment, now_ms

from pointstream.operations.chain import DAY_MS
from pointstream.operations.generate import Generated, StreamPlan, generate

from .compare import TABLES, differences
from .connect import Connect
from .postgres import Postgres

pytestmark = pytest.mark.broker

_PROGRAMME = Path(__file__).resolve().parents[3] / "deploy" / "programme.yaml"
_WAVE = 1_500
#: So many rows of a wave have come when something is killed.
_SOME = 150
_PATIENCE_SECONDS = 60.0


def test_rows_equal_the_ledger_after_each_of_them_was_killed(
    deploy: Deploy, database: Postgres, tmp_path: Path
) -> None:
    """Every entry once and every standing the latest, in every column, after three kill -9."""
    club = deploy(yaml.safe_load(_PROGRAMME.read_text()), start=False, workers=2, partitions=4)
    with Connect(tmp_path / "connect", club.servers, club.prefix, database) as connect:
        connect.start()
        club.start()
        connect.until_running()
        waves = _waves()
        seen: list[int] = []

        def kill_in_a_wave(kill: Callable[[], None]) -> None:
            before = _entries(database)
            _give(club, next(waves))
            connect.until(lambda: _entries(database) >= before + _SOME, "some rows")
            seen.append(_entries(database))
            kill()

        kill_in_a_wave(club.workers[0].kill)
        club.start(wait=False)
        # It was killed on the way: not all of the wave had come by then.
        assert seen[-1] < _arrive(club, connect, database)

        kill_in_a_wave(connect.kill)
        connect.start()
        connect.until_running()
        assert seen[-1] < _arrive(club, connect, database)

        def kill_database() -> None:
            database.kill()
            time.sleep(2.0)
            database.start()

        club.order("o-last", 10, "goes")
        club.give("points.adjust", "goes", points=5, reason="with a NUL: \0")
        kill_in_a_wave(kill_database)
        club.give("account.erase", "goes")
        assert seen[-1] < _arrive(club, connect, database)

        counts = (
            database.rows(f"SELECT count(*) FROM {table} WHERE member_id = 'goes'")
            for table, *_ in TABLES.values()
        )
        # What was earned, given and cleared; no standings any more.
        assert [count for ((count,),) in counts] == [3, 0, 0]
        assert len(database.rows("SELECT DISTINCT type FROM balance_changes")) > 5


def _waves() -> Iterator[list[Generated]]:
    end_ms = now_ms()
    plan = StreamPlan(
        events=3 * _WAVE,
        members=300,
        seed=7,
        start_ms=end_ms - 20 * DAY_MS,
        end_ms=end_ms,
        redelivered=0.02,
    )
    stream = generate(plan)
    while wave := list(islice(stream, _WAVE)):
        yield wave


def _give(club: Deployment, wave: list[Generated]) -> None:
    club.publish(json.loads(event.value) for event in wave)


def _entries(database: Postgres) -> int:
    ((count,),) = database.rows("SELECT count(*) FROM balance_changes")
    return int(count)


_DATABASE_AWAY = (
    "terminating connection",
    "connection has been closed",
    "I/O error",
    "connection attempt failed",
    "refused",
    "starting up",
    "in recovery mode",
)
"""What PostgreSQL and its driver say of a server that is gone, or not back yet."""


def _arrive(club: Deployment, connect: Connect, database: Postgres) -> int:
    """Wait until the tables have what the topics have, in full; returns the number of entries."""
    club.settle()
    records = {topic: club.records(topic) for topic in TABLES}
    entries = len(records["balance-changes"])
    found: list[str] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _entries(database) < entries or (found := differences(database, records)):
        assert time.monotonic() < deadline, f"{_entries(database)} of {entries}, {found}"
        # A commit or rollback that nobody answered fails its task, which can't know: someone
        # restarts it. Nothing but the database's absence may be the reason.
        for told in connect.restart_failed():
            assert any(words in told for words in _DATABASE_AWAY), told
        time.sleep(0.3)
    return entries
