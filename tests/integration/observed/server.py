"""A Prometheus of the test's own, and what it answers."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pointstream.operations.ports import free_port
from pointstream.operations.processes import ends_with_parent
from programs import prometheus

from .rules import DEPLOY, RULES, shortened

__all__ = ["Prometheus", "Sample"]

Sample = tuple[dict[str, str], float]
_EVERY = "500ms"
_PATIENCE_SECONDS = 60.0


class Prometheus:
    """Scrapes workers twice a second and reckons the shortened rules as often.

    Its configuration is the example's of deploy/prometheus, but for the intervals.
    """

    def __init__(self, directory: Path, targets: Iterable[str]) -> None:
        """`targets` are host:port of the workers."""
        self._home = directory
        (directory / "rules").mkdir(parents=True)
        (directory / "workers").mkdir()
        for file in RULES:
            (directory / "rules" / file.name).write_text(shortened(file.read_text()))
        told = json.dumps([{"targets": [*targets]}])
        (directory / "workers" / "targets.json").write_text(told)
        self._config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        self._config["global"] = {
            "scrape_interval": _EVERY,
            "scrape_timeout": _EVERY,
            "evaluation_interval": _EVERY,
        }
        self._write()
        self.address = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._home / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    prometheus(),
                    f"--config.file={self._home / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._home / 'data'}",
                    f"--web.listen-address={self.address.removeprefix('http://')}",
                    "--web.enable-lifecycle",
                ],
                stdout=log,
                stderr=log,
                preexec_fn=ends_with_parent(signal.SIGKILL),
            )
        self.until(self._answers, "an answer of Prometheus")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def drop(self, *metrics: str) -> None:
        """Have it drop metrics of these names from now on, as a relabelling rule would; all are
        kept again without any."""
        scrape = self._config["scrape_configs"][0]
        scrape["metric_relabel_configs"] = [
            {"source_labels": ["__name__"], "regex": metric, "action": "drop"} for metric in metrics
        ]
        self._write()
        asked = urllib.request.Request(f"{self.address}/-/reload", method="POST")
        urllib.request.urlopen(asked, timeout=5).close()

    def query(self, expr: str) -> list[Sample]:
        """Return the labels and values of an instant vector. Fails if it is not accepted."""
        form = urllib.parse.urlencode({"query": expr}).encode()
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/query", form, timeout=5) as answer:
                said = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}\n{error.read().decode()}") from None
        assert said["resultType"] == "vector", expr
        return [(sample["metric"], float(sample["value"][1])) for sample in said["result"]]

    def firing(self, alert: str) -> list[dict[str, str]]:
        """Return the labels of each firing alert of a name."""
        return [
            labels
            for labels, _ in self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
        ]

    def until_fires(self, *alerts: str, **labels: str) -> None:
        """Wait until each of the alerts fires, with these labels where it has them."""

        def fire() -> bool:
            return all(
                any(
                    all(found.get(name, value) == value for name, value in labels.items())
                    for found in self.firing(alert)
                )
                for alert in alerts
            )

        self.until(fire, lambda: f"{alerts} with {labels}; firing: {self._all_firing()}")

    def until_quiet(self, *alerts: str) -> None:
        """Wait until none of the alerts fires."""
        self.until(
            lambda: not any(map(self.firing, alerts)),
            lambda: f"silence of {alerts}; firing: {self._all_firing()}",
        )

    def until(self, condition: Callable[[], bool], what: str | Callable[[], object]) -> None:
        """Wait for a condition; fail when it does not come about."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            words = what if isinstance(what, str) else what()
            assert time.monotonic() < deadline, f"{words} did not come about"
            time.sleep(0.1)

    def _all_firing(self) -> Sequence[Any]:
        return [labels for labels, _ in self.query('ALERTS{alertstate="firing"}')]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=1):
                return True
        except OSError:
            return False

    def _write(self) -> None:
        (self._home / "prometheus.yml").write_text(yaml.safe_dump(self._config))
