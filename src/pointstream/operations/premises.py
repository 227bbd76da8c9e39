"""What a worker needs of its machine before it starts: a data directory and a port of its own."""

from __future__ import annotations

import errno
import fcntl
import socket
import time
from pathlib import Path
from typing import IO, Any

__all__ = ["LOCK_FILE", "PremisesError", "claim_directory", "require_free_port"]

#: In the data directory; locked for the life of the worker that owns it.
LOCK_FILE = ".lock"
# An owner that is just going is waited for: a supervisor that was killed takes its worker along,
# and the worker closes its files first.
_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class PremisesError(Exception):
    """A directory or a port cannot be had; the message is a sentence for the operator."""


def claim_directory(path: Path, *, wait_seconds: float = _WAIT_SECONDS) -> IO[bytes]:
    """Create the directory where it is missing, and lock it against any other worker.

    The lock lasts until the returned file is closed or the process ends, however it ends. An
    owner is given `wait_seconds` to go.

    Raises:
        PremisesError: it cannot be created or written to, or another worker has it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / LOCK_FILE).open("ab")
    except OSError as error:
        raise PremisesError(
            f"the data directory {path} can't be used: {error.strerror}; "
            "name another with --data-dir, or make it writable"
        ) from error
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.close()
                raise PremisesError(
                    f"the data directory {path} belongs to another worker that is running; "
                    "give each worker its own with --data-dir"
                ) from None
        except OSError as error:
            file.close()
            raise PremisesError(
                f"the data directory {path} can't be locked: {error.strerror}"
            ) from error
        time.sleep(_LOOK_SECONDS)


def require_free_port(host: str, port: int) -> None:
    """Check that a server can listen there.

    Raises:
        PremisesError: the port is taken, or the host is no address of this machine.
    """
    bound, problem = False, None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        found, problem = [], error
    for family, kind, protocol, _, address in found:
        try:
            _bind_once(family, kind, protocol, address)
            bound = True
        except OSError as error:
            problem = error
            if error.errno == errno.EADDRINUSE:
                raise PremisesError(
                    f"the port {port} of {host} is taken; "
                    "name another with --web-port, 0 for no web page"
                ) from error
    if not bound and problem is not None:
        # A name may stand for an address of a kind that this machine lacks, besides one that it
        # has.
        raise PremisesError(
            f"no web page can be served at {host}:{port}: {problem.strerror}; "
            "correct POINTSTREAM_WEB_HOST"
        ) from problem


def _bind_once(family: int, kind: int, protocol: int, address: Any) -> None:
    with socket.socket(family, kind, protocol) as probe:
        # As the server will: connections of an earlier one that are still closing don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
