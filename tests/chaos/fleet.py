"""Worker processes under a test's own hand: started, killed, frozen, and asked what they said."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import orjson

from pointstream.operations.processes import ends_with_parent

__all__ = ["EXIT_FAULT", "Fleet", "WorkerProcess"]

#: What a worker ends with that met a fault; see `engine.app`.
EXIT_FAULT = 70
# Below the range that the kernel takes client ports from, so that a restart finds its port free.
_PORTS = iter(range(14_000 + os.getpid() % 900, 15_000))


class WorkerProcess:
    """One `pointstream worker`, without a supervisor: a kill -9 hits the worker itself."""

    def __init__(self, number: int, home: Path, environ: Mapping[str, str]) -> None:
        self.number = number
        self.data_dir = home / "data"
        self.log_file = home / "worker.log"
        self.lives = 0
        self.frozen = False
        port = _free_port()
        self.web_address = f"http://127.0.0.1:{port}"
        #: Both of its next life.
        self.command = [sys.executable, "-m", "pointstream", "worker"]
        self.environ = {
            **environ,
            "POINTSTREAM_DATA_DIR": str(self.data_dir),
            "POINTSTREAM_WEB_PORT": str(port),
        }
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the latest life; negative for a signal, None while it lasts."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        assert not self.running
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGKILL),
            )
        self.lives += 1
        self.frozen = False

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def stop(self, within_seconds: float = 60.0) -> tuple[int, float]:
        """SIGTERM; returns the exit code and the seconds it took. Fails if it doesn't end."""
        assert self._process is not None
        started = time.monotonic()
        self._process.terminate()
        try:
            code = self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"worker {self.number} did not stop within {within_seconds} s:\n{self.log_end()}"
            ) from None
        return code, time.monotonic() - started

    @property
    def left_behind(self) -> bool:
        """Whether any process of its session is still there."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def said(self) -> Iterator[dict[str, Any]]:
        """Its log, line by line; what is no JSON counts as an `event` of its own."""
        if self.log_file.exists():
            for line in self.log_file.read_bytes().splitlines():
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    yield {"event": line.decode(errors="replace")}

    def has_said(self, words: str, **fields: Any) -> bool:
        """Whether a line's event contains `words` and the line has these fields."""
        return any(
            words in str(line.get("event")) and fields.items() <= line.items()
            for line in self.said()
        )

    def faults(self) -> list[str]:
        """The names of the faults that ended its lives."""
        return [str(line["fault"]) for line in self.said() if "fault" in line]

    def log_end(self, lines: int = 25) -> str:
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


class Fleet:
    """So many workers of one programme; use as a context manager, which leaves none alive."""

    def __init__(
        self, count: int, directory: Path, servers: str, name: str, **settings: object
    ) -> None:
        """`name` is the group and, with a dot, the topic prefix; `settings` as in `Settings`."""
        self.servers = servers
        self.app_id = name
        self.prefix = f"{name}."
        chosen = {
            "app_id": name,
            "topic_prefix": self.prefix,
            "partitions": 6,
            "programme_file": Path(__file__).with_name("programme.yaml"),
            "session_timeout_ms": 3_000,
            # Small transactions, so that a fault finds one under way.
            "max_batch_records": 200,
            **settings,
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("POINTSTREAM_")}
        environ = {
            **inherited,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            **{f"POINTSTREAM_{key.upper()}": str(value) for key, value in chosen.items()},
        }
        self.workers = [
            WorkerProcess(n, directory / f"worker-{n}", environ) for n in range(1, count + 1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            if worker.running:
                worker.kill()

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def stop(self) -> dict[int, int]:
        """Stop all at once; returns the exit codes by number."""
        running = [worker for worker in self.workers if worker.running]
        for worker in running:
            os.kill(worker.pid, signal.SIGTERM)
        return {worker.number: worker.stop()[0] for worker in running}

    def faults(self) -> list[str]:
        return [fault for worker in self.workers for fault in worker.faults()]

    def log_ends(self) -> str:
        return "\n".join(f"-- worker {w.number}:\n{w.log_end()}" for w in self.workers)


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port for a worker's web page")
