"""From two partitions to five, on a real broker, by a tool that is killed on its way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from pointstream.engine.formats import BARRED_KEY
from pointstream.operations.moving.expand import expand, take_back
from pointstream.operations.moving.quiet import NotQuiet
from pointstream.operations.placement import partition_of

from .conftest import Deploy
from .deployment import Deployment
from .test_backup import settings_of

pytestmark = pytest.mark.broker

#: Small transactions, so that a kill finds some done and some not.
_PROGRAM = """
from pointstream.operations.moving import restore
restore._CHUNK_RECORDS = 25
from pointstream.cli.app import app
app()
"""


def _expand(club: Deployment, work: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c", _PROGRAM, "state", "expand", "--partitions", "5"),
            *("--to-prefix", f"{club.name}.wide.", "--work", str(work), "--json", *more),
        ],
        env={**os.environ, **club.workers[0].environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _ended(club: Deployment, work: Path, *more: str) -> tuple[int, bytes, str]:
    process = _expand(club, work, *more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.decode()


def _bar(club: Deployment, prefix: str, partitions: int) -> list[bytes | None]:
    """What keeps workers off each partition."""
    here, club.prefix = club.prefix, prefix
    latest: dict[int, bytes | None] = dict.fromkeys(range(partitions))
    for record in club.records("internal.changelog"):
        if record.key == BARRED_KEY:
            latest[record.partition] = record.value
    club.prefix = here
    return list(latest.values())


def test_members_go_on_in_more_partitions(deploy: Deploy, tmp_path: Path) -> None:
    """The tool dies by kill -9 while it writes: no worker takes the old place or the new one until
    a second run has ended. Balances and sequences go on, each in its new partition."""
    club = deploy(workers=1, partitions=2)
    wide, work = f"{club.name}.wide.", tmp_path / "work"
    for number in range(120):
        club.order(f"o{number}", 10 + number, f"m{number % 24}")
    club.give("points.transfer", "m1", to_member_id="m2", points=5)
    club.give("points.hold", "m3", hold_id="h1", points=7)
    club.refund("never", "r1", 1, "m4")
    club.settle()
    worker = club.workers[0]
    worker.stop()
    before, entries = club.standings(), club.entries()

    settings, other = settings_of(club), f"{club.name}.other."
    asyncio.run(expand(settings, 3, other, tmp_path / "other"))
    assert _bar(club, club.prefix, 2) != _bar(club, other, 3) == [None] * 3
    asyncio.run(take_back(settings, other))
    assert _bar(club, club.prefix, 2) == [None] * 2
    assert all(b"was taken back" in (bar or b"") for bar in _bar(club, other, 3))

    tool = _expand(club, work)
    narrow, club.prefix, club.partitions = club.prefix, wide, 5
    while len(club.records("internal.changelog")) < 100:
        assert tool.poll() is None
        time.sleep(0.02)
    tool.kill()
    tool.communicate()
    club.prefix, club.partitions = narrow, 2
    assert all(b"the programme moved to" in (bar or b"") for bar in _bar(club, narrow, 2))
    assert any(b"has not ended" in (bar or b"") for bar in _bar(club, wide, 5))

    code, told, said = _ended(club, work)
    assert code == 0, said
    done = orjson.loads(told)
    assert (done["members"], done["entries"]) == (24, len(entries))
    assert done["members_moved"] > 5

    club.move_to(wide, 5)
    assert club.standings() == before
    club.start()
    club.order("new", 50, "m1")
    club.order("never", 100, "m4")
    club.give("points.capture", "m3", hold_id="h1")
    club.order("o7", 17, "m7", event_id="e8", occurred_ms=club.began_ms)
    club.settle()
    after = club.standings()
    assert after["m1"]["available"] == before["m1"]["available"] + 50
    assert after["m4"]["available"] == before["m4"]["available"] + 99
    assert (after["m3"]["held"], before["m3"]["held"]) == (0, 7)
    assert after["m7"]["available"] == before["m7"]["available"]
    mine = club.entries("m1")
    assert [entry["seq"] for entry in mine] == [*range(1, len(mine) + 1)]
    assert len(club.entries()) > len(entries)
    for record in club.records("balance-changes"):
        assert record.partition == partition_of(record.key or b"", 5)
    club.workers[0].stop()
    with pytest.raises(NotQuiet, match="no way back any more"):
        asyncio.run(take_back(settings, wide))
