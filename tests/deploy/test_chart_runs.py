"""What the chart's pods are told, run as processes here: the topics' job, a worker, its end.

Kubernetes is played as far as that takes: variables expanded, ConfigMap and Secrets as files at
their mounts, the probes asked as the kubelet asks them, SIGTERM and the time of grace.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from chart_support import Document, one, pods, rendered

from pointstream.operations.ports import free_port

pytestmark = pytest.mark.broker

TOKEN = "what-readers-of-the-pages-know"
POD = "points-pointstream-0"


class Kubelet:
    """Starts the only container of a pod as a process, below a directory of its own."""

    def __init__(self, documents: list[Document], root: Path) -> None:
        self._documents = documents
        self._root = root

    def start(self, spec: Document) -> subprocess.Popen[bytes]:
        (container,) = spec["containers"]
        for mount in container["volumeMounts"]:
            self._mount(spec, mount["name"], mount["mountPath"])
        environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        for each in container["env"]:
            if "valueFrom" in each:
                assert each["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
            value = each.get("value", POD)
            # $(NAME) stands for a variable that was set before it.
            for name, said in environ.items():
                value = value.replace(f"$({name})", said)
            environ[each["name"]] = self._here(value)
        return subprocess.Popen(
            [sys.executable, "-m", "pointstream", *container["args"]],
            env=environ,
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            stdout=(self._root / "log").open("ab"),
        )

    def log(self) -> str:
        return (self._root / "log").read_text()

    def _mount(self, spec: Document, name: str, path: str) -> None:
        place = Path(self._here(path))
        place.mkdir(parents=True, exist_ok=True)
        for volume in spec["volumes"]:
            if volume["name"] != name:
                continue
            if "configMap" in volume:
                config = one(self._documents, "ConfigMap", volume["configMap"]["name"])
                for file, text in config["data"].items():
                    (place / file).write_text(self._here(text))
            elif "secret" in volume:
                assert volume["secret"]["secretName"] == "pointstream-web"
                (place / "token").write_text(TOKEN)

    def _here(self, text: str) -> str:
        """Paths of the container, as they are called on this machine."""
        for path in ("/etc/pointstream", "/var/lib/pointstream", "/tmp"):
            if text.startswith(path) or f" {path}/" in text:
                return text.replace(path, f"{self._root}{path}")
        return text


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield process


def ask(port: int, path: str, headers: Mapping[str, str] = {}) -> int:
    """The status of a page; 0 where nobody answers."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=dict(headers))
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_charts_own_pods_make_topics_and_run_a_worker(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The job ends well, the worker becomes ready by its probes, and leaves within its grace."""
    port = free_port()
    documents = rendered(
        "plain",
        {
            "kafka.bootstrapServers": bootstrap_servers,
            "settings.topic_prefix": topic_prefix,
            "settings.app_id": topic_prefix + "chart",
            "settings.partitions": 2,
            "settings.replication_factor": 1,
            "web.port": port,
            "programme": (Path(__file__).parents[1] / "chaos" / "programme.yaml").read_text(),
            "monitoring.podMonitor.enabled": True,
        },
    )
    specs = pods(documents)
    spec = specs["StatefulSet/points-pointstream"]
    (container,) = spec["containers"]
    kubelet = Kubelet(documents, tmp_path)

    for job in ("topics", "test"):
        with running(kubelet.start(specs[f"Job/points-pointstream-{job}"])) as process:
            assert process.wait(60) == 0, kubelet.log()
    with running(kubelet.start(spec)) as worker:
        deadline = time.monotonic() + 60
        while ask(port, container["readinessProbe"]["httpGet"]["path"]) != 200:
            assert worker.poll() is None, kubelet.log()
            assert time.monotonic() < deadline, kubelet.log()
            time.sleep(0.1)
        for probe in ("startup", "liveness", "readiness"):
            assert container[f"{probe}Probe"]["httpGet"]["port"] == "web"
            assert ask(port, container[f"{probe}Probe"]["httpGet"]["path"]) == 200
        (endpoint,) = one(documents, "PodMonitor")["spec"]["podMetricsEndpoints"]
        bearer = f"{endpoint['authorization']['type']} {TOKEN}"
        assert ask(port, endpoint["path"]) == 401
        assert ask(port, endpoint["path"], {"Authorization": bearer}) == 200
        worker.terminate()
        assert worker.wait(spec["terminationGracePeriodSeconds"]) == 0

    # It wrote to its volume, and nowhere else.
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert written == {"etc", "var", "tmp", "log"}
    assert any((tmp_path / "var/lib/pointstream/data").iterdir())
    assert not any((tmp_path / "tmp").iterdir())
