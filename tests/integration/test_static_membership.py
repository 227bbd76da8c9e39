"""Workers with names of their own in the group: what a restart does to the others."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chaos.fleet import Fleet, WorkerProcess

pytestmark = pytest.mark.broker

_SESSION_MS = 20_000


class Named(Fleet):
    """Workers that say who they are, as the pods of a StatefulSet do."""

    def __init__(self, count: int, directory: Path, servers: str, name: str) -> None:
        super().__init__(
            count, directory, servers, name, partitions=4, session_timeout_ms=_SESSION_MS
        )
        for worker in self.workers:
            worker.environ["POINTSTREAM_GROUP_INSTANCE_ID"] = f"worker-{worker.number}"


@pytest.fixture
def fleet(
    bootstrap_servers: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Named]:
    """Two such workers, running, each with a share of the partitions."""
    with Named(2, tmp_path, bootstrap_servers, unique_name("named")) as workers:
        workers.start()
        wait_for(lambda: sorted(map(len, map(owned, workers.workers))) == [2, 2], workers)
        yield workers


def page(worker: WorkerProcess, path: str) -> str:
    try:
        with urllib.request.urlopen(worker.web_address + path, timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return ""


def owned(worker: WorkerProcess) -> list[int]:
    """The partitions that it processes."""
    told = orjson.loads(page(worker, "/status") or "{}").get("partitions", ())
    return [each["partition"] for each in told if each["phase"] == "running"]


def owns(worker: WorkerProcess, partitions: list[int]) -> bool:
    return owned(worker) == partitions


def rebalances(worker: WorkerProcess) -> float:
    """How often the group gave out its partitions to it."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page(worker, "/metrics"))
        for sample in family.samples
        if sample.name == "pointstream_rebalances_total"
    )


def wait_for(condition: Callable[[], bool], fleet: Fleet, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, fleet.log_ends()
        time.sleep(0.1)


def test_a_named_worker_has_its_partitions_back_and_no_other_notices(fleet: Named) -> None:
    """Stopped and started again within its session, as in a rolling upgrade, the leader too.

    Without the name its going and its coming would each stop every worker of the group.
    """
    before = {worker.number: owned(worker) for worker in fleet.workers}
    for rolled, other in (fleet.workers, fleet.workers[::-1]):
        noticed = rebalances(other)
        assert noticed > 0

        code, _ = rolled.stop()
        rolled.start()
        wait_for(partial(owns, rolled, before[rolled.number]), fleet)

        assert code == 0
        assert owns(other, before[other.number])
        assert rebalances(other) == noticed
    assert fleet.faults() == []
