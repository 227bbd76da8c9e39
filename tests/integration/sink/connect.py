"""A Kafka Connect of the test's own, with the files of `deploy/connect` as they stand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from pointstream.operations.broker.config import log_properties
from pointstream.operations.broker.install import java_executable, missing_for_kafka
from pointstream.operations.broker.jars import bring_jars, jars_installed
from pointstream.operations.processes import ends_with_parent

from .postgres import Postgres, port_to_keep

__all__ = ["CONNECTORS", "DEPLOY", "Connect"]

DEPLOY = Path(__file__).resolve().parents[3] / "deploy" / "connect"
CONNECTORS = ("balance-changes", "crm-sync", "mall-sync")

_POM = DEPLOY / "pom.xml"
_JARS = Path(__file__).resolve().parents[3] / ".cache" / "connect"
_START_SECONDS = 60.0
#: What a test on one machine may have otherwise than a deployment: it is to be up soon.
_QUICK_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx384m", "-Xshare:auto")


def _missing() -> list[str]:
    if missing := missing_for_kafka():
        return missing
    if shutil.which("mvn") or jars_installed(_POM, _JARS):
        return []
    return ["Maven (mvn) is not installed; it brings Kafka Connect's jars."]


class Connect:
    """A standalone worker with the three sinks; use as a context manager, which leaves none alive.

    Args:
        prefix: of the topics, in the place of `points.`; it is part of the connectors' names too,
            and so of their consumer groups.
        changes: settings of the connectors that a test wants otherwise.
    """

    def __init__(
        self,
        directory: Path,
        servers: str,
        prefix: str,
        database: Postgres,
        *,
        connectors: Iterable[str] = CONNECTORS,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        if missing := _missing():
            pytest.skip(" ".join(missing))
        bring_jars(_POM, _JARS, "Kafka Connect", lambda text: None)
        directory.mkdir(parents=True)
        self._log = directory / "connect.log"
        self._address = f"http://127.0.0.1:{port_to_keep()}"
        self._files = [directory / "worker.properties"]
        self._files[0].write_text(
            (DEPLOY / "worker.properties").read_text()
            + f"listeners={self._address}\n"
            + f"offset.storage.file.filename={directory / 'offsets'}\n"
            + "offset.flush.interval.ms=500\n"
            + "consumer.session.timeout.ms=4000\nconsumer.heartbeat.interval.ms=1000\n"
        )
        self.names: list[str] = []
        for name in connectors:
            told = json.loads((DEPLOY / f"{name}.json").read_text())
            assert told["config"]["topics"] == f"points.{name}"
            told["name"] = prefix + name
            told["config"] |= {"topics": prefix + name, **(changes or {})}
            self.names.append(told["name"])
            self._files.append(directory / f"{name}.json")
            self._files[-1].write_text(json.dumps(told))
        self._log_settings = directory / "log4j2.properties"
        self._log_settings.write_text(log_properties(self._log))
        self._environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "SINK_DATABASE_URL": database.url,
            "SINK_DATABASE_USER": database.user,
            "SINK_DATABASE_PASSWORD": "not asked for",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        """Start it; `until_running` waits for its tasks."""
        java = java_executable()
        assert java is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    java,
                    *_QUICK_JVM,
                    f"-Dlog4j2.configurationFile={self._log_settings.as_uri()}",
                    "-cp",
                    f"{_JARS}/*",
                    "org.apache.kafka.connect.cli.ConnectStandalone",
                    *map(str, self._files),
                ],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGKILL),
            )

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def states(self) -> dict[str, str]:
        """The state of each connector's task; empty while it does not answer."""
        return {
            name: task["state"]
            for name, told in self._asked("/connectors?expand=status").items()
            for task in told["status"]["tasks"]
        }

    def trace(self, name: str) -> str:
        """Why a connector's task failed."""
        (task,) = self._asked(f"/connectors/{name}/status")["tasks"]
        return str(task.get("trace", ""))

    def restart_failed(self) -> list[str]:
        """Restart the tasks that failed, as operators and Strimzi's `autoRestart` do; returns why
        they had."""
        failed = [name for name, state in self.states().items() if state == "FAILED"]
        told = [self.trace(name) for name in failed]
        for name in failed:
            request = urllib.request.Request(
                f"{self._address}/connectors/{name}/restart?includeTasks=true&onlyFailed=true",
                method="POST",
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30):
                pass
        return told

    def until_running(self) -> None:
        """Wait until every task runs."""
        self.until(lambda: self.states() == dict.fromkeys(self.names, "RUNNING"), "running tasks")

    def until(
        self, condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS
    ) -> None:
        """Wait for a condition; fail when it does not come about, or when the worker has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, self.log_end()
            assert time.monotonic() < deadline, (
                f"{what} did not come about; {self.states()}:\n{self.log_end()}"
            )
            time.sleep(0.1)

    def log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-60:])

    def _asked(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._address}{path}", timeout=5) as said:
                return dict(json.load(said))
        except (urllib.error.URLError, OSError):
            return {}
