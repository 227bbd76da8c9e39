"""Kafka in a container, where a Docker engine answers; testcontainers removes it at the end."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from pointstream.operations.broker.base import Broker, answering_nodes
from pointstream.operations.broker.config import shared_settings
from pointstream.operations.broker.errors import BrokerControlError, BrokerStartError
from pointstream.operations.broker.install import kafka_version
from pointstream.operations.ports import free_port

__all__ = ["ContainerBroker", "docker_engine_answers"]

_CLIENTS_PORT = 9092
_START_SECONDS = 180.0
_ENGINE_SECONDS = 5.0


def docker_engine_answers() -> bool:
    """Whether an engine, not only its client, is there; a matter of seconds at most."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_ENGINE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


class ContainerBroker(Broker):
    """One Kafka node in a container, on a fixed free port so that it survives a restart."""

    kind = "Kafka in a container"

    def __init__(
        self,
        *,
        overrides: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._overrides = dict(overrides or {})
        self._say = say
        self._container: Any = None
        self._address = ""

    @property
    def bootstrap_servers(self) -> str:
        if not self._address:
            raise BrokerControlError("the broker has not been started")
        return self._address

    @property
    def nodes(self) -> int:
        return 1

    def start(self) -> None:
        # Imported late: it takes a second, and only this way of running needs it.
        from testcontainers.core.container import DockerContainer

        port = free_port()
        image = f"apache/kafka:{kafka_version()}"
        self._say(f"starting {image} in a container")
        container = DockerContainer(image).with_bind_ports(_CLIENTS_PORT, port)
        host = container.get_docker_client().host()
        for name, value in (_settings(host, port) | self._overrides).items():
            container.with_env("KAFKA_" + name.replace(".", "_").upper(), value)
        self._container = container
        container.start()
        self._address = f"{host}:{port}"
        self._await_ready()

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = None

    def kill(self, node: int = 1) -> None:
        self._wrapped(node).kill()

    def pause(self, node: int = 1) -> None:
        self._wrapped(node).pause()

    def resume(self, node: int = 1) -> None:
        self._wrapped(node).unpause()

    def restart(self, node: int = 1) -> None:
        self._wrapped(node).restart(timeout=15)
        self._await_ready()

    def _wrapped(self, node: int) -> Any:
        if self._container is None or node != 1:
            raise BrokerControlError(f"there is no node {node}; one container is all there is")
        return self._container.get_wrapped_container()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while answering_nodes(self._address, 5) == 0:
            if time.monotonic() > deadline:
                told = b"".join(self._container.get_logs()).decode(errors="replace")
                raise BrokerStartError(
                    f"the container was not ready within {_START_SECONDS:.0f} s:\n"
                    + "\n".join(told.splitlines()[-20:])
                )
            time.sleep(0.2)


def _settings(host: str, port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"CLIENTS://:{_CLIENTS_PORT},BROKER://:19092,CONTROLLER://:19093",
        # The node also talks to itself, and the published port does not exist inside.
        "advertised.listeners": f"CLIENTS://{host}:{port},BROKER://localhost:19092",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": (
            "CLIENTS:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "controller.quorum.voters": "1@localhost:19093",
        **shared_settings(nodes=1),
    }
