"""The whole programme at work for once: topics, workers, a stream with faults in it, and the proof.

The broker and the workers are the caller's; here is what is done with them, in order, and what
comes of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from pointstream.operations.access import access_of
from pointstream.operations.faulty import FaultyInput, faulty_inputs
from pointstream.operations.generate import Generated, StreamPlan, generate, member_name
from pointstream.operations.lag import GroupProgress, input_topics
from pointstream.operations.letters import DeadLetters, read_dead_letters
from pointstream.operations.publish import OutgoingRecord, Publisher
from pointstream.operations.reading import CommittedReader
from pointstream.operations.reconcile import CHECKS, Proof, reconcile
from pointstream.operations.reviews import Flag, read_flags
from pointstream.operations.settings import Settings
from pointstream.operations.workers import WorkerGroup

__all__ = [
    "DemoFailedError",
    "DemoResult",
    "DemoView",
    "match_letters",
    "run_demo",
    "wait_until_ready",
]

_READY_SECONDS = 120.0
# So long without a single record taken means that something is stuck.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.3
_CHUNK = 500
_FAULTY_ROUNDS = 3


class DemoFailedError(Exception):
    """The demonstration could not be carried through; the message says where it got stuck."""


class DemoView(Protocol):
    """Whoever watches."""

    def step(self, text: str) -> None:
        """Something is done, told in a line."""

    def published(self, count: int) -> None:
        """So many records are acknowledged by the broker."""

    def taken(self, count: int, lag: int) -> None:
        """So many input records are committed as taken, so many wait."""


@dataclass(slots=True)
class DemoResult:
    """What went in, what came out, and whether it is right."""

    published: int = 0
    redelivered: int = 0
    faulty: int = 0
    lag: int = 0
    seconds: float = 0.0
    """From the first record sent until the last was taken."""
    publishing_seconds: float = 0.0
    workers_busy: int = 0
    proof: Proof = field(default_factory=Proof)
    letters: DeadLetters = field(default_factory=DeadLetters)
    missing_letters: Counter[str] = field(default_factory=Counter)
    """Bad records that did not come back byte for byte, by the code they should have."""
    unexpected_letters: Counter[str] = field(default_factory=Counter)
    flags: list[Flag] = field(default_factory=list)
    """What detectors found, in the order in which they did."""

    @property
    def per_second(self) -> float:
        """Input records per second, from the first one sent until the last one taken."""
        return self.published / self.seconds if self.seconds else 0.0

    def checks(self) -> list[tuple[str, bool, str]]:
        """Every claim: its name, whether it holds, and what it says or what was found."""
        found = [("lag", self.lag == 0, f"every record was taken, {self.lag} are waiting")]
        for name, claim in CHECKS.items():
            broken = self.proof.broken.get(name, 0)
            found.append((name, not broken, claim if not broken else f"{broken} breaches"))
        wrong = self.missing_letters.total() + self.unexpected_letters.total()
        claim = "each bad record is a dead letter, byte for byte, and nothing else is"
        if wrong:
            claim = (
                f"missing: {dict(self.missing_letters)}, not bad: {dict(self.unexpected_letters)}"
            )
        found.append(("dead letters", not wrong, claim))
        something = self.proof.members > 0 and self.proof.entries > 0
        found.append(("not empty", something or not self.published, "there was something to check"))
        return found

    @property
    def holds(self) -> bool:
        """Whether all of it holds."""
        return all(holds for _, holds, _ in self.checks())

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON value."""
        proof = self.proof
        return {
            "holds": self.holds,
            "events_in": self.published,
            "redelivered": self.redelivered,
            "bad_on_purpose": self.faulty,
            "entries_out": proof.entries,
            "entries_by_type": dict(proof.by_type.most_common()),
            "members": proof.members,
            "points": dict(proof.totals),
            "transfers": proof.transfers,
            "points_under_way": proof.under_way,
            "top_balances": [
                {"member_id": member_id, "available": points} for points, member_id in proof.top
            ],
            "dead_letters": {
                code: {
                    "count": count,
                    "message": self.letters.examples[code].message,
                    "example": self.letters.examples[code].preview,
                }
                for code, count in self.letters.by_code.most_common()
            },
            "fraud_flags": [
                {
                    "flag_id": flag.latest["flag_id"],
                    "detector": flag.latest["detector"],
                    "explanation": flag.raised["explanation"],
                }
                for flag in self.flags
            ],
            "lag": self.lag,
            "seconds": round(self.seconds, 3),
            "publishing_seconds": round(self.publishing_seconds, 3),
            "per_second": round(self.per_second),
            "workers_busy": self.workers_busy,
            "checks": [
                {"check": name, "holds": holds, "says": says} for name, holds, says in self.checks()
            ],
            "breaches": [
                {"check": breach.check, "member_id": breach.member_id, "found": breach.words}
                for breach in proof.breaches[:100]
            ],
        }


