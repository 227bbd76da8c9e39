"""Workers of two releases side by side, on a real broker, under load.

The next release is this one with a codec that reads two versions and writes the one that
`POINTSTREAM_STATE_FORMAT` names: a copy of the sources, changed in two lines.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pointstream
from chaos.fleet import WorkerProcess
from pointstream.ledger import codec

from .conftest import Deploy
from .deployment import Deployment, owned_by

pytestmark = pytest.mark.broker

_MEMBERS = 12


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the next release's sources; this process reads what it writes."""
    home = tmp_path / "next"
    shutil.copytree(
        Path(pointstream.__file__).parent,
        home / "pointstream",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    file = home / "pointstream" / "ledger" / "codec.py"
    source = file.read_text()
    for before, after in (
        ("VERSION: Final = 1\n", 'VERSION: Final = int(__import__("os").environ["NEXT_WRITES"])\n'),
        ("READS: Final = frozenset({1})\n", "READS: Final = frozenset({1, 2})\n"),
    ):
        assert before in source
        source = source.replace(before, after)
    file.write_text(source)
    # What looks at the books when all is over.
    monkeypatch.setattr(codec, "READS", frozenset({1, 2}))
    return home


class Roll:
    """Restarts one worker after the other, while orders and transfers go on."""

    def __init__(self, club: Deployment) -> None:
        self.club = club
        self.orders = 0

    def load(self) -> None:
        club = self.club
        for _ in range(2 * _MEMBERS):
            self.orders += 1
            member, other = self.orders % _MEMBERS, self.orders * 7 % _MEMBERS
            club.order(f"o{self.orders}", 10, f"m{member}")
            if member != other and not self.orders % 5:
                club.give("points.transfer", f"m{member}", to_member_id=f"m{other}", points=3)

    def restart(self, worker: WorkerProcess, release: Path, writes: int) -> None:
        self.load()
        assert worker.stop()[0] == 0
        run(worker, release, writes)
        worker.start()
        self.load()


def run(worker: WorkerProcess, release: Path, writes: int) -> None:
    """Let a worker's next life be of a release that writes a form."""
    worker.environ |= {
        "PYTHONPATH": str(release),
        "NEXT_WRITES": str(writes),
        "POINTSTREAM_STATE_FORMAT": str(writes),
    }


def test_rolling_upgrade_under_load_is_exact_and_the_old_release_is_kept_out_after_it(
    next_release: Path, deploy: Deploy, tmp_path: Path
) -> None:
    """First every worker gets the new release, then the form is raised; three workers, restarted
    one by one. A straggler of the old release ends for good and says what to do."""
    club = deploy(workers=3, partitions=4, start=False)
    roll, old = Roll(club), dict(club.workers[0].environ)
    first, second, third = club.workers
    run(first, next_release, 1)
    club.start()
    roll.restart(second, next_release, 1)
    roll.restart(third, next_release, 1)
    club.until(lambda: bool(owned_by(third)), "the share of the new worker")
    for worker in club.workers:
        roll.restart(worker, next_release, 2)
    club.settle()
    versions = {(r.value or b" ")[:1] for r in club.records("internal.changelog")}
    assert {b"\1", b"\2"} <= versions
    assert any(b'"v":2' in (r.value or b"") for r in club.records("internal.messages"))

    straggler = WorkerProcess(9, tmp_path / "straggler", old)
    with straggler.log_file.open("ab") as log:
        ended = subprocess.Popen(
            [sys.executable, "-m", "pointstream", "worker", "--supervise"],
            env=straggler.environ,
            stdout=log,
            stderr=log,
        )
        try:
            code = ended.wait(20)
        finally:
            ended.send_signal(signal.SIGKILL)
    assert code == 2, straggler.log_end()
    said = [line for line in straggler.said() if "fault" in line]
    assert [line["fault"] for line in said] == ["StateTooNew"]
    assert "format 2" in said[0]["reason"]
    assert "Nothing was changed. Run " in said[0]["reason"]

    roll.load()
    club.settle()
    standings = club.standings()
    given = sum(standing["available"] for standing in standings.values())
    assert given == 10 * roll.orders
