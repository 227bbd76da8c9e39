"""Apache Kafka itself as child processes of this one: KRaft mode, every node broker and controller.

Each node is a Java program under a guard (`guard`): the guard ends it when this process is gone,
by whatever means, and carries the fault orders. Nodes run in a session of their own, so that a
Ctrl-C in the terminal reaches the job first and the broker only when the job is done with it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pointstream.engine.access import Access
from pointstream.operations.broker.base import Broker, answering_nodes
from pointstream.operations.broker.config import log_properties, node_properties, shared_settings
from pointstream.operations.broker.errors import (
    BrokerControlError,
    BrokerStartError,
    BrokerUnavailableError,
)
from pointstream.operations.broker.install import java_executable, kafka_classpath
from pointstream.operations.broker.secured import Secured

__all__ = ["LocalBroker"]

_GUARD = Path(__file__).with_name("guard.py")
_HOST = "127.0.0.1"
# Below the range that the kernel takes client ports from: a client that keeps knocking at a
# killed node's port could otherwise be given that very port and connect to itself.
_PORTS = range(15_000, 30_000)
_START_ATTEMPTS = 3
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_STOP_SECONDS_TEMPORARY = 2.0
_QUICK_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-Xshare:auto")


class LocalBroker(Broker):
    """A cluster of ``nodes`` Kafka processes on free ports of the loopback address.

    Args:
        nodes: 1 or more; 3 is the least that goes on without one of them.
        data_dir: where it keeps its data; must not be another cluster's. None takes a temporary
            directory that `stop`, or the guard of a dead parent, removes.
        heap_mb: largest Java heap of a node, in MiB.
        secured: makes it ask who is there; None lets everybody do everything.
        overrides: Kafka settings on top of ours, on every node.
        say: told in one line what takes time.
    """

    kind = "Apache Kafka on this machine"

    def __init__(
        self,
        nodes: int = 1,
        *,
        data_dir: Path | None = None,
        heap_mb: int = 768,
        secured: Secured | None = None,
        overrides: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"nodes must be at least 1, not {nodes}")
        self._count = nodes
        self._data_dir = data_dir
        self._heap_mb = heap_mb
        self._secured = secured
        self._overrides = dict(overrides or {})
        self._say = say
        self._directory: Path | None = None
        self._classpath = ""
        self._nodes: list[_Node] = []

    @property
    def bootstrap_servers(self) -> str:
        if not self._nodes:
            raise BrokerControlError("the broker has not been started")
        return ",".join(f"{_HOST}:{node.port}" for node in self._nodes)

    @property
    def access(self) -> Access:
        """How to reach it; of a secured one as its superuser."""
        servers = self.bootstrap_servers
        return Access(servers) if self._secured is None else self._secured.access(servers)

    @property
    def tls_servers(self) -> str:
        """Of a secured one, where clients come with a certificate."""
        return ",".join(f"{_HOST}:{node.tls_port}" for node in self._nodes)

    @property
    def nodes(self) -> int:
        return self._count

    @property
    def data_directory(self) -> Path:
        """Where the nodes keep data and logs, one directory each; only while started."""
        if self._directory is None:
            raise BrokerControlError("the broker has not been started")
        return self._directory

    def start(self) -> None:
        """Bring, format and start every node; return when all of them know each other.

        Raises:
            BrokerUnavailableError: Java or Maven is missing.
            BrokerStartError: a node ended early, or they were not ready within two minutes.
        """
        if self._nodes:
            raise BrokerControlError("the broker is running already")
        self._classpath = kafka_classpath(self._say)
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                self._start_on_free_ports()
            except BrokerStartError as error:
                self.stop()
                # Somebody else took one of the ports between our look and Kafka's bind.
                if attempt == _START_ATTEMPTS or "in use" not in str(error):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        for node in self._nodes:
            node.order(b"C")
            node.order(b"T")
        # The last nodes of a cluster wait for a quorum that is gone, for no data that are kept.
        kept = self._data_dir is not None
        deadline = time.monotonic() + (_STOP_SECONDS if kept else _STOP_SECONDS_TEMPORARY)
        for node in self._nodes:
            if not node.ended(max(0.0, deadline - time.monotonic())):
                node.order(b"K")
                node.ended(_STOP_SECONDS)
            node.close()
        self._nodes = []
        if self._directory is not None and self._data_dir is None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    def kill(self, node: int = 1) -> None:
        self._running(node).order(b"K")
        self._node(node).ended(_STOP_SECONDS)

    def pause(self, node: int = 1) -> None:
        self._running(node).order(b"S")

    def resume(self, node: int = 1) -> None:
        self._running(node).order(b"C")

    def restart(self, node: int = 1) -> None:
        again = self._node(node)
        again.order(b"C")
        again.order(b"T")
        if not again.ended(_STOP_SECONDS):
            again.order(b"K")
            again.ended(_STOP_SECONDS)
        again.close()
        again.launch(self._java_command(again))
        self._await_ready([again])

    def _node(self, number: int) -> _Node:
        if not 1 <= number <= len(self._nodes):
            raise BrokerControlError(f"there is no node {number}; {len(self._nodes)} were started")
        return self._nodes[number - 1]

    def _running(self, number: int) -> _Node:
        node = self._node(number)
        if node.ended(0):
            raise BrokerControlError(f"node {number} is not running")
        return node

    def _start_on_free_ports(self) -> None:
        directory = self._data_dir or Path(tempfile.mkdtemp(prefix="pointstream-kafka-"))
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        ports = _free_ports(3 * self._count)
        nodes = [
            _Node(
                number=index + 1,
                port=ports[3 * index],
                controller_port=ports[3 * index + 1],
                tls_port=ports[3 * index + 2],
                directory=directory / f"node-{index + 1}",
                remove_when_orphaned=self._data_dir is None,
            )
            for index in range(self._count)
        ]
        voters = {node.number: node.controller_port for node in nodes}
        shared = shared_settings(self._count)
        for node in nodes:
            node.directory.mkdir(exist_ok=True)
            told = shared | self._overrides
            if self._secured is not None:
                told |= self._secured.properties(
                    _HOST, node.port, node.tls_port, node.controller_port
                )
            # Passwords are in it.
            node.properties.touch(mode=0o600)
            node.properties.write_text(
                node_properties(
                    node.number, _HOST, node.port, voters, node.directory / "data", told
                )
            )
            node.log_settings.write_text(log_properties(node.directory / "server.log"))
        self._format(nodes)
        self._say(f"starting Apache Kafka ({self._count} node{'s' * (self._count > 1)})")
        self._nodes = nodes
        for node in nodes:
            node.launch(self._java_command(node))
        self._await_ready(nodes)

    def _format(self, nodes: list[_Node]) -> None:
        """Give every node's data directory the id of the cluster; a formatted one keeps its own."""
        cluster_id = _cluster_id()
        formatting = [
            subprocess.Popen(
                [
                    _java(),
                    *_QUICK_JVM,
                    *node.log_flags,
                    "-cp",
                    self._classpath,
                    "kafka.tools.StorageTool",
                    "format",
                    "--ignore-formatted",
                    f"--cluster-id={cluster_id}",
                    f"--config={node.properties}",
                    *(self._secured.formatting(node.directory / "users") if self._secured else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for node in nodes
            if not (node.directory / "data" / "meta.properties").is_file()
        ]
        for process in formatting:
            told, _ = process.communicate()
            if process.returncode != 0:
                raise BrokerStartError(f"Kafka could not format its data directory:\n{told}")

    def _java_command(self, node: _Node) -> list[str]:
        return [
            _java(),
            f"-Xmx{self._heap_mb}m",
            f"-Xms{min(256, self._heap_mb)}m",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-Djava.awt.headless=true",
            *node.log_flags,
            "-cp",
            self._classpath,
            "kafka.Kafka",
            str(node.properties),
        ]

    def _await_ready(self, nodes: list[_Node]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        for node in nodes:
            # Each node names all that are up: one that answers with fewer is not ready yet.
            up = 0
            while up == 0 or (len(nodes) == self._count and up < self._count):
                if node.ended(0):
                    raise BrokerStartError(f"node {node.number} ended early:\n{node.last_words()}")
                if time.monotonic() > deadline:
                    raise BrokerStartError(
                        f"node {node.number} was not ready within {_START_SECONDS:.0f} s:\n"
                        f"{node.last_words()}"
                    )
                address = f"{_HOST}:{node.port}"
                if _listens(node.port):
                    up = answering_nodes(replace(self.access, bootstrap_servers=address), 5)
                if up < self._count:
                    time.sleep(0.1)


class _Node:
    """One Kafka process under its guard."""

    def __init__(
        self,
        number: int,
        port: int,
        controller_port: int,
        tls_port: int,
        directory: Path,
        remove_when_orphaned: bool,
    ) -> None:
        self.number = number
        self.port = port
        self.controller_port = controller_port
        self.tls_port = tls_port
        self.directory = directory
        self.properties = directory / "server.properties"
        self.log_settings = directory / "log4j2.properties"
        self._console = directory / "console.log"
        self._remove_when_orphaned = remove_when_orphaned
        self._guard: subprocess.Popen[bytes] | None = None
        #: Process id of Kafka itself, 0 before the first launch.
        self.pid = 0

    @property
    def log_flags(self) -> tuple[str, ...]:
        return (f"-Dlog4j2.configurationFile={self.log_settings.as_uri()}",)

    def launch(self, command: list[str]) -> None:
        remove = [f"--remove={self.directory}"] if self._remove_when_orphaned else []
        with self._console.open("ab") as console:
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(_GUARD),
                    f"--parent={os.getpid()}",
                    "--grace-seconds=10",
                    *remove,
                    "--",
                    *command,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                start_new_session=True,
            )
        if self._guard.stdout is None:
            raise AssertionError("the guard's output is a pipe")
        told = self._guard.stdout.readline()
        if not told:
            raise BrokerStartError(f"the guard of node {self.number} ended:\n{self.last_words()}")
        self.pid = int(told)

    def order(self, order: bytes) -> None:
        """Hand one order to the guard; one that has ended has nothing left to order."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._guard.stdin.write(order)
                self._guard.stdin.flush()

    def ended(self, within_seconds: float) -> bool:
        if self._guard is None:
            return True
        try:
            self._guard.wait(within_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        if self._guard is not None:
            for pipe in (self._guard.stdin, self._guard.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self._guard = None

    def last_words(self) -> str:
        lines: list[str] = []
        for log in (self._console, self.directory / "server.log"):
            if log.is_file():
                lines += log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join(lines) or "(it wrote no log)"


def _java() -> str:
    java = java_executable()
    if java is None:
        raise BrokerUnavailableError("Java is not installed.")
    return java


def _cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()
        if not text.startswith("-"):  # It would be read as an option.
            return text


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(_PORTS, len(_PORTS)):
            taken = held.enter_context(socket.socket())
            try:
                taken.bind((_HOST, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise BrokerStartError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
