"""Which broker a machine gets, and what one that can have none is told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pointstream.operations import broker as broker_module
from pointstream.operations.broker import (
    BrokerControlError,
    BrokerStartError,
    BrokerUnavailableError,
    ContainerBroker,
    ExternalBroker,
    LocalBroker,
    broker_for_run,
    install,
)
from pointstream.operations.broker.container import docker_engine_answers


def _program(directory: Path, name: str, script: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is all the PATH there is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def _has_java(programs: Path, version: str = "21.0.2") -> None:
    _program(programs, "java", f"echo 'openjdk version \"{version}\"' >&2")


def test_a_named_cluster_comes_first(programs: Path) -> None:
    """KAFKA_BOOTSTRAP_SERVERS wins over whatever the machine could start."""
    _program(programs, "docker", "exit 0")
    _has_java(programs)

    chosen = broker_for_run(environ={"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})

    assert isinstance(chosen, ExternalBroker)
    assert chosen.bootstrap_servers == "kafka:9092"


def test_a_docker_engine_comes_second(programs: Path) -> None:
    """A container needs nothing else of the machine."""
    _program(programs, "docker", "exit 0")
    _has_java(programs)

    assert isinstance(broker_for_run(environ={}), ContainerBroker)


def test_a_docker_client_without_an_engine_is_none(programs: Path) -> None:
    """The client is often there alone; it says so with its exit code."""
    _program(programs, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    _program(programs, "mvn", "exit 0")
    _has_java(programs)

    assert isinstance(broker_for_run(environ={}), LocalBroker)


def test_a_docker_engine_that_hangs_is_none(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look takes no longer than its limit."""
    monkeypatch.setattr("pointstream.operations.broker.container._ENGINE_SECONDS", 0.2)
    _program(programs, "docker", "exec /bin/sleep 60")

    assert not docker_engine_answers()


