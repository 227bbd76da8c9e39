"""Publishing under faults: a load that keeps just ahead of the workers, and what befalls them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from pointstream.engine.topics import ensure_topics
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.settings import Settings
from pointstream.operations.topics import wanted_topics

from .audit import audit
from .fleet import EXIT_FAULT, Fleet, WorkerProcess
from .model import BONUS_DELAY_MS, Model
from .story import Story

__all__ = ["BROKER_FAULTS", "Drive", "FaultPlan", "driving", "ride"]

_PARTITIONS = 6
_EVERY_PARTITION = [str(number) for number in range(_PARTITIONS)]
#: Seconds without a record taken that mean that something is stuck.
_PATIENCE_SECONDS = 150.0
_LOOK_SECONDS = 0.1
_CHUNK = 100

#: The fault that a worker may meet when it is frozen or cut off. Any other is a bug, and so is each
#: of those that tell of damage: PositionGap, PositionMismatch, ConservationBreach ...
_HONEST_FAULTS = frozenset({"Fenced"})


def _names(error: type[BaseException]) -> Iterator[str]:
    yield error.__name__
    for special in error.__subclasses__():
        yield from _names(special)


#: What a worker may end with, besides, when broker nodes die.
BROKER_FAULTS = _HONEST_FAULTS | set(_names(KafkaError)) | {"TimeoutError"}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How often what happens to the workers, at progress drawn from `seed`."""

    seed: int
    kills: int
    freezes: int
    #: Longer than the session timeout.
    frozen_seconds: tuple[float, float] = (4.0, 6.0)


