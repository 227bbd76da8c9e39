"""From two partitions to five, on a real broker, by a tool that is killed on its way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from pointstream.operations.placement import partition_of

from .conftest import Deploy
from .deployment import Deployment

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

    tool = _expand(club, work)
    narrow, club.prefix, club.partitions = club.prefix, wide, 5
    while len(club.records("internal.changelog")) < 100:
        assert tool.poll() is None
        time.sleep(0.02)
    tool.kill()
    tool.communicate()
    club.prefix, club.partitions = narrow, 2
    worker.start()
    assert worker._process is not None
    assert worker._process.wait(30) == 2
    assert worker.faults() == ["StateBarred"]
    assert f"the programme moved to topics that begin with '{wide}'" in worker.log_end()
    worker.log_file.unlink()

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
