"""The fixture of the package: a deployment that can be made ill, and who watches it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases.deployment import Deployment, owned_by

from chaos.fleet import WorkerProcess
from pointstream.operations.broker import Broker
from pointstream.operations.placement import partition_of

from .feeder import Feeder
from .rules import panels
from .server import Prometheus, Sample

PARTITIONS = 4
PROGRAMME = {
    # Soon enough for timers to ring.
    "wallets": [{"id": "points", "activation": {"after": "PT1S"}}],
    "fraud": {
        "detector_sets": [
            {
                "id": "house",
                "version": 1,
                "detectors": [
                    {
                        "id": "too-fast",
                        "kind": "velocity",
                        "types": ["checkin.recorded"],
                        "limit": 2,
                        "within": "PT60S",
                        "action": "flag",
                    }
                ],
            }
        ]
    },
}


class Scene:
    """The deployment, what makes it ill, and the Prometheus that watches."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self._ills = directory / "ills.json"
        self.heal()
        self.club = Deployment(
            broker.bootstrap_servers,
            directory.name,
            directory / "club",
            PROGRAMME,
            workers=2,
            partitions=PARTITIONS,
            tick_interval_ms=1_000,
            session_timeout_ms=6_000,
        )
        for worker in self.club.workers:
            afflicted = Path(__file__).with_name("afflicted.py")
            worker.command = [sys.executable, str(afflicted), "worker"]
            worker.environ["AFFLICTIONS"] = str(self._ills)
            worker.environ["AFFLICTED"] = str(worker.number)
            # A restart finds its partitions where they were.
            worker.environ["POINTSTREAM_GROUP_INSTANCE_ID"] = f"worker-{worker.number}"
        self.prometheus = Prometheus(directory / "prometheus", map(instance_of, self.club.workers))

    def suffer(self, **ills: Any) -> None:
        """Make the workers ill from now on; see `afflicted`."""
        fresh = self._ills.with_suffix(".new")
        fresh.write_text(json.dumps(ills))
        fresh.replace(self._ills)

    def heal(self) -> None:
        """End every illness."""
        self.suffer()

    def start(self) -> None:
        """Start the workers that do not run, and wait until each has its share."""
        for worker in self.club.workers:
            if not worker.running:
                worker.start()
        self.prometheus.until(
            lambda: (
                sorted(p for w in self.club.workers for p in owned_by(w)) == [*range(4)]
                and all(map(owned_by, self.club.workers))
            ),
            lambda: "\n".join(w.log_end() for w in self.club.workers),
        )

    def owner(self, partition: int) -> WorkerProcess:
        """The worker that processes a partition."""
        return next(w for w in self.club.workers if partition in owned_by(w))

    def panel(self, title: str) -> list[Sample]:
        """What a panel of the overview shows just now."""
        return [
            sample for expr in panels()["overview", title] for sample in self.prometheus.query(expr)
        ]

    def member_of(self, partition: int) -> str:
        """The id of a member whose account is in a partition."""
        names = (f"m{number}" for number in range(10_000))
        return next(n for n in names if partition_of(n.encode(), PARTITIONS) == partition)


def instance_of(worker: WorkerProcess) -> str:
    """How Prometheus names a worker."""
    return worker.web_address.removeprefix("http://")


@pytest.fixture(scope="package")
def scene(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two workers with orders coming in, and a Prometheus that watches them. In the end, after all
    that was done to them, not a point is lost or doubled."""
    made = Scene(broker, tmp_path_factory.mktemp("observed"))
    try:
        for worker in made.club.workers:
            worker.start()
        made.prometheus.start()
        made.start()
        with Feeder(made.club.servers, made.club.prefix):
            yield made
        made.club.settle()
        proof = made.club.proof()
        assert proof.holds, proof.breaches
    finally:
        made.prometheus.stop()
        made.club.close()