def test_several_nodes_are_always_processes_of_this_machine(programs: Path) -> None:
    """Only those can be killed and frozen one by one."""
    _program(programs, "docker", "exit 0")
    _program(programs, "mvn", "exit 0")
    _has_java(programs)

    chosen = broker_for_run(3, environ={"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})

    assert isinstance(chosen, LocalBroker)
    assert chosen.nodes == 3


def test_a_bare_machine_is_told_what_to_install(
    programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every way out is named: Java and Maven, a Docker engine, a cluster of one's own."""
    monkeypatch.setattr(install, "_CHECKOUT", tmp_path / "no-cache-here")

    with pytest.raises(BrokerUnavailableError) as refused:
        broker_for_run(environ={})

    told = str(refused.value)
    assert "Java 17 or newer is not installed" in told
    assert "Maven (mvn) is not installed" in told
    assert "Docker engine" in told
    assert "KAFKA_BOOTSTRAP_SERVERS" in told
    assert "default-jre-headless, maven" in told


def test_a_java_that_is_too_old_is_named(programs: Path) -> None:
    """It is the version that is wrong, not the path."""
    _program(programs, "mvn", "exit 0")
    _has_java(programs, "11.0.20")

    with pytest.raises(BrokerUnavailableError, match="Java is version 11; Kafka needs 17"):
        broker_for_run(environ={})


def test_maven_is_not_asked_for_when_the_jars_are_there(
    programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine off the network runs from the cache of before."""
    checkout = tmp_path / "checkout"
    kept = checkout / ".cache" / "kafka" / install.kafka_version()
    kept.mkdir(parents=True)
    (kept / "pom.xml").write_bytes(install._POM.read_bytes())
    monkeypatch.setattr(install, "_CHECKOUT", checkout)
    _has_java(programs)

    assert install.kafka_classpath(lambda text: None) == str(kept / "*")


def test_a_maven_that_fails_leaves_no_half_cache(
    programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What Maven said is in the error, and the next run begins anew."""
    checkout = tmp_path / "checkout"
    monkeypatch.setattr(install, "_CHECKOUT", checkout)
    _has_java(programs)
    _program(programs, "mvn", "echo 'Could not resolve kafka_2.13'; exit 1")

    with pytest.raises(BrokerStartError, match=r"Could not resolve kafka_2\.13"):
        install.kafka_classpath(lambda text: None)

    assert list((checkout / ".cache" / "kafka").iterdir()) == []


def test_jars_of_another_pom_are_replaced(
    programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A changed pom of the same version must not run on the jars of before."""
    checkout = tmp_path / "checkout"
    kept = checkout / ".cache" / "kafka" / install.kafka_version()
    kept.mkdir(parents=True)
    (kept / "pom.xml").write_text("<project/>")
    (kept / "old.jar").touch()
    monkeypatch.setattr(install, "_CHECKOUT", checkout)
    _has_java(programs)
    _program(programs, "mvn", "exit 0")

    install.kafka_classpath(lambda text: None)

    assert not (kept / "old.jar").exists()
    assert (kept / "pom.xml").read_bytes() == install._POM.read_bytes()


def test_a_named_cluster_that_does_not_answer_is_an_error_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The address is named, and so is the variable that it came from."""
    monkeypatch.setattr("pointstream.operations.broker.external._ANSWER_SECONDS", 2.0)

    with pytest.raises(BrokerStartError, match=r"127\.0\.0\.1:9 .*KAFKA_BOOTSTRAP_SERVERS"):
        ExternalBroker("127.0.0.1:9").start()


@pytest.mark.parametrize("order", ["kill", "pause", "resume", "restart"])
def test_a_cluster_of_others_takes_no_fault_orders(order: str) -> None:
    """A test that wants to break nodes must have brought them."""
    with pytest.raises(BrokerControlError, match="cannot stop or freeze"):
        getattr(ExternalBroker("kafka:9092"), order)(1)


def test_a_broker_that_was_not_started_has_no_address() -> None:
    """Its ports are not chosen yet."""
    for broker in (LocalBroker(), ContainerBroker()):
        with pytest.raises(BrokerControlError, match="not been started"):
            _ = broker.bootstrap_servers


def test_a_start_that_fails_stops_what_it_had_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entering the context fails, so nobody else would stop it."""
    stopped: list[str] = []

    class Failing(broker_module.ExternalBroker):
        def start(self) -> None:
            raise BrokerStartError("no")

        def stop(self) -> None:
            stopped.append("stop")

    with pytest.raises(BrokerStartError), Failing("kafka:9092"):
        pass

    assert stopped == ["stop"]


def test_a_container_is_told_where_its_clients_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """It advertises the port of the host, not its own, and a restart keeps it."""
    made: list[_Container] = []

    def make(image: str) -> _Container:
        made.append(_Container(image))
        return made[0]

    monkeypatch.setattr("testcontainers.core.container.DockerContainer", make)
    monkeypatch.setattr(
        "pointstream.operations.broker.container.answering_nodes", lambda servers, seconds: 1
    )

    with ContainerBroker(overrides={"log.retention.ms": "1000"}) as broker:
        address = broker.bootstrap_servers
        broker.restart()

    [container] = made
    assert container.image == f"apache/kafka:{install.kafka_version()}"
    assert address == f"docker-host:{container.port}"
    assert f"CLIENTS://{address}," in container.environ["KAFKA_ADVERTISED_LISTENERS"]
    assert container.environ["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert container.environ["KAFKA_LOG_RETENTION_MS"] == "1000"
    assert container.orders == ["start", "restart", "stop"]


class _Container:
    """Stands in for testcontainers' container, client and all, and notes what it is told."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.port = 0
        self.environ: dict[str, str] = {}
        self.orders: list[str] = []

    def with_bind_ports(self, inside: int, outside: int) -> _Container:
        self.port = outside
        return self

    def with_env(self, name: str, value: str) -> None:
        self.environ[name] = value

    def get_docker_client(self) -> _Container:
        return self

    def get_wrapped_container(self) -> _Container:
        return self

    def host(self) -> str:
        return "docker-host"

    def start(self) -> None:
        self.orders.append("start")

    def restart(self, timeout: int) -> None:
        self.orders.append("restart")

    def stop(self) -> None:
        self.orders.append("stop")
