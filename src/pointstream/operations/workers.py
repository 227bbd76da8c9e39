"""Worker processes of one machine: started under supervision, asked how they are, stopped.

Each has a data directory, a log file and a web port of its own. They end with the process that
started them, also when that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointstream.operations.lifetime import Lifetime
from pointstream.operations.ports import free_port
from pointstream.operations.processes import ends_with_parent
from pointstream.operations.settings import Settings

__all__ = ["Worker", "WorkerFailedError", "WorkerGroup"]

_STOP_SECONDS = 20.0
_LOG_LINES_TOLD = 15


class WorkerFailedError(Exception):
    """A worker ended for good; the message carries the end of its log."""


@dataclass(slots=True)
class Worker:
    """One worker under its supervisor."""

    number: int
    web_address: str
    log_file: Path
    process: subprocess.Popen[bytes]
    web_token: str | None = None
    """What its pages ask for."""

    def status(self) -> Mapping[str, Any] | None:
        """What the worker says of itself; None while it doesn't answer."""
        try:
            asked = urllib.request.Request(f"{self.web_address}/status")
            if self.web_token is not None:
                asked.add_header("Authorization", f"Bearer {self.web_token}")
            with urllib.request.urlopen(asked, timeout=2) as answer:
                said = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return None
        return said if isinstance(said, dict) else None

    def log_end(self) -> str:
        """The last lines of the log."""
        with contextlib.suppress(OSError):
            lines = self.log_file.read_text(errors="replace").splitlines()
            return "\n".join(lines[-_LOG_LINES_TOLD:])
        return ""


class WorkerGroup(Lifetime):
    """So many workers with the same settings; use as a context manager."""

    def __init__(self, settings: Settings, count: int, directory: Path) -> None:
        self._settings = settings
        self._count = count
        self._directory = directory
        self.workers: list[Worker] = []

    def start(self) -> None:
        """Start all; they are not ready yet when this returns, see `ready`."""
        for number in range(1, self._count + 1):
            self.workers.append(self._start(number))

    def _start(self, number: int) -> Worker:
        settings = self._settings
        home = self._directory / f"worker-{number}"
        home.mkdir(parents=True, exist_ok=True)
        port = free_port()
        address = f"http://{settings.web_host}:{port}"
        update: dict[str, object] = {
            "data_dir": home / "data",
            "web_port": port,
            "advertised_url": address,
        }
        if settings.group_instance_id is not None:
            # Two workers of one name would throw each other out of the group for ever.
            update["group_instance_id"] = f"{settings.group_instance_id}-{number}"
        own = settings.model_copy(update=update)
        environ = {**os.environ, **own.environ()}
        log_file = home / "worker.log"
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pointstream", "worker", "--supervise"],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C is for the one who started them; they are stopped in order after it.
                start_new_session=True,
                # Nothing may outlive a killed parent.
                preexec_fn=ends_with_parent(signal.SIGTERM),
            )
        return Worker(number, address, log_file, process, settings.read_web_token())

    def check(self) -> None:
        """Raise `WorkerFailedError` when a supervisor has ended."""
        for worker in self.workers:
            code = worker.process.poll()
            if code is not None:
                raise WorkerFailedError(
                    f"worker {worker.number} ended with exit code {code}; the end of its log "
                    f"({worker.log_file}):\n{worker.log_end()}"
                )

    def owned(self) -> list[list[int]]:
        """For each worker, the partitions that it owns and processes."""
        return [
            [
                int(partition["partition"])
                for partition in (worker.status() or {}).get("partitions", ())
                if partition.get("phase") == "running"
            ]
            for worker in self.workers
        ]

    def ready(self) -> bool:
        """Whether each partition is processed by one worker, and each worker has its share."""
        owned = self.owned()
        partitions = sorted(partition for own in owned for partition in own)
        with_share = sum(1 for own in owned if own)
        every = self._settings.partitions
        return partitions == list(range(every)) and with_share == min(every, len(owned))

    def stop(self) -> None:
        """Stop all: politely, then not."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self.workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                # The supervisor's own child gets a signal from the kernel when it goes.
                worker.process.kill()
                worker.process.wait()
