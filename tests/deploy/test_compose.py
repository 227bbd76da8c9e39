"""The compose file and what it mounts, held to the project; read as Docker Compose reads it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointstream.operations.broker.config import shared_settings
from pointstream.operations.broker.install import kafka_version
from pointstream.operations.settings import Settings
from programs import compose_spec, promtool

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

Service = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    """By name, with everything merged, checked by the schema of the Compose Specification."""
    told = subprocess.run(
        [compose_spec(), "-format", "json", "compose.yaml"],
        cwd=COMPOSE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, Service] = json.loads(told.stdout)["services"]
    return found


def workers(services: dict[str, Service]) -> dict[str, Service]:
    return {name: each for name, each in services.items() if name.startswith("worker-")}


def test_a_mistake_in_it_would_be_found(tmp_path: Path) -> None:
    """The reader refuses what the specification does not have."""
    text = (COMPOSE / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("stop_grace_period", "stop_grace"))

    told = subprocess.run(
        [compose_spec(), "compose.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert told.returncode != 0
    assert "stop_grace" in told.stderr


def test_kafka_is_the_one_that_the_tests_run(services: dict[str, Service]) -> None:
    """In its version, and in those of its settings that are told here."""
    kafka = services["kafka"]
    tested = {f"KAFKA_{k.replace('.', '_').upper()}": v for k, v in shared_settings(1).items()}
    own = {"PROCESS", "NODE", "CONTROLLER", "LISTENERS", "ADVERTISED", "LISTENER", "INTER", "LOG"}
    told = {k: v for k, v in kafka["environment"].items() if k.split("_")[1] not in own}

    assert kafka["image"] == f"apache/kafka:{kafka_version()}"
    assert told.items() <= tested.items()
    assert {"KAFKA_AUTO_CREATE_TOPICS_ENABLE", "KAFKA_MIN_INSYNC_REPLICAS"} <= told.keys()
    listeners = dict(
        each.split("://") for each in kafka["environment"]["KAFKA_LISTENERS"].split(",")
    )
    for name, address in (
        each.split("://") for each in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    ):
        assert address.rpartition(":")[2] == listeners[name].rpartition(":")[2]


def test_images_are_pinned(services: dict[str, Service]) -> None:
    """By a full version; the own ones are the project's."""
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert re.match(r"v?\d+\.\d+", tag), name
        if image.startswith("pointstream"):
            assert tag == VERSION
            assert "build" in service
    for stage in re.findall(r"^FROM (\S+)", (COMPOSE / "connect.Dockerfile").read_text(), re.M):
        assert re.search(r":\d+\.\d+\.\d+", stage)


