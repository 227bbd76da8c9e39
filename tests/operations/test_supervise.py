"""What happens to a supervised process that dies, stops, or is asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointstream.operations.supervise import Backoff, supervise

_AT_ONCE = Backoff(first_seconds=0.01, longest_seconds=0.02, steady_seconds=60.0)

#: Adds a line to a file in each life and leaves with the exit code that is due in that life.
_CHILD = """
import pathlib, sys
lives = pathlib.Path(sys.argv[1])
with lives.open("a") as log:
    log.write("x")
codes = [int(code) for code in sys.argv[2].split(",")]
sys.exit(codes[min(len(lives.read_text()), len(codes)) - 1])
"""

#: Says that it is up, and takes a clean stop on SIGTERM.
_STEADY_CHILD = """
import os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path(sys.argv[1], "stopped").touch()
    sys.exit(int(sys.argv[2]))
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1], "pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""

_SUPERVISOR = """
import sys
from pointstream.operations.supervise import supervise
sys.exit(supervise(sys.argv[1:]))
"""


def _child(lives: Path, codes: str) -> list[str]:
    return [sys.executable, "-c", _CHILD, str(lives), codes]


def _await_pid(file: Path) -> int:
    deadline = time.monotonic() + 20
    while not file.is_file() or not file.read_text():
        assert time.monotonic() < deadline, "the child did not come up"
        time.sleep(0.02)
    return int(file.read_text())


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor process over a child that runs until SIGTERM and then leaves with 3."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _SUPERVISOR),
            *(sys.executable, "-c", _STEADY_CHILD, str(tmp_path), "3"),
        ]
    )
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_process_that_fails_is_started_anew_until_it_stops_cleanly(tmp_path: Path) -> None:
    """Two failures are two new starts; the clean end of the third life is the end of it."""
    lives = tmp_path / "lives"
    said: list[str] = []

    code = supervise(_child(lives, "5,7,0"), backoff=_AT_ONCE, say=said.append)

    assert code == 0
    assert len(lives.read_text()) == 3
    assert [line.split(" after")[0] for line in said] == [
        "died with exit code 5",
        "died with exit code 7",
    ]


def test_a_clean_stop_is_not_started_anew(tmp_path: Path) -> None:
    """Exit code 0 is an answer, not a fault."""
    lives = tmp_path / "lives"

    assert supervise(_child(lives, "0,9"), backoff=_AT_ONCE) == 0

    assert len(lives.read_text()) == 1


def test_wrong_usage_is_final(tmp_path: Path) -> None:
    """Exit code 2 comes back at once: a new start would be told the same wrong thing."""
    lives = tmp_path / "lives"
    said: list[str] = []

    code = supervise(_child(lives, "5,2,0"), backoff=_AT_ONCE, say=said.append)

    assert code == 2
    assert len(lives.read_text()) == 2
    assert len(said) == 1


def test_a_stop_before_the_process_can_handle_one_is_clean() -> None:
    """A process that SIGTERM ends as it ends any program was only starting: exit code 0."""
    supervisor = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, "sleep", "60"])
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    deadline = time.monotonic() + 20
    while not children.read_text():
        assert time.monotonic() < deadline, "the child did not come up"
        time.sleep(0.02)

    supervisor.send_signal(signal.SIGTERM)

    assert supervisor.wait(20) == 0


def test_failures_in_a_row_can_be_final(tmp_path: Path) -> None:
    """With a limit the last exit code is handed on."""
    lives = tmp_path / "lives"

    code = supervise(_child(lives, "4"), backoff=_AT_ONCE, give_up_after=3)

    assert code == 4
    assert len(lives.read_text()) == 3


def test_steady_lives_do_not_count_as_failures_in_a_row(tmp_path: Path) -> None:
    """A process that held out long enough has earned a fresh count."""
    lives = tmp_path / "lives"
    steady_at_once = Backoff(first_seconds=0.01, longest_seconds=0.02, steady_seconds=0.0)

    code = supervise(_child(lives, "4,4,4,4,0"), backoff=steady_at_once, give_up_after=2)

    assert code == 0
    assert len(lives.read_text()) == 5


def test_a_process_ended_by_a_signal_is_started_anew(tmp_path: Path) -> None:
    """kill -9 is a failure like any other."""
    lives = tmp_path / "lives"
    program = (
        "import os, pathlib, signal, sys\n"
        "lives = pathlib.Path(sys.argv[1])\n"
        "first = not lives.exists()\n"
        "lives.touch()\n"
        "first and os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said: list[str] = []

    code = supervise([sys.executable, "-c", program, str(lives)], backoff=_AT_ONCE, say=said.append)

    assert code == 0
    assert said[0].startswith("died with exit code 137")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_and_the_exit_code_handed_back(
    supervisor: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    """The child stops cleanly, is not started anew, and its own exit code is the supervisor's."""
    _await_pid(tmp_path / "pid")

    supervisor.send_signal(number)

    assert supervisor.wait(20) == 3
    assert (tmp_path / "stopped").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_supervisor_takes_its_process_along(
    supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Nobody would start the orphan anew, so it stops, cleanly."""
    pid = _await_pid(tmp_path / "pid")

    supervisor.kill()

    _await_end(pid)
    assert (tmp_path / "stopped").exists()


def test_a_stop_between_two_lives_ends_the_wait(tmp_path: Path) -> None:
    """SIGTERM while it waits to start anew is a clean stop at once, not after the wait."""
    lives = tmp_path / "lives"
    long_wait = Backoff(first_seconds=60.0, longest_seconds=60.0)

    started = time.monotonic()
    code = supervise(
        _child(lives, "1"),
        backoff=long_wait,
        say=lambda text: os.kill(os.getpid(), signal.SIGTERM),
    )

    assert code == 0
    assert time.monotonic() - started < 30


def test_the_signal_handlers_of_before_are_back_afterwards(tmp_path: Path) -> None:
    """Who calls it keeps his own handling of Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)

    supervise(_child(tmp_path / "lives", "0"))

    assert signal.getsignal(signal.SIGINT) is before


def test_waits_double_up_to_the_longest() -> None:
    """0.5, 1, 2, … and never more than the longest, for however many failures."""
    backoff = Backoff(first_seconds=0.5, longest_seconds=5.0)

    assert [backoff.after(failures) for failures in (1, 2, 3, 4, 5, 10_000)] == [
        *(0.5, 1.0, 2.0),
        *(4.0, 5.0, 5.0),
    ]
