"""A data directory and a port of a worker's own: had, or refused in a sentence."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pointstream.operations.premises import PremisesError, claim_directory, require_free_port

_OWNER = """
import pathlib, sys, time
from pointstream.operations.premises import claim_directory
lock = claim_directory(pathlib.Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(float(sys.argv[2]))
"""


def _owner(directory: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A process that has the directory for so long."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(directory), str(seconds)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"mine\n"
    return process


def test_a_directory_has_one_owner(tmp_path: Path) -> None:
    """It is created; a second claim names it and says what to do; the end of the first frees it."""
    directory = tmp_path / "new" / "data"
    with claim_directory(directory):
        with pytest.raises(PremisesError, match="belongs to another worker") as refused:
            claim_directory(directory, wait_seconds=0)
        assert str(directory) in str(refused.value)
        assert "\n" not in str(refused.value)

    claim_directory(directory, wait_seconds=0).close()


def test_a_killed_owner_leaves_no_claim(tmp_path: Path) -> None:
    """The kernel gives the lock back, whatever ended the process."""
    owner = _owner(tmp_path, 60)
    with pytest.raises(PremisesError):
        claim_directory(tmp_path, wait_seconds=0)

    owner.kill()
    owner.wait()

    claim_directory(tmp_path, wait_seconds=0).close()


def test_an_owner_that_is_going_is_waited_for(tmp_path: Path) -> None:
    """A restart does not fail on the last moments of the worker before it."""
    owner = _owner(tmp_path, 1.0)
    began = time.monotonic()

    claim_directory(tmp_path, wait_seconds=20).close()

    assert time.monotonic() - began < 15
    assert owner.wait() == 0


@pytest.mark.parametrize("where", ["below a file", "where nobody may write"])
def test_a_directory_that_cannot_be_used_is_refused(where: str, tmp_path: Path) -> None:
    """Not creatable, not writable: one sentence with its name."""
    if where == "below a file":
        (tmp_path / "file").touch()
        directory = tmp_path / "file" / "data"
    else:
        # Not even root writes there.
        directory = Path("/proc")
        if not directory.is_dir():
            pytest.skip("no /proc here")

    with pytest.raises(PremisesError, match=f"{directory} can't be used"):
        claim_directory(directory)


def test_a_taken_port_is_refused_and_a_free_one_is_left_free() -> None:
    """The check itself holds nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PremisesError, match=f"port {port} of 127.0.0.1 is taken"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """And the setting that gives it is named."""
    with pytest.raises(PremisesError, match=r"no web page .*POINTSTREAM_WEB_HOST"):
        require_free_port(host, 6066)