def test_every_variable_is_a_setting_and_they_go_together(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker has a name, an address and a volume of its own, and pages behind a token."""
    names, volumes = set(), set()
    for name, service in (workers(services) | {"topics": services["topics"]}).items():
        with monkeypatch.context() as patch:
            for variable, value in service["environment"].items():
                field = variable.removeprefix("POINTSTREAM_").lower()
                assert field in Settings.model_fields or variable == "KAFKA_BOOTSTRAP_SERVERS"
                patch.setenv(variable, value)
            settings = Settings()
        assert settings.web_exposed() is None
        assert settings.bootstrap_servers == "kafka:19092"
        assert settings.replication_factor == 1
        if name == "topics":
            continue
        assert settings.group_instance_id == name
        assert settings.advertised_url == f"http://{name}:6066"
        assert str(settings.web_token_file) == "/run/secrets/web-token"
        assert [secret["source"] for secret in service["secrets"]] == ["web-token"]
        names.add(settings.group_instance_id)
        (volume,) = service["volumes"]
        assert volume["target"] == "/var/lib/pointstream"
        volumes.add(volume["source"])
    assert len(names) == len(volumes) == 2


def test_nothing_is_open_to_other_machines(services: dict[str, Service]) -> None:
    """Ports on loopback; passwords by files; our own containers may next to nothing."""
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name
        for variable, value in (service.get("environment") or {}).items():
            secret = re.search("PASSWORD|TOKEN", variable)
            assert not secret or value.startswith("/run/secrets/"), variable
        if service["image"].startswith("pointstream"):
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
        if service["image"].startswith("pointstream:"):
            assert service["read_only"] is True
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/deploy/compose/secrets/" in ignored


def test_each_waits_for_what_it_needs(services: dict[str, Service]) -> None:
    """Topics for the broker, workers for the topics; nothing waits for a profile that is off."""
    waits = {
        name: {other: how["condition"] for other, how in each.get("depends_on", {}).items()}
        for name, each in services.items()
    }

    assert waits["topics"] == {"kafka": "service_healthy"}
    for name in workers(services):
        assert waits[name] == {"topics": "service_completed_successfully"}
    assert waits["tables"] == {"postgres": "service_healthy"}
    assert waits["connect"]["tables"] == "service_completed_successfully"
    for name, others in waits.items():
        for other, condition in others.items():
            profiles = set(services[other].get("profiles", ()))
            assert profiles <= set(services[name].get("profiles", ())), f"{name} waits for {other}"
            if condition == "service_healthy":
                assert services[other]["healthcheck"]["test"]


def test_what_is_mounted_is_there(services: dict[str, Service]) -> None:
    """A file that is missing would be mounted as an empty directory."""
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), f"{name}: {volume['source']}"
                assert volume["read_only"] is True
        if build := service.get("build"):
            assert (Path(build["context"]) / build["dockerfile"]).is_file()


def test_prometheus_takes_its_file_and_asks_every_worker(
    services: dict[str, Service], tmp_path: Path
) -> None:
    """promtool finds nothing wrong, with the rules as they are mounted."""
    mounted = {v["target"]: v["source"] for v in services["prometheus"]["volumes"]}
    text = Path(mounted["/etc/prometheus/prometheus.yml"]).read_text()
    (config,) = yaml.safe_load(text)["scrape_configs"]
    (rules,) = yaml.safe_load(text)["rule_files"]
    assert config["static_configs"] == [{"targets": [f"{name}:6066" for name in workers(services)]}]
    assert config["authorization"] == {"credentials_file": "/run/secrets/web-token"}
    # Where the container has them, on this machine.
    (tmp_path / "token").write_text("a-token-of-this-test")
    here = text.replace("/etc/prometheus/rules", mounted["/etc/prometheus/rules"])
    (tmp_path / "prometheus.yml").write_text(
        here.replace("/run/secrets/web-token", str(tmp_path / "token"))
    )

    told = subprocess.run(
        [promtool(), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert rules == "/etc/prometheus/rules/*.yml"
    assert told.returncode == 0, told.stderr
    found = sorted(Path(mounted["/etc/prometheus/rules"]).glob("*.yml"))
    assert found
    assert all(str(each) in told.stdout for each in found)


def test_grafana_is_provisioned_with_the_dashboards(services: dict[str, Service]) -> None:
    """Its provider looks where they are mounted; its data source is the Prometheus of here."""
    mounted = {v["target"]: Path(v["source"]) for v in services["grafana"]["volumes"]}
    provisioning = "/etc/grafana/provisioning"
    boards = yaml.safe_load(mounted[f"{provisioning}/dashboards/pointstream.yml"].read_text())[
        "providers"
    ]
    sources = yaml.safe_load(mounted[f"{provisioning}/datasources/pointstream.yml"].read_text())[
        "datasources"
    ]

    (path,) = (provider["options"]["path"] for provider in boards)
    assert [*mounted[path].glob("*.json")]
    (source,) = sources
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert services["prometheus"]["ports"][0]["target"] == 9090


def test_connect_runs_every_sink(services: dict[str, Service]) -> None:
    """All connectors of deploy/connect, by the command that its README tells."""
    text = (COMPOSE / "connect.Dockerfile").read_text()
    connectors = {path.name for path in (ROOT / "deploy" / "connect").glob("*.json")}
    entry = json.loads(text.partition("ENTRYPOINT ")[2])[-1]

    assert set(re.findall(r"[\w-]+\.json", entry)) == connectors
    copied = re.findall(r"^COPY ((?!--from).*) \./$", text, re.M)
    for name in " ".join(copied).split():
        assert (ROOT / "deploy" / "connect" / name).is_file()
    assert connectors < {*" ".join(copied).split()}
    told = services["connect"]["environment"].keys()
    asked = set(
        re.findall(
            r"\$\{env:(\w+)\}",
            "".join(
                (ROOT / "deploy" / "connect" / name).read_text()
                for name in (*connectors, "worker.properties")
            ),
        )
    )
    assert asked == {each.removesuffix("_FILE") for each in told}


def test_the_linter_finds_nothing() -> None:
    """hadolint, as with the workers' own."""
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    assert hadolint is not None
    told = subprocess.run(
        [hadolint, "--no-color", str(COMPOSE / "connect.Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stdout) == (0, "")


@contextmanager
def pages(answers: dict[str, str]) -> Iterator[int]:
    """A web server that has these; returns its port."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = answers.get(self.path)
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("service", "path", "answer", "healthy"),
    [
        ("worker-1", "/readyz", "", True),
        ("worker-1", "/healthz", "", False),
        ("connect", "/connectors?expand=status", '{"a": {"state": "RUNNING"}}', True),
        ("connect", "/connectors?expand=status", '[{"state":"RUNNING"},{"state":"FAILED"}]', False),
        ("connect", "/connectors?expand=status", "{}", False),
    ],
)
def test_health_is_what_the_pages_say(
    services: dict[str, Service], service: str, path: str, answer: str, healthy: bool
) -> None:
    """The checks, run as they stand there, but for the port."""
    kind, *command = services[service]["healthcheck"]["test"]
    # The specification's sign for a $ that is not to be replaced.
    command = [word.replace("$$", "$") for word in command]
    with pages({path: answer}) as port:
        words = [re.sub(r"\b(6066|8083)\b", str(port), word) for word in command]
        if words[0] == "python":
            words[0] = sys.executable
        asked = subprocess.run(words, capture_output=True, timeout=20, check=False)

    assert kind == "CMD"
    assert (asked.returncode == 0) is healthy, asked.stderr
