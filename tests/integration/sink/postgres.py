"""A PostgreSQL of the test's own, which can be killed and comes back with its data."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psycopg

from pointstream.operations.processes import ends_with_parent

__all__ = ["Postgres", "port_to_keep"]

_START_SECONDS = 30.0
# Below the range that the kernel takes client ports from, so that a restart finds its port free.
_PORTS = iter(range(13_000 + os.getpid() % 900, 14_000))


def port_to_keep() -> int:
    """A free port that no client is given while the server is away."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


class Postgres:
    """A server on a free port of the loopback address; use as a context manager."""

    user = "postgres"

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not below pytest's directories, which only their owner may enter.
        self._home = Path(tempfile.mkdtemp(prefix="pointstream-postgres-"))
        # It refuses to be root.
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._home, "postgres", "postgres")
            self._as_user = {"user": "postgres", "group": "postgres", "extra_groups": ()}
        self.port = port_to_keep()
        self._log = self._home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For JDBC."""
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        try:
            self._run(
                "initdb",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "--pgdata=data",
            )
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers: after a crash, when it has recovered."""
        deadline = time.monotonic() + _START_SECONDS
        self._launch()
        while True:
            with contextlib.suppress(psycopg.OperationalError), self.connect():
                return
            assert self._process is not None
            if self._process.poll() is not None:
                # After a kill it won't start before the last of its children is gone.
                self._launch()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9 of the server; its children find out and end by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def run(self, *files: Path) -> None:
        """Run SQL files, as `psql -f` does."""
        with self.connect() as connection:
            for file in files:
                # Without parameters: the driver then takes several statements at once.
                connection.execute(file.read_bytes())

    def change(self, statement: str) -> None:
        """Run one statement that gives nothing back."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def rows(self, query: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    "data",
                    "-p",
                    str(self.port),
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "unix_socket_directories=",
                    # The process is killed, not the machine: what was written stays.
                    "-c",
                    "fsync=off",
                ],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGQUIT),
                **self._as_user,
            )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._home,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        assert done.returncode == 0, done.stdout + done.stderr