@dataclass
class Drive:
    """One run: a fleet, what it was given, and how far it has come."""

    fleet: Fleet
    story: Story
    model: Model
    #: Published at most so far ahead of what is taken: a fault always finds work under way.
    window: int = 3_000
    published: int = 0
    taken: int = 0
    lag: int = 0
    #: How often progress was looked at.
    looks: int = 0
    kills: int = 0
    freezes: int = 0
    #: Faults by name that ended a worker beyond what the test did to it.
    restarts: list[str] = field(default_factory=list)
    honest_faults: frozenset[str] = _HONEST_FAULTS
    _watchers: list[asyncio.Task[None]] = field(default_factory=list)
    _kept: set[WorkerProcess] = field(default_factory=set)
    _problems: list[str] = field(default_factory=list)

    def keep(self, *workers: WorkerProcess) -> None:
        """Start these, and start them again whenever they die of an honest fault."""
        for worker in workers:
            worker.start()
            self._kept.add(worker)

    def release(self, worker: WorkerProcess) -> None:
        """Keep it no longer."""
        self._kept.discard(worker)

    # -- load --------------------------------------------------------------------------

    async def publish(self, records: Iterable[OutgoingRecord]) -> None:
        """Publish all, never more than the window ahead of the workers."""
        async with Publisher(self.fleet.servers) as publisher:
            for record in records:
                if self.published % _CHUNK == 0:
                    await publisher.linger()
                    if self.published - self.taken >= self.window:
                        await publisher.flush()
                        await self.until(self._has_room, "room in the window")
                await publisher.put(record)
                self.published += 1

    def _has_room(self) -> bool:
        return self.published - self.taken < self.window

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for `done` while records are taken; fail when nothing moves any more."""
        moved_at, before = time.monotonic(), (-1, -1)
        while not done():
            self.check()
            now = (self.taken, self.lag)
            if now != before:
                moved_at, before = time.monotonic(), now
            if time.monotonic() - moved_at > _PATIENCE_SECONDS:
                raise AssertionError(
                    f"stuck waiting for {what}: {self.taken} of {self.published} taken\n"
                    + self.fleet.log_ends()
                )
            await asyncio.sleep(0.03)

    async def until_taken(self) -> None:
        """Wait until all that was published is taken."""
        while True:
            await self.until(lambda: self.taken >= self.published and self.lag == 0, "lag 0")
            # A message can be written in one partition just after it was looked at, and what
            # brought it about taken in another just before that was: look once more.
            looks, taken = self.looks, self.taken
            await self.until(lambda looks=looks: self.looks > looks + 1, "another look")
            if self.lag == 0 and self.taken == taken:
                return

    async def until_ripe(self) -> None:
        """Wait until every rating's points are spendable, and the ticks have said so."""
        left_ms = self.story.rated_ms + BONUS_DELAY_MS + 2_500 - time.time() * 1000
        await asyncio.sleep(max(0.0, left_ms / 1000))

    # -- faults ------------------------------------------------------------------------

    async def befall(self, plan: FaultPlan, first: int, last: int) -> None:
        """Carry out the plan while `taken` goes from `first` to `last`."""
        chance = random.Random(plan.seed)
        kinds = ["kill"] * plan.kills + ["freeze"] * plan.freezes
        chance.shuffle(kinds)
        marks = sorted(chance.uniform(first, last) for _ in kinds)
        pending: list[asyncio.Task[None]] = []
        for mark, kind in zip(marks, kinds, strict=True):
            await self.until(lambda mark=mark: self.taken >= mark, f"progress {mark:.0f}")
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            worker = await self._victim(chance)
            if kind == "kill":
                self.kills += 1
                worker.kill()
                work = self._start_again(worker, chance.uniform(0.0, 1.0))
            else:
                self.freezes += 1
                worker.freeze()
                work = self._thaw(worker, chance.uniform(*plan.frozen_seconds))
            pending.append(asyncio.create_task(work))
        await asyncio.gather(*pending)

    async def _victim(self, chance: random.Random) -> WorkerProcess:
        while True:
            fit = [w for w in self.fleet.workers if w in self._kept and w.running and not w.frozen]
            if fit:
                return chance.choice(fit)
            await asyncio.sleep(0.05)

    async def _start_again(self, worker: WorkerProcess, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not worker.running:
            worker.start()

    async def _thaw(self, worker: WorkerProcess, seconds: float) -> None:
        await asyncio.sleep(seconds)
        worker.thaw()

    # -- watching ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise what went wrong with the workers, or with those who watch them."""
        for watcher in self._watchers:
            if watcher.done():
                watcher.result()
        if self._problems:
            raise AssertionError("\n".join([*self._problems, self.fleet.log_ends()]))

    def watch(self) -> None:
        """Begin to follow progress and workers."""
        work = (self._watch_progress(), self._watch_workers())
        self._watchers = [asyncio.create_task(each) for each in work]

    async def watch_no_more(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    async def _watch_progress(self) -> None:
        """Follow the group's positions; a broker that is away has none."""
        topics = input_topics(self.fleet.prefix)
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with GroupProgress(self.fleet.servers, self.fleet.app_id, topics) as group:
                    while True:
                        async with asyncio.timeout(20.0):
                            now = await group.look()
                        self.taken, self.lag = max(self.taken, now.taken), now.lag
                        self.looks += 1
                        await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(0.5)

    async def _watch_workers(self) -> None:
        """Start anew what died of an honest fault; note what died of anything else."""
        while True:
            for worker in [w for w in list(self._kept) if not w.running]:
                if worker.exit_code != EXIT_FAULT:
                    if worker.exit_code != -9:
                        self._problems.append(
                            f"worker {worker.number} ended with {worker.exit_code}"
                        )
                        self.release(worker)
                    continue
                fault = (worker.faults() or ["unknown"])[-1]
                self.restarts.append(fault)
                if fault not in self.honest_faults:
                    self._problems.append(f"worker {worker.number} met {fault}")
                    self.release(worker)
                else:
                    worker.start()
            await asyncio.sleep(0.1)

    # -- the end -----------------------------------------------------------------------

    async def finish(self) -> list[str]:
        """Wait for lag 0, stop the workers, and return what the audit finds."""
        await self.until_taken()
        await self.until_ripe()
        self.check()
        liability = await self._liability()
        for worker in list(self._kept):
            self.release(worker)
        codes = await asyncio.to_thread(self.fleet.stop)
        # A process that has hardly begun dies of the signal itself.
        assert set(codes.values()) <= {0, -signal.SIGTERM}, (
            f"exit codes {codes}\n{self.fleet.log_ends()}"
        )
        return await audit(self.fleet.servers, self.fleet.prefix, self.model, liability)

    async def _liability(self) -> int:
        """The points owed, as the workers' metrics tell, once every partition runs somewhere."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            asked = [asyncio.to_thread(_liability_of, worker) for worker in list(self._kept)]
            told = await asyncio.gather(*asked)
            if sorted(number for each in told for number in each) == _EVERY_PARTITION:
                return sum(points for each in told for points in each.values())
            assert time.monotonic() < deadline, f"not every partition is told of once: {told}"
            await asyncio.sleep(0.5)


def _liability_of(worker: WorkerProcess) -> dict[str, int]:
    """By partition that the worker runs, the points that it says are owed; none if it is down."""
    try:
        with urllib.request.urlopen(worker.web_address + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    told = {
        sample.labels["partition"]: 0
        for sample in families["pointstream_partition_phase"]
        if sample.labels["phase"] == "running" and sample.value
    }
    for sample in families["pointstream_liability_points"]:
        if sample.labels["wallet"] == "points":
            told[sample.labels["partition"]] = int(sample.value)
    return told


@contextlib.asynccontextmanager
async def driving(
    fleet: Fleet, *, seed: int, events: int, members: int, replication_factor: int = 1
) -> AsyncIterator[Drive]:
    """A drive with its topics made and its watchers at work; no worker is started yet."""
    settings = Settings(
        bootstrap_servers=fleet.servers,
        topic_prefix=fleet.prefix,
        app_id=fleet.app_id,
        partitions=_PARTITIONS,
        replication_factor=replication_factor,
    )
    await ensure_topics(
        fleet.servers, wanted_topics(settings), replication_factor=replication_factor
    )
    model = Model()
    drive = Drive(fleet, Story(fleet.prefix, seed, events, members, model), model)
    drive.watch()
    try:
        yield drive
    finally:
        await drive.watch_no_more()


async def ride(
    drive: Drive,
    plan: FaultPlan,
    *,
    beside: Callable[[Drive, int, int], Awaitable[None]] | None = None,
) -> None:
    """Publish, kill and freeze, wait, audit. `beside` befalls others meanwhile; it is given the
    progress at which to begin and to end."""
    # Given workers that have taken the opening orders
    drive.keep(*drive.fleet.workers)
    await drive.publish(drive.story.opening())
    await drive.until_taken()
    # When they are killed and frozen at random while the stream comes in
    first, last = drive.taken, drive.taken + drive.story.events * 9 // 10
    faults: list[Awaitable[None]] = [drive.befall(plan, first, last)]
    if beside is not None:
        faults.append(beside(drive, first, last))
    started = time.monotonic()
    await asyncio.gather(drive.publish(drive.story.stream()), *faults)
    found = await drive.finish()
    print(
        f"seed {plan.seed}: {drive.published} records, {drive.kills} kill -9, {drive.freezes} "
        f"SIGSTOP, ended by faults: {drive.restarts}, {time.monotonic() - started:.0f} s"
    )
    # Then every input counts once
    assert not found, "\n".join(found)
    assert (drive.kills, drive.freezes) == (plan.kills, plan.freezes)