async def wait_until_ready(workers: WorkerGroup) -> None:
    """Wait until the workers share all partitions. Raises `DemoFailedError`."""
    deadline = time.monotonic() + _READY_SECONDS
    while not await asyncio.to_thread(workers.ready):
        workers.check()
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"-- {worker.log_file}:\n{worker.log_end()}" for worker in workers.workers
            )
            raise DemoFailedError(
                f"the workers were not ready within {_READY_SECONDS:.0f} s; their logs:\n{logs}"
            )
        await asyncio.sleep(0.2)


async def run_demo(
    settings: Settings, plan: StreamPlan, workers: WorkerGroup, view: DemoView
) -> DemoResult:
    """Publish the plan's stream with bad records among it, wait until it is taken, prove it.

    Raises `DemoFailedError` when it gets stuck, `WorkerFailedError` when a worker ends for good.
    """
    result = DemoResult()
    prefix, access = settings.topic_prefix, access_of(settings)
    began = time.monotonic()
    publishing = asyncio.create_task(_publish(settings, plan, result, view))
    try:
        async with GroupProgress(access, settings.app_id, input_topics(prefix)) as group:
            await _until_taken(group, publishing, workers, view, result)
    finally:
        publishing.cancel()
    faulty = await publishing
    result.seconds = time.monotonic() - began
    owned = await asyncio.to_thread(workers.owned)
    result.workers_busy = sum(1 for own in owned if own)
    view.step("reading everything back, read-committed, and adding it up")
    result.proof = await reconcile(access, prefix)
    async with CommittedReader(access) as reader:
        result.letters = await read_dead_letters(reader, prefix, keep_contents=True)
        result.flags = list((await read_flags(reader, prefix)).values())
    match_letters(result, faulty)
    return result


async def _publish(
    settings: Settings, plan: StreamPlan, result: DemoResult, view: DemoView
) -> list[FaultyInput]:
    prefix, mark = settings.topic_prefix, plan.mark
    now_ms = int(time.time() * 1000)
    faulty = [
        bad
        for nth in range(_FAULTY_ROUNDS)
        for bad in faulty_inputs(
            prefix, f"{mark}-bad{nth}", member_name(nth), now_ms, plan.start_ms
        )
    ]
    waiting = iter(faulty)
    # Spread over the whole stream, so that there is good company on both sides of each.
    every = max(plan.events // (len(faulty) + 1), 1)
    began = time.monotonic()
    async with Publisher(access_of(settings)) as publisher:
        for nth, generated in enumerate(generate(plan), start=1):
            await publisher.put(_outgoing(prefix, generated))
            result.redelivered += generated.again
            if nth % every == 0:
                await _put_faulty(publisher, next(waiting, None))
            if nth % _CHUNK == 0:
                await publisher.linger()
                view.published(publisher.sent)
        for bad in waiting:
            await _put_faulty(publisher, bad)
        await publisher.flush()
        result.published = publisher.sent
    result.faulty = len(faulty)
    result.publishing_seconds = time.monotonic() - began
    view.published(result.published)
    return faulty


def _outgoing(prefix: str, generated: Generated) -> OutgoingRecord:
    return OutgoingRecord(prefix + generated.topic, generated.key, generated.value)


async def _put_faulty(publisher: Publisher, bad: FaultyInput | None) -> None:
    for record in bad.records if bad is not None else ():
        await publisher.put(record)


async def _until_taken(
    group: GroupProgress,
    publishing: asyncio.Task[list[FaultyInput]],
    workers: WorkerGroup,
    view: DemoView,
    result: DemoResult,
) -> None:
    first = (await group.look()).taken
    moved_at, taken = time.monotonic(), first
    while True:
        all_sent = publishing.done()
        if all_sent:
            publishing.result()  # raises what stopped it
        now = await group.look()
        view.taken(now.taken - first, now.lag)
        if now.taken != taken:
            moved_at, taken = time.monotonic(), now.taken
        if all_sent and now.lag == 0:
            result.lag = 0
            return
        workers.check()
        if time.monotonic() - moved_at > _PATIENCE_SECONDS:
            raise DemoFailedError(
                f"no record was taken for {_PATIENCE_SECONDS:.0f} s, {now.lag} are waiting; "
                f"see {', '.join(str(worker.log_file) for worker in workers.workers)}"
            )
        await asyncio.sleep(_LOOK_SECONDS)


def match_letters(result: DemoResult, faulty: list[FaultyInput]) -> None:
    """Note which bad records did not come back as dead letters, and which dead letters are none."""
    expected = Counter((str(bad.code), bad.bad.key, bad.bad.value) for bad in faulty)
    for (code, _, _), count in (expected - result.letters.contents).items():
        result.missing_letters[code] += count
    for (code, _, _), count in (result.letters.contents - expected).items():
        result.unexpected_letters[code] += count
