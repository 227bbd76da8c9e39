"""The broker goes away, a disk goes bad, workers come and go: said in the log, and harmless."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pointstream.operations.broker import LocalBroker
from pointstream.operations.broker.install import missing_for_kafka

from .drive import Drive, driving
from .fleet import Fleet, WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

#: A stop that takes longer has waited for something. Generous: the machine may be busy.
_STOP_SECONDS = 20.0


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A Kafka of the test's own, to be killed."""
    if missing := missing_for_kafka():
        pytest.skip(" ".join(missing))
    with LocalBroker(data_dir=tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def new_fleet(
    bootstrap_servers: str, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[[int], Fleet]]:
    """Makes a fleet on the session's broker and leaves no worker behind."""
    fleets: list[Fleet] = []

    def make(count: int) -> Fleet:
        fleets.append(Fleet(count, tmp_path, bootstrap_servers, unique_name("faults")))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.__exit__()


async def open_with(drive: Drive, *workers: WorkerProcess) -> None:
    """Start workers and let them take the opening orders."""
    drive.keep(*workers)
    await drive.publish(drive.story.opening())
    await drive.until_taken()


def stop(drive: Drive, worker: WorkerProcess) -> None:
    """Stop a worker gracefully; it must end well, soon and whole."""
    drive.release(worker)
    code, seconds = worker.stop()
    assert code == 0, worker.log_end()
    assert seconds < _STOP_SECONDS
    assert not worker.left_behind
    assert worker.has_said("worker stopped")


def test_workers_wait_for_a_broker_that_is_away_and_go_on(
    own_broker: LocalBroker, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """A killed broker costs time, not records; whoever waits says so."""

    async def scenario() -> None:
        with Fleet(3, tmp_path, own_broker.bootstrap_servers, unique_name("away")) as fleet:
            running, late = fleet.workers[:2], fleet.workers[2]
            async with driving(fleet, seed=11, events=6_000, members=200) as drive:
                await open_with(drive, *running)
                # Given a stream under way
                publishing = asyncio.create_task(drive.publish(drive.story.stream()))
                half = drive.taken + 2_000
                await drive.until(lambda: drive.taken >= half, "half of it")
                # When the broker dies, and a worker is started meanwhile
                await asyncio.to_thread(own_broker.kill)
                drive.keep(late)
                await drive.until(lambda: waits(late), "a new worker that says it waits")
                await drive.until(
                    lambda: all(map(waits, running)), "running workers that say they wait"
                )
                await asyncio.to_thread(own_broker.restart)
                # Then all go on (a worker that the group gave up meanwhile, after a restart), and
                # every input counts once
                await publishing
                found = await drive.finish()
                assert not found, "\n".join(found)
                assert set(drive.restarts) <= {"Fenced"}
                assert late.has_said("partitions assigned")

    asyncio.run(scenario())


def waits(worker: WorkerProcess) -> bool:
    return worker.has_said("waiting for the broker")


def test_corrupt_local_state_is_thrown_away_and_restored(
    new_fleet: Callable[[int], Fleet],
) -> None:
    """The changelog is the truth: a broken disk is told and mended, and no balance changes."""

    async def scenario() -> None:
        fleet = new_fleet(1)
        (worker,) = fleet.workers
        async with driving(fleet, seed=12, events=3_000, members=100) as drive:
            # Given a worker that was stopped with state on its disk
            await open_with(drive, worker)
            await asyncio.to_thread(stop, drive, worker)
            # When every file of two partitions is overwritten
            for number in (0, 3):
                files = [*(worker.data_dir / f"partition-{number:05d}").iterdir()]
                assert files
                for file in files:
                    if file.is_file():
                        file.write_bytes(b"\xde\xad" * (file.stat().st_size // 2 + 8))
            drive.keep(worker)
            await drive.publish(drive.story.stream())
            # Then it says so, restores them, and what follows is right
            found = await drive.finish()
            assert not found, "\n".join(found)
            for number in (0, 3):
                assert worker.has_said("local state thrown away", partition=number)
            assert not worker.has_said("local state thrown away", partition=1)
            assert worker.faults() == []

    asyncio.run(scenario())


def test_workers_join_and_leave_under_load(new_fleet: Callable[[int], Fleet]) -> None:
    """One worker, then three, then one again: each leaves within seconds, nothing is lost."""

    async def scenario() -> None:
        fleet = new_fleet(3)
        first, *others = fleet.workers
        async with driving(fleet, seed=13, events=9_000, members=200) as drive:
            # Given one worker under load
            await open_with(drive, first)
            opened = drive.taken
            publishing = asyncio.create_task(drive.publish(drive.story.stream()))
            await drive.until(lambda: drive.taken >= opened + 1_500, "some progress")
            # When two more join, and two leave
            drive.keep(*others)
            await drive.until(
                lambda: all(worker.has_said("partition ready") for worker in others),
                "the others to own partitions",
            )
            joined = drive.taken
            await drive.until(
                lambda: drive.taken >= joined + 1_500 or publishing.done(), "work for three"
            )
            for worker in (first, others[0]):
                await asyncio.to_thread(stop, drive, worker)
            # Then the last one finishes the work, and every input counts once
            await publishing
            found = await drive.finish()
            assert not found, "\n".join(found)
            assert drive.restarts == []

    started = time.monotonic()
    asyncio.run(scenario())
    print(f"{time.monotonic() - started:.0f} s")
