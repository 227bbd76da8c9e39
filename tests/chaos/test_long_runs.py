"""The long form: three workers on three broker nodes, all of which die again and again.

Off unless `POINTSTREAM_CHAOS=long` (`make chaos` sets it). `CHAOS_EVENTS` and `CHAOS_SEEDS`
(numbers between spaces) choose how much; a run of its own for every seed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pointstream.operations.broker import LocalBroker
from pointstream.operations.broker.install import missing_for_kafka

from .drive import BROKER_FAULTS, Drive, FaultPlan, driving, ride
from .fleet import Fleet

pytestmark = [
    pytest.mark.broker,
    pytest.mark.chaos,
    pytest.mark.skipif(
        os.environ.get("POINTSTREAM_CHAOS") != "long", reason="POINTSTREAM_CHAOS is not long"
    ),
]

EVENTS = int(os.environ.get("CHAOS_EVENTS", "200000"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1 2 3").split()]
NODES = 3
#: So many events for each fault.
EVENTS_PER_WORKER_FAULT = 4_000
EVENTS_PER_NODE_FAULT = 10_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalBroker]:
    """Three nodes, of which any one may go."""
    if missing := missing_for_kafka():
        pytest.skip(" ".join(missing))
    with LocalBroker(NODES, data_dir=tmp_path / "kafka") as broker:
        yield broker


async def befall_nodes(broker: LocalBroker, drive: Drive, seed: int, first: int, last: int) -> None:
    """Kill, freeze and restart one node at a time while `taken` goes from `first` to `last`."""
    chance = random.Random(seed)
    count = max(3, (last - first) // EVENTS_PER_NODE_FAULT)
    kinds = [("kill", "freeze", "restart")[n % 3] for n in range(count)]
    for mark, kind in zip(sorted(chance.uniform(first, last) for _ in kinds), kinds, strict=True):
        await drive.until(lambda mark=mark: drive.taken >= mark, f"progress {mark:.0f}")
        node = chance.randint(1, NODES)
        print(f"{kind} of node {node} at {drive.taken}")
        if kind == "kill":
            await asyncio.to_thread(broker.kill, node)
            await asyncio.sleep(chance.uniform(0.0, 6.0))
        elif kind == "freeze":
            broker.pause(node)
            await asyncio.sleep(chance.uniform(2.0, 10.0))
            broker.resume(node)
        if kind != "freeze":
            await asyncio.to_thread(broker.restart, node)
        # With a second node gone while the first still catches up, nobody could write at all.
        await asyncio.sleep(5.0)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", SEEDS)
def test_workers_and_broker_nodes_that_die_count_every_input_once(
    cluster: LocalBroker, unique_name: Callable[[str], str], tmp_path: Path, seed: int
) -> None:
    """Whatever dies, of whatever seed: no gap, no double, no lag."""
    worker_faults = max(8, EVENTS // EVENTS_PER_WORKER_FAULT)
    plan = FaultPlan(seed, kills=worker_faults * 3 // 4, freezes=worker_faults // 4)

    async def scenario(fleet: Fleet) -> None:
        async with driving(
            fleet, seed=seed, events=EVENTS, members=EVENTS // 50, replication_factor=NODES
        ) as drive:
            drive.honest_faults = BROKER_FAULTS
            await ride(
                drive,
                plan,
                beside=lambda drive, first, last: befall_nodes(cluster, drive, seed, first, last),
            )

    with Fleet(
        3,
        tmp_path,
        cluster.bootstrap_servers,
        unique_name("long"),
        replication_factor=NODES,
    ) as fleet:
        asyncio.run(scenario(fleet))
